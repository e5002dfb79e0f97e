//! Answers by itself, or lets pass and adds to the response, in the hook that the file names; and keeps data with the
//! request, whose end is counted.

use std::{collections::BTreeMap, sync::Arc};

use portcullis::plugin::{
    http::{HeaderName, HeaderValue, StatusCode},
    *,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin, and a policy of it that is ready to answer.
pub struct Answerer {
    config: Config,
    headers: Vec<(HeaderName, HeaderValue)>,
    counters: [Counter; 3],
}

/// Answers by itself.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The hook.
    hook: Hook,
    /// The status of its answer; absent: the request may go on.
    status: Option<u16>,
    /// Whether it refuses, by 429 of the gateway's own.
    #[serde(default)]
    refuses: bool,
    /// Headers of the response, whoever makes it.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Whether those are for callers who are known alone.
    #[serde(default)]
    for_known: bool,
    /// The header that it sets on responses; absent: it edits none.
    edits: Option<String>,
    /// Whether it edits the gateway's own answers as well.
    #[serde(default)]
    edits_own: bool,
    /// Whether the destructor of its data panics.
    #[serde(default)]
    drop_panics: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Hook {
    Guard,
    Admit,
}

impl Plugin for Answerer {
    const NAME: &'static str = "answerer";
    type Config = Config;
    type Credential = NoCredential;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let policy = cx.policy().to_owned();
        let counters = ["kept", "observed", "dropped"].map(|event| {
            let labels = [("policy", policy.as_str()), ("event", event)];
            cx.counter("portcullis_answerer_data_total", "Data kept with requests.", &labels)
        });
        let headers = config.headers.iter().map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        let headers = headers.collect::<Option<_>>().ok_or_else(|| BuildError::new("headers", "not a header"))?;
        let hook = config.hook;
        let answerer = Arc::new(Self { config, headers, counters });
        // What the gateway would not send is an error of the configuration.
        answerer.verdict().map_err(|why| BuildError::new("headers", why.to_string()))?;
        Ok(Hooks {
            guard: (hook == Hook::Guard).then(|| answerer.clone() as _),
            admit: (hook == Hook::Admit).then(|| answerer.clone() as _),
            edit_response: answerer.config.edits.is_some().then(|| answerer.clone() as _),
            observe: Some(answerer),
            ..Hooks::default()
        })
    }
}

/// Data of one request.
struct Data {
    dropped: Counter,
    panics: bool,
}

impl Drop for Data {
    fn drop(&mut self) {
        self.dropped.increment();
        assert!(!self.panics, "a fault in a destructor");
    }
}

impl Answerer {
    fn verdict(&self) -> Result<Verdict, PluginError> {
        let reach = if self.config.for_known { Reach::Authenticated } else { Reach::Every };
        let mut edits = HeaderEdits::new().reaching(reach);
        for (name, value) in &self.headers {
            edits.append(name.clone(), value.clone())?;
        }
        let reason = Reason::Plugin("answered");
        if self.config.refuses {
            return Ok(Verdict::Refuse(
                Refusal::too_many_requests(reason, std::time::Duration::from_secs(1)).with(edits),
            ));
        }
        let Some(status) = self.config.status else { return Ok(Verdict::AllowWith(edits)) };
        let status = StatusCode::from_u16(status).map_err(|why| PluginError::new(why.to_string()))?;
        let mut answer = Respond::page(status, reason, "<p>Answered.</p>");
        for (name, value) in &self.headers {
            answer = answer.header(name.clone(), value.clone())?;
        }
        Ok(Verdict::Respond(answer))
    }

    fn decide(&self, cx: &RequestCx<'_>) -> Result<Verdict, PluginError> {
        let [kept, _, dropped] = &self.counters;
        kept.increment();
        cx.set_data(Data { dropped: dropped.clone(), panics: self.config.drop_panics });
        self.verdict()
    }
}

impl Guard for Answerer {
    fn guard<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>> {
        Answer::Now(self.decide(cx))
    }
}

impl Admit for Answerer {
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        _: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        Answer::Now(self.decide(cx))
    }
}

impl EditResponse for Answerer {
    fn edit_response(&self, _: &RequestCx<'_>, head: &mut dyn ResponseHead) -> Result<(), PluginError> {
        head.set_status(StatusCode::IM_A_TEAPOT);
        let name = self.config.edits.as_deref().unwrap_or_default();
        let name: HeaderName = name.parse().map_err(|_| PluginError::new("not a header"))?;
        Ok(head.set(name, HeaderValue::from_static("edited"))?)
    }

    fn wants_own_answers(&self) -> bool {
        self.config.edits_own
    }
}

impl Observe for Answerer {
    fn observe(&self, outcome: &Outcome<'_>) {
        if outcome.data::<Data>().is_some() {
            self.counters[1].increment();
        }
    }
}
