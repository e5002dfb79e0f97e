//! THE table: every response that the gateway makes on its own account.
//!
//! An answer is problem JSON (RFC 9457) with a stable `code` and the request's id. It never says which part of a
//! credential was wrong: all that fails to prove who is calling gets the same words, and the audit log has the reason.
//! gRPC calls get the same in their own form: status 200, no body, `grpc-status` in the head ("trailers-only").
//!
//! In place of a row a plugin may give an answer of its own ([`Respond`]), which is made here as well.

use std::{fmt::Write, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use portcullis_plugin::{DenialStatus, RefusalStatus, Respond};

use super::response_edits::Recipient;
use crate::router::MethodSet;

/// An answer of the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Problem {
    HttpsRequired,
    BadRequest,
    BadPath,
    Unauthenticated,
    Forbidden,
    RouteNotFound,
    MethodNotAllowed,
    RequestTimeout,
    LengthRequired,
    BodyTooLarge,
    Misdirected,
    HeadTooLarge,
    TooManyRequests,
    Internal,
    UpstreamUnreachable,
    UpstreamBroken,
    Unavailable,
    UpstreamTimeout,
}

/// Status, code, title, detail, and the gRPC status (see the list in gRPC's `statuscodes.md`).
type Row = (u16, &'static str, &'static str, &'static str, u8);

impl Problem {
    /// All rows, for documentation and tests.
    pub(crate) const ALL: [Self; 18] = [
        Self::HttpsRequired,
        Self::BadRequest,
        Self::BadPath,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::RouteNotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::LengthRequired,
        Self::BodyTooLarge,
        Self::Misdirected,
        Self::HeadTooLarge,
        Self::TooManyRequests,
        Self::Internal,
        Self::UpstreamUnreachable,
        Self::UpstreamBroken,
        Self::Unavailable,
        Self::UpstreamTimeout,
    ];

    const fn row(self) -> Row {
        match self {
            Self::HttpsRequired => (308, "https_required", "Permanent Redirect", "This is served over HTTPS only.", 9),
            Self::BadRequest => (400, "bad_request", "Bad Request", "The request is malformed or ambiguous.", 3),
            Self::BadPath => (400, "bad_path", "Bad Request", "The path is malformed or ambiguous.", 3),
            Self::Unauthenticated => (401, "unauthenticated", "Unauthorized", "A valid credential is required.", 16),
            Self::Forbidden => (403, "forbidden", "Forbidden", "The caller may not make this request.", 7),
            Self::RouteNotFound => (404, "route_not_found", "Not Found", "Nothing is served here.", 12),
            Self::MethodNotAllowed => {
                (405, "method_not_allowed", "Method Not Allowed", "The method is not allowed here.", 12)
            }
            Self::RequestTimeout => {
                (408, "request_timeout", "Request Timeout", "The request took too long to arrive.", 4)
            }
            Self::LengthRequired => {
                (411, "length_required", "Length Required", "The request body needs a Content-Length.", 9)
            }
            Self::BodyTooLarge => (413, "body_too_large", "Payload Too Large", "The request body is too large.", 8),
            Self::Misdirected => {
                (421, "misdirected_request", "Misdirected Request", "Ask for this on a connection of its own.", 14)
            }
            Self::HeadTooLarge => {
                (431, "head_too_large", "Request Header Fields Too Large", "The request head is too large.", 8)
            }
            Self::TooManyRequests => {
                (429, "too_many_requests", "Too Many Requests", "Too many requests; try later.", 8)
            }
            Self::Internal => (500, "internal_error", "Internal Server Error", "The gateway failed.", 13),
            Self::UpstreamUnreachable => {
                (502, "upstream_unreachable", "Bad Gateway", "The service behind the gateway cannot be reached.", 14)
            }
            Self::UpstreamBroken => {
                (502, "upstream_broken", "Bad Gateway", "The service behind the gateway gave no valid answer.", 14)
            }
            Self::Unavailable => {
                (503, "unavailable", "Service Unavailable", "This cannot be decided now; try later.", 14)
            }
            Self::UpstreamTimeout => {
                (504, "upstream_timeout", "Gateway Timeout", "The service behind the gateway took too long.", 4)
            }
        }
    }

    /// The HTTP status.
    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).expect("the table has valid statuses")
    }

    /// The stable code.
    pub(crate) fn code(self) -> &'static str {
        self.row().1
    }
}

impl From<RefusalStatus> for Problem {
    fn from(status: RefusalStatus) -> Self {
        match status {
            RefusalStatus::BadRequest => Self::BadRequest,
            RefusalStatus::Forbidden => Self::Forbidden,
            RefusalStatus::BodyTooLarge => Self::BodyTooLarge,
            RefusalStatus::TooManyRequests => Self::TooManyRequests,
            RefusalStatus::Unavailable => Self::Unavailable,
        }
    }
}

impl From<DenialStatus> for Answer {
    fn from(status: DenialStatus) -> Self {
        let problem = match status {
            DenialStatus::Unauthorized => Problem::Unauthenticated,
            DenialStatus::LengthRequired => Problem::LengthRequired,
            DenialStatus::BodyTooLarge => Problem::BodyTooLarge,
            DenialStatus::TooManyRequests(after) => {
                return Self { retry_after: Some(after), ..Problem::TooManyRequests.into() };
            }
            DenialStatus::Forbidden => Problem::Forbidden,
        };
        problem.into()
    }
}

/// A row of the table with what belongs to one request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The row.
    pub problem: Problem,
    /// The lines of `WWW-Authenticate`.
    pub challenges: Vec<HeaderValue>,
    /// The value of `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The value of `Allow`.
    pub allow: Option<Box<HeaderValue>>,
    /// The value of `Location`.
    pub location: Option<Box<HeaderValue>>,
    /// The answer that a plugin gives in place of the row.
    pub declared: Option<Respond>,
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        Self { problem, challenges: Vec::new(), retry_after: None, allow: None, location: None, declared: None }
    }
}

impl Answer {
    /// The head and the body of the response.
    pub(crate) fn response(&self, request_id: &str, is_grpc: bool) -> (ResponseHeader, Bytes) {
        let (mut head, body) = match &self.declared {
            Some(respond) if !is_grpc => Self::declared(respond),
            _ => self.of_the_table(request_id, is_grpc),
        };
        if let Ok(id) = HeaderValue::from_str(request_id) {
            head.append_header("x-request-id", id).expect("few and short headers");
        }
        for challenge in &self.challenges {
            head.append_header(header::WWW_AUTHENTICATE, challenge.clone()).expect("few and short headers");
        }
        (head, body)
    }

    fn of_the_table(&self, request_id: &str, is_grpc: bool) -> (ResponseHeader, Bytes) {
        let is_about_the_method = self.problem == Problem::MethodNotAllowed;
        let (status, code, title, detail, grpc) = self.row();
        let status = if is_grpc { StatusCode::OK } else { StatusCode::from_u16(status).expect("a valid status") };
        let mut head = ResponseHeader::build(status, Some(8)).expect("a valid status");
        let mut set = |name: header::HeaderName, value: HeaderValue| {
            head.append_header(name, value).expect("few and short headers");
        };
        let body = if is_grpc {
            set(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            set(header::HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(grpc)));
            set(header::HeaderName::from_static("grpc-message"), HeaderValue::from_static(code));
            Bytes::new()
        } else {
            set(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            let mut body = String::with_capacity(256);
            let _ = writeln!(
                body,
                "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{},\"code\":\"{code}\",\"detail\":\"{detail}\",\
                 \"request_id\":\"{request_id}\"}}",
                status.as_u16(),
            );
            set(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            Bytes::from(body)
        };
        set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // It has to be there (RFC 9110 section 15.5.6). Where the method is refused before a route is looked for, that
        // is what routes take that say nothing of methods.
        let allow = self.allow.clone();
        if let Some(allow) = allow.or_else(|| is_about_the_method.then(|| Box::new(MethodSet::default().allow()))) {
            set(header::ALLOW, *allow);
        }
        if let Some(location) = &self.location {
            set(header::LOCATION, HeaderValue::clone(location));
        }
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up: a client that waits as told must not be early (RFC 9110 section 10.2.3).
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            set(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        (head, body)
    }

    /// The answer of a plugin, as its own row would be sent.
    fn declared(respond: &Respond) -> (ResponseHeader, Bytes) {
        let mut head = ResponseHeader::build(respond.status(), Some(8)).expect("a status");
        // A head takes thousands of them.
        let mut add = |name: &header::HeaderName, value: HeaderValue| _ = head.append_header(name, value);
        respond.headers().iter().for_each(|(name, value)| add(name, value.clone()));
        let has_content = !matches!(respond.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if has_content {
            add(&header::CONTENT_LENGTH, HeaderValue::from(respond.content().len()));
        }
        if !respond.headers().iter().any(|(name, _)| *name == header::CACHE_CONTROL) {
            add(&header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        (head, if has_content { respond.content().clone() } else { Bytes::new() })
    }

    /// The row in whose place a plugin's answer is, for callers who cannot read it: the one of its status, if there is
    /// one.
    fn row(&self) -> Row {
        let status = self.declared.as_ref().map(Respond::status);
        let same = status.and_then(|status| Problem::ALL.into_iter().find(|problem| problem.status() == status));
        same.unwrap_or(self.problem).row()
    }

    /// The status, as it stands in the log.
    pub(crate) fn status(&self) -> StatusCode {
        self.declared.as_ref().map_or_else(|| self.problem.status(), Respond::status)
    }

    /// Returns the recipient of the answer.
    pub(crate) fn recipient(&self) -> Recipient {
        match (&self.declared, self.problem) {
            (Some(_), Problem::Unauthenticated) => Recipient::Proposed,
            (Some(respond), _) if respond.status() == StatusCode::UNAUTHORIZED => Recipient::Unauthenticated,
            (None, Problem::Unauthenticated) => Recipient::Unauthenticated,
            _ => Recipient::Other,
        }
    }

    /// The whole response as HTTP/1.1 bytes, for a connection that Pingora has not seen; the connection closes. `hsts`:
    /// what `Strict-Transport-Security` says.
    pub(crate) fn bytes(&self, request_id: &str, hsts: Option<&HeaderValue>) -> Bytes {
        let (mut head, body) = self.response(request_id, false);
        if let Some(hsts) = hsts {
            head.insert_header(header::STRICT_TRANSPORT_SECURITY, hsts).expect("few and short headers");
        }
        let mut bytes = Vec::with_capacity(512);
        let reason = head.status.canonical_reason().unwrap_or("Error");
        bytes.extend_from_slice(
            format!("HTTP/1.1 {} {reason}\r\nConnection: close\r\n", head.status.as_u16()).as_bytes(),
        );
        head.header_to_h1_wire(&mut bytes);
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable_and_unique() {
        let codes: Vec<_> = Problem::ALL.iter().map(|problem| problem.code()).collect();
        let unique: std::collections::HashSet<_> = codes.iter().collect();
        assert_eq!(unique.len(), codes.len());
    }

    #[test]
    fn an_answer_is_problem_json_with_its_code_and_request_id() {
        for problem in Problem::ALL {
            let (head, body) = Answer::from(problem).response("r-1", false);
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(body["status"], head.status.as_u16());
            assert_eq!(body["title"], head.status.canonical_reason().expect("a title"), "as in the status line");
            assert_eq!(body["code"], problem.code());
            assert_eq!(body["request_id"], "r-1");
            assert_eq!(head.headers["content-type"], "application/problem+json");
            assert_eq!(head.headers["cache-control"], "no-store");
        }
    }

    #[test]
    fn whoever_is_refused_a_method_is_told_which_there_are() {
        let allow = |answer: Answer| answer.response("r-1", false).0.headers.get(header::ALLOW).cloned();
        let usual = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        assert_eq!(allow(Problem::MethodNotAllowed.into()).expect("a header"), usual);
        let known =
            Answer { allow: Some(Box::new(HeaderValue::from_static("GET"))), ..Problem::MethodNotAllowed.into() };
        assert_eq!(allow(known).expect("a header"), "GET");
        assert_eq!(allow(Problem::BadRequest.into()), None);
    }

    #[test]
    fn grpc_statuses_follow_the_rules() {
        for (problem, status) in [
            (Problem::Unauthenticated, "16"),
            (Problem::Forbidden, "7"),
            (Problem::LengthRequired, "9"),
            (Problem::BodyTooLarge, "8"),
            (Problem::TooManyRequests, "8"),
            (Problem::RouteNotFound, "12"),
            (Problem::UpstreamUnreachable, "14"),
            (Problem::UpstreamBroken, "14"),
            (Problem::Unavailable, "14"),
            (Problem::UpstreamTimeout, "4"),
        ] {
            let (head, body) = Answer::from(problem).response("r-1", true);
            assert_eq!(
                (head.status, &head.headers["grpc-status"]),
                (StatusCode::OK, &HeaderValue::from_static(status))
            );
            assert!(body.is_empty());
        }
    }

    #[test]
    fn a_limit_says_when_to_come_back() {
        let answer = Answer { retry_after: Some(Duration::from_millis(1200)), ..Problem::TooManyRequests.into() };
        let (head, _) = answer.response("r-1", false);
        assert_eq!((head.status.as_u16(), &head.headers["retry-after"]), (429, &HeaderValue::from_static("2")));
    }

    #[test]
    fn the_page_about_configuration_names_every_code() {
        for problem in Problem::ALL {
            assert!(include_str!("../../conf/README.md").contains(&format!("`{}`", problem.code())), "{problem:?}");
        }
    }
}
