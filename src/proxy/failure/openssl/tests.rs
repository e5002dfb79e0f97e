use pingora::ErrorSource;

use super::*;

const REQUIRED: &str = "error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:\
                        ssl/record/rec_layer_s3.c:1605:SSL alert number 116";
const NO_TLS: &str = "error:0A00010B:SSL routines:ssl3_get_record:wrong version number:ssl/record/ssl3_record.c:354:";

fn wanted() -> Option<String> {
    Some("the upstream wants a certificate of the gateway (tlsv13 alert certificate required)".to_owned())
}

#[test]
fn reasons_are_told_in_words() {
    for (text, told) in [
        (REQUIRED, wanted()),
        (NO_TLS, Some("the upstream speaks no TLS (wrong version number)".to_owned())),
        // Of another library (ASN.1), and then one of TLS.
        (&format!("error:068000A8:asn1 encoding routines:f:wrong tag:a.c:1:, {REQUIRED}"), wanted()),
        ("error:068000A8:asn1 encoding routines:f:wrong tag:a.c:1:", Some("wrong tag".to_owned())),
        (
            "error:0A00041B:SSL routines:f:tlsv1 alert decrypt error:a.c:1:SSL alert number 51",
            Some("the upstream did not take the gateway's certificate (tlsv1 alert decrypt error)".to_owned()),
        ),
        ("unexpected EOF", None),
        ("error:", None),
        ("error:0A00010B", None),
        ("error:0A00010B:SSL routines:f", None),
        ("error:zz:SSL routines:f:wrong version number", None),
        ("error:0A00010B:SSL routines:f:GET /secret?a=1", None),
    ] {
        assert_eq!(first(text).map(|(number, words)| said(number, words)), told, "{text}");
    }
}

#[test]
fn they_are_taken_from_where_no_request_can_be() {
    assert_eq!(reason(&Error::because(ErrorType::ReadError, "", io::Error::other(REQUIRED))), wanted());
    assert_eq!(reason(&Error::explain(ErrorType::TLSHandshakeFailure, REQUIRED)), wanted());
    // The end of a connection that stood is no fault of TLS.
    let end = "error:0A000126:SSL routines:f:unexpected eof while reading:a.c:1:";
    assert_eq!(reason(&Error::because(ErrorType::ReadError, "", io::Error::other(end))), None);
    assert!(reason(&Error::explain(ErrorType::TLSHandshakeFailure, end)).is_some());
    // In anything else a client can have had a hand.
    assert_eq!(reason(&Error::explain(ErrorType::InvalidHTTPHeader, REQUIRED)), None);
    assert_eq!(reason(&Error::create(ErrorType::ReadError, ErrorSource::Upstream, None, None)), None);
}
