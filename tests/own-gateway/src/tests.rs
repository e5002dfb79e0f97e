//! The tests that every plugin passes.

use portcullis::plugin::{
    Plugin,
    serde_json::{from_value, json},
    testing::{Build, Conformance, Request},
};

use crate::{
    answerer::Answerer, badge::Badge, escort::Escort, faulty::Faulty, login::Login, porter::Porter, ticket::Ticket,
};

fn of<P: Plugin>(settings: portcullis::plugin::serde_json::Value) -> Conformance<'static, P> {
    Conformance::new(move || from_value(settings.clone()).expect("good settings"))
}

#[test]
fn a_ticket() {
    let entry = from_value(json!({ "secret": "open sesame" })).expect("an entry");
    of::<Ticket>(json!({}))
        .build(Build::new().credential::<Ticket>("acme", "acme-1", entry, |_| {}))
        .granting(|| Request::get("/").header("x-ticket", "acme-1.open sesame"))
        .secret("open sesame")
        .check();
}

#[test]
fn a_login() {
    of::<Login>(json!({ "page": "https://login.example/", "secret": "a secret of the page" }))
        .granting(|| Request::get("/").header("cookie", "session=ada.a secret of the page"))
        .secret("a secret of the page")
        .check();
}

#[test]
fn a_porter() {
    of::<Porter>(json!({ "sign": "first", "book": "hall", "word": "please", "reads": 1000, "mask": true })).check();
    let more = json!({ "sign": "first", "book": "hall", "token": "gateway token", "path": "/b", "holds": true });
    of::<Porter>(more).secret("gateway token").check();
}

#[test]
fn all_others() {
    of::<Badge>(json!({})).check();
    of::<Escort>(json!({})).check();
    for hook in ["guard", "admit"] {
        of::<Answerer>(json!({ "hook": hook, "status": 302, "headers": { "location": "/" }, "edits": "x-a" })).check();
        of::<Faulty>(json!({ "hook": hook, "sleeps": "1ms" })).check();
    }
}
