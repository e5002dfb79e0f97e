use portcullis_plugin::{Claims, Identity, serde_json::from_str, testing::Request};

use super::*;
use crate::expression::{EXPRESSION_MAX_BYTES, Effect, Expression, Failure};

fn problems(text: &str) -> Vec<String> {
    Expression::compile(text).err().unwrap_or_default()
}

/// The one thing that is wrong with an expression.
fn problem(text: &str) -> String {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn an_unknown_name_is_refused_by_name() {
    for (text, expected) in [
        ("identity.tenent == 'a'", "`identity` has no field `tenent`: it has consumer, groups"),
        ("identity['tenent'] == 'a'", "`identity` has no field `tenent`"),
        ("has(identity.tenent)", "`identity` has no field `tenent`"),
        ("identity.tenant.id == 'a'", "`identity.tenant` has no fields"),
        ("identity.roles.admin", "`identity.roles` has no fields"),
        ("identity.labels.a.b == 'c'", "`identity.labels.a` has no fields"),
        ("identity == 'a'", "`identity` is no value: name one of its fields (consumer"),
        ("request.body == 'a'", "`request` has no field `body`: it has method"),
        ("request.path.x == 'a'", "`request.path` has no fields"),
        ("request.headers == {}", "`request.headers` is no value: name one of them"),
        ("request.path_params == {}", "`request.path_params` is no value"),
        ("request.headers.a.b == ''", "`request.headers.a` has no fields"),
        ("request.headers['X-Region'] == ''", "the header `X-Region` has to be written in lower case"),
        ("request.headers['x region'] == ''", "`x region` is not the name of a header"),
        ("request.headers[request.path] == ''", "`request.headers` is no value"),
        ("identity[request.path] == ''", "`identity` is no value"),
        ("'X-Region' in request.headers", "the header `X-Region` has to be written in lower case"),
        ("tenant == identity.tenant", "`tenant` is unknown"),
        (".identity.tenant == 'a'", "`.identity` is unknown"),
        ("Identity.tenant == 'a'", "`Identity` is unknown"),
        ("identity.roles.all(x, y == 'a')", "`y` is unknown"),
        ("identity.roles.all(x, x == 'a') && x == 'a'", "`x` is unknown"),
        ("identity.roles.all(identity, identity == 'a')", "`identity` cannot be the name of a variable"),
        ("string == identity.tenant", "`string` is unknown"),
        ("upper(identity.tenant) == 'A'", "there is no function `upper` here"),
        ("identity.tenant.startswith('a')", "there is no function `startswith` here"),
        ("type(identity.tenant) == 'a'", "there is no function `type` here"),
        ("dyn(identity.tenant) == 'a'", "there is no function `dyn` here"),
        ("request.address.in_network('10.0.0.0/8')", "there is no function `in_network` here"),
        ("google.protobuf.Timestamp{seconds: 1} < request.time", "there is no type `google.protobuf.Timestamp` here"),
    ] {
        assert!(problem(text).starts_with(expected), "{text}: {}", problem(text));
    }
}

#[test]
fn headers_that_hold_credentials_or_are_believed_in_vain_are_refused() {
    for name in ["authorization", "cookie", "proxy-authorization"] {
        assert!(problem(&format!("request.headers['{name}'] == 'x'")).contains("holds credentials"), "{name}");
    }
    for name in
        ["x-user-id", "x-consumer", "x-consumer-groups", "x-tenant-id", "x-forwarded-for", "forwarded", "x-real-ip"]
    {
        assert!(problem(&format!("request.headers['{name}'] == 'x'")).contains("anyone may send"), "{name}");
    }
}

#[test]
fn a_comparison_that_can_never_hold_is_refused() {
    for (text, expected) in [
        (
            "identity.roles == 'admin'",
            "`==` can never be equal: a list of texts, a text; `in` looks for an item of a list",
        ),
        ("identity.roles != 'admin'", "`!=` can never be equal"),
        ("identity.tenant == 1", "`==` can never be equal: a text, a number"),
        ("identity.tenant == null", "`==` can never be equal: a text, null"),
        (
            "identity.tenant in 'admin'",
            "`in` looks for an item of a list or a key of a map, and not into a text: write `text.contains(part)`, or `==`",
        ),
        ("'admin' in request.path", "`in` looks for an item of a list or a key of a map, and not into a text"),
        ("request.method == 'get'", "`request.method` is never `get`: write 'GET'"),
        ("'Post' != request.method", "`request.method` is never `Post`: write 'POST'"),
        ("request['method'] == 'get'", "`request.method` is never `get`: write 'GET'"),
        ("request.method in ['GET', 'head']", "`request.method` is never `head`: write 'HEAD'"),
        ("!(request.method in ['GET', 'PUT, POST'])", "`request.method` is never `PUT, POST`, which is not a method"),
        ("request.method == ''", "`request.method` is never ``, which is not a method"),
        ("1 in identity.roles", "`in` can never be equal: a number, a list of texts"),
        ("request.method in ['GET', 'HEAD'] == 'x'", "`==` can never be equal: true or false, a text"),
        ("identity.tenant && request.is_https", "`&&` is not for these: a text, true or false"),
        ("!identity.tenant", "`!` is not for these: a text"),
        ("request.time > 8", "`>` is not for these: a time, a number"),
        ("request.time - 8 > request.time", "`-` is not for these"),
        ("identity.tenant + 1 == 'a'", "`+` is not for these"),
        ("identity.roles.all(role, role > 1)", "`>` is not for these: a text, a number"),
        ("identity.tenant.all(x, x == 'a')", "`all`, `map` and the like are not for a text"),
        ("identity.roles.exists(role, role.name == 'a')", "`.name` is not for a text"),
        ("identity.roles['admin'] == 'a'", "`identity.roles` has no fields"),
        ("identity.roles[identity.tenant] == 'a'", "`[_]` is not for these: a list of texts, a text"),
        ("request.path.matches(request.query)", "`matches` takes its pattern as it stands here"),
        ("request.path.matches('(')", "`(` is not a pattern"),
        ("request.path.matches('(a{500}){500}')", "the pattern is too large"),
        ("in_network(request.address, '10.0.0.0/33')", "`10.0.0.0/33` is not a network"),
        ("in_network(request.address, '10.0.0.1/8')", "`10.0.0.1/8` is no network: `10.0.0.0/8` is"),
        ("in_network(request.address, 'example.com')", "`example.com` is not a network"),
        ("in_network(request.address)", "`in_network` is not for these: a text"),
        ("request.time < timestamp('tomorrow')", "`timestamp` cannot read `tomorrow`"),
        ("request.time - request.time < duration('5 minutes')", "`duration` cannot read `5 minutes`"),
        ("request.time.getHours('Europe/Berlim') < 5", "`Europe/Berlim` is not a time zone"),
        ("request.time.getHours(1) < 5", "`getHours` is not for these: a time, a number"),
        ("identity.tenant", "is a text and neither true nor false"),
        ("identity.roles.map(x, x + 'a')", "is a list and neither true nor false"),
        ("request.is_https ? 'a' : 'b'", "is a text and neither true nor false"),
        ("true", "mentions neither `identity` nor `request`"),
        ("[1, 2].all(x, x > 0)", "mentions neither `identity` nor `request`"),
    ] {
        assert!(problem(text).starts_with(expected), "{text}: {}", problem(text));
    }
}

#[test]
fn all_problems_are_reported_in_one_run() {
    let text = "identity.a == identity.b || request.c == 1 || nobody() || identity.roles == 'x'";
    assert_eq!(problems(text).len(), 5, "{:?}", problems(text));
}

#[test]
fn a_malformed_expression_is_refused_with_its_place() {
    for text in [
        "",
        " ",
        "(",
        "identity.tenant ==",
        "identity.tenant = 'a'",
        "a b",
        "'",
        "identity.?tenant == 'a'",
        "[?identity.tenant]",
        "@0",
        "identity.tenant == `a`",
        "\u{0}",
        "\u{1f600}",
    ] {
        assert!(problem(text).starts_with("is not an expression"), "{text:?}: {}", problem(text));
    }
    assert!(
        problem("identity.tenant ==\n == 'a'").contains("line 2, column"),
        "{}",
        problem("identity.tenant ==\n == 'a'")
    );
}

#[test]
fn one_equals_sign_is_told_to_be_two() {
    for text in ["identity.tenant = 'a'", "request.is_https && identity.tenant = \"a == b\"", "a = b == c"] {
        assert!(problem(text).ends_with(": `=` compares nothing: write `==`"), "{text}: {}", problem(text));
    }
    for text in ["identity.tenant == 'a=b' ==", "identity.tenant <= 'it\\'s = ' >=", "identity.tenant !="] {
        assert!(!problem(text).contains("compares nothing"), "{text}: {}", problem(text));
    }
}

#[test]
fn methods_in_capitals_are_compared_with_any_that_may_come() {
    for text in ["request.method == 'GET'", "request.method in ['GET', 'M-SEARCH']", "request.path == 'get'"] {
        assert_eq!(problems(text), [""; 0], "{text}");
    }
}

/// On the stack that a thread has by default, in a build that is not optimised.
#[test]
fn length_and_depth_are_limited() {
    let long = format!("identity.tenant == '{}'", "a".repeat(EXPRESSION_MAX_BYTES));
    assert!(problem(&long).starts_with("is longer than"));
    let nested = |open: &str, inner: &str, close: &str| {
        let times = (EXPRESSION_MAX_BYTES - inner.len() - 1) / (open.len() + close.len());
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    for text in [
        nested("(", "identity.tenant", ")"),
        nested("[", "identity.tenant", "]"),
        nested("!", "request.is_https", ""),
        nested("-", "1", ""),
        nested("", "1", "+1"),
        nested("", "request.is_https", "&&request.is_https"),
        nested("", "request.is_https", "?true:request.is_https"),
        nested("", "identity.claims.x", "[0]"),
        nested("", "identity.claims.x[0]", ".a"),
        nested("", "identity.claims.x", ".a()"),
        nested("size(", "identity.tenant", ")"),
        nested("{1:", "identity.tenant", "}"),
        nested("identity.roles.all(x,", "true", ")"),
        nested("has(identity.claims.x[0].", "a", ")"),
        nested("true?", "request.is_https", ":false"),
        nested("'a'in[", "identity.tenant", "]"),
    ] {
        let problems = problems(&text);
        // These the parser takes for less than they look.
        let is_flat = text.starts_with("request.is_https&&") || text.starts_with("!!");
        assert_eq!(problems.is_empty(), is_flat, "{}: {problems:?}", &text[..40]);
    }
}

/// Pieces from which random choices make expressions; plain random text hardly ever is one.
const PIECES: [&str; 48] = [
    "identity",
    "request",
    ".tenant",
    ".roles",
    ".claims",
    ".x",
    "['a']",
    "[0]",
    ".path",
    ".time",
    ".headers['x-a']",
    ".path_params.tenant",
    "has(",
    "(",
    ")",
    ",",
    " && ",
    " || ",
    " == ",
    " != ",
    " < ",
    " in ",
    "!",
    "-",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " ? ",
    " : ",
    "x",
    "y",
    ".all(x, ",
    ".exists(y, ",
    ".map(x, ",
    ".exists_one(x, ",
    "size(",
    ".matches('a+')",
    "in_network(request.address, '10.0.0.0/8')",
    ".getHours('Europe/Berlin')",
    "'a'",
    "1",
    "1.5",
    "null",
    "true",
    "{'a': 1}",
    "duration('1h')",
];

/// Compiles and, what compiles, evaluates.
fn run(text: &str) {
    let Ok(expression) = Expression::compile(text) else { return };
    let claims: Claims =
        from_str(r#"{"x":[[1],{"x":"a"}],"a":{"x":null},"n":-9223372036854775808,"t":"-1h","b":true}"#).unwrap();
    let full = Identity {
        tenant: Some("t".to_owned()),
        roles: vec!["a".to_owned(), "b".to_owned()],
        claims: Some(Arc::new(claims)),
        ..Identity::default()
    };
    let mut request = Request::get("/a?b").header("x-a", "a");
    for identity in [full, Identity::default()] {
        let said = expression.evaluate(&request.cx(), &identity, &identity, Effect::Require);
        assert!(!matches!(said, Err(Failure::Panic)), "{text}");
    }
}

#[test]
fn no_text_panics() {
    bolero::check!().with_type::<String>().for_each(|text| run(text));
}

#[test]
fn malformed_expressions_do_not_panic() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|choices| {
        let pieces = choices.iter().take(64).map(|choice| PIECES[usize::from(*choice) % PIECES.len()]);
        run(&pieces.collect::<String>());
    });
}

/// Parts of expressions with holes, `B` for what is true or false and `V` for any value.
const BOOLEANS: [&str; 16] = [
    "request.is_https",
    "(B && B)",
    "(B || B)",
    "!(B)",
    "(V == V)",
    "(V != V)",
    "(V < V)",
    "(V in V)",
    "V.all(x, B)",
    "V.exists(x, B)",
    "V.exists_one(x, B)",
    "has(identity.claims.x.a)",
    "identity.claims.x.matches('a+')",
    "in_network(identity.claims.x, '10.0.0.0/8')",
    "(B ? B : B)",
    "identity.claims.b",
];
const VALUES: [&str; 24] = [
    "identity.claims.x",
    "identity.claims.a.x",
    "identity.claims.n",
    "identity.claims",
    "x",
    "identity.claims.t",
    "1",
    "9223372036854775807",
    "-1",
    "0",
    "1.5",
    "V.map(x, V)",
    "V.filter(x, B)",
    "[V, V]",
    "V[V]",
    "(V + V)",
    "(V - V)",
    "(V * V)",
    "(V / V)",
    "(V % V)",
    "size(V)",
    "duration(identity.claims.t)",
    "timestamp(identity.claims.n)",
    "request.time.getHours(identity.claims.t)",
];

/// Fills the holes of a text one after the other, and those that are left with what ends it.
fn filled(choices: &[u8]) -> String {
    let mut text = "identity.claims.all(x, B)".to_owned();
    let mut choices =
        choices.iter().map(|choice| usize::from(*choice)).take(24).map(Some).chain(std::iter::repeat(None));
    while let Some(hole) = text.find(['B', 'V']) {
        let parts: &[&str] = if text.as_bytes()[hole] == b'B' { &BOOLEANS } else { &VALUES };
        let part = parts[choices.next().flatten().unwrap_or(0) % parts.len()];
        text.replace_range(hole..=hole, part);
    }
    text
}

#[test]
fn expressions_do_not_panic() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|choices| run(&filled(choices)));
}
