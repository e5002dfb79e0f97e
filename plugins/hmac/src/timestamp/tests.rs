use portcullis_plugin::{UnixTime, http::Method};

use super::*;
use crate::{problems::Problems, sent::Sent};

mod policies;

fn build(config: TimestampConfig) -> Box<dyn Scheme> {
    let mut problems = Problems::new();
    let scheme = config.build(&mut problems);
    assert_eq!(problems, []);
    scheme.unwrap()
}

fn from(toml: &str) -> Box<dyn Scheme> {
    build(toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}")))
}

fn problems(toml: &str) -> Vec<(String, String)> {
    let mut problems = Problems::new();
    let config: TimestampConfig = toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"));
    assert!(config.build(&mut problems).is_none(), "{toml}");
    problems
}

fn reason(scheme: &dyn Scheme, sent: &Sent, secret: &str) -> Reason {
    sent.judged(scheme, secret).expect_err("a refusal")
}

/// Signed by `openssl dgst -sha256 -hmac secret`.
const PLAIN: &str = "POST /orders?a=1 HTTP/1.1
Host: api.example.com
X-Key-Id: acme
X-Timestamp: 1498151721
X-Signature: hmac-sha256=npQfomsa3o7maKtSPbOw9mXPh/uv4LXNQVd3QuUqpYI=

A small body";

const PLAIN_HEX: &str = "9e941fa26b1ade8ee668ab523db3b0f665cf87fbafe0b5cd41577742e52aa582";

/// Examples that others published or made: the preset, the secret, the request, its time.
const PRESETS: [(&str, &str, &str, Option<i64>); 4] = [
    // The secret and the body of the tests of Stripe's Python library, signed by it (stripe 16.1.0).
    (
        "stripe",
        "whsec_test_secret",
        "POST /hook HTTP/1.1
Stripe-Signature: t=1492774577,v1=c2f890decbc5ede7c5060bb9a6d31e0626a4342bacb9aeae2adb1bcea72f9812,v0=6ffbb59b

{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\"\n}",
        Some(1_492_774_577),
    ),
    // Slack: "Verifying requests from Slack".
    (
        "slack",
        "8f742231b10e8888abcd99yyyzzz85a5",
        "POST /hook HTTP/1.1
X-Slack-Request-Timestamp: 1531420618
X-Slack-Signature: v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503

token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar\
         &user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F\
         hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=\
         398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        Some(1_531_420_618),
    ),
    // GitHub: "Validating webhook deliveries".
    (
        "github",
        "It's a Secret to Everybody",
        "POST /hook HTTP/1.1
X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958
X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17

Hello, World!",
        None,
    ),
    // Standard Webhooks: the tests of its libraries.
    (
        "standard-webhooks",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "POST /hook HTTP/1.1
webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek
webhook-timestamp: 1614265330
webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=

{\"test\": 2432232314}",
        Some(1_614_265_330),
    ),
];

fn preset(name: &str) -> Box<dyn Scheme> {
    from(&format!("preset = {name:?}"))
}

#[test]
fn the_examples_of_the_four_services_are_right() {
    for (name, secret, text, time) in PRESETS {
        let (scheme, sent) = (preset(name), Sent::parse(text));
        let claim = sent.judged(&*scheme, secret).unwrap_or_else(|reason| panic!("{name}: {reason}")).unwrap();
        assert_eq!((claim.key_id, claim.nonce), (None, None), "{name}");
        assert_eq!(claim.created, time.map(UnixTime), "{name}");
        assert_eq!(claim.body, BodyUse::InMessage, "{name}");
        assert_eq!((scheme.has_time(), scheme.names_key()), (time.is_some(), false), "{name}");

        let body = String::from_utf8(sent.body.clone()).unwrap();
        assert_eq!(reason(&*scheme, &sent.clone().body(&format!("{body} ")), secret), Reason::SignatureInvalid);
        assert_eq!(reason(&*scheme, &sent.body(""), secret), Reason::SignatureInvalid);
    }
}

#[test]
fn the_time_of_a_webhook_is_part_of_what_is_signed() {
    for (name, secret, text, time) in PRESETS {
        let Some(time) = time else { continue };
        let later = text.replace(&time.to_string(), &(time + 1).to_string());
        assert_eq!(reason(&*preset(name), &Sent::parse(&later), secret), Reason::SignatureInvalid, "{name}");
    }
}

#[test]
fn one_of_several_signatures_is_enough() {
    for (name, header, from, to) in [
        ("stripe", "stripe-signature", "v1=", format!("v1={},v1=", "0".repeat(64))),
        ("standard-webhooks", "webhook-signature", "v1,", format!("v1a,x v1,{} v1,", "A".repeat(43))),
    ] {
        let (_, secret, text, _) = PRESETS.into_iter().find(|(of, ..)| *of == name).unwrap();
        let sent = Sent::parse(text);
        let line = sent.headers[header].to_str().unwrap().replace(from, &to);
        assert!(sent.clone().set(header, &line).judged(&*preset(name), secret).is_ok(), "{name}");
        let many = format!("{line}{}", line.replace("t=", "x=").repeat(10).replace(from, &format!(",{from}")));
        assert!(sent.set(header, &many).judged(&*preset(name), secret).is_err(), "{name}");
    }
}

#[test]
fn the_plain_form_is_read_in_all_its_spellings() {
    let sent = Sent::parse(PLAIN);
    let scheme = build(TimestampConfig::default());
    let claim = sent.judged(&*scheme, "secret").unwrap().unwrap();
    assert_eq!((claim.key_id.as_deref(), claim.created), (Some("acme"), Some(UnixTime(1_498_151_721))));
    let bare = from("signature_prefix = \"\"");
    for signature in [
        PLAIN_HEX.to_owned(),
        PLAIN_HEX.to_uppercase(),
        "npQfomsa3o7maKtSPbOw9mXPh/uv4LXNQVd3QuUqpYI=".to_owned(),
        "npQfomsa3o7maKtSPbOw9mXPh/uv4LXNQVd3QuUqpYI".to_owned(),
    ] {
        let with = |prefix: &str| sent.clone().set("x-signature", &format!("{prefix}{signature}"));
        assert!(with("hmac-sha256=").judged(&*scheme, "secret").is_ok(), "{signature}");
        assert!(with("HMAC-SHA256=").judged(&*scheme, "secret").is_ok(), "{signature}");
        assert!(with("").judged(&*bare, "secret").is_ok(), "{signature}");
        // The prefix is what the policy says, and there where it says that there is one.
        for (prefix, scheme) in [("", &scheme), ("sha256=", &scheme), ("hmac-sha256=", &bare)] {
            assert_eq!(reason(&**scheme, &with(prefix), "secret"), Reason::SignatureMalformed, "{prefix}{signature}");
        }
    }
    let unnamed = sent.without("x-key-id").judged(&*scheme, "secret").unwrap().unwrap();
    assert_eq!(unnamed.key_id, None, "one of the policy's keys, if these are few");
}

#[test]
fn a_layout_of_ones_own_with_another_hash_and_rfc_3339() {
    let scheme = from("algorithm = \"hmac-sha512\"\nbody_hash_prefix = \"sha256=\"");
    let sent = Sent::parse(PLAIN).set("x-timestamp", "2017-06-22T17:15:21Z").set(
        "x-signature",
        "hmac-sha512=8d265b2a303c563fad88abe5a2efaae1affa58fd9447304711efd726eedd5b9350db3aebc10ac1ff3a7984216f44b4d62b0102\
         4a41365a380671fd5213896f7d",
    );
    assert_eq!(sent.judged(&*scheme, "secret").unwrap().unwrap().created, Some(UnixTime(1_498_151_721)));
    // The same moment in other words is another message.
    let other = sent.clone().set("x-timestamp", "1498151721");
    assert_eq!(reason(&*scheme, &other, "secret"), Reason::SignatureInvalid);
    assert_eq!(reason(&*build(TimestampConfig::default()), &sent, "secret"), Reason::SignatureMalformed);
}

#[test]
fn messages_are_made_of_the_layout() {
    let message = |toml: &str| {
        let Reading::Presented(claims) = from(toml).read(&Sent::parse(PLAIN).request()) else { panic!("{toml}") };
        String::from_utf8(claims[0].message.with_body(b"BODY").concat()).unwrap()
    };
    let digest = crate::body::Hash::Sha256.hex_of(b"BODY");
    assert_eq!(message(""), format!("POST\n/orders?a=1\n1498151721\n{digest}"));
    assert_eq!(
        message("layout = [\"timestamp\", \"method\", \"path\", \"query\", { literal = \"x\" }, \"key-id\", \"body\"]"),
        "1498151721\nPOST\n/orders\na=1\nx\nacme\nBODY"
    );
    let digest = crate::body::Hash::Sha512.hex_of(b"BODY");
    assert_eq!(
        message(
            "layout = [\"body-sha512\", \"timestamp\", \"target\", \"method\"]\nbody_hash_prefix = \"h=\"\nseparator = \"|\""
        ),
        format!("h={digest}|1498151721|/orders?a=1|POST")
    );
    let digest = crate::body::Hash::Sha384.hex_of(b"BODY");
    let toml = "layout = [\"method\", \"target\", \"timestamp\", \"body-sha384\"]";
    assert_eq!(message(toml), format!("POST\n/orders?a=1\n1498151721\n{digest}"));
    assert_eq!(
        message("layout = [\"timestamp\"]\nunsigned = [\"method\", \"path\", \"query\", \"body\"]"),
        "1498151721"
    );
}

#[test]
fn another_method_target_time_or_body_is_another_signature() {
    let (scheme, sent) = (build(TimestampConfig::default()), Sent::parse(PLAIN));
    for other in [
        Sent { method: Method::PUT, ..sent.clone() },
        Sent { target: "/orders?a=2".to_owned(), ..sent.clone() },
        Sent { target: "/orders".to_owned(), ..sent.clone() },
        sent.clone().set("x-timestamp", "1498151722"),
        sent.clone().body("a small body"),
        sent.clone().body(""),
    ] {
        assert_eq!(reason(&*scheme, &other, "secret"), Reason::SignatureInvalid);
    }
    assert_eq!(reason(&*scheme, &sent, "Secret"), Reason::SignatureInvalid);
}

#[test]
fn a_field_that_holds_the_separator_is_two_and_refused() {
    let scheme = from("separator = \".\"");
    let sent = Sent::parse(PLAIN);
    for other in
        [Sent { target: "/a.b".to_owned(), ..sent.clone() }, sent.clone().set("x-timestamp", "2017-06-22T17:15:21.5Z")]
    {
        assert_eq!(reason(&*scheme, &other, "secret"), Reason::SignatureMalformed);
    }
    // `msg.1614265330.<body>`, signed once, is not `msg.1614265330` at another time.
    let (_, secret, text, _) = PRESETS[3];
    let moved = Sent::parse(text).set("webhook-id", "msg.1614265330");
    assert_eq!(reason(&*preset("standard-webhooks"), &moved, secret), Reason::SignatureMalformed);
}

#[test]
fn a_field_that_is_missing_empty_or_twice_is_refused_and_no_signature_is_absent() {
    let scheme = build(TimestampConfig::default());
    let sent = Sent::parse(PLAIN);
    let judged = |sent: Sent| sent.judged(&*scheme, "secret").map(|claim| claim.is_some());
    assert_eq!(judged(sent.clone().without("x-signature")), Ok(false));
    assert_eq!(judged(sent.clone().without("x-timestamp")), Err(Reason::SignatureIncomplete));
    for name in ["x-signature", "x-timestamp", "x-key-id"] {
        assert_eq!(judged(sent.clone().set(name, "")), Err(Reason::SignatureMalformed), "{name}");
        assert_eq!(judged(sent.clone().set(name, "\u{e9}")), Err(Reason::SignatureMalformed), "{name}");
        let value = sent.headers[name].to_str().unwrap().to_owned();
        assert_eq!(judged(sent.clone().header(name, &value)), Err(Reason::SignatureMalformed), "{name}");
    }
    let long = "k".repeat(KEY_ID_MAX_BYTES + 1);
    assert_eq!(judged(sent.clone().set("x-key-id", &long)), Err(Reason::SignatureMalformed));
    for signature in [
        "hmac-sha256=",
        "hmac-sha1=9e941fa26b1ade8ee668ab523db3b0f665cf87fb",
        "sha256=9e941fa26b1ade8ee668ab523db3b0f665cf87fbafe0b5cd41577742e52aa582",
        "9e941fa26b1ade8ee668ab523db3b0f665cf87fbafe0b5cd41577742e52aa58",
        "9e941fa26b1ade8ee668ab523db3b0f665cf87fbafe0b5cd41577742e52aa5822",
        "ge941fa26b1ade8ee668ab523db3b0f665cf87fbafe0b5cd41577742e52aa582",
        "npQfomsa3o7maKtSPbOw9mXPh/uv4LXNQVd3QuUqpYJ=",
        "npQfomsa3o7maKtSPbOw9mXPh_uv4LXNQVd3QuUqpYI=",
        "npQfomsa3o7maKtSPbOw9mXPh/uv4LXNQVd3QuUqpYI==",
        "npQf",
    ] {
        assert_eq!(judged(sent.clone().set("x-signature", signature)), Err(Reason::SignatureMalformed), "{signature}");
    }
    assert_eq!(judged(sent.clone().set("x-signature", &"A".repeat(1_000_000))), Err(Reason::SignatureMalformed));
    for time in ["now", "-1", "1498151721000", "2017-06-22 17:15"] {
        assert_eq!(judged(sent.clone().set("x-timestamp", time)), Err(Reason::SignatureMalformed), "{time}");
    }
}

#[test]
fn a_header_that_stripe_would_not_send_is_refused() {
    let (_, secret, text, _) = PRESETS[0];
    let hex = "c2f890decbc5ede7c5060bb9a6d31e0626a4342bacb9aeae2adb1bcea72f9812";
    for (line, reason_of) in [
        (format!("v1={hex}"), Reason::SignatureIncomplete),
        ("t=1492774577".to_owned(), Reason::SignatureMalformed),
        (format!("t=1492774577,v0={hex}"), Reason::SignatureMalformed),
        (format!("t=1492774577,t=1492774577,v1={hex}"), Reason::SignatureMalformed),
        (format!("t=,v1={hex}"), Reason::SignatureMalformed),
        (format!("t=x,v1={hex}"), Reason::SignatureMalformed),
        ("t=1492774577,v1=".to_owned(), Reason::SignatureMalformed),
        (format!("t=1492774577,v1={hex},v1=x"), Reason::SignatureMalformed),
        (format!("t=1492774577;v1={hex}"), Reason::SignatureMalformed),
        (",,,".to_owned(), Reason::SignatureIncomplete),
    ] {
        let sent = Sent::parse(text).set("stripe-signature", &line);
        assert_eq!(reason(&*preset("stripe"), &sent, secret), reason_of, "{line}");
    }
}

#[test]
fn secrets_of_standard_webhooks_are_base64() {
    let scheme = preset("standard-webhooks");
    let key = scheme.decode_secret(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    assert_eq!(key.len(), 24);
    assert_eq!(scheme.decode_secret(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(), key);
    assert_eq!(scheme.secret_min_bytes(), 24);
    let why = scheme.decode_secret(b"whsec_planted!").unwrap_err();
    assert!(!why.contains("planted"));
    assert_eq!(preset("stripe").decode_secret(b"whsec_x").unwrap(), b"whsec_x");
    assert_eq!(preset("stripe").secret_min_bytes(), 32);
}

#[test]
fn a_configuration_that_means_nothing_is_an_error() {
    for (toml, field, words) in [
        ("layout = []\nunsigned = [\"method\", \"path\", \"query\", \"timestamp\", \"body\"]", "layout", "is empty"),
        ("layout = [\"method\", \"target\", \"timestamp\"]", "layout", "does not cover the body"),
        ("layout = [\"timestamp\", \"body\"]\nunsigned = [\"method\", \"path\"]", "layout", "cover the query"),
        ("layout = [\"method\", \"path\", \"timestamp\", \"body\"]", "layout", "cover the query"),
        ("layout = [\"method\", \"target\", \"body\"]", "layout", "cover the timestamp"),
        ("unsigned = [\"body\"]", "unsigned", "which `layout` covers"),
        ("layout = [\"body\", \"method\", \"target\", \"timestamp\"]", "layout[0]", "comes last"),
        ("layout = [\"method\", \"method\", \"target\", \"timestamp\", \"body\"]", "layout[1]", "twice"),
        ("layout = [\"method\", \"target\", \"timestamp\", \"id\", \"body\"]", "layout", "needs `id_header`"),
        ("preset = \"stripe\"\nlayout = [\"key-id\", \"timestamp\", \"body\"]", "layout", "needs `key_id_header`"),
        ("id_header = \"x-id\"", "id_header", "would not be signed"),
        ("preset = \"github\"\ntimestamp_header = \"x-time\"", "timestamp_header", "would not be signed"),
        ("preset = \"github\"\ntimestamp_prefix = \"t=\"", "timestamp_prefix", "would not be signed"),
        ("timestamp_prefix = \"t=\"", "timestamp_prefix", "in the signature's own header"),
        ("timestamp_header = \"X-Signature\"", "timestamp_header", "that needs"),
        ("preset = \"github\"\nseparator = \".\"", "separator", "nothing to separate"),
        ("separator = \"\"", "separator", "is empty"),
        ("signature_separator = \",\"", "signature_separator", "needs `signature_prefix`"),
        ("signature_prefix = \"v1=\"\nsignature_separator = \"\\n\"", "signature_separator", "neither"),
        ("preset = \"stripe\"\nbody_hash_prefix = \"x\"", "body_hash_prefix", "goes with"),
        ("signature_header = \"x signature\"", "signature_header", "not a header name"),
        ("signature_header = \"host\"", "signature_header", "cannot carry"),
        ("timestamp_header = \"x time\"", "timestamp_header", "not a header name"),
        ("key_id_header = \"\"", "key_id_header", "not a header name"),
    ] {
        let problems = problems(toml);
        let is_told = problems.iter().any(|(of, why)| of == field && why.contains(words));
        assert!(is_told, "{toml}: {problems:?}");
    }
    let all = problems("separator = \"\"\nlayout = [\"method\", \"target\"]\nid_header = \"x y\"");
    assert_eq!(all.len(), 4, "{all:?}");
    for toml in [
        "algorithm = \"hmac-sha1\"",
        "preset = \"gitlab\"",
        "layout = [\"host\"]",
        "layout = [{ literal = 1 }]",
        "x = 1",
    ] {
        assert!(toml::from_str::<TimestampConfig>(toml).is_err(), "{toml}");
    }
}

#[test]
fn a_preset_is_changed_by_what_is_said_beside_it() {
    let scheme = from("preset = \"slack\"\nsignature_header = \"x-relay-signature\"");
    let (_, secret, text, _) = PRESETS[1];
    let sent = Sent::parse(&text.replace("X-Slack-Signature", "X-Relay-Signature"));
    assert!(sent.judged(&*scheme, secret).unwrap().is_some());
    assert_eq!(scheme.places().0, [Place::header("x-relay-signature", None).unwrap()]);
}

/// Pieces from which random choices make headers that come close to real ones.
const PIECES: [&str; 16] = [
    "t=",
    "v1=",
    "v0=",
    ",",
    " ",
    "v1,",
    "hmac-sha256=",
    "sha256=",
    "1492774577",
    "2017-06-22T17:15:21Z",
    ".",
    "c2f890decbc5ede7c5060bb9a6d31e0626a4342bacb9aeae2adb1bcea72f9812",
    "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    "=",
    "\u{e9}",
    "msg_1",
];

#[test]
fn no_input_panics_and_none_is_taken() {
    let names = [
        "x-signature",
        "x-timestamp",
        "x-key-id",
        "stripe-signature",
        "x-slack-signature",
        "x-slack-request-timestamp",
        "x-hub-signature-256",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ];
    let presets = PRESETS.iter().map(|(name, ..)| preset(name));
    let schemes: Vec<_> = presets.chain([build(TimestampConfig::default())]).collect();
    let schemes = std::panic::AssertUnwindSafe(schemes);
    bolero::check!().with_type::<(Vec<u8>, [Vec<u8>; 10])>().for_each(|(bytes, choices)| {
        let schemes = &schemes;
        let mut sent = Sent::parse("POST /orders HTTP/1.1\n\nbody");
        for (name, choices) in names.into_iter().zip(choices) {
            let assembled: String = choices.iter().map(|choice| PIECES[usize::from(*choice) % PIECES.len()]).collect();
            let value = if choices.len() % 4 == 3 { bytes.as_slice() } else { assembled.as_bytes() };
            if let Ok(value) = portcullis_plugin::http::HeaderValue::from_bytes(value) {
                sent.headers.append(name, value);
            }
        }
        for scheme in schemes.iter() {
            let judged = sent.judged(&**scheme, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
            assert!(!matches!(judged, Ok(Some(_))));
        }
    });
}
