use super::*;
use crate::testing::base64url;

fn token(header: &str, claims: &str) -> String {
    format!("{}.{}.{}", base64url(header), base64url(claims), base64url("signature"))
}

const HEADER: &str = r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#;

#[test]
fn a_token_is_taken_apart() {
    let text = token(HEADER, r#"{"sub":"ann","n":1}"#);
    let token = Token::parse(text.as_bytes()).unwrap();
    assert_eq!(
        (token.algorithm(), token.kid(), token.header().typ.as_deref()),
        (Algorithm::Rs256, Some("k"), Some("JWT"))
    );
    assert_eq!((token.text("sub"), token.text("n"), token.text("x")), (Some("ann"), None, None));
    assert_eq!(token.signing_input(), &text.as_bytes()[..text.rfind('.').unwrap()]);
    assert_eq!(token.signature(), b"signature");
    assert_eq!(token.into_claims().len(), 2);
}

#[test]
fn length_has_a_limit() {
    let of = |bytes: usize| {
        let room = bytes - token(HEADER, r#"{"a":""}"#).len();
        let text = token(HEADER, &format!(r#"{{"a":"{}"}}"#, "x".repeat(room / 4 * 3)));
        text + &"A".repeat(4)
    };
    let within = |bytes: usize, limit| Token::parse_within(of(bytes).as_bytes(), limit).is_ok();
    assert!(Token::parse(of(16_000).as_bytes()).is_ok());
    assert!(Token::parse(of(17_000).as_bytes()).is_err());
    assert!(within(17_000, 20_000));
    assert!(!within(17_000, 16_000));
    assert!(!within(70_000, usize::MAX), "no caller can ask for more");
}

#[test]
fn keys_that_a_token_points_to_are_passed_over() {
    for member in ["jku", "x5u", "x5c", "x5t", "x5t#S256", "cty", "iss", "unknown"] {
        let header = format!(r#"{{"alg":"RS256","{member}":"https://attacker.example"}}"#);
        assert!(Token::parse(token(&header, "{}").as_bytes()).is_ok(), "{member}");
    }
}

#[test]
fn a_header_that_changes_the_meaning_of_a_token_or_brings_its_key_is_refused() {
    for member in
        [r#""crit":["exp"]"#, r#""b64":false"#, r#""zip":"DEF""#, r#""jwk":{"kty":"oct","k":""}"#, r#""crit":null"#]
    {
        let header = format!(r#"{{"alg":"RS256",{member}}}"#);
        let wrong = Token::parse(token(&header, "{}").as_bytes()).err();
        assert_eq!(wrong.map(|wrong| wrong.reason), Some(Reason::TokenMalformed), "{member}");
    }
}

#[test]
fn a_token_does_not_print() {
    let text = token(HEADER, r#"{"sub":"planted"}"#);
    let token = Token::parse(text.as_bytes()).unwrap();
    assert_eq!(format!("{token:?}"), "Token(***)");
}

/// Text that parses is in the one form that these values have.
fn assert_canonical(text: &[u8]) {
    let Ok(token) = Token::parse(text) else { return };
    let parts: Vec<_> = text.split(|byte| *byte == b'.').collect();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[2], base64url(token.signature()).as_bytes());
    assert!(text.len() <= MAX_TOKEN_BYTES);
}

#[test]
fn no_bytes_panic() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| assert_canonical(bytes));
}

/// Random bytes hardly ever get past the first segment; these stand inside of the segments, made of pieces of JSON.
#[test]
fn malformed_tokens_do_not_panic() {
    const PIECES: [&str; 20] = [
        "{",
        "}",
        "[",
        "]",
        "\"alg\"",
        ":",
        ",",
        "\"RS256\"",
        "\"none\"",
        "\"kid\"",
        "\"crit\"",
        "1",
        "-",
        "1e9",
        "\"",
        "\\u0061",
        "null",
        " ",
        "\u{e9}",
        "\"exp\"",
    ];
    let assembled = |choices: &[u8]| -> String {
        choices.iter().map(|choice| PIECES[usize::from(*choice) % PIECES.len()]).collect()
    };
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>, Vec<u8>)>().for_each(|(header, claims, signature)| {
        let text =
            format!("{}.{}.{}", base64url(assembled(header)), base64url(assembled(claims)), base64url(signature));
        assert_canonical(text.as_bytes());
        let good = format!("{}.{}.{}", base64url(HEADER), base64url(assembled(claims)), base64url(signature));
        assert_canonical(good.as_bytes());
    });
}
