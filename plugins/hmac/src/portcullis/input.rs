//! `Signature-Input` and `Signature` (RFC 9421 section 4): the covered components, the parameters and the signatures.

use std::fmt::Write;

use portcullis_plugin::{
    UnixTime,
    http::{HeaderMap, HeaderName},
};
use sfv::{BareItemFromInput, ListSerializer};

use super::{
    component::{Component, identifier},
    dictionary::{self, List, Member, Value},
};
use crate::scheme::{KEY_ID_MAX_BYTES, SIGNATURE_MAX_BYTES, SignedRequest, Wrong};

/// The header with the signatures.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("signature");
/// The header with their components and parameters.
pub(super) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
/// The longest nonce and the longest tag, in bytes.
const TEXT_MAX_BYTES: usize = 256;

/// The components and parameters of one signature, as its client lists them.
#[derive(Debug)]
pub(super) struct Input {
    /// The covered components, each with its identifier as the signature base has it; none twice.
    pub components: Vec<(String, Component)>,
    /// The parameters of the signature.
    pub parameters: SignatureParameters,
    /// Components and parameters serialised: the value of `@signature-params`.
    pub serialised: String,
}

/// The parameters that RFC 9421 section 2.3 defines. Others are signed like these, and mean nothing here.
#[derive(Debug, Default)]
pub(super) struct SignatureParameters {
    pub created: Option<UnixTime>,
    pub expires: Option<UnixTime>,
    pub nonce: Option<String>,
    pub algorithm: Option<String>,
    pub key_id: Option<String>,
    pub tag: Option<String>,
}

/// The members of both headers; `None` where there is neither header. One without the other is wrong.
pub(super) fn fields(headers: &HeaderMap) -> Result<Option<[String; 2]>, Wrong> {
    match (dictionary::field(headers, &SIGNATURE_INPUT)?, dictionary::field(headers, &SIGNATURE)?) {
        (None, None) => Ok(None),
        (Some(input), Some(signature)) => Ok(Some([input.into_owned(), signature.into_owned()])),
        _ => Err(Wrong::malformed("Signature and Signature-Input go together")),
    }
}

impl Input {
    /// Reads the value of one member of `Signature-Input`.
    pub(super) fn read(value: &Value<'_>) -> Result<Self, Wrong> {
        let Value::List(list) = value else { return Err(Wrong::malformed("a member of Signature-Input is no list")) };
        let mut components: Vec<(String, Component)> = Vec::with_capacity(list.items.len());
        for item in &list.items {
            let (identifier, component) = (identifier(item), Component::read(item)?);
            if components.iter().any(|(_, other)| *other == component) {
                return Err(Wrong::malformed("a component is listed twice"));
            }
            components.push((identifier, component));
        }
        Ok(Self { components, parameters: SignatureParameters::read(list)?, serialised: serialised(list) })
    }

    /// The signature base (section 2.5): one line a component, and the parameters last, without a newline at the end.
    /// No value holds a newline, so that no line can be taken for two.
    pub(super) fn base(&self, request: &SignedRequest<'_>) -> Result<Vec<u8>, Wrong> {
        let mut base = String::with_capacity(512);
        for (identifier, component) in &self.components {
            let value = component.value(request)?;
            // Writing to a string does not fail.
            _ = writeln!(base, "{identifier}: {value}");
        }
        _ = write!(base, "\"@signature-params\": {}", self.serialised);
        Ok(base.into_bytes())
    }
}

/// The list as RFC 8941 serialises it, which is what the client signed, whatever spaces it sent.
fn serialised(list: &List<'_>) -> String {
    let mut lists = ListSerializer::new();
    let mut items = lists.inner_list();
    for item in &list.items {
        let mut serialiser = items.bare_item(&item.value);
        for (key, value) in &item.parameters {
            serialiser = serialiser.parameter(key, value);
        }
        _ = serialiser.finish();
    }
    let mut serialiser = items.finish();
    for (key, value) in &list.parameters {
        serialiser = serialiser.parameter(key, value);
    }
    _ = serialiser.finish();
    lists.finish().unwrap_or_default()
}

impl SignatureParameters {
    fn read(list: &List<'_>) -> Result<Self, Wrong> {
        let mut read = Self::default();
        for (key, value) in &list.parameters {
            match key.as_str() {
                "created" => read.created = Some(time(value)?),
                "expires" => read.expires = Some(time(value)?),
                "nonce" => read.nonce = Some(text(value, TEXT_MAX_BYTES)?),
                "alg" => read.algorithm = Some(text(value, TEXT_MAX_BYTES)?),
                "keyid" => read.key_id = Some(text(value, KEY_ID_MAX_BYTES)?),
                "tag" => read.tag = Some(text(value, TEXT_MAX_BYTES)?),
                _ => {}
            }
        }
        Ok(read)
    }

    /// Returns `true` if there is a parameter of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        match name {
            "expires" => self.expires.is_some(),
            "nonce" => self.nonce.is_some(),
            "alg" => self.algorithm.is_some(),
            "tag" => self.tag.is_some(),
            _ => false,
        }
    }
}

/// Seconds since 1970. Structured fields have integers of 15 digits at most.
fn time(value: &BareItemFromInput<'_>) -> Result<UnixTime, Wrong> {
    let seconds = value.as_integer().map(i64::from).filter(|seconds| *seconds >= 0);
    seconds.map(UnixTime).ok_or(Wrong::malformed("a time is no number of seconds since 1970"))
}

fn text(value: &BareItemFromInput<'_>, max_bytes: usize) -> Result<String, Wrong> {
    let text = value.as_string().map(sfv::StringRef::as_str).filter(|text| (1..=max_bytes).contains(&text.len()));
    text.map(str::to_owned).ok_or(Wrong::malformed("a parameter is no string, is empty, or is too long"))
}

/// The signature with this label.
pub(super) fn signature(members: &[Member<'_>], label: &str) -> Result<Vec<u8>, Wrong> {
    let member = members.iter().find(|member| member.key == label);
    let Member { value, .. } = member.ok_or(Wrong::malformed("a Signature-Input has no Signature"))?;
    match value {
        Value::Item(item) => match &item.value {
            BareItemFromInput::ByteSequence(bytes) if (1..=SIGNATURE_MAX_BYTES).contains(&bytes.len()) => {
                Ok(bytes.clone())
            }
            _ => Err(Wrong::malformed("a signature is no bytes, is empty, or is too long")),
        },
        Value::List(_) => Err(Wrong::malformed("a signature is a list")),
    }
}
