//! An identity server: discovery and key set over HTTP, as it should be and as it should not.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{Reply, Upstream};

/// How it answers when it is asked for its keys.
#[derive(Clone)]
pub(super) enum Mood {
    /// With this set.
    Keys(Value),
    /// With this set, so much later.
    Slow(Value, Duration),
    /// With this status and no keys.
    Broken(u16),
    /// By sending elsewhere, where there are keys.
    Redirects(Value),
    /// With what is not a key set.
    Lying(String),
}

/// A server that runs. Dropping it kills it.
pub(super) struct IdentityServer {
    server: Upstream,
    mood: Arc<Mutex<Mood>>,
}

impl IdentityServer {
    /// Publishes these keys.
    pub(super) fn start(jwks: &Value) -> Self {
        let mood = Arc::new(Mutex::new(Mood::Keys(jwks.clone())));
        let current = mood.clone();
        let server = Upstream::with(move |asked| {
            let issuer = format!("http://{}", asked.header("host").expect("clients send it"));
            let json =
                |value: &Value| Reply::new(200).header("content-type", "application/json").body(value.to_string());
            let mood = current.lock().expect("no holder panics").clone();
            match (asked.target.as_str(), mood) {
                ("/.well-known/openid-configuration", _) => {
                    json(&json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") }))
                }
                ("/elsewhere", Mood::Redirects(keys)) => json(&keys),
                ("/jwks", Mood::Keys(keys)) => json(&keys),
                ("/jwks", Mood::Slow(keys, after)) => json(&keys).after(after),
                ("/jwks", Mood::Broken(status)) => Reply::new(status),
                ("/jwks", Mood::Redirects(_)) => Reply::new(302).header("location", &format!("{issuer}/elsewhere")),
                ("/jwks", Mood::Lying(body)) => Reply::new(200).header("content-type", "application/json").body(body),
                _ => Reply::new(404),
            }
        });
        Self { server, mood }
    }

    /// Its address.
    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its name as an issuer.
    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Answers like this from now on.
    pub(super) fn is(&self, mood: Mood) {
        *self.mood.lock().expect("no holder panics") = mood;
    }

    /// How often it was asked for its keys.
    pub(super) fn fetches(&self) -> usize {
        self.server.saw().iter().filter(|asked| asked.target == "/jwks").count()
    }
}
