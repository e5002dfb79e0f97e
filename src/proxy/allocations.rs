//! What the engine's own layer allocates for a granted `key-auth` request with a restriction, in steady state.
//!
//! The whole way of such a request, without Pingora's part of it (a bare proxy makes some 70 allocations a request by
//! itself):
//!
//! | step | allocations | why |
//! |---|---|---|
//! | canonical path, host, route | 0 | borrowed from the request |
//! | authenticate, admit | 0 | a digest on the stack, a ready-made identity, a reference count |
//! | strip | 0 | nothing foreign in the request, and the list of what to remove grows only with what is |
//! | hide the key | 0 | a header is taken out |
//! | announce | 5 | see [`ANNOUNCE`] |
//! | access line, audit event, counters | 0 | see `telemetry::allocations` |

use std::{
    future::Future,
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use pingora::http::RequestHeader;
use portcullis_plugin::{Verdict, testing};
use sha2::{Digest, Sha256};

use super::{
    audit::Trail,
    authenticate::{Decision, Granted, authenticate},
    forward,
    hook::Client,
    request_id::RequestId,
    state::RequestState,
};
use crate::{
    builtin,
    canonical::canonical,
    config::{self, Problems, Secrets, Source, Sources},
    registry::Registry,
    router::{Find, host_key},
    services::Services,
    snapshot::{Snapshot, compile},
    telemetry::{Metrics, Output},
};

/// Building the upstream's headers: the value of `X-Request-ID`; the text of `X-Forwarded-For` and the handle by which
/// it is shared; and the header map growing once for the eleven headers that are added, in its entries and its indices.
const ANNOUNCE: u64 = 5;

fn allocations<T>(step: impl FnOnce() -> T) -> (u64, T) {
    let mut outcome = None;
    let made = measure(|| outcome = Some(step()));
    (made.count_total, outcome.expect("the step was run"))
}

/// The outcome of a future that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("a step waits"),
    }
}

const KEY: &str = "test_live_0123456789abcdef0123456789";

fn snapshot(services: &Services) -> Snapshot {
    let text = format!(
        r#"
[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["127.0.0.1:9000"]

[policies.keys]
use = "key-auth"

[routes.orders]
hosts = ["api.example.com"]
paths = ["/orders/{{*rest}}"]
auth = ["keys"]
plugins = [{{ use = "consumer-restriction", allow = [{{ groups = ["partners"], scopes = ["orders:read"] }}] }}]
upstream = "app"

[consumers.acme]
groups = ["partners"]
tenant = "acme"

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "{}"
scopes = ["orders:read"]
"#,
        hex::encode(Sha256::digest(KEY))
    );
    let mut registry = Registry::new();
    builtin::add_all(&mut registry);
    let sources = Sources(vec![Source { path: "test.toml".into(), text }]);
    let mut problems = Problems::default();
    let secrets = Secrets::new(Path::new(""), false);
    let configuration = config::load(&sources, &registry, secrets, &mut problems);
    let snapshot = configuration.and_then(|configuration| compile(configuration, services, None, &mut problems));
    snapshot.unwrap_or_else(|| panic!("{}", problems.locate(&sources)))
}

/// One request, step by step; what each step allocated.
fn request(snapshot: &Snapshot, services: &Arc<Services>) -> [(&'static str, u64); 6] {
    let mut head = RequestHeader::build("GET", b"/orders/7?expand=lines", Some(8)).expect("a head");
    for (name, value) in [
        ("Host", "api.example.com"),
        ("User-Agent", "orders-client/3.14"),
        ("Accept", "application/json"),
        ("X-Api-Key", KEY),
        ("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ] {
        head.append_header(name, value).expect("a header");
    }
    let mut seen = testing::Request::get("/orders/7?expand=lines").header("x-api-key", KEY);
    seen.route = "orders".to_owned();
    seen.head.headers.insert("host", http::HeaderValue::from_static("api.example.com"));
    let mut state = RequestState::new(services.clone());
    state.id = RequestId::random();

    let (matched, gate) = allocations(|| {
        let path = canonical(head.uri.path().as_bytes()).expect("a path");
        let host = host_key(head.headers["host"].as_bytes()).expect("a host");
        match snapshot.router.find(&host, &path.path, &head.method, &head.headers) {
            Find::Route(index) => snapshot.gates[index].clone(),
            other => panic!("{other:?}"),
        }
    });
    let auth = gate.auth.as_ref().expect("a protected route");
    let (authenticated, decision) = allocations(|| {
        let mut trail = Trail::of(&state, &gate.settings.audit, "orders");
        at_once(authenticate(auth, &mut seen.cx(), &Client::default(), &gate.realm, &mut trail))
    });
    let Decision::Granted(Granted { identity, .. }) = decision else { panic!("the key is good") };
    let (admitted, verdict) = allocations(|| {
        let hook = &gate.admit[0].hook;
        at_once(hook.admit(&mut seen.cx(), &identity).get())
    });
    assert_eq!(verdict.expect("a verdict"), Verdict::Allow);
    let (fits, _) = allocations(|| gate.settings.callers.identity.fits(&identity));
    state.identity = Some(identity);
    let (stripped, _) = allocations(|| forward::strip(&mut head, &gate.route.callers, Some(&auth.hidden)));
    assert!(!head.headers.contains_key("x-api-key"));
    let received = &seen.head.headers;
    let (announced, ()) = allocations(|| forward::announce(&mut head, &gate.route.callers, &state, received));
    assert_eq!(head.headers["x-consumer"], "acme");
    [
        ("match", matched),
        ("authenticate", authenticated),
        ("admit", admitted),
        ("fits", fits),
        ("strip", stripped),
        ("announce", announced),
    ]
}

#[test]
fn a_granted_request_allocates_for_the_upstreams_headers_alone() {
    let output = Output::start(std::io::sink()).expect("a thread can be started");
    let metrics = Metrics::new("0", Box::new(|| 0), Box::new(|| 0));
    let services = Arc::new(Services::new(Arc::new(metrics), output));
    let snapshot = snapshot(&services);
    // The first request makes what is made once: the identity's header values, the thread's buffer for lines.
    for _ in 0..100 {
        request(&snapshot, &services);
    }
    let expected = [("match", 0), ("authenticate", 0), ("admit", 0), ("fits", 0), ("strip", 0), ("announce", ANNOUNCE)];
    assert_eq!(request(&snapshot, &services), expected);
}
