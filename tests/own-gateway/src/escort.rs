//! Sends a token of its own along with each request, as a service that exchanges the caller's for one of its own would:
//! it waits for the token once, and puts it into each attempt to reach the upstream.

use std::{sync::Arc, time::Duration};

use portcullis::plugin::{
    http::{HeaderName, HeaderValue},
    *,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin, and a policy of it.
pub struct Escort {
    banned: Option<String>,
    exchanged: Counter,
}

/// Sends `X-Service-Token` along.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The consumer that gets no token.
    banned: Option<String>,
}

/// The token of one request.
struct Token(HeaderValue);

impl Plugin for Escort {
    const NAME: &'static str = "escort";
    type Config = Config;
    type Credential = NoCredential;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let exchanged = cx.counter("portcullis_escort_exchanges_total", "Tokens that were exchanged.", &[]);
        let escort = Arc::new(Self { banned: config.banned, exchanged });
        Ok(Hooks { prepare: Some(escort.clone()), edit_request: Some(escort), ..Hooks::default() })
    }
}

impl Prepare for Escort {
    fn prepare<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>> {
        Answer::later(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.exchanged.increment();
            let consumer = cx.identity().and_then(|identity| identity.consumer.as_ref());
            let name = consumer.map_or("nobody", |consumer| consumer.name.as_str());
            if self.banned.as_deref() == Some(name) {
                return Ok(Verdict::Refuse(Refusal::forbidden(Reason::Plugin("no_token"))));
            }
            let token = format!("{name}-{}", cx.request_id());
            cx.set_data(Token(HeaderValue::try_from(token).map_err(|error| PluginError::new(error.to_string()))?));
            Ok(Verdict::Allow)
        })
    }
}

impl EditRequest for Escort {
    fn edit_request(&self, cx: &RequestCx<'_>, head: &mut dyn RequestHead) -> Result<(), PluginError> {
        let token = cx.data::<Token>().ok_or_else(|| PluginError::new("no token was exchanged"))?;
        Ok(head.set(HeaderName::from_static("x-service-token"), token.0.clone())?)
    }
}
