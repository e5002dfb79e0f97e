//! The `WWW-Authenticate` lines of an answer.

use std::fmt::Write;

use http::HeaderValue;
use portcullis_plugin::Challenge;

use super::response_edits::ResponseEdits;

/// Makes one line of each challenge, with `Bearer` before all others: some clients read the first line alone, and take
/// everything behind it for its parameters. The same challenge twice is made once. Headers that come with challenges
/// are added to the edits of the response.
pub(crate) fn lines(
    challenges: impl IntoIterator<Item = Challenge>,
    realm: &str,
    edits: &ResponseEdits,
) -> Vec<HeaderValue> {
    let mut lines: Vec<HeaderValue> = Vec::new();
    let mut bearers = 0;
    for wanted in challenges {
        let Some(line) = line(&wanted, realm).filter(|line| !lines.contains(line)) else { continue };
        if wanted.is_scheme("Bearer") {
            lines.insert(bearers, line);
            bearers += 1;
        } else {
            lines.push(line);
        }
        edits.add(wanted.headers);
    }
    lines
}

/// Returns a challenge as a line of `WWW-Authenticate` (RFC 9110 section 11.6.1).
fn line(challenge: &Challenge, realm: &str) -> Option<HeaderValue> {
    let mut text = format!("{} realm=\"{realm}\"", challenge.scheme);
    for (name, value) in &challenge.parameters {
        let _ = write!(text, ", {name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    }
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use pingora::http::ResponseHeader;
    use portcullis_plugin::HeaderEdits;

    use super::*;
    use crate::proxy::response_edits::Recipient;

    fn told(challenges: Vec<Challenge>) -> Vec<String> {
        let lines = lines(challenges, "orders", &ResponseEdits::default());
        lines.iter().map(|line| line.to_str().expect("text").to_owned()).collect()
    }

    #[test]
    fn a_challenge_is_quoted() {
        let challenge = Challenge::new("ApiKey").parameter("header", "a\"b");
        assert_eq!(told(vec![challenge]), ["ApiKey realm=\"orders\", header=\"a\\\"b\""]);
        assert_eq!(told(vec![Challenge::new("Bad").parameter("a", "b\r\nc: d")]), Vec::<String>::new());
    }

    #[test]
    fn bearer_stands_before_all_others_and_nothing_stands_twice() {
        let challenges = ["ApiKey", "bearer", "DPoP", "ApiKey", "Bearer", "Basic"].map(Challenge::new);
        let schemes: Vec<_> =
            told(challenges.into()).iter().map(|line| line.replace(" realm=\"orders\"", "")).collect();
        assert_eq!(schemes, ["bearer", "Bearer", "ApiKey", "DPoP", "Basic"]);
    }

    #[test]
    fn headers_come_with_a_challenge() {
        let mut nonce = HeaderEdits::new();
        nonce
            .set(http::HeaderName::from_static("dpop-nonce"), HeaderValue::from_static("n"))
            .expect("not the gateway's");
        let edits = ResponseEdits::default();
        lines([Challenge::new("DPoP").with(nonce), Challenge::new("Bearer")], "orders", &edits);
        assert_eq!(edits.count(), 1);
        let mut head = ResponseHeader::build(401, None).expect("a status");
        edits.apply(&mut head, Some(Recipient::Unauthenticated));
        assert_eq!(head.headers.get("dpop-nonce").map(HeaderValue::as_bytes), Some(&b"n"[..]), "a 401 has it too");
    }
}
