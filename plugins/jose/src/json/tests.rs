use super::*;

fn refused(text: &str) -> String {
    object(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn objects_are_read_as_serde_json_reads_them() {
    for text in ["{}", r#" {"a":[1,-2,2.5,true,null,"x\u00e9\n"],"b":{"a":{}}} "#, r#"{"":0,"n":18446744073709551615}"#]
    {
        let Value::Object(expected) = serde_json::from_str(text).unwrap() else { panic!() };
        assert_eq!(object(text.as_bytes()).unwrap(), expected);
    }
}

#[test]
fn members_twice_are_refused_at_every_level() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"\u0061":3}"#,
        r#"{"x":{"a":1,"a":2}}"#,
        r#"{"x":[0,{"y":{"a":null,"a":null}}]}"#,
        r#"{"":1,"":1}"#,
    ] {
        assert!(refused(text).contains("has a member twice"), "{text}");
    }
}

#[test]
fn among_entries_one_with_a_member_twice_is_null() {
    let read = |text: &str| object_of_entries(text.as_bytes()).map(Value::Object);
    let expected = serde_json::json!({ "keys": [null, { "b": null, "c": 1 }] });
    assert_eq!(read(r#"{"keys":[{"a":1,"a":{"x":2}},{"b":{"a":1,"a":1},"c":1}]}"#).unwrap(), expected);
    assert!(read(r#"{"keys":[],"keys":[]}"#).unwrap_err().to_string().contains("has a member twice"));
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| format!("{{\"a\":{}0{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(object(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert!(refused(&nested(MAX_DEPTH + 1)).contains("nested too deep"));
    assert!(refused(&nested(1_000_000)).contains("nested too deep"));
    assert!(refused(&r#"{"a":"#.repeat(100_000)).contains("nested too deep"));
}

#[test]
fn only_one_object_and_nothing_else_is_an_object() {
    for text in
        ["", " ", "1", "\"a\"", "null", "[]", "[{}]", "{", "{}}", "{}{}", "{} x", "{'a':1}", "{a:1}", "{\"a\":1,}"]
    {
        assert!(object(text.as_bytes()).is_err(), "{text}");
    }
    assert!(object(b"\xef\xbb\xbf{}").is_err(), "a byte order mark");
}

#[test]
fn text_that_is_not_unicode_is_refused() {
    for text in [&b"{\"a\":\"\xff\"}"[..], b"{\"a\":\"\xc0\x80\"}", b"{\"\xed\xa0\x80\":1}", br#"{"a":"\ud800"}"#] {
        assert!(object(text).is_err());
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    assert!(object(br#"{"a":1e400}"#).is_err());
    assert!(object(br#"{"a":NaN}"#).is_err());
    assert!(object(br#"{"a":0x10}"#).is_err());
    assert!(object(br#"{"a":01}"#).is_err());
}
