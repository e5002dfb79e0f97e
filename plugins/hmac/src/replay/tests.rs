use std::borrow::Cow;

use portcullis_plugin::Consumer;

use super::*;
use crate::scheme::{BodyUse, Message};

fn name_of(consumer: &str, key_id: Option<&str>, nonce: Option<&str>, pieces: &[&str]) -> String {
    let consumer = Consumer { name: consumer.to_owned(), ..Consumer::default() };
    let identity = Identity { consumer: Some(Arc::new(consumer)), ..Identity::default() };
    let claim = Claim {
        key_id: key_id.map(str::to_owned),
        signatures: vec![b"planted".to_vec()],
        algorithm: None,
        created: None,
        expires: None,
        is_presigned: false,
        nonce: nonce.map(str::to_owned),
        body: BodyUse::NotCovered,
        message: Message::default(),
        scope: String::new(),
    };
    let pieces: Vec<_> = pieces.iter().map(|piece| Cow::Borrowed(piece.as_bytes())).collect();
    name(&claim, &identity, &pieces)
}

#[test]
fn a_name_is_of_who_signed_what() {
    let names = [
        name_of("acme", Some("k"), None, &["ab"]),
        name_of("acme", Some("k"), None, &["abc"]),
        name_of("acme", Some("l"), Some("ab"), &["ab"]),
        name_of("other", Some("k"), None, &["ab"]),
        name_of("acme", Some("k"), Some("ab"), &["ab"]),
        name_of("acme", Some("k"), Some("ba"), &["ab"]),
        name_of("acmek", None, None, &["ab"]),
        name_of("acme", None, Some("ab"), &["ab"]),
    ];
    let distinct: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    assert_eq!(names[0], name_of("acme", Some("k"), None, &["a", "b"]), "the pieces are one message");
    assert_eq!(
        names[0],
        name_of("acme", None, None, &["ab"]),
        "the key's name may stand in a header that is not signed"
    );
    assert_eq!(names[4], name_of("acme", Some("k"), Some("ab"), &["x"]), "a nonce is for one message");
    assert!(names.iter().all(|name| name.len() == 43));
}
