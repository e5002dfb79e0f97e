use super::*;

fn encoded(text: impl AsRef<[u8]>) -> Vec<u8> {
    STANDARD.encode(text).into_bytes()
}

/// `user|password` of a token, if it is one.
fn parsed(token: impl AsRef<[u8]>) -> Option<String> {
    let login = Login::parse(token.as_ref())?;
    Some(format!("{}|{}", login.username(), str::from_utf8(login.password()).unwrap()))
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    assert_eq!(parsed("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap(), "Aladdin|open sesame");
    assert_eq!(parsed("dGVzdDoxMjPCow==").unwrap(), "test|123\u{a3}");
}

#[test]
fn the_first_colon_ends_the_user_name() {
    assert_eq!(parsed(encoded("ada:a:b:c")).unwrap(), "ada|a:b:c");
    assert_eq!(parsed(encoded("ada::")).unwrap(), "ada|:");
    assert_eq!(parsed(encoded("a b:c d ")).unwrap(), "a b|c d ");
}

#[test]
fn a_malformed_pair_of_name_and_password_is_refused() {
    let long = |name: usize, password: usize| format!("{}:{}", "n".repeat(name), "p".repeat(password));
    assert!(parsed(encoded(long(USERNAME_MAX_BYTES, PASSWORD_MAX_BYTES))).is_some());
    for text in [
        &b""[..],
        b":",
        b"ada",
        b"ada:",
        b":password",
        b"ada:pass\0word",
        b"a\0da:password",
        b"ada:pass\nword",
        b"ada:pass\tword",
        b"ada\x7f:password",
        b"ada:pass\xc2\x85word",
        b"ada:p\xe4ssword",
        b"\xff\xfe:password",
        b"ada:\xc0\xaf",
        b"ada:\xed\xa0\x80",
        b"ada:\xf4\x90\x80\x80",
        long(USERNAME_MAX_BYTES + 1, 1).as_bytes(),
        long(1, PASSWORD_MAX_BYTES + 1).as_bytes(),
        long(USERNAME_MAX_BYTES, PASSWORD_MAX_BYTES + 3).as_bytes(),
        long(1, 1 << 20).as_bytes(),
    ] {
        assert_eq!(parsed(encoded(text)), None, "{}", text.escape_ascii());
    }
}

#[test]
fn base64_has_one_spelling() {
    for token in [
        "",
        "!!!",
        "=",
        "====",
        "QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        "QWxhZGRpbjpvcGVuIHNlc2FtZQ=",
        "QWxhZGRpbjpvcGVuIHNlc2FtZQ===",
        "QWxhZGRpbjpvcGVuIHNlc2FtZR==",
        "QWxhZGRpbjpvcGVuIHNlc2FtZQ==x",
        " QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "QWxhZGRpbjpv cGVuIHNlc2FtZQ==",
        "QWxhZGRpbjpv\tcGVuIHNlc2FtZQ==",
        "QWxhZGRpbjpvcGVuIHNlc2FtZQ==,realm=x",
        "QWxhZGRpbjpv-_VuIHNlc2FtZQ==",
        "username=\"ada\", realm=\"x\"",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Aladdin:open sesame",
        "\u{e9}",
    ] {
        assert_eq!(parsed(token), None, "{token}");
    }
    assert_eq!(parsed([b'A'; ENCODED_MAX_BYTES + 4]), None);
    assert_eq!(parsed(vec![b'A'; 1 << 20]), None);
}

#[test]
fn names_and_passwords_are_not_normalised() {
    assert_ne!(parsed(encoded("j\u{fc}rgen:x")), parsed(encoded("ju\u{308}rgen:x")));
}

#[test]
fn no_token_panics_and_what_is_read_is_what_was_sent() {
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(token, text)| {
        Login::parse(token);
        let encoded = encoded(text);
        if let Some(login) = Login::parse(&encoded) {
            assert!(is_username(login.username()) && is_password(login.password()));
            assert_eq!([login.username().as_bytes(), b":", login.password()].concat(), *text);
        }
        if let Some(login) = Login::parse(token) {
            let text = [login.username().as_bytes(), b":", login.password()].concat();
            assert_eq!(STANDARD.encode(text).as_bytes(), token, "one spelling");
        }
    });
}

#[test]
fn every_pair_that_may_be_sent_is_read() {
    bolero::check!().with_type::<(String, String)>().for_each(|(name, password)| {
        let is_good = is_username(name) && is_password(password.as_bytes());
        let read = parsed(encoded(format!("{name}:{password}")));
        // A name with a colon is another name, with a longer password.
        if is_good {
            assert_eq!(read.unwrap(), format!("{name}|{password}"));
        } else if !name.contains(':') {
            assert_eq!(read, None);
        }
    });
}
