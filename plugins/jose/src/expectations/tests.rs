use super::*;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn claims(json: &str) -> Claims {
    serde_json::from_str(json).unwrap()
}

/// The verdict on claims that are valid for an hour, with this added.
fn with(expected: &Expectations, more: &str) -> Result<Times, Reason> {
    expected
        .check_claims(&claims(&format!(r#"{{"exp":1800003600,"iat":1800000000{more}}}"#)), NOW)
        .map_err(|wrong| wrong.reason)
}

fn only(json: &str) -> Result<Times, Reason> {
    Expectations::default().check_claims(&claims(json), NOW).map_err(|wrong| wrong.reason)
}

#[test]
fn exp_is_required() {
    assert_eq!(only("{}").unwrap_err(), Reason::TokenMalformed);
    assert_eq!(only(r#"{"iat":1800000000}"#).unwrap_err(), Reason::TokenMalformed);
    assert_eq!(only(r#"{"exp":1800000001}"#).unwrap().expires(), UnixTime(1_800_000_001));
}

#[test]
fn dates_are_numbers_that_clocks_show() {
    for value in [
        "\"1800003600\"",
        "null",
        "true",
        "[]",
        "[1800003600]",
        "{}",
        "-1",
        "253402300800",
        "1e300",
        "-1e300",
        "18446744073709551615",
        "9223372036854775807",
    ] {
        for claim in ["exp", "nbf", "iat"] {
            let json = match claim {
                "exp" => format!(r#"{{"exp":{value}}}"#),
                _ => format!(r#"{{"exp":1800003600,"{claim}":{value}}}"#),
            };
            assert_eq!(only(&json).unwrap_err(), Reason::TokenMalformed, "{json}");
        }
    }
    assert!(only(r#"{"exp":253402300799}"#).is_ok());
}

#[test]
fn fractions_make_no_token_live_longer() {
    let exact = Expectations { leeway: Duration::ZERO, ..Expectations::default() };
    let at = |json: &str, now| exact.check_claims(&claims(json), UnixTime(now)).err().map(|wrong| wrong.reason);
    assert_eq!(at(r#"{"exp":100.9}"#, 99), None);
    assert_eq!(at(r#"{"exp":100.9}"#, 100), Some(Reason::TokenExpired));
    assert_eq!(at(r#"{"exp":1.0e2}"#, 99), None);
    assert_eq!(at(r#"{"exp":200,"nbf":99.1}"#, 99), Some(Reason::TokenNotYetValid));
    assert_eq!(at(r#"{"exp":200,"nbf":99.1}"#, 100), None);
    assert_eq!(at(r#"{"exp":200,"iat":99.9}"#, 99), None, "within this second");
}

#[test]
fn the_leeway_is_half_a_minute_and_counts_both_ways() {
    let at = |json: &str, now| {
        Expectations::default().check_claims(&claims(json), UnixTime(now)).err().map(|wrong| wrong.reason)
    };
    assert_eq!(at(r#"{"exp":1000}"#, 1029), None);
    assert_eq!(at(r#"{"exp":1000}"#, 1030), Some(Reason::TokenExpired));
    for claim in ["nbf", "iat"] {
        let json = format!(r#"{{"exp":2000,"{claim}":1000}}"#);
        assert_eq!(at(&json, 970), None);
        assert_eq!(at(&json, 969), Some(Reason::TokenNotYetValid));
    }
}

#[test]
fn a_token_without_a_life_is_refused() {
    for start in [r#""iat":1800000010"#, r#""iat":1800000011"#, r#""nbf":1800000010"#] {
        let error = only(&format!(r#"{{"exp":1800000010,{start}}}"#)).unwrap_err();
        assert_eq!(error, Reason::TokenExpired, "{start}");
    }
}

#[test]
fn the_issuer_is_present_and_right() {
    let expected = Expectations { issuer: Some("https://auth.example.com".to_owned()), ..Expectations::default() };
    assert!(with(&expected, r#","iss":"https://auth.example.com""#).is_ok());
    for (more, reason) in [
        ("", Reason::IssuerUnknown),
        (r#","iss":"https://auth.example.com/""#, Reason::IssuerUnknown),
        (r#","iss":"https://AUTH.example.com""#, Reason::IssuerUnknown),
        (r#","iss":"https://auth.example.com.attacker.example""#, Reason::IssuerUnknown),
        (r#","iss":"""#, Reason::IssuerUnknown),
        (r#","iss":null"#, Reason::TokenMalformed),
        (r#","iss":["https://auth.example.com"]"#, Reason::TokenMalformed),
    ] {
        assert_eq!(with(&expected, more).unwrap_err(), reason, "{more}");
    }
}

#[test]
fn the_audience_is_present_and_right() {
    let expected = Expectations { audiences: vec!["api".to_owned(), "shop".to_owned()], ..Expectations::default() };
    for more in [r#","aud":"api""#, r#","aud":["api"]"#, r#","aud":["other","shop"]"#] {
        assert!(with(&expected, more).is_ok(), "{more}");
    }
    for (more, reason) in [
        ("", Reason::AudienceMismatch),
        (r#","aud":"""#, Reason::AudienceMismatch),
        (r#","aud":[]"#, Reason::AudienceMismatch),
        (r#","aud":"API""#, Reason::AudienceMismatch),
        (r#","aud":"api shop""#, Reason::AudienceMismatch),
        (r#","aud":["other"]"#, Reason::AudienceMismatch),
        (r#","aud":["api",1]"#, Reason::TokenMalformed),
        (r#","aud":{"api":true}"#, Reason::TokenMalformed),
        (r#","aud":[["api"]]"#, Reason::TokenMalformed),
        (r#","aud":null"#, Reason::TokenMalformed),
    ] {
        assert_eq!(with(&expected, more).unwrap_err(), reason, "{more}");
    }
}

#[test]
fn types_are_right_even_where_nothing_is_expected() {
    for more in [r#","iss":1"#, r#","iss":["a"]"#, r#","sub":1"#, r#","sub":null"#, r#","jti":{}"#, r#","aud":1"#] {
        assert_eq!(with(&Expectations::default(), more).unwrap_err(), Reason::TokenMalformed, "{more}");
    }
    assert!(with(&Expectations::default(), r#","iss":"a","sub":"b","jti":"c","aud":["d"],"x":1"#).is_ok());
}

#[test]
fn the_type_is_checked_where_one_is_expected() {
    let expected = |typ: &str| Expectations { typ: Some(typ.to_owned()), ..Expectations::default() };
    for (of, said) in [
        ("at+jwt", "at+jwt"),
        ("at+jwt", "AT+JWT"),
        ("at+jwt", "application/at+jwt"),
        ("application/at+jwt", "at+jwt"),
        ("application/at+jwt", "Application/AT+jwt"),
        ("JWT", "jwt"),
    ] {
        assert_eq!(expected(of).check_typ(Some(said)), Ok(()), "{said}");
    }
    for said in
        [None, Some(""), Some("JWT"), Some("jwt+at"), Some("at+jwt "), Some("text/at+jwt"), Some("application/")]
    {
        assert_eq!(expected("at+jwt").check_typ(said), Err(Reason::TokenTypeMismatch), "{said:?}");
    }
    assert_eq!(expected("a/b").check_typ(Some("application/a/b")), Err(Reason::TokenTypeMismatch));
    assert_eq!(Expectations::default().check_typ(Some("anything")), Ok(()));
}

#[test]
fn age_and_lifetime_need_iat_and_have_limits() {
    let aged = Expectations { max_age: Some(Duration::from_secs(600)), ..Expectations::default() };
    let lived = Expectations { max_lifetime: Some(Duration::from_secs(600)), ..Expectations::default() };
    let at =
        |expected: &Expectations, json: &str| expected.check_claims(&claims(json), NOW).err().map(|wrong| wrong.reason);
    assert_eq!(at(&aged, r#"{"exp":1800000100}"#), Some(Reason::TokenTooOld));
    assert_eq!(at(&aged, r#"{"exp":1800000100,"iat":1799999370}"#), None, "600 s and the leeway");
    assert_eq!(at(&aged, r#"{"exp":1800000100,"iat":1799999369}"#), Some(Reason::TokenTooOld));
    assert_eq!(at(&lived, r#"{"exp":1800000100}"#), Some(Reason::TokenTooOld));
    assert_eq!(at(&lived, r#"{"exp":1800000600,"iat":1800000000}"#), None);
    assert_eq!(at(&lived, r#"{"exp":1800000601,"iat":1800000000}"#), Some(Reason::TokenTooOld));
}

#[test]
fn a_remembered_token_ends_when_it_expires() {
    let aged = Expectations { max_age: Some(Duration::from_secs(600)), ..Expectations::default() };
    for (expected, json) in [
        (Expectations::default(), r#"{"exp":1800000100,"iat":1799999900}"#),
        (aged.clone(), r#"{"exp":1800000100,"iat":1799999900}"#),
        (aged, r#"{"exp":1800090000,"iat":1799999900,"nbf":1799999950}"#),
    ] {
        let times = expected.check_claims(&claims(json), NOW).unwrap();
        let ends = times.ends();
        assert_eq!(times.check(UnixTime(ends.0 - 1)), Ok(()), "{json}");
        assert!(times.check(ends).is_err(), "{json}");
    }
}

#[test]
fn extreme_configurations_and_dates_do_not_overflow() {
    let longest = Duration::MAX;
    let expected = Expectations {
        leeway: longest,
        max_age: Some(longest),
        max_lifetime: Some(longest),
        ..Expectations::default()
    };
    for (json, now) in [(r#"{"exp":253402300799,"iat":0,"nbf":0}"#, MAX_NUMERIC_DATE), (r#"{"exp":1,"iat":0}"#, 0)] {
        let times = expected.check_claims(&claims(json), UnixTime(now)).unwrap();
        assert!(times.ends() > UnixTime(now));
    }
}
