use super::*;

#[test]
fn times_are_read_in_the_forms_that_clients_write() {
    for text in ["1440938160", "2015-08-30T12:36:00Z", "2015-08-30T12:36:00.999Z", "2015-08-30T14:36:00+02:00"] {
        assert_eq!(unix_or_rfc3339(text), Some(UnixTime(1_440_938_160)), "{text}");
    }
    assert_eq!(http_date("Sun, 30 Aug 2015 12:36:00 GMT"), Some(UnixTime(1_440_938_160)));
    assert_eq!(iso_basic("20150830T123600Z"), Some(UnixTime(1_440_938_160)));
    assert_eq!(unix_or_rfc3339("0"), Some(UnixTime(0)));
}

#[test]
fn a_malformed_time_is_none() {
    for text in [
        "",
        "-1",
        "+1440938160",
        "1440938160.5",
        " 1440938160",
        "1440938160000",
        "99999999999999999999999999",
        "0x10",
        "2015-08-30",
        "2015-08-30T12:36:00",
        "2015-13-30T12:36:00Z",
        "2015-02-30T12:36:00Z",
        "٣",
        "2015-08-30T12:36:00.0000000000000000000000000000000000000000Z",
        "Sun, 30 Aug 2015 12:36:00 GMT",
    ] {
        assert_eq!(unix_or_rfc3339(text), None, "{text:?}");
    }
    for text in [
        "",
        "Sat, 30 Aug 2015 12:36:00 GMT",
        "Sunday, 30-Aug-15 12:36:00 GMT",
        "Sun Aug 30 12:36:00 2015",
        "30 Aug 2015 12:36:00 GMT",
        "Sun, 30 Aug 2015 12:36:00 EST",
        "Sun, 31 Feb 2015 12:36:00 GMT",
        "Sun, 30 Aug 2015 25:36:00 GMT",
        "Sun, 30 Aug 2015 12:36:00 +0000",
        "1440938160",
    ] {
        assert_eq!(http_date(text), None, "{text:?}");
    }
    for text in [
        "",
        "20150830",
        "20150830T123600",
        "20150830T123600z",
        "20150830 123600Z",
        "20151330T123600Z",
        "20150830T253600Z",
        "2015083\u{660}T12360Z",
        "+0150830T123600Z",
        "20150830T+23600Z",
        "2015-08-30T12:36:00Z",
    ] {
        assert_eq!(iso_basic(text), None, "{text:?}");
    }
}

#[test]
fn no_text_panics() {
    const PIECES: [&str; 14] =
        ["2", "0", "15", "-", ":", "T", "Z", " GMT", "Sun, ", "Aug", "+02:00", ".", "\u{e9}", "9999"];
    bolero::check!().with_type::<(String, Vec<u8>)>().for_each(|(text, choices)| {
        let assembled: String = choices.iter().map(|choice| PIECES[usize::from(*choice) % PIECES.len()]).collect();
        for text in [text, &assembled] {
            unix_or_rfc3339(text);
            http_date(text);
            iso_basic(text);
        }
    });
}
