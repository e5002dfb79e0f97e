//! Makes the parts of an identity out of a token's claims.
//!
//! A part whose claim is there with another type than it should have makes the token malformed. Were it passed over, a
//! restriction that denies by it (`deny = [{ roles = ["suspended"] }]`) would let the token in.

use portcullis_jose::{Wrong, claims::Path};
use portcullis_plugin::{Claimed, Claims, serde_json::Value};

use crate::config::{ClaimPaths, Mapping};

/// The claims of each part, in the order in which they are looked at.
pub(crate) struct Parts {
    subject: Vec<Path>,
    client: Vec<Path>,
    tenant: Vec<Path>,
    email: Vec<Path>,
    roles: Vec<Path>,
    scopes: Vec<Path>,
}

/// The parts of an identity that the claims have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MappedClaims {
    pub(crate) subject: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) scopes: Vec<String>,
}

impl Parts {
    /// The mapping of the issuer's own table, else that of the common one, else the usual one.
    pub(crate) fn new(own: Option<&Mapping>, common: Option<&Mapping>) -> Self {
        let paths = |field: fn(&Mapping) -> Option<&ClaimPaths>, usual: &[&str]| {
            let said = own.and_then(field).or(common.and_then(field));
            said.map_or_else(|| usual.iter().map(|name| claim(name)).collect(), ClaimPaths::to_vec)
        };
        Self {
            // RFC 7519 section 4.1.2.
            subject: paths(|of| of.subject.as_ref(), &["sub"]),
            // OpenID Connect Core section 2, and RFC 8693 section 4.3.
            client: paths(|of| of.client.as_ref(), &["azp", "client_id"]),
            tenant: paths(|of| of.tenant.as_ref(), &[]),
            // OpenID Connect Core section 5.1.
            email: paths(|of| of.email.as_ref(), &["email"]),
            // RFC 9068 section 2.2.3.1.
            roles: paths(|of| of.roles.as_ref(), &["roles"]),
            // RFC 8693 section 4.2; `scp` is what several servers send.
            scopes: paths(|of| of.scopes.as_ref(), &["scope", "scp"]),
        }
    }

    /// Returns `true` if a claim speaks for the tenant.
    pub(crate) fn has_tenant(&self) -> bool {
        !self.tenant.is_empty()
    }

    /// Reads a token's claims.
    ///
    /// # Errors
    /// `token_malformed` where a claim has another type than it should.
    pub(crate) fn read(&self, claims: &Claims) -> Result<MappedClaims, Wrong> {
        let said = |paths: &[Path]| first(paths, claims).map(text).transpose();
        let email = said(&self.email)?.filter(|_| is_email_verified(claims));
        Ok(MappedClaims {
            subject: said(&self.subject)?,
            client: said(&self.client)?,
            tenant: said(&self.tenant)?,
            email,
            roles: first(&self.roles, claims).map_or(Ok(Vec::new()), |value| texts(value, |one| vec![one]))?,
            scopes: first(&self.scopes, claims)
                .map_or(Ok(Vec::new()), |value| texts(value, |all| all.split(' ').collect()))?,
        })
    }
}

/// The issuer and the subject that a token names, for the log: nothing has proven them yet.
pub(crate) fn claimed(claims: &Claims) -> Claimed {
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
    Claimed::by_token(text("iss"), text("sub"))
}

impl ClaimPaths {
    fn to_vec(&self) -> Vec<Path> {
        match self {
            Self::One(path) => vec![path.clone()],
            Self::First(paths) => paths.clone(),
        }
    }
}

fn claim(name: &str) -> Path {
    name.parse().expect("the names above are paths")
}

/// The first of the claims that is there. `null` and an empty text are not: some servers send them in place of nothing.
fn first<'c>(paths: &[Path], claims: &'c Claims) -> Option<&'c Value> {
    paths.iter().filter_map(|path| path.get(claims)).find(|value| !value.is_null() && value.as_str() != Some(""))
}

fn text(value: &Value) -> Result<String, Wrong> {
    value.as_str().map(str::to_owned).ok_or(Wrong::malformed("a claim of subject, client, tenant or e-mail is no text"))
}

const NO_TEXTS: Wrong = Wrong::malformed("a claim of roles or scopes is neither a text nor a list of texts");

/// A list of texts, or one text, which `split` takes apart. Empty items are dropped.
fn texts<'v>(value: &'v Value, split: impl Fn(&'v str) -> Vec<&'v str>) -> Result<Vec<String>, Wrong> {
    let items = match value {
        Value::String(text) => split(text),
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<_>>().ok_or(NO_TEXTS)?,
        _ => return Err(NO_TEXTS),
    };
    Ok(items.into_iter().filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// Returns `true` unless the token says that the address was not verified, and so may be somebody else's (OpenID
/// Connect Core section 5.7). Some servers send the truth value as a text.
fn is_email_verified(claims: &Claims) -> bool {
    match claims.get("email_verified") {
        None | Some(Value::Bool(true)) => true,
        Some(value) => value.as_str() == Some("true"),
    }
}
