//! Everything a Portcullis plugin needs, and nothing of the engine.
//!
//! A plugin is a type with a name, a typed configuration and a `build` that returns the hooks it takes part in.
//! The smallest useful one, whole:
//!
//! ```
//! use portcullis_plugin::*;
//!
//! /// Refuses every request that comes from outside a country club.
//! struct Doorman;
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// The word that opens the door.
//!     word: String,
//! }
//!
//! impl Plugin for Doorman {
//!     const NAME: &'static str = "doorman";
//!     type Config = Config;
//!     type Credential = NoCredential;
//!
//!     fn build(config: Config, _: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
//!         Ok(Hooks::new().guard(Door(config.word)))
//!     }
//! }
//!
//! struct Door(String);
//!
//! impl Guard for Door {
//!     fn guard<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>> {
//!         let said = cx.headers().get("x-word").is_some_and(|said| said.as_bytes() == self.0.as_bytes());
//!         Answer::Now(Ok(if said { Verdict::Allow } else { Verdict::Refuse(Refusal::forbidden(Reason::Plugin("wrong_word"))) }))
//!     }
//! }
//! ```
//!
//! # The order of things
//! `guard` runs before anyone is known, `authenticate` finds out who calls, `admit` decides whether they may, and
//! `prepare` waits for what the upstream is to be given (or `serve` answers, on a path of the policy's own). Then the request is edited and forwarded, the response edited on
//! its way back (last plugin first), and `observe` sees how it ended. Inside a phase the order is the order in the file.
//!
//! # Answers
//! - **A refusal** ([`Refusal`], [`Denial`]) has a reason and a status; the engine makes the answer, from one table.
//! - **A guard or a restriction may answer by itself** ([`Verdict::Respond`]): a redirect, a page, JSON. The engine sends a
//!   [`Respond`] as it sends its own answers, and logs it with the plugin's reason.
//!
//!   ```
//!   use portcullis_plugin::{http::StatusCode, *};
//!
//!   /// Shows a page while the doors are closed.
//!   struct Closed;
//!
//!   impl Guard for Closed {
//!       fn guard<'a>(&'a self, _: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>> {
//!           let page = "<!doctype html><title>Closed</title><p>We open at eight.";
//!           let answer = Respond::page(StatusCode::SERVICE_UNAVAILABLE, Reason::Plugin("closed"), page);
//!           Answer::Now(Ok(Verdict::Respond(answer)))
//!       }
//!   }
//!
//!   let mut request = testing::Request::get("/");
//!   let Ok(Verdict::Respond(answer)) = testing::now(Closed.guard(&mut request.cx())) else { panic!("it answers") };
//!   assert_eq!(answer.reason().code(), "closed");
//!   ```
//! - **An authenticator proposes an answer** together with an absence ([`Absence`]): it is used in place of 401 where no
//!   credential was sent at all. Other alternatives are tried first; one that grants, fails or is denied counts more.
//! - **Paths of its own** ([`Serve`]): a callback, a logout, a document. They are on the hosts of the routes that use the
//!   policy, come before the file's, and pass those routes' guards.
//!
//!   ```
//!   use portcullis_plugin::{http::{Method, StatusCode}, *};
//!
//!   /// Says where tokens for this resource come from (RFC 9728 section 3).
//!   struct Metadata(serde_json::Value);
//!
//!   impl Serve for Metadata {
//!       fn paths(&self) -> Vec<OwnPath> {
//!           vec![OwnPath::new("/.well-known/oauth-protected-resource", [Method::GET])]
//!       }
//!
//!       fn serve<'a>(&'a self, _: &'a mut RequestCx<'_>) -> Answer<'a, Result<Respond, PluginError>> {
//!           Answer::Now(Ok(Respond::json(StatusCode::OK, Reason::Plugin("metadata_shown"), &self.0)))
//!       }
//!   }
//!
//!   let metadata = Metadata(serde_json::json!({ "authorization_servers": ["https://id.example.com"] }));
//!   let mut request = testing::Request::get("/.well-known/oauth-protected-resource");
//!   assert_eq!(testing::now(metadata.serve(&mut request.cx())).unwrap().status(), 200);
//!   ```
//! - **Headers that any answer has to have** are attached to what a hook says ([`HeaderEdits`]): to a grant
//!   ([`Authentication::GrantedWith`]), an absence, an approval ([`Verdict::AllowWith`]) or a refusal
//!   ([`Refusal::with`]). They reach whatever response ends the request: the upstream's, 101 and 304 too, and the gateway's
//!   own refusals, unless their [`Reach`] is narrower. Those of a grant count if its whole alternative grants, and if no
//!   body proves it wrong.
//! - **`edit_response` sees the gateway's own answers too**, and can add and remove headers of them:
//!
//!   ```
//!   use portcullis_plugin::{http::{HeaderValue, header}, *};
//!
//!   /// Lets scripts of another origin read what they were refused for.
//!   struct Cors;
//!
//!   impl EditResponse for Cors {
//!       fn edit_response(&self, _: &RequestCx<'_>, head: &mut dyn ResponseHead) -> Result<(), PluginError> {
//!           let origin = HeaderValue::from_static("https://app.example");
//!           head.set(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)?;
//!           Ok(head.append(header::VARY, HeaderValue::from_static("Origin"))?)
//!       }
//!   }
//!
//!   let mut refused = testing::Response { is_own: true, ..testing::Response::new(401) };
//!   Cors.edit_response(&testing::Request::get("/").cx(), &mut refused).unwrap();
//!   assert_eq!(refused.headers["vary"], "Origin");
//!   ```
//! - **What one hook finds out another of the same policy may need**: see [`RequestCx::set_data`]. So a token that was
//!   waited for in `prepare`, once, gets into each attempt to reach an upstream:
//!
//!   ```
//!   use portcullis_plugin::{http::{HeaderValue, header}, *};
//!
//!   /// Sends a token of its own along with each request.
//!   struct Escort;
//!
//!   impl Prepare for Escort {
//!       fn prepare<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>> {
//!           Answer::later(async move {
//!               // Here it would ask whoever gives out tokens.
//!               cx.set_data(HeaderValue::from_static("Bearer its-own"));
//!               Ok(Verdict::Allow)
//!           })
//!       }
//!   }
//!
//!   impl EditRequest for Escort {
//!       fn edit_request(&self, cx: &RequestCx<'_>, head: &mut dyn RequestHead) -> Result<(), PluginError> {
//!           let token = cx.data::<HeaderValue>().ok_or_else(|| PluginError::new("there is no token"))?;
//!           Ok(head.set(header::AUTHORIZATION, (*token).clone())?)
//!       }
//!   }
//!   ```
//!
//! # Deadlines and departure
//! - `guard`, `authenticate`, `admit`, `prepare` and `serve` may wait: for a server, a store, a lock, a hash that is computed elsewhere. All
//!   other hooks answer at once, and so do these where they can ([`Answer::Now`]).
//! - **A deadline.** What waits has `hook_timeout` of its own time: `[server]` says how much (5 s unless said), and each
//!   policy may say otherwise. What [`RequestCx::body`] waits for the client is not the hook's time, and has its own limits.
//!   After that the request is refused with 503 (`plugin_timed_out`).
//! - **Departure.** When the client has gone nobody waits for the answer any more: its HTTP/2 stream was reset, its
//!   connection is lost, or it closed its side of an HTTP/1 connection and a second has passed.
//! - In both cases **the future is dropped where it stands**, at any `await` in it, and the same happens when the gateway
//!   stops. Whatever has to be undone is undone in `Drop`.
//! - **What must not be cut is a task of its own**: what others wait for (one fetch for many requests), what happens once (a
//!   refresh token is used up), and a write to the store that somebody could avoid by leaving. Spawn it and wait for the task:
//!
//!   ```
//!   use std::sync::Arc;
//!   use portcullis_plugin::{bytes::Bytes, store::Space, *};
//!
//!   /// Uses a code up, and returns what it stands for. Whoever leaves meanwhile has used it up all the same.
//!   async fn redeem(store: Arc<dyn Store>, codes: Arc<Space>, code: Bytes) -> Result<Option<Bytes>, PluginError> {
//!       let done = tokio::spawn(async move { store.take(codes.key(&code)).get().await });
//!       Ok(done.await.map_err(|error| PluginError::new(error.to_string()))??)
//!   }
//!   ```
//! - **The runtime** is tokio's, with several threads, timers and sockets, and it forwards requests as well: whatever
//!   computes for longer than a millisecond, or blocks, goes to `tokio::task::spawn_blocking`. A hook that blocks its thread
//!   cannot be ended.
//! - **Work that strangers cause** is bounded: signatures by [`Verifications`], anything else that is expensive by a
//!   [`FairQueue`] of its own.
//! - **A panic** in any hook, or in what it returns, is a bug of the plugin. It ends its own request with 500
//!   (`plugin_panicked`), or its connection where the response has begun; its words go to the log with the request's id and
//!   the policy's name, and never to the client. Locks of `std` that were held are poisoned by it, as everywhere.
//! - A line of the log about a request has its id: `log::info!(request_id = cx.request_id(); "...")`.
//!
//! # Tools that a plugin is lent
//! - Cookies of its own, which no upstream gets: [`BuildCx::cookie`].
//! - Metrics: [`BuildCx::counter`], [`BuildCx::gauge`], [`BuildCx::histogram`].
//! - Answers that are kept for a while, over reloads too: [`BuildCx::cache`]. Anything else that outlives a reload:
//!   [`BuildCx::shared`].
//! - Work that many requests wait for and that is done once: [`SingleFlight`].
//! - Work in the background, once or again and again: [`BuildCx::background`], [`BuildCx::every`].
//! - A say for whoever operates the gateway: commands of the control socket ([`BuildCx::command`]) and rows of `/status`
//!   ([`BuildCx::status`]). A policy that counts [`Attempts`] has `forget` and `forget-all` already.
//! - Other servers: the crate `portcullis-http`, whose client has deadlines and limits, and mistrusts its servers.
//!
//! # What a plugin may rely on
//! - `build` may read files through [`BuildCx`]; it does not connect, bind or spawn.
//! - A **refusal** is a value with a reason; a **failure** ([`PluginError`]) refuses the request with 503.
//! - Only the engine sets an identity on a request, and only the engine writes identity headers.
//! - A request that lasts is judged again when the configuration changes or something is revoked: see [`OpenStream`]. A
//!   plugin that learns by itself of such a change says so: see [`JudgeAgain`].
//! - What a credential's entry says for all kinds (`enabled`, `expires`, `routes`, ...) the engine checks by itself after
//!   a plugin has granted: see [`Credential`].

#![forbid(unsafe_code)]

mod address_block;
mod address_rules;
mod answer;
mod attempts;
mod authentication;
mod build;
mod cache;
mod challenge;
mod claimed;
mod control;
mod counter;
mod credential;
mod denial;
mod fair_queue;
mod gauge;
mod header_edits;
mod histogram;
mod hooks;
mod identity;
mod judge_again;
mod managed_header;
mod mention;
mod metric;
mod open_stream;
mod own_path;
mod place_fields;
mod places;
mod plugin;
mod plugin_error;
mod policy_data;
mod proof;
mod reason;
mod refusal;
mod request;
mod respond;
mod revocation;
mod secret;
mod single_flight;
mod span;
pub mod store;
pub mod testing;
mod verifications;

pub use address_block::AddressBlock;
pub use address_rules::AddressRules;
pub use answer::{Answer, BoxFuture};
pub use attempts::{AttemptLimits, AttemptTable, Attempts, Begun, Checked, FailedAttempt, KnownCallers};
pub use authentication::{Absence, Attempt, Authentication};
pub use build::{Background, BuildCx, BuildEnv, BuildError, CredentialEntry, Ends};
pub use cache::Cache;
pub use challenge::Challenge;
pub use claimed::Claimed;
pub use control::{Command, CommandError, StatusPart, StatusRows, StatusValue};
pub use counter::Counter;
pub use credential::{Consumer, Credential, CredentialLimits, Usage};
pub use denial::{Denial, DenialStatus};
pub use fair_queue::{Acquire, FairQueue, Permit, QueueFull};
pub use gauge::{Gauge, OneMore};
pub use header_edits::{HeaderEdit, HeaderEdits, Reach};
pub use histogram::Histogram;
pub use hooks::{
    Admit, Authenticate, Body, BodyFilter, EditRequest, EditResponse, Guard, Hooks, Observe, Outcome, Prepare, Serve,
};
pub use identity::{CertificateNames, Claims, Identity, IdentityField, Rendered, encode_item};
pub use judge_again::JudgeAgain;
pub use managed_header::ManagedHeader;
pub use mention::{Mention, Mentioned};
pub use metric::Metric;
pub use open_stream::OpenStream;
pub use own_path::OwnPath;
pub use place_fields::{HeaderNames, PlaceFields};
pub use places::{Found, Place, Places};
pub use plugin::{NoCredential, Plugin};
pub use plugin_error::PluginError;
pub use policy_data::PolicyData;
pub use proof::Proof;
pub use reason::Reason;
pub use refusal::{Refusal, RefusalStatus, Verdict};
pub use request::{BodyCheck, BodyError, ClientCert, Exchange, RequestCx, RequestHead, ResponseHead};
pub use respond::Respond;
pub use revocation::{Revocation, RevocationKeys, Revocations};
pub use secret::{Secret, SecretSource};
pub use single_flight::{FlightError, SingleFlight};
pub use span::{Span, UnixTime};
pub use store::{LocalStore, Store, StoreError};
pub use verifications::{Cost, Verifications};

/// Re-exported so that a plugin's versions agree with the engine's.
pub use {bytes, http, ipnet, schemars, serde, serde_json};
