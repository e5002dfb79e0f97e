//! The scheme `cavage`: draft-cavage-http-signatures, and the variants of it in the `hmac-auth` plugins of Kong and
//! APISIX.
//!
//! ```toml
//! [policies.old-clients]
//! use = "hmac"
//! scheme = "cavage"
//! cavage = { dialects = ["kong"], signed_headers = ["host"] }
//! ```
//!
//! The three differ in the header and in the string that is signed, for `GET /orders` with `Date` signed:
//!
//! | dialect | `Authorization` | string |
//! |---|---|---|
//! | `draft` | `Signature keyId="k",algorithm="hmac-sha256",headers="(request-target) date",signature="..."` | `(request-target): get /orders\ndate: Tue, ...` |
//! | `kong` | `hmac username="k", algorithm="hmac-sha256", headers="@request-target date", signature="..."` | `@request-target: get /orders\ndate: Tue, ...` |
//! | `apisix` | `Signature keyId="k",algorithm="hmac-sha256",headers="@request-target date",signature="..."` | `k\nGET /orders\ndate: Tue, ...\n` |
//!
//! Kong's older `request-line` (`GET /orders HTTP/1.1`) is taken too. The target and either `Date` or `X-Date` have to be
//! signed, whatever those gateways let pass, and a body goes by a signed `Digest`. Not supported: the header
//! `Proxy-Authorization`, which belongs to a hop and not to us; HMAC with SHA-1; `hs2019`, which does not say what it
//! is; and the `X-HMAC-*` headers of APISIX before 3.11.

use portcullis_plugin::{
    Challenge, Place, Places, Reason,
    http::{HeaderMap, HeaderName},
    schemars::JsonSchema,
};
use serde::Deserialize;

use crate::{
    key::Algorithm,
    parameters::{Parameters, credentials},
    problems::Problems,
    scheme::{Claim, KEY_ID_MAX_BYTES, Message, Reading, Scheme, SignedRequest, Wrong},
    signed_headers::header_names,
    tag::{self, HmacName, SignatureEncoding},
};

mod dialect;
mod digest;
mod signed;

pub use dialect::Dialect;

use signed::SignedNames;

/// The settings of the scheme `cavage`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CavageConfig {
    /// Whose clients are taken: `draft`, `kong`, `apisix`. All of them unless said.
    pub dialects: Option<Vec<Dialect>>,
    /// The algorithms that are taken; all of them unless said.
    pub algorithms: Option<Vec<HmacName>>,
    /// Headers that have to be signed beside the date, such as `host` and `digest`. The target always has to be.
    #[serde(default)]
    pub signed_headers: Vec<String>,
}

impl CavageConfig {
    /// Builds the scheme; `None` if something is wrong, which is then in `problems`, each with its field relative to
    /// this table.
    pub(crate) fn build(self, problems: &mut Problems) -> Option<Box<dyn Scheme>> {
        let before = problems.len();
        let dialects = list("dialects", self.dialects, &Dialect::ALL, problems);
        let algorithms = list("algorithms", self.algorithms, &HmacName::ALL, problems);
        let signed_headers = header_names("signed_headers", &self.signed_headers, problems);
        let algorithms = algorithms.into_iter().map(Algorithm::from).collect();
        (problems.len() == before).then(|| Box::new(Cavage { dialects, algorithms, signed_headers }) as _)
    }
}

/// Returns the listed items, or all of them where there is no list.
fn list<T: Copy + PartialEq>(field: &str, list: Option<Vec<T>>, all: &[T], problems: &mut Problems) -> Vec<T> {
    let list = list.unwrap_or_else(|| all.to_vec());
    if list.is_empty() {
        problems.push((field.to_owned(), "is empty: leave it out to take all".to_owned()));
    }
    for (index, item) in list.iter().enumerate() {
        if list[..index].contains(item) {
            problems.push((format!("{field}[{index}]"), "stands here twice".to_owned()));
        }
    }
    list
}

/// One policy's settings.
struct Cavage {
    dialects: Vec<Dialect>,
    algorithms: Vec<Algorithm>,
    signed_headers: Vec<HeaderName>,
}

impl Scheme for Cavage {
    fn read(&self, request: &SignedRequest<'_>) -> Reading {
        self.claim(request).into()
    }

    fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    fn places(&self) -> Places {
        let mut places = Places::default();
        for dialect in &self.dialects {
            places.merge(Places(Place::header("authorization", Some(dialect.scheme())).into_iter().collect()));
        }
        places
    }

    fn challenge(&self) -> Challenge {
        let dialect = self.dialects[0];
        let target = if dialect == Dialect::Draft { "(request-target)" } else { "@request-target" };
        let headers = self.signed_headers.iter().map(HeaderName::as_str);
        let headers = [target, "date"].into_iter().chain(headers.filter(|name| *name != "date")).collect::<Vec<_>>();
        // The draft's own words (section 3.1.1), whichever dialect it is.
        Challenge::new(dialect.scheme()).parameter("headers", headers.join(" "))
    }
}

impl Cavage {
    fn claim(&self, request: &SignedRequest<'_>) -> Result<Option<Claim>, Wrong> {
        let Some((is_kong, header)) = self.header(request.headers)? else { return Ok(None) };
        let mut parameters = Parameters::read(header)?;
        let key_id = parameters.take(if is_kong { "username" } else { "keyId" })?;
        let algorithm = self.algorithm(parameters.take("algorithm")?)?;
        let names = SignedNames::read(parameters.take("headers")?)?;
        let signature = tag::decode(parameters.take("signature")?, SignatureEncoding::Base64, algorithm)
            .ok_or(Wrong::malformed("the signature is not one of the algorithm in Base64"))?;
        parameters.finish()?;
        if key_id.len() > KEY_ID_MAX_BYTES {
            return Err(Wrong::malformed("the key id is too long"));
        }
        let dialect = self.dialect(is_kong, &names)?;
        names.require(&self.signed_headers)?;
        Ok(Some(Claim {
            key_id: Some(key_id.to_owned()),
            signatures: vec![signature],
            algorithm: Some(algorithm),
            created: Some(names.time(request.headers)?),
            expires: None,
            is_presigned: false,
            nonce: None,
            body: names.body_use(request.headers)?,
            message: Message::of_head(names.message(dialect, key_id, request)?),
            scope: String::new(),
        }))
    }

    /// Returns the text after the authentication scheme, with `true` if the scheme is Kong's.
    fn header<'r>(&self, headers: &'r HeaderMap) -> Result<Option<(bool, &'r [u8])>, Wrong> {
        let found = |is_kong: bool| {
            let mut dialects = self.dialects.iter().filter(|dialect| (**dialect == Dialect::Kong) == is_kong);
            dialects.next().map_or(Ok(None), |dialect| credentials(headers, dialect.scheme()))
        };
        match (found(true)?, found(false)?) {
            (Some(_), Some(_)) => Err(Wrong::malformed("two Authorization headers")),
            (kong, other) => Ok(kong.map(|header| (true, header)).or(other.map(|header| (false, header)))),
        }
    }

    fn algorithm(&self, name: &str) -> Result<Algorithm, Wrong> {
        let known = self.algorithms.iter().find(|algorithm| algorithm.name() == name);
        let why = "an algorithm that the policy does not take";
        known.copied().ok_or(Wrong { reason: Reason::AlgorithmNotAllowed, why })
    }

    /// Returns the dialect, which shows in the spelling of the target.
    fn dialect(&self, is_kong: bool, names: &SignedNames<'_>) -> Result<Dialect, Wrong> {
        let dialect = match () {
            () if is_kong && (names.has("@request-target") || names.has("request-line")) => Dialect::Kong,
            () if !is_kong && names.has("(request-target)") => Dialect::Draft,
            () if !is_kong && names.has("@request-target") => Dialect::Apisix,
            () => return Err(Wrong::incomplete("the target is not signed")),
        };
        if !self.dialects.contains(&dialect) {
            return Err(Wrong::malformed("a dialect that the policy does not take"));
        }
        Ok(dialect)
    }
}

#[cfg(test)]
mod tests;
