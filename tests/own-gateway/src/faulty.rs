//! Sleeps, panics or wakes up late in the hook that the file names: what the engine makes of it is seen from outside.

use std::sync::Arc;

use portcullis::plugin::{bytes::Bytes, *};
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin, and a policy of it that is ready to go wrong.
pub struct Faulty {
    hook: Hook,
    sleeps: Option<Span>,
    counters: [Counter; 3],
}

/// Goes wrong in one hook.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The hook.
    hook: Hook,
    /// How long it sleeps before it lets the request pass; absent: it panics at once.
    sleeps: Option<Span>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Hook {
    Guard,
    Authenticate,
    Heeds,
    Admit,
    Prepare,
    Serve,
    GuardBeforeServe,
    CertificateBeforeServe,
    HoldBody,
    EditRequest,
    EditResponse,
    BeginBody,
    RequestBody,
    ResponseBody,
    Observe,
}

impl Plugin for Faulty {
    const NAME: &'static str = "faulty";
    type Config = Config;
    type Credential = NoCredential;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let policy = cx.policy().to_owned();
        let counters = ["begun", "finished", "cut"].map(|event| {
            let labels = [("policy", policy.as_str()), ("event", event)];
            cx.counter("portcullis_faulty_sleeps_total", "Sleeps, by how they ended.", &labels)
        });
        let faulty = Arc::new(Self { hook: config.hook, sleeps: config.sleeps, counters });
        let of = |hooks: &[Hook]| hooks.contains(&config.hook).then(|| faulty.clone());
        Ok(Hooks {
            guard: of(&[Hook::Guard, Hook::GuardBeforeServe]).map(|it| it as _),
            authenticate: of(&[Hook::Authenticate, Hook::Heeds, Hook::GuardBeforeServe, Hook::CertificateBeforeServe])
                .map(|it| it as _),
            admit: of(&[Hook::Admit, Hook::HoldBody]).map(|it| it as _),
            prepare: of(&[Hook::Prepare]).map(|it| it as _),
            serve: of(&[Hook::Serve, Hook::GuardBeforeServe, Hook::CertificateBeforeServe]).map(|it| it as _),
            edit_request: of(&[Hook::EditRequest]).map(|it| it as _),
            edit_response: of(&[Hook::EditResponse]).map(|it| it as _),
            body: of(&[Hook::BeginBody, Hook::RequestBody, Hook::ResponseBody]).map(|it| it as _),
            observe: of(&[Hook::Observe]).map(|it| it as _),
        })
    }
}

impl Faulty {
    /// Goes wrong, and says `answer` if it comes to that.
    fn go<T: Send + 'static>(&self, answer: T) -> Answer<'_, Result<T, PluginError>> {
        let Some(span) = self.sleeps else { panic!("a fault") };
        Answer::later(async move {
            let [begun, finished, cut] = &self.counters;
            begun.increment();
            let mut sleep = Sleep(Some(cut));
            tokio::time::sleep(span.0).await;
            sleep.0 = None;
            finished.increment();
            Ok(answer)
        })
    }
}

/// Tells of a sleep that is cut.
struct Sleep<'c>(Option<&'c Counter>);

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|cut| cut.increment());
    }
}

impl Guard for Faulty {
    fn guard<'a>(&'a self, _: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>> {
        self.go(Verdict::Allow)
    }
}

impl Authenticate for Faulty {
    fn authenticate<'a>(&'a self, _: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>> {
        if self.hook == Hook::Heeds {
            return Answer::Now(Ok(Authentication::Absent));
        }
        self.go(Authentication::Granted(Arc::new(Identity { method: "faulty".into(), ..Identity::default() })))
    }

    fn challenges(&self, _: &RequestCx<'_>, _: Attempt) -> Vec<Challenge> {
        Vec::new()
    }

    fn needs_certificate(&self) -> bool {
        self.hook == Hook::CertificateBeforeServe
    }

    fn heeds(&self, _: &Revocation) -> bool {
        assert!(self.hook != Hook::Heeds, "a fault");
        false
    }
}

impl Admit for Faulty {
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        _: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        if self.hook == Hook::HoldBody {
            cx.hold_body(1024, Box::new(|_| panic!("a fault")));
            return Answer::Now(Ok(Verdict::Allow));
        }
        self.go(Verdict::Allow)
    }
}

impl Prepare for Faulty {
    fn prepare<'a>(&'a self, _: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>> {
        self.go(Verdict::Allow)
    }
}

impl Serve for Faulty {
    fn paths(&self) -> Vec<OwnPath> {
        vec![OwnPath::new("/faulty", [http::Method::GET])]
    }

    fn serve<'a>(&'a self, _: &'a mut RequestCx<'_>) -> Answer<'a, Result<Respond, PluginError>> {
        self.go(Respond::new(http::StatusCode::OK, Reason::Plugin("served")))
    }
}

impl EditRequest for Faulty {
    fn edit_request(&self, _: &RequestCx<'_>, _: &mut dyn RequestHead) -> Result<(), PluginError> {
        panic!("a fault")
    }
}

impl EditResponse for Faulty {
    fn edit_response(&self, _: &RequestCx<'_>, _: &mut dyn ResponseHead) -> Result<(), PluginError> {
        panic!("a fault")
    }
}

impl Body for Faulty {
    fn begin(&self, _: &RequestCx<'_>) -> Option<Box<dyn BodyFilter>> {
        assert!(self.hook != Hook::BeginBody, "a fault");
        Some(Box::new(Bodies(self.hook)))
    }
}

struct Bodies(Hook);

impl BodyFilter for Bodies {
    fn request(&mut self, _: &mut Option<Bytes>, _: bool) -> Result<(), Refusal> {
        assert!(self.0 != Hook::RequestBody, "a fault");
        Ok(())
    }

    fn response(&mut self, _: &mut Option<Bytes>, _: bool) -> Result<(), PluginError> {
        assert!(self.0 != Hook::ResponseBody, "a fault");
        Ok(())
    }
}

impl Observe for Faulty {
    fn observe(&self, _: &Outcome<'_>) {
        panic!("a fault")
    }
}
