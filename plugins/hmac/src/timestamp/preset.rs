//! What four services have settled on, in the words of the configuration.

use portcullis_plugin::schemars::JsonSchema;
use serde::Deserialize;

use super::{
    config::TimestampConfig,
    layout::{Component, Field, Literal, Part},
};
use crate::tag::SignatureEncoding;

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

impl Preset {
    /// The settings that it stands for.
    pub fn settings(self) -> TimestampConfig {
        match self {
            Self::Stripe => TimestampConfig {
                signature_header: text("stripe-signature"),
                signature_prefix: text("v1="),
                signature_separator: Some(','),
                signature_encoding: Some(SignatureEncoding::Hex),
                timestamp_header: text("stripe-signature"),
                timestamp_prefix: text("t="),
                separator: text("."),
                layout: Some([Part::Timestamp, Part::Body].map(Field::Part).into()),
                unsigned: Some(vec![Component::Method, Component::Path, Component::Query]),
                ..TimestampConfig::default()
            },
            Self::Slack => TimestampConfig {
                signature_header: text("x-slack-signature"),
                signature_prefix: text("v0="),
                signature_encoding: Some(SignatureEncoding::Hex),
                timestamp_header: text("x-slack-request-timestamp"),
                separator: text(":"),
                layout: Some(vec![
                    Field::Literal(Literal { literal: "v0".to_owned() }),
                    Field::Part(Part::Timestamp),
                    Field::Part(Part::Body),
                ]),
                unsigned: Some(vec![Component::Method, Component::Path, Component::Query]),
                ..TimestampConfig::default()
            },
            Self::Github => TimestampConfig {
                signature_header: text("x-hub-signature-256"),
                signature_prefix: text("sha256="),
                signature_encoding: Some(SignatureEncoding::Hex),
                layout: Some(vec![Field::Part(Part::Body)]),
                unsigned: Some(vec![Component::Method, Component::Path, Component::Query, Component::Timestamp]),
                ..TimestampConfig::default()
            },
            Self::StandardWebhooks => TimestampConfig {
                signature_header: text("webhook-signature"),
                signature_prefix: text("v1,"),
                signature_separator: Some(' '),
                signature_encoding: Some(SignatureEncoding::Base64),
                timestamp_header: text("webhook-timestamp"),
                id_header: text("webhook-id"),
                separator: text("."),
                layout: Some([Part::Id, Part::Timestamp, Part::Body].map(Field::Part).into()),
                secret_prefix: text("whsec_"),
                unsigned: Some(vec![Component::Method, Component::Path, Component::Query]),
                ..TimestampConfig::default()
            },
        }
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}
