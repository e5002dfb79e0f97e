//! The settings of the scheme `timestamp`, as they stand in the file.

use portcullis_plugin::schemars::JsonSchema;
use serde::Deserialize;

use super::field::{Component, Field};
use crate::tag::{HmacName, SignatureEncoding};

/// The settings of the scheme `timestamp`. With a `preset`, the other settings here override those of the preset.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimestampConfig {
    /// The layout of a service that signs its webhooks.
    pub preset: Option<Preset>,
    /// The header with the signature; `x-signature` unless said.
    pub signature_header: Option<String>,
    /// The text before the signature: the algorithm's name and `=`, such as `hmac-sha256=`, unless said. `""` where
    /// clients send the signature alone.
    pub signature_prefix: Option<String>,
    /// The separator of several items in the signature's header, of which those with the prefix are signatures.
    pub signature_separator: Option<char>,
    /// The encoding of signatures; hexadecimal or Base64 unless said.
    pub signature_encoding: Option<SignatureEncoding>,
    /// The HMAC; `hmac-sha256` unless said.
    pub algorithm: Option<HmacName>,
    /// The header with the time; `x-timestamp` unless said.
    pub timestamp_header: Option<String>,
    /// The text before the time, where the time is an item in the signature's header.
    pub timestamp_prefix: Option<String>,
    /// The header with the key's name; `x-key-id` unless said, and none with a preset. A request without it is of any of
    /// the policy's keys, if these are few.
    pub key_id_header: Option<String>,
    /// The header with the message's id, for `id` in `layout`.
    pub id_header: Option<String>,
    /// The fields of the message in their order; `["method", "target", "timestamp", "body-sha256"]` unless said.
    pub layout: Option<Vec<Field>>,
    /// The separator of the fields; a newline unless said. No field but the body at the end may hold it.
    pub separator: Option<String>,
    /// The text before the body's hash in the message, such as `sha256=`.
    pub body_hash_prefix: Option<String>,
    /// Secrets are Base64, perhaps after this prefix. Without it a secret is used as it stands.
    pub secret_prefix: Option<String>,
    /// The parts of a request that the message is known not to cover. A layout that leaves out the method, the path,
    /// the query, the time or the body is an error unless it stands here. DANGER: anybody on the way can change the
    /// parts that are listed here.
    pub unsigned: Option<Vec<Component>>,
}

/// The layout of a service that signs its webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `Stripe-Signature: t=<time>,v1=<hex>`, over `<time>.<body>`. The secret is used as it stands, `whsec_` and all.
    Stripe,
    /// `X-Slack-Signature: v0=<hex>` and `X-Slack-Request-Timestamp`, over `v0:<time>:<body>`.
    Slack,
    /// `X-Hub-Signature-256: sha256=<hex>`, over the body. DANGER: no time is signed, nor is `X-GitHub-Delivery`: what
    /// was seen once can be sent again for ever. Let the upstream remember the deliveries, or take events that do no
    /// harm when they come twice.
    Github,
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature: v1,<Base64>`, over `<id>.<time>.<body>`. The secret is
    /// Base64, after `whsec_`. (Standard Webhooks, symmetric signatures.)
    StandardWebhooks,
}
