//! The settings of each preset.

use super::{
    config::{Preset, TimestampConfig},
    field::{Component, Field, Literal, Part},
};
use crate::tag::SignatureEncoding;

impl Preset {
    /// Returns the settings that the preset stands for.
    pub(super) fn settings(self) -> TimestampConfig {
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
