use http::{HeaderName, HeaderValue, StatusCode, header};
use portcullis_plugin::{HeaderEdit, ResponseHead};

use super::*;

const MADE: HeaderName = HeaderName::from_static("x-made");

fn edits(reach: Reach) -> HeaderEdits {
    let mut edits = HeaderEdits::new().reaching(reach);
    edits.append(MADE, HeaderValue::from_static("yes")).expect("it is not the gateway's");
    edits
}

#[test]
fn edits_reach_those_that_they_are_for() {
    let reached = |reach, recipient| {
        let (all, mut head) = (ResponseEdits::default(), ResponseHeader::build(200, None).expect("a status"));
        all.add(edits(reach));
        all.apply(&mut head, Some(recipient));
        head.headers.contains_key(MADE)
    };
    let table = [
        (Reach::Every, [true, true, true]),
        (Reach::NoProposal, [true, true, false]),
        (Reach::Authenticated, [true, false, false]),
    ];
    for (reach, expected) in table {
        let recipients = [Recipient::Other, Recipient::Unauthenticated, Recipient::Proposed];
        assert_eq!(recipients.map(|recipient| reached(reach, recipient)), expected, "{reach:?}");
    }
}

#[test]
fn edits_are_made_in_their_order_and_others_cookies_survive() {
    let mut head = ResponseHeader::build(200, None).expect("a status");
    head.append_header("set-cookie", "upstream=1").expect("a header");
    head.append_header("x-old", "1").expect("a header");
    let mut all = HeaderEdits::new();
    all.append(header::SET_COOKIE, HeaderValue::from_static("ours=1")).expect("free");
    all.append(header::SET_COOKIE, HeaderValue::from_static("ours=2")).expect("free");
    all.remove(HeaderName::from_static("x-old")).expect("free");
    let edits = ResponseEdits::default();
    edits.add(all);
    edits.add(HeaderEdits::new());
    assert_eq!(edits.count(), 1, "what is empty is not kept");
    edits.apply(&mut head, None);
    let cookies: Vec<_> = head.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["upstream=1", "ours=1", "ours=2"]);
    assert!(!head.headers.contains_key("x-old"));
}

#[test]
fn a_body_that_proves_a_grant_wrong_leaves_what_came_before_it() {
    let all = ResponseEdits::default();
    (0..2).for_each(|_| all.add(edits(Reach::Every)));
    all.grant_behind(1);
    all.add(edits(Reach::Every));
    all.disprove();
    assert_eq!(all.count(), 1);
}

#[test]
fn of_an_own_answer_what_makes_it_one_does_not_change() {
    let protected = [
        "cache-control",
        "content-type",
        "location",
        "retry-after",
        "allow",
        "www-authenticate",
        "x-request-id",
        "strict-transport-security",
        "grpc-status",
        "content-length",
        "connection",
    ];
    for name in protected {
        let name = HeaderName::from_static(name);
        let mut head = ResponseHeader::build(401, None).expect("a status");
        head.append_header(name.clone(), "gateway").expect("a header");
        let mut edit = ClientEdit::of_own_answer(&mut head);
        assert!(edit.set(name.clone(), HeaderValue::from_static("plugin")).is_err(), "{name}");
        assert!(edit.append(name.clone(), HeaderValue::from_static("plugin")).is_err(), "{name}");
        edit.remove(&name);
        edit.change(&name, &HeaderEdit::Remove);
        edit.set_status(StatusCode::OK);
        assert!(edit.is_own());
        assert_eq!(head.headers.get_all(&name).iter().collect::<Vec<_>>(), ["gateway"], "{name}");
        assert_eq!(head.status.as_u16(), 401);
    }
    let mut head = ResponseHeader::build(401, None).expect("a status");
    let mut edit = ClientEdit::of_own_answer(&mut head);
    edit.set(header::VARY, HeaderValue::from_static("Origin")).expect("free");
    edit.append(header::VARY, HeaderValue::from_static("Accept")).expect("free");
    assert_eq!(head.headers.get_all(header::VARY).iter().count(), 2);
}

#[test]
fn of_the_upstreams_response_a_plugin_may_change_what_does_not_frame_it() {
    let mut head = ResponseHeader::build(200, None).expect("a status");
    let mut edit = ClientEdit::of_response(&mut head);
    edit.set(header::CACHE_CONTROL, HeaderValue::from_static("private")).expect("free");
    assert!(edit.append(header::CONTENT_LENGTH, HeaderValue::from_static("1")).is_err());
    edit.set_status(StatusCode::NOT_FOUND);
    assert_eq!((edit.is_own(), head.status.as_u16()), (false, 404));
}
