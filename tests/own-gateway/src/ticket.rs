//! Finds out who is calling by a ticket: `X-Ticket: acme-1.s3cret`, a credential's id and the secret that goes with it.

use std::{collections::HashMap, sync::Arc};

use portcullis::plugin::*;
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin: a name, and what the file may say.
pub struct Ticket;

/// Callers show a ticket in a header.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The header that carries it.
    #[serde(default = "x_ticket")]
    header: String,
}

fn x_ticket() -> String {
    "x-ticket".into()
}

/// A consumer's entry.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The part of the ticket that only its holder knows.
    secret: SecretSource,
}

impl Plugin for Ticket {
    const NAME: &'static str = "ticket";
    type Config = Config;
    type Credential = Entry;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let place = Place::header(&config.header, None).map_err(|why| BuildError::new("header", why))?;
        let mut holders = HashMap::new();
        for (index, credential, entry) in cx.credentials::<Entry>() {
            match cx.secret("secret", &entry.secret) {
                Ok(secret) => {
                    // Made once for each credential: granting a request is a reference count.
                    let identity = Arc::new(Identity::of_client(&credential));
                    holders.insert(credential.id.to_string(), (secret, identity));
                }
                Err(error) => {
                    error.problems.into_iter().for_each(|(field, why)| cx.credential_problem(index, &field, why));
                }
            }
        }
        Ok(Hooks::new().authenticate(Tickets { header: config.header, places: Places(vec![place]), holders }))
    }
}

/// A policy, ready to judge requests.
struct Tickets {
    header: String,
    places: Places,
    holders: HashMap<String, (Secret, Arc<Identity>)>,
}

impl Authenticate for Tickets {
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>> {
        Answer::Now(Ok(match self.places.find(cx.head()) {
            Found::Absent => Authentication::Absent,
            Found::One(ticket) => self.judge(&ticket),
            Found::Conflict => denied("ticket_conflict"),
        }))
    }

    fn challenges(&self, _: &RequestCx<'_>, _: Attempt) -> Vec<Challenge> {
        vec![Challenge::new("Ticket").parameter("header", &self.header)]
    }

    /// The upstream gets to know who calls, and never by which secret.
    fn hidden(&self) -> Places {
        self.places.clone()
    }
}

impl Tickets {
    fn judge(&self, ticket: &[u8]) -> Authentication {
        let parts = str::from_utf8(ticket).ok().and_then(|ticket| ticket.split_once('.'));
        let Some((id, secret)) = parts else { return denied("ticket_malformed") };
        match self.holders.get(id) {
            // Secrets compare in constant time.
            Some((known, it)) if *known == Secret::new(secret.into()) => Authentication::Granted(it.clone()),
            _ => denied("ticket_unknown"),
        }
    }
}

/// The reason is for the log; the client hears the same words whatever was wrong.
fn denied(reason: &'static str) -> Authentication {
    Authentication::Denied(Denial::unauthorized(Reason::Plugin(reason)))
}
