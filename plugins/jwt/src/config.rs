//! The settings of a policy.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf};

use portcullis_jose::{
    Algorithm, CertificateBinding,
    claims::{Path, Rule},
    remote::Settings,
};
use portcullis_plugin::{AttemptLimits, HeaderNames, PlaceFields, Places, SecretSource, Span};
use schemars::JsonSchema;
use serde::Deserialize;

/// Declares what can be said of an issuer, once for the two places where it can stand: the policy itself, for its only
/// issuer or for all of them, and an entry of `issuers`. Serde cannot flatten a table and refuse unknown fields in it.
macro_rules! of_an_issuer {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty,)+) => {
        /// Proves who calls by a signed token (RFC 7519): the policy says whose tokens it takes, and by which keys.
        #[derive(Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: Option<$type>,)+
            /// Takes tokens of whoever holds the key, in the place of `issuer`. `iss` is not looked at.
            #[serde(default)]
            pub any_issuer: bool,
            /// Several issuers, in the place of `issuer`. Settings that are common to them stand beside this list, and
            /// an entry may say it otherwise; `claims` hold together.
            pub issuers: Option<Vec<Issuer>>,
            /// The header, or the headers, that carry the token; `authorization` unless said.
            pub header: Option<HeaderNames>,
            /// The authentication scheme before the token; in `authorization` it is `Bearer` unless said.
            pub scheme: Option<String>,
            /// All places of the token, in the place of `header` and `scheme`.
            pub from: Option<Places>,
            /// Leaves the token in the request that is forwarded.
            #[serde(default)]
            pub keep_credential: bool,
            /// The longest token that is looked at, in bytes; 16384 unless said, and at most 65536.
            pub max_token_bytes: Option<NonZeroUsize>,
            /// The most tokens that are remembered once their signature was found right; 10000 unless said.
            pub max_cached_tokens: Option<NonZeroUsize>,
            /// The number of tokens with a wrong signature that are looked at before their sender has to wait: any
            /// number unless said, for nobody guesses a signature.
            #[serde(default)]
            pub attempts: AttemptLimits,
        }

        /// An issuer among several, and what holds for its tokens alone.
        #[derive(Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Issuer {
            $($(#[doc = $doc])+ pub $field: Option<$type>,)+
        }

        impl Config {
            /// Takes out the settings of an issuer that stand here.
            pub(crate) fn take_common(&mut self) -> Issuer {
                Issuer { $($field: self.$field.take(),)+ }
            }
        }
    };
}

of_an_issuer! {
    /// The issuer whose tokens are taken: `iss`, to the letter.
    issuer: String,
    /// The names of this service at the issuer: one of these has to be in `aud`.
    audience: Vec<String>,
    /// Takes tokens for any audience, in the place of `audience`: also those that were meant for another service.
    any_audience: bool,
    /// The algorithms of signatures that are taken: `RS256`, `PS256`, `ES256` and `EdDSA` unless said. With `secret` it
    /// has to be said, and is one of `HS256`, `HS384`, `HS512`.
    algorithms: Vec<Algorithm>,
    /// Where the issuer publishes its keys (JWKS, RFC 7517).
    jwks_url: String,
    /// Asks the issuer's discovery document where its keys are (`/.well-known/openid-configuration`).
    discovery: bool,
    /// A file with the issuer's keys (JWKS, RFC 7517).
    jwks_file: PathBuf,
    /// A file with the issuer's public key, PEM.
    public_key_file: PathBuf,
    /// The secret that the issuer shares with us, at least as long as the hash. Whoever can check such a token can also
    /// make one.
    secret: SecretSource,
    /// The settings for fetching keys, with `jwks_url` and `discovery`.
    fetch: Settings,
    /// The type that a token's header has to name, such as `at+jwt` (RFC 9068); `application/at+jwt` is the same.
    typ: String,
    /// The most that clocks may be apart; 30 s unless said.
    leeway: Span,
    /// Refuses tokens that were made to live longer than this, from `iat` to `exp`.
    max_lifetime: Span,
    /// Refuses tokens that were issued longer ago than this, by `iat`.
    max_age: Span,
    /// Further rules for the claims. Those beside `issuers` and those of an issuer hold together.
    claims: Vec<Rule>,
    /// The tenant that the issuer speaks for. Where `identity.tenant` names a claim, that claim has to be this.
    tenant: String,
    /// The rule for binding tokens to the client's certificate (`cnf` with `x5t#S256`, RFC 8705): `required`, or
    /// `when-present` (unless said), by which one that is bound is taken over that certificate's connection alone.
    certificate_binding: CertificateBinding,
    /// The claims that make the identity.
    identity: Mapping,
    /// The way to find a token's consumer among the credentials in the file.
    consumer: ConsumerBy,
    /// Refuses tokens without a consumer (403); `true` with `consumer`, unless this says otherwise.
    consumer_required: bool,
    /// Headers for the upstream and the claims they are filled from: `{ "x-department" = "department" }`. Lists are
    /// separated by commas, and a claim that is neither text, number, truth value nor a list of these is left out.
    headers: BTreeMap<String, Path>,
    /// The claim that carries a subject's token version, a number: with it, `portcullis revoke` can end all tokens
    /// below one.
    version_claim: Path,
}

/// The claims that make the identity: for each part a claim, or a list of which the first that is there counts. An
/// empty list leaves the part out. A claim that is there and has another type than it should makes the token malformed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The subject of the token; `sub` unless said.
    pub subject: Option<ClaimPaths>,
    /// The client software that got the token; `azp`, or else `client_id`, unless said.
    pub client: Option<ClaimPaths>,
    /// The tenant; none unless said.
    pub tenant: Option<ClaimPaths>,
    /// The e-mail address; `email` unless said. It counts for nothing where `email_verified` says that it is not.
    pub email: Option<ClaimPaths>,
    /// The roles, a text or a list of texts; `roles` unless said.
    pub roles: Option<ClaimPaths>,
    /// The scopes, a text with spaces between them or a list of texts; `scope`, or else `scp`, unless said.
    pub scopes: Option<ClaimPaths>,
}

/// `"azp"` or `["azp", "client_id"]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "the path of a claim, or a list of paths")]
pub enum ClaimPaths {
    /// One claim.
    One(Path),
    /// The first of these that is there.
    First(Vec<Path>),
}

/// `{ by = "subject" }`, `{ by = "client" }` or `{ by = "claim", claim = "organisation.id" }`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerBy {
    /// The part of a token that names its consumer; `subject` unless said.
    #[serde(default)]
    pub by: By,
    /// With `by = "claim"`: the claim, a text.
    pub claim: Option<Path>,
}

/// The part of a token that names its consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Issuer and subject.
    #[default]
    Subject,
    /// Issuer and client.
    Client,
    /// Issuer and a claim.
    Claim,
}

impl Config {
    /// Returns the places to look for the token.
    pub(crate) fn places(&self, problems: &mut Vec<(String, String)>) -> Places {
        let fields =
            PlaceFields { header: self.header.as_ref(), scheme: self.scheme.as_deref(), from: self.from.as_ref() };
        fields.places("authorization", Some("Bearer"), problems)
    }
}

/// A consumer's credential, which says whose tokens are this consumer's. One of `subject`, `client_id` and `claim`, as
/// the policy's `consumer.by` says.
///
/// With `scopes` on the entry, only those of a token's scopes count that are among them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The issuer; may be left out where the policy knows one alone.
    pub issuer: Option<String>,
    /// The subject of its tokens.
    pub subject: Option<String>,
    /// The client that its tokens were made for.
    pub client_id: Option<String>,
    /// A claim of its tokens.
    pub claim: Option<ClaimIs>,
}

/// `{ path = "organisation.id", value = "acme" }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimIs {
    /// The claim; the same as the policy's `consumer.claim`.
    pub path: Path,
    /// The claim's value.
    pub value: String,
}
