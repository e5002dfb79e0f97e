use bytes::Bytes;

use super::*;
use crate::{
    BoxFuture, BuildCx, BuildError, Challenge, Denial, NoCredential, PluginError, RequestCx, Store, store::Put,
};

/// The fault of a plugin that is none of a good one.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// It panics where the header is not text.
    Panics,
    /// It keeps its thread.
    Blocks,
    /// It waits for ever.
    Waits,
    /// It says what it was shown.
    Tells,
    /// It grants where the store does not answer.
    Trusts,
    /// It does not give back what it took when it is left.
    Leaks,
    /// It does not know anybody again.
    Forgets,
}

struct Tried;

impl Plugin for Tried {
    const NAME: &'static str = "tried";
    type Config = Faulty;
    type Credential = NoCredential;

    fn build(Faulty(fault): Faulty, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let (store, turns) = (cx.store(), Arc::new(tokio::sync::Semaphore::new(1)));
        Ok(Hooks::new().authenticate(Hook { fault, store, turns }))
    }
}

struct Faulty(Fault);

impl<'de> serde::Deserialize<'de> for Faulty {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self(Fault::None))
    }
}

impl schemars::JsonSchema for Faulty {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Faulty".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({})
    }
}

struct Hook {
    fault: Fault,
    store: Arc<dyn Store>,
    turns: Arc<tokio::sync::Semaphore>,
}

static SEEN: Space = Space::shared("tried");

impl Hook {
    async fn judge(&self, key: Bytes) -> Result<Authentication, PluginError> {
        let turn = self.turns.acquire().await.map_err(|error| PluginError::new(error.to_string()))?;
        if self.fault == Fault::Leaks {
            turn.forget();
        }
        let asked = self.store.put(Put::new(SEEN.key(b"a"), Bytes::new(), Duration::from_secs(1))).get().await;
        match asked {
            Err(error) if self.fault != Fault::Trusts => return Err(error.into()),
            _ => {}
        }
        if self.fault == Fault::Leaks {
            self.turns.add_permits(1);
        }
        Ok(match &key[..] {
            b"right" => Authentication::Granted(Arc::default()),
            _ => Authentication::Denied(Denial::unauthorized(Reason::Plugin("wrong"))),
        })
    }
}

impl Authenticate for Hook {
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>> {
        let Some(key) = cx.headers().get("x-api-key") else { return Answer::Now(Ok(Authentication::Absent)) };
        match self.fault {
            Fault::Panics => assert!(key.to_str().is_ok(), "not text"),
            #[expect(clippy::disallowed_methods, reason = "it is the fault")]
            Fault::Blocks => std::thread::sleep(MAX_POLL + Duration::from_millis(100)),
            Fault::Waits => return Answer::Later(Box::pin(std::future::pending()) as BoxFuture<'a, _>),
            Fault::Tells => return Answer::Now(Err(PluginError::new(format!("unknown: {key:?}")))),
            _ => {}
        }
        Answer::later(self.judge(Bytes::copy_from_slice(key.as_bytes())))
    }

    fn recheck<'a>(&'a self, stream: &'a OpenStream<'a>) -> Answer<'a, Result<Authentication, PluginError>> {
        let changed = self.fault == Fault::Forgets;
        Answer::Now(Ok(if changed { OpenStream::changed() } else { stream.unless_changed() }))
    }

    fn challenges(&self, _: &RequestCx<'_>, _: Attempt) -> Vec<Challenge> {
        vec![Challenge::new("Tried")]
    }
}

fn tried(fault: Fault) {
    let right = || Request::get("/").header("x-api-key", "right");
    Conformance::<Tried>::new(|| Faulty(fault)).granting(right).check();
}

#[test]
fn a_plugin_without_faults_passes() {
    tried(Fault::None);
}

#[test]
#[should_panic(expected = "not text")]
fn one_that_panics_does_not_pass() {
    tried(Fault::Panics);
}

#[test]
#[should_panic(expected = "it kept its thread for")]
fn one_that_blocks_does_not_pass() {
    tried(Fault::Blocks);
}

#[test]
#[should_panic(expected = "it tells the secret")]
fn one_that_repeats_what_it_was_shown_does_not_pass() {
    tried(Fault::Tells);
}

#[test]
#[should_panic(expected = "it asked the store, which failed, and it grants")]
fn one_that_grants_without_its_store_does_not_pass() {
    tried(Fault::Trusts);
}

#[test]
#[should_panic(expected = "no answer within")]
fn one_that_leaves_something_taken_when_it_is_dropped_does_not_pass() {
    tried(Fault::Leaks);
}

#[test]
#[should_panic(expected = "no answer within")]
fn one_that_waits_for_ever_does_not_pass() {
    tried(Fault::Waits);
}

#[test]
#[should_panic(expected = "nothing has changed, and the request ends")]
fn one_that_knows_nobody_after_a_reload_does_not_pass() {
    tried(Fault::Forgets);
}
