//! Finds out who is calling by a badge: `X-Badge: alice`. It believes whatever it reads, so it is no example to follow
//! but a witness: it uses all that a plugin is lent, and tells the upstream what it saw.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use portcullis::plugin::{
    http::{HeaderName, HeaderValue},
    store::Counters,
    *,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin.
pub struct Badge;

/// Callers show a badge. `X-Badge-Length` beside it says how long the body has to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The header in which the upstream learns the caller's plan.
    #[serde(default = "x_plan")]
    plan_header: String,
    /// How long it takes to get ready, before it serves.
    #[serde(default)]
    ready_after_ms: u64,
    /// The longest body.
    #[serde(default = "mebibyte")]
    max_body_bytes: usize,
    /// A counter's name that is not the usual one.
    counter: Option<String>,
}

/// Who issues badges.
const ISSUER: &str = "https://id.example";

fn x_plan() -> String {
    "x-plan".into()
}

fn mebibyte() -> usize {
    1 << 20
}

impl Plugin for Badge {
    const NAME: &'static str = "badge";
    type Config = Config;
    type Credential = NoCredential;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let plan = config.plan_header.parse().map_err(|_| BuildError::new("plan_header", "not a header's name"))?;
        let policy = cx.policy().to_owned();
        let name = if config.counter.is_some() { "portcullis_connections" } else { "badges_shown_total" };
        let shown = cx.counter(name, "Badges that were shown.", &[("policy", &policy)]);
        let is_ready = Arc::new(AtomicBool::new(false));
        let (ready, after) = (is_ready.clone(), Duration::from_millis(config.ready_after_ms));
        cx.before_publish(async move {
            sleep(after).await;
            ready.store(true, Relaxed);
        });
        let begun = cx.shared(&policy, Begun::default);
        let times = begun.clone();
        cx.before_publish(async move {
            times.0.increment();
        });
        let desk = Arc::new(Desk {
            plan,
            shown,
            is_ready,
            begun,
            store: cx.store(),
            uses: cx.counters("uses"),
            revocations: Revocations::new(cx.store()),
            max_body_bytes: config.max_body_bytes,
        });
        Ok(Hooks { authenticate: Some(desk.clone()), edit_request: Some(desk), ..Hooks::default() })
    }
}

/// How often a policy of this name got ready.
#[derive(Default)]
struct Begun(Counter);

/// The engine's runtime is tokio's, which this crate does not depend on: a thread wakes it.
async fn sleep(how_long: Duration) {
    let done = Arc::new(AtomicBool::new(how_long.is_zero()));
    let mut is_started = false;
    std::future::poll_fn(|cx| {
        if done.load(Relaxed) {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut is_started, true) {
            let (done, waker) = (done.clone(), cx.waker().clone());
            std::thread::spawn(move || {
                std::thread::sleep(how_long);
                done.store(true, Relaxed);
                waker.wake();
            });
        }
        Poll::Pending
    })
    .await;
}

/// A policy, ready to look at badges.
struct Desk {
    plan: HeaderName,
    shown: Counter,
    is_ready: Arc<AtomicBool>,
    begun: Arc<Begun>,
    store: Arc<dyn Store>,
    uses: Counters,
    revocations: Revocations,
    max_body_bytes: usize,
}

impl Authenticate for Desk {
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>> {
        let text = |name: &str| cx.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (badge, length) = (text("x-badge"), text("x-badge-length").and_then(|length| length.parse::<usize>().ok()));
        let Some(badge) = badge else { return Answer::Now(Ok(Authentication::Absent)) };
        self.shown.increment();
        if let Some(length) = length {
            let check = move |body: &[u8]| if body.len() == length { Ok(()) } else { Err(Reason::DigestMismatch) };
            cx.hold_body(self.max_body_bytes, Box::new(check));
        }
        let denial = match badge.as_str() {
            "forged" => Denial::unauthorized(Reason::Plugin("badge_forged")),
            "tired" => Denial::too_many_attempts(Duration::from_millis(2500)),
            "endless" => Denial::length_required(),
            "heavy" => Denial::body_too_large(),
            _ => return Answer::later(self.granted(claims(cx, badge))),
        };
        Answer::Now(Ok(Authentication::Denied(denial)))
    }

    fn challenges(&self, _: &RequestCx<'_>, attempt: Attempt) -> Vec<Challenge> {
        let was_shown = matches!(attempt, Attempt::Denied(_));
        vec![Challenge::new("Badge").parameter("shown", was_shown.to_string())]
    }

    fn headers(&self) -> Vec<HeaderName> {
        vec![self.plan.clone()]
    }

    /// It looks at all that a revocation can go by.
    fn heeds(&self, revocation: &Revocation) -> bool {
        revocation.issuer() == ISSUER
    }
}

/// What would stand in a token: `X-Badge-Claims` as it is, the subject and the issuer.
fn claims(cx: &RequestCx<'_>, subject: String) -> Claims {
    let said = cx.headers().get("x-badge-claims").map(|said| serde_json::from_slice(said.as_bytes()));
    let mut claims: Claims = said.and_then(Result::ok).unwrap_or_default();
    claims.insert("iss".to_owned(), ISSUER.into());
    claims.insert("sub".to_owned(), subject.into());
    claims.entry("ver").or_insert(serde_json::Value::Null);
    claims
}

impl Desk {
    async fn granted(&self, claims: Claims) -> Result<Authentication, PluginError> {
        let keys = RevocationKeys::of(&claims, claims["ver"].as_u64());
        if let Some(reason) = self.revocations.check(&keys).get().await.map_err(failed)? {
            return Ok(Authentication::Denied(Denial::unauthorized(reason)));
        }
        let badge = claims["sub"].as_str().unwrap_or_default().to_owned();
        let uses = self.store.add(self.uses.counter(badge.as_bytes()), 1, Duration::from_secs(60)).get().await?.value;
        let plan = HeaderValue::from_static("gold");
        Ok(Authentication::Granted(Arc::new(Identity {
            method: "badge".to_owned(),
            client: Some(format!("use-{uses}")),
            headers: if badge == "plain" { Vec::new() } else { vec![(self.plan.clone(), plan)] },
            subject: Some(badge),
            ..Identity::default()
        })))
    }
}

impl EditRequest for Desk {
    fn edit_request(&self, cx: &RequestCx<'_>, head: &mut dyn RequestHead) -> Result<(), PluginError> {
        let parameter = |name| cx.path_parameter(name).unwrap_or("(none)").to_owned();
        for (name, value) in [
            ("badge-target", cx.received_target().to_owned()),
            ("badge-https", cx.is_https().to_string()),
            ("badge-tenant", parameter("tenant")),
            ("badge-rest", parameter("rest")),
            ("badge-ready", self.is_ready.load(Relaxed).to_string()),
            ("badge-begun", self.begun.0.value().to_string()),
        ] {
            head.set(HeaderName::from_static(name), value.parse().map_err(failed)?).map_err(failed)?;
        }
        Ok(())
    }
}

/// A failure refuses the request: 503.
fn failed(why: impl std::fmt::Display) -> PluginError {
    PluginError::new(why.to_string())
}
