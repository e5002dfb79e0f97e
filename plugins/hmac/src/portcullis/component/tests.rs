use portcullis_plugin::{http::HeaderMap, http::Method};

use super::*;
use crate::portcullis::dictionary::{self, Value};

/// The value of the one component in this list, in a request with this target.
fn value(component: &str, target: &str, is_https: bool, headers: &HeaderMap) -> Result<String, Wrong> {
    let field = format!("a=({component})");
    let members = dictionary::parse(&field)?;
    let Value::List(list) = &members[0].value else { panic!("a list") };
    let request = SignedRequest { method: &Method::POST, target, headers, is_https };
    Ok(Component::read(&list.items[0])?.value(&request)?.into_owned())
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
    lines.iter().map(line).collect()
}

fn of(component: &str, target: &str) -> Result<String, Wrong> {
    value(component, target, true, &headers(&[("host", "www.example.com")]))
}

#[test]
fn rfc_9421_section_2_2_derived_components() {
    for (component, target, expected) in [
        ("\"@method\"", "/path?param=value", "POST"),
        ("\"@target-uri\"", "/path?param=value", "https://www.example.com/path?param=value"),
        ("\"@authority\"", "/path?param=value", "www.example.com"),
        ("\"@scheme\"", "/path?param=value", "https"),
        ("\"@request-target\"", "/path?param=value", "/path?param=value"),
        ("\"@path\"", "/path?param=value", "/path"),
        ("\"@path\"", "/a%2Fb/%7e?x", "/a%2Fb/%7e"),
        ("\"@query\"", "/path?param=value&foo=bar&baz=bat%2Dman", "?param=value&foo=bar&baz=bat%2Dman"),
        ("\"@query\"", "/path?queryString", "?queryString"),
        ("\"@query\"", "/path?", "?"),
        ("\"@query\"", "/path", "?"),
        ("\"@query\"", "/path?a?b", "?a?b"),
    ] {
        assert_eq!(of(component, target).unwrap(), expected, "{component} of {target}");
    }
}

#[test]
fn rfc_9421_section_2_2_3_authority_is_normalised() {
    let authority = |host: &str, is_https| value("\"@authority\"", "/", is_https, &headers(&[("host", host)])).ok();
    for (host, is_https, expected) in [
        ("WWW.Example.COM", true, "www.example.com"),
        ("www.example.com:443", true, "www.example.com"),
        ("www.example.com:80", true, "www.example.com:80"),
        ("www.example.com:80", false, "www.example.com"),
        ("www.example.com:443", false, "www.example.com:443"),
        ("www.example.com:", false, "www.example.com"),
        ("[::1]:443", true, "[::1]"),
    ] {
        assert_eq!(authority(host, is_https).as_deref(), Some(expected), "{host}");
    }
    assert_eq!(authority("", true), None);
    assert!(value("\"@authority\"", "/", true, &HeaderMap::new()).is_err());
}

#[test]
fn rfc_9421_section_2_2_8_query_parameters() {
    let first = "/path?param=value&foo=bar&baz=batman&qux=";
    let second = "/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something";
    for (target, name, expected) in [
        (first, "baz", "batman"),
        (first, "qux", ""),
        (first, "param", "value"),
        (second, "var", "this%20is%20a%20big%0Amultiline%20value"),
        (second, "bar", "with%20plus%20whitespace"),
        (second, "fa%C3%A7ade%22%3A%20", "something"),
        ("/?a", "a", ""),
        ("/?a=b=c", "a", "b%3Dc"),
    ] {
        let component = format!("\"@query-param\";name=\"{name}\"");
        assert_eq!(of(&component, target).unwrap(), expected, "{name}");
    }
    for target in ["/", "/?b=1", "/?a=1&a=1", "/?a=1&%61=2", "/?a=%ff", "/?A=1"] {
        assert!(of("\"@query-param\";name=\"a\"", target).is_err(), "{target}");
    }
}

#[test]
fn rfc_9421_section_2_1_header_fields() {
    let headers = headers(&[
        ("host", "www.example.com"),
        ("x-ows-header", "  Leading and trailing whitespace.   "),
        ("x-empty", ""),
        ("cache-control", "max-age=60"),
        ("cache-control", "    must-revalidate"),
    ]);
    let field = |name: &str| value(&format!("\"{name}\""), "/", true, &headers);
    assert_eq!(field("host").unwrap(), "www.example.com");
    assert_eq!(field("x-ows-header").unwrap(), "Leading and trailing whitespace.");
    assert_eq!(field("x-empty").unwrap(), "");
    assert_eq!(field("cache-control").unwrap(), "max-age=60, must-revalidate");
    assert_eq!(field("x-absent"), Err(Wrong::incomplete("a covered header is absent")));
    assert!(field("Host").is_err(), "a second name for the same header");
    let mut latin = HeaderMap::new();
    latin.insert("x-latin", http_value(b"caf\xe9"));
    assert!(value("\"x-latin\"", "/", true, &latin).is_err());
}

fn http_value(bytes: &[u8]) -> portcullis_plugin::http::HeaderValue {
    portcullis_plugin::http::HeaderValue::from_bytes(bytes).unwrap()
}

#[test]
fn an_identifier_is_serialised_anew() {
    let members = dictionary::parse(r#"a=("@query-param";  name="a\"b" "date")"#).unwrap();
    let Value::List(list) = &members[0].value else { panic!("a list") };
    let identifiers: Vec<_> = list.items.iter().map(identifier).collect();
    assert_eq!(identifiers, [r#""@query-param";name="a\"b""#, r#""date""#]);
}

#[test]
fn no_target_and_no_header_panics() {
    bolero::check!().with_type::<(String, Vec<u8>, u8)>().for_each(|(target, header, which)| {
        let mut headers = HeaderMap::new();
        if let Ok(value) = portcullis_plugin::http::HeaderValue::from_bytes(header) {
            headers.append("host", value);
        }
        let component = match which % 9 {
            7 => Component::QueryParameter(target.clone()),
            8 => Component::Field(HeaderName::from_static("host")),
            index => Component::Derived(Derived::ALL[usize::from(index)]),
        };
        let request = SignedRequest { method: &Method::GET, target, headers: &headers, is_https: true };
        // A line of the signature base is one line.
        let is_one_line = |value: &str| target.contains(char::is_control) || !value.contains('\n');
        assert!(component.value(&request).is_ok_and(|value| is_one_line(&value)) || component.value(&request).is_err());
    });
}
