use super::*;

fn read(text: &str) -> Result<Vec<(&str, &str)>, Wrong> {
    Parameters::read(text.as_bytes()).map(|parameters| parameters.0)
}

#[test]
fn quoted_and_bare_values_are_read() {
    let all = [("keyId", "k 1"), ("algorithm", "hmac-sha256"), ("signature", "YQ==")];
    for text in [
        r#"keyId="k 1",algorithm="hmac-sha256",signature="YQ==""#,
        r#"keyId="k 1", algorithm="hmac-sha256" ,	signature="YQ==""#,
        r#"  keyId="k 1",algorithm=hmac-sha256,signature=YQ==  "#,
    ] {
        assert_eq!(read(text).unwrap(), all, "{text}");
    }
    assert_eq!(read(r#"a="x=y,z",b="""#).unwrap(), [("a", "x=y,z"), ("b", "")]);
}

#[test]
fn whatever_can_be_read_in_two_ways_is_refused() {
    for text in [
        "",
        " ",
        ",",
        "a",
        "a;b=1",
        "=1",
        "a=1,",
        ",a=1",
        "a=1,,b=2",
        "a=1 b=2",
        "a =1",
        "a= 1",
        r#"a="1"#,
        r#"a=1""#,
        r#"a="1"2"#,
        r#"a="1"b="2""#,
        r#"a="1\"2""#,
        r#"a="\\""#,
        r"a=\",
        r#"a="1",a="2""#,
        "a=1,b=2,a=1",
        "a=\u{e9}",
        "\u{e9}=1",
    ] {
        assert_eq!(read(text).err(), Some(MALFORMED), "{text:?}");
    }
    assert!(Parameters::read(b"a=\xff").is_err());
}

#[test]
fn the_number_of_parameters_has_a_limit() {
    let list = |count: usize| (0..count).map(|index| format!("p{index}=1")).collect::<Vec<_>>().join(",");
    assert!(read(&list(PARAMETERS_MAX_COUNT)).is_ok());
    assert!(read(&list(PARAMETERS_MAX_COUNT + 1)).is_err());
    assert!(read(&list(10_000)).is_err());
}

#[test]
fn a_parameter_that_is_missing_empty_or_left_over_is_a_refusal() {
    let mut parameters = Parameters::read(b"a=1,b=\"\",c=3").unwrap();
    assert_eq!(parameters.take("a"), Ok("1"));
    assert!(parameters.take("a").is_err());
    assert!(parameters.take("b").is_err());
    assert!(parameters.finish().is_err());
    let mut parameters = Parameters::read(b"a=1").unwrap();
    parameters.take("a").unwrap();
    assert_eq!(parameters.finish(), Ok(()));
}

#[test]
fn the_credentials_of_one_scheme_are_found_among_those_of_others() {
    let headers = |lines: &[&str]| {
        let lines = lines.iter().map(|line| (header::AUTHORIZATION, line.parse().unwrap()));
        lines.collect::<HeaderMap>()
    };
    let found = |lines: &[&str]| credentials(&headers(lines), "Hmac").map(|found| found.map(<[u8]>::to_vec));
    for line in ["hmac a=1", "HMAC  a=1 ", "Hmac\ta=1", " hmac a=1"] {
        assert_eq!(found(&[line]).unwrap().unwrap(), b"a=1", "{line:?}");
    }
    assert_eq!(found(&["Bearer t", "hmac a=1"]).unwrap().unwrap(), b"a=1");
    assert_eq!(found(&["hmac"]).unwrap().unwrap(), b"", "the scheme alone is a credential that is empty");
    for line in ["hma", "hmac,a=1", "hmac=1", "hmacs a=1", "", "x hmac a=1"] {
        assert_eq!(found(&[line]), Ok(None), "{line:?}");
    }
    assert_eq!(found(&[]), Ok(None));
    assert!(found(&["hmac a=1", "hmac a=1"]).is_err());
}

#[test]
fn no_input_panics() {
    const PIECES: [&str; 12] = ["a", "b", "keyId", "=", "\"", ",", " ", "\t", "\\", "1", "\u{e9}", "-"];
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(bytes, choices)| {
        let _ = Parameters::read(bytes);
        let text: String = choices.iter().map(|choice| PIECES[usize::from(*choice) % PIECES.len()]).collect();
        if let Ok(parameters) = read(&text) {
            assert!((1..=PARAMETERS_MAX_COUNT).contains(&parameters.len()));
            assert!(parameters.iter().all(|(name, value)| is_name(name) && !value.contains(['"', '\\'])));
        }
    });
}
