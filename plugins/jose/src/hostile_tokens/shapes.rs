//! Cases that are no tokens at all, or that two readers could read differently.

use super::*;

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = outer(scene);
    cases.extend(parts(scene));
    for (part, name) in ["header", "claims"].into_iter().enumerate() {
        cases.extend(not_objects(scene, part, name));
    }
    cases.into_iter().map(|(name, token)| case(name, token, Reason::TokenMalformed)).collect()
}

type Shape = (String, Vec<u8>);

fn shape(name: &str, token: impl Into<Vec<u8>>) -> Shape {
    (name.to_owned(), token.into())
}

fn outer(scene: &Scene) -> Vec<Shape> {
    let good = good_token(scene);
    let [header, claims, signature] = split(&good);
    vec![
        shape("nothing", ""),
        shape("a dot", "."),
        shape("two dots", ".."),
        shape("three dots", "..."),
        shape("one part", header),
        shape("two parts", format!("{header}.{claims}")),
        shape("four parts", format!("{good}.{signature}")),
        shape("four parts, the last empty", format!("{good}.")),
        shape("five parts, as an encrypted token", format!("{header}.{claims}.{claims}.{claims}.{signature}")),
        shape("a dot before it", format!(".{good}")),
        shape("its scheme before it", format!("Bearer {good}")),
        shape("a space before it", format!(" {good}")),
        shape("a space after it", format!("{good} ")),
        shape("a new line after it", format!("{good}\n")),
        shape("a new line within", good.replacen('.', ".\n", 1)),
        shape("a NUL after it", format!("{good}\0")),
        shape("two of them", format!("{good},{good}")),
        shape("quotes around it", format!("\"{good}\"")),
        shape("percent-encoded", good.replace('.', "%2E")),
        shape("dots of another alphabet", good.replace('.', "\u{3002}")),
        shape("a byte order mark", format!("\u{feff}{good}")),
        shape("bytes that are no text", b"\xff\xfe\xfd.\xff.\xff".as_slice()),
        shape("written as JSON", json!({ "protected": header, "payload": claims, "signature": signature }).to_string()),
        shape("encoded twice", base64url(&good)),
        shape("16 KiB and more", format!("{header}.{}.{signature}", "A".repeat(16 << 10))),
        shape("a signature of 1 MB", format!("{header}.{claims}.{}", "A".repeat(1 << 20))),
        shape("1 MB of one letter", "A".repeat(1 << 20)),
        shape("1 MB of dots", ".".repeat(1 << 20)),
        shape(
            "5 MB of claims",
            scene.rsa.token(good_header().to_string(), json!({ "a": "x".repeat(5 << 20) }).to_string()),
        ),
    ]
}

fn split(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

/// Each part in a form that some readers take and others do not.
fn parts(scene: &Scene) -> Vec<Shape> {
    let good = good_token(scene);
    let mut shapes = Vec::new();
    for (index, name) in ["header", "claims", "signature"].into_iter().enumerate() {
        let with = |change: &dyn Fn(&str) -> String| {
            let mut parts = split(&good).map(str::to_owned);
            parts[index] = change(&parts[index]);
            parts.join(".")
        };
        shapes.extend([
            shape(&format!("{name} with padding"), with(&|part| format!("{part}="))),
            shape(&format!("{name} with more padding"), with(&|part| format!("{part}=="))),
            shape(&format!("{name} with a plus"), with(&|part| format!("+{}", &part[1..]))),
            shape(&format!("{name} with a slash"), with(&|part| format!("/{}", &part[1..]))),
            shape(&format!("{name} with a space"), with(&|part| format!("{} {}", &part[..4], &part[4..]))),
            shape(&format!("{name} with a line break"), with(&|part| format!("{}\r\n{}", &part[..4], &part[4..]))),
            shape(&format!("{name} of an impossible length"), with(&|part| "A".repeat(part.len() / 4 * 4 + 1))),
            shape(&format!("{name} with stray bits"), with(&stray_bits)),
            shape(&format!("{name} not encoded"), with(&|_| "{\"alg\":\"RS256\"}".to_owned())),
        ]);
    }
    shapes.push(shape("no header", with_part(&good, 0, "")));
    shapes.push(shape("no claims", with_part(&good, 1, "")));
    shapes
}

fn with_part(token: &str, index: usize, part: &str) -> String {
    let mut parts = split(token);
    parts[index] = part;
    parts.join(".")
}

/// A byte more, whose last letter has bits set that stand for nothing.
fn stray_bits(part: &str) -> String {
    let whole = &part[..part.len() / 4 * 4];
    format!("{whole}AB")
}

/// A part that is signed as it stands, and is not one object with each member once.
fn not_objects(scene: &Scene, part: usize, name: &str) -> Vec<Shape> {
    let good = [good_header(), good_claims()][part].to_string();
    let inside = good.trim_end_matches('}');
    let first = ["\"alg\":\"RS256\"", "\"sub\":\"ann\""][part];
    let escaped = ["\"\\u0061lg\":\"RS256\"", "\"s\\u0075b\":\"bob\""][part];
    let texts: Vec<(&str, Vec<u8>)> = vec![
        ("is an array", format!("[{good}]").into()),
        ("is a string", json!(good).to_string().into()),
        ("is a number", "1".into()),
        ("is null", "null".into()),
        ("is true", "true".into()),
        ("is no JSON", "alg=RS256".into()),
        ("is XML", "<a/>".into()),
        ("is cut off", inside.into()),
        ("is two objects", format!("{good}{good}").into()),
        ("has something after it", format!("{good}x").into()),
        ("has a comma at its end", format!("{inside},}}").into()),
        ("has a comment", format!("{good}/* */").into()),
        ("has a byte order mark", format!("\u{feff}{good}").into()),
        ("has quotes of another kind", good.replace('"', "'").into()),
        ("is in UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("has bytes that are no text", [inside.as_bytes(), b",\"x\":\"\xff\"}"].concat()),
        ("has an overlong encoding", [inside.as_bytes(), b",\"x\":\"\xc0\xae\"}"].concat()),
        ("has half of a pair of surrogates", format!("{inside},\"x\":\"\\ud800\"}}").into()),
        ("has a raw control character", format!("{inside},\"x\":\"\n\"}}").into()),
        ("has a number beyond all numbers", format!("{inside},\"x\":1e999}}").into()),
        ("has NaN", format!("{inside},\"x\":NaN}}").into()),
        ("has a member twice, the same", format!("{inside},{first}}}").into()),
        ("has a member twice, once escaped", format!("{inside},{escaped}}}").into()),
        ("has an unknown member twice", format!("{inside},\"x\":1,\"x\":2}}").into()),
        ("has a member twice, deep inside", format!("{inside},\"x\":{{\"y\":[{{\"z\":1,\"z\":1}}]}}}}").into()),
        ("is nested deep", format!("{inside},\"x\":{}{}}}", "[".repeat(100), "]".repeat(100)).into()),
        ("is nested without an end", format!("{inside},\"x\":{}", "{\"a\":".repeat(1500)).into()),
    ];
    let sign = |text: Vec<u8>| match part {
        0 => scene.rsa.token(text, good_claims().to_string()),
        _ => scene.rsa.token(good_header().to_string(), text),
    };
    texts.into_iter().map(|(how, text)| shape(&format!("{name} {how}"), sign(text))).collect()
}
