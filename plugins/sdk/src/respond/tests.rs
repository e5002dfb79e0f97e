use super::*;
use crate::HeaderEdits;

const VALUE: HeaderValue = HeaderValue::from_static("1");

#[test]
fn what_the_gateway_says_for_itself_cannot_be_set() {
    for name in [
        "content-length",
        "transfer-encoding",
        "Connection",
        "upgrade",
        "keep-alive",
        "te",
        "trailer",
        "proxy-connection",
        "proxy-authenticate",
        "www-authenticate",
        "x-request-id",
        "strict-transport-security",
        "grpc-status",
    ] {
        let name: HeaderName = name.parse().unwrap();
        let respond = Respond::new(StatusCode::OK, Reason::Plugin("test"));
        assert_eq!(respond.header(name.clone(), VALUE), Err(ManagedHeader(name.clone())));
        let mut edits = HeaderEdits::new();
        for outcome in [edits.set(name.clone(), VALUE).err(), edits.append(name.clone(), VALUE).err()] {
            assert_eq!(outcome, Some(ManagedHeader(name.clone())));
        }
        assert!(edits.remove(name).is_err() && edits.is_empty());
    }
    let typed = Respond::new(StatusCode::OK, Reason::Plugin("test")).header(header::CONTENT_TYPE, VALUE);
    assert!(typed.is_err(), "it belongs to the body");
}

#[test]
fn a_location_that_would_split_the_head_is_an_error() {
    for location in ["/a\r\nset-cookie: b=c", "/a\nb", "/\0", "/ü", "/a b"] {
        assert!(Respond::redirect(Reason::Plugin("test"), location).is_err(), "{location:?}");
    }
    assert!(Respond::see_other(Reason::Plugin("test"), "/a?b=c").is_ok());
}

#[test]
#[should_panic(expected = "does not end a request")]
fn an_informational_answer_is_none() {
    let _ = Respond::new(StatusCode::SWITCHING_PROTOCOLS, Reason::Plugin("test"));
}

#[test]
fn a_body_has_one_media_type() {
    let twice = Respond::page(StatusCode::OK, Reason::Plugin("test"), "<p>").body(VALUE, "1");
    assert_eq!((twice.headers(), &twice.content()[..]), (&[(header::CONTENT_TYPE, VALUE)][..], &b"1"[..]));
}
