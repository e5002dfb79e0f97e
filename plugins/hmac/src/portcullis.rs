//! The scheme `portcullis`: HTTP Message Signatures (RFC 9421) over requests, with `Content-Digest` (RFC 9530) for their
//! bodies.
//!
//! ```text
//! Content-Digest: sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:
//! Signature-Input: sig1=("@method" "@authority" "@path" "@query" "content-digest");created=1800000000;keyid="acme-1"
//! Signature: sig1=:tW1ZDnmPa5vQzp5JUqyF6xNVjgB7YzUyvFdVnsRPPdM=:
//! ```
//!
//! # What is not taken
//! - Component parameters but `name` of `@query-param`: `sf`, `key` and `bs` (other ways to write a header), `tr`
//!   (trailers, which the gateway drops) and `req` (for responses).
//! - A signature without `created` and `keyid`, whatever the policy says.
//! - A label, a component or a parameter that comes twice. The RFC would have the last one count.
//!
//! # Which signature
//! A request may carry several, for several receivers. A policy picks its own by `label` or `tag`; else each whose key is
//! known is tried, [`CLAIMS_MAX`] at most.

use portcullis_plugin::{Challenge, Place, Places, Reason};
use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    component::Component,
    content_digest::CONTENT_DIGEST,
    dictionary::Member,
    input::{Input, SIGNATURE, SIGNATURE_INPUT},
    minimum::Minimum,
};
use crate::{
    key::Algorithm,
    problems::Problems,
    scheme::{BodyUse, CLAIMS_MAX, Claim, Message, Reading, Scheme, SignedRequest, Wrong},
};

mod component;
mod content_digest;
mod dictionary;
mod input;
mod minimum;

/// The settings of the scheme `portcullis`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortcullisConfig {
    /// The components that every signature has to cover: `@method`, `@authority`, `@path`, `@query`, `@scheme`,
    /// `@target-uri`, `@request-target` and headers by their names; `["@method", "@authority", "@path", "@query"]` unless
    /// said. Components that say the same are taken for each other: `@target-uri` for authority, path and query.
    /// `content-digest` is asked for in any case where there is a body (see `body`); here, it is asked for always.
    pub covered: Option<Vec<String>>,
    /// The parameters that every signature has to have beside `created` and `keyid`.
    #[serde(default)]
    pub require: Vec<RequiredParameter>,
    /// The algorithms that are taken; all of them unless said. Each key is for one of them.
    pub algorithms: Option<Vec<MessageAlgorithm>>,
    /// Only the signature with this label counts, such as `sig1`.
    pub label: Option<String>,
    /// Only signatures with this `tag` count: what they are for, so that one made for another purpose is not taken.
    pub tag: Option<String>,
}

/// A parameter of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RequiredParameter {
    /// When it ends.
    Expires,
    /// A value that is used only once.
    Nonce,
    /// The algorithm.
    Alg,
    /// The purpose of the signature.
    Tag,
}

/// An algorithm of RFC 9421 section 3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum MessageAlgorithm {
    /// HMAC with SHA-256: client and gateway share a secret.
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    /// Ed25519.
    #[serde(rename = "ed25519")]
    Ed25519,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
    /// RSASSA-PSS with SHA-512.
    #[serde(rename = "rsa-pss-sha512")]
    RsaPssSha512,
}

impl MessageAlgorithm {
    const ALL: [Self; 4] = [Self::HmacSha256, Self::Ed25519, Self::EcdsaP256Sha256, Self::RsaPssSha512];

    fn algorithm(self) -> Algorithm {
        match self {
            Self::HmacSha256 => Algorithm::HmacSha256,
            Self::Ed25519 => Algorithm::Ed25519,
            Self::EcdsaP256Sha256 => Algorithm::EcdsaP256Sha256,
            Self::RsaPssSha512 => Algorithm::RsaPssSha512,
        }
    }
}

impl RequiredParameter {
    fn name(self) -> &'static str {
        match self {
            Self::Expires => "expires",
            Self::Nonce => "nonce",
            Self::Alg => "alg",
            Self::Tag => "tag",
        }
    }
}

impl PortcullisConfig {
    /// Returns a warning if signatures of this policy may leave out a component that they should cover.
    pub(crate) fn warning(&self) -> Option<(&'static str, &'static str)> {
        let covered = self.covered.as_ref()?;
        let has = |names: &[&str]| covered.iter().any(|covered| names.contains(&covered.as_str()));
        match (has(&["@method"]), has(&["@path", "@target-uri", "@request-target"])) {
            (true, true) => None,
            (false, _) => Some(("covered", "without `@method` a signed GET is a signed DELETE as well: add it")),
            (true, false) => {
                Some(("covered", "without `@path` what is signed for one path is good for all of them: add it"))
            }
        }
    }

    /// Builds the scheme; `None` if something is wrong, which is then in `problems`, each with its field relative to
    /// this table.
    pub(crate) fn build(self, problems: &mut Problems) -> Option<Box<dyn Scheme>> {
        let before = problems.len();
        let mut wrong = |field: &str, why: &str| problems.push((field.to_owned(), why.to_owned()));
        if self.covered.as_ref().is_some_and(Vec::is_empty) {
            wrong("covered", "is empty: a signature over nothing proves nothing");
        }
        if self.algorithms.as_ref().is_some_and(Vec::is_empty) {
            wrong("algorithms", "is empty: leave it out to take all of them");
        }
        if self.label.as_ref().is_some_and(|label| sfv::KeyRef::from_str(label).is_err()) {
            wrong("label", "is no label: a lower-case letter or `*`, then also digits, `_`, `-`, `.`");
        }
        if self.tag.as_ref().is_some_and(|tag| tag.is_empty() || sfv::StringRef::from_str(tag).is_err()) {
            wrong("tag", "is no tag: visible ASCII, and at least one character");
        }
        let minimum = match &self.covered {
            None => Minimum::new(&Minimum::DEFAULT),
            Some(names) => Minimum::new(names),
        };
        let minimum = minimum.map_err(|wrong| {
            problems.extend(wrong.into_iter().map(|(index, why)| (format!("covered[{index}]"), why)));
        });
        let algorithms = self.algorithms.unwrap_or_else(|| MessageAlgorithm::ALL.to_vec());
        let scheme = Portcullis {
            minimum: minimum.ok()?,
            required: self.require,
            algorithms: algorithms.into_iter().map(MessageAlgorithm::algorithm).collect(),
            label: self.label,
            tag: self.tag,
        };
        (problems.len() == before).then(|| Box::new(scheme) as Box<dyn Scheme>)
    }
}

/// The scheme with the settings of one policy.
struct Portcullis {
    minimum: Minimum,
    required: Vec<RequiredParameter>,
    algorithms: Vec<Algorithm>,
    label: Option<String>,
    tag: Option<String>,
}

impl Portcullis {
    fn claims(&self, request: &SignedRequest<'_>) -> Result<Reading, Wrong> {
        let Some([inputs, signatures]) = input::fields(request.headers)? else { return Ok(Reading::Absent) };
        let (inputs, signatures) = (dictionary::parse(&inputs)?, dictionary::parse(&signatures)?);
        if inputs.is_empty() {
            return Err(Wrong::malformed("Signature-Input is empty"));
        }
        let (mut claims, mut first_wrong) = (Vec::new(), None);
        for member in inputs.iter().filter(|member| self.label.as_ref().is_none_or(|label| label == member.key)) {
            match self.claim(request, member, &signatures) {
                Ok(None) => {}
                Ok(Some(_)) if claims.len() >= CLAIMS_MAX => return Err(Wrong::malformed("too many signatures")),
                Ok(Some(claim)) => claims.push(claim),
                Err(wrong) => _ = first_wrong.get_or_insert(wrong),
            }
        }
        match first_wrong {
            _ if !claims.is_empty() => Ok(Reading::Presented(claims)),
            Some(wrong) => Err(wrong),
            None => Err(Wrong::incomplete("no signature has the policy's label and tag")),
        }
    }

    /// Reads one signature; `None` for one that has another tag, and is for somebody else.
    fn claim(
        &self,
        request: &SignedRequest<'_>,
        member: &Member<'_>,
        signatures: &[Member<'_>],
    ) -> Result<Option<Claim>, Wrong> {
        let input = Input::read(&member.value)?;
        if self.tag.is_some() && input.parameters.tag != self.tag {
            return Ok(None);
        }
        self.check(&input)?;
        let message = Message::of_head(input.base(request)?);
        let parameters = input.parameters;
        Ok(Some(Claim {
            signatures: vec![input::signature(signatures, member.key)?],
            algorithm: parameters.algorithm.map(|name| self.algorithm(&name)).transpose()?,
            body: if covers_body(&input.components) {
                BodyUse::Declared(content_digest::read(request.headers)?)
            } else {
                BodyUse::NotCovered
            },
            key_id: parameters.key_id,
            created: parameters.created,
            expires: parameters.expires,
            is_presigned: false,
            nonce: parameters.nonce,
            message,
            scope: String::new(),
        }))
    }

    /// Checks that the signature has every parameter, and covers every component, that the policy asks for.
    fn check(&self, input: &Input) -> Result<(), Wrong> {
        if input.parameters.created.is_none() {
            return Err(Wrong::incomplete("there is no `created`"));
        }
        if input.parameters.key_id.is_none() {
            return Err(Wrong::incomplete("there is no `keyid`"));
        }
        if self.required.iter().any(|required| !input.parameters.has(required.name())) {
            return Err(Wrong::incomplete("a parameter that the policy asks for is absent"));
        }
        self.minimum.check(&input.components)
    }

    /// The algorithm of this name, if the policy takes it. [`SigningKey::verify`](crate::key::SigningKey::verify)
    /// checks that the key is for it.
    fn algorithm(&self, name: &str) -> Result<Algorithm, Wrong> {
        let algorithm = self.algorithms.iter().find(|algorithm| algorithm.name() == name);
        let why = "the algorithm is not one of the policy's";
        algorithm.copied().ok_or(Wrong { reason: Reason::AlgorithmNotAllowed, why })
    }
}

fn covers_body(components: &[(String, Component)]) -> bool {
    components.iter().any(|(_, component)| *component == Component::Field(CONTENT_DIGEST))
}

impl Scheme for Portcullis {
    fn read(&self, request: &SignedRequest<'_>) -> Reading {
        self.claims(request).unwrap_or_else(Reading::Wrong)
    }

    fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    fn places(&self) -> Places {
        let header = |name| Place::Header { name, scheme: None };
        Places(vec![header(SIGNATURE), header(SIGNATURE_INPUT)])
    }

    fn challenge(&self) -> Challenge {
        let mut parameters = vec!["created", "keyid"];
        parameters.extend(self.required.iter().map(|required| required.name()));
        let algorithms: Vec<_> = self.algorithms.iter().map(|algorithm| algorithm.name()).collect();
        Challenge::new("Signature")
            .parameter("components", self.minimum.names())
            .parameter("parameters", parameters.join(" "))
            .parameter("algorithms", algorithms.join(" "))
    }
}

#[cfg(test)]
mod tests;
