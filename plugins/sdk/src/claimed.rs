use std::sync::Arc;

use crate::Identity;

/// The principal that a denied request claims to be, for the audit log: without it nobody would see that many wrong
/// passwords were for one user. Nothing of it is proven, which is why it is never an identity, and it is cut: a client
/// writes it.
///
/// Only names belong here, and never what proves them: not a part of a key, nor of a token.
#[derive(Clone, Debug)]
pub struct Claimed(Who);

#[derive(Clone, Debug)]
enum Who {
    Named(Box<Names>),
    Known(Arc<Identity>),
}

#[derive(Clone, Debug, Default)]
struct Names {
    user: Option<Box<str>>,
    key_ids: Vec<Box<str>>,
    subject: Option<Box<str>>,
    issuer: Option<Box<str>>,
    sha256: Option<Box<str>>,
}

impl Claimed {
    /// The most bytes of each name that are shown.
    pub const NAME_MAX_BYTES: usize = 256;

    /// The most ids of keys that are shown.
    pub const KEY_IDS_MAX: usize = 4;

    /// By a user name.
    pub fn by_user(name: &str) -> Self {
        Self::by(Names { user: Some(cut(name).into()), ..Names::default() })
    }

    /// By the ids of keys, in a scheme in which they are no secrets; more than one where a request is signed by several.
    pub fn by_key_ids<'n>(ids: impl IntoIterator<Item = &'n str>) -> Self {
        let mut key_ids: Vec<Box<str>> = Vec::new();
        for id in ids.into_iter().map(cut).filter(|id| !id.is_empty()) {
            if key_ids.len() < Self::KEY_IDS_MAX && !key_ids.iter().any(|known| **known == *id) {
                key_ids.push(id.into());
            }
        }
        Self::by(Names { key_ids, ..Names::default() })
    }

    /// By `iss` and `sub` of a token.
    pub fn by_token(issuer: Option<&str>, subject: Option<&str>) -> Self {
        let [issuer, subject] = [issuer, subject].map(|name| name.map(|name| cut(name).into()));
        Self::by(Names { issuer, subject, ..Names::default() })
    }

    /// By who made a certificate and for whom, in its own words, and by the SHA-256 of it in hexadecimal: with that a
    /// consumer's entry for it can be written.
    pub fn by_certificate(issuer: &str, subject: &str, sha256: &str) -> Self {
        let [issuer, subject, sha256] = [issuer, subject, sha256].map(|name| Some(cut(name).into()));
        Self::by(Names { issuer, subject, sha256, ..Names::default() })
    }

    /// By an identity that was proven once and counts no longer: a token or a certificate that is remembered and was
    /// revoked. It allocates nothing.
    pub fn once(identity: Arc<Identity>) -> Self {
        Self(Who::Known(identity))
    }

    fn by(names: Names) -> Self {
        Self(Who::Named(Box::new(names)))
    }

    /// Returns the names that are claimed, each with its field in the log. Empty names are left out. Of several keys
    /// only the first is among them.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let [user, subject, issuer, sha256] = match &self.0 {
            Who::Named(names) => [&names.user, &names.subject, &names.issuer, &names.sha256].map(Option::as_deref),
            Who::Known(it) => {
                let certificate = it.certificate.as_deref();
                let subject = it.subject.as_deref().or(certificate.map(|of| of.subject.as_str()));
                [None, subject, it.issuer.as_deref(), certificate.map(|of| of.fingerprint.as_str())]
            }
        };
        let key_id = self.key_ids().next();
        let fields = [("user", user), ("key_id", key_id), ("subject", subject), ("issuer", issuer), ("sha256", sha256)];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, cut(value?))));
        fields.filter(|(_, value)| !value.is_empty())
    }

    /// The ids of all keys that are claimed, each once.
    pub fn key_ids(&self) -> impl ExactSizeIterator<Item = &str> {
        let ids = match &self.0 {
            Who::Named(names) => names.key_ids.as_slice(),
            Who::Known(_) => &[],
        };
        ids.iter().map(|id| &**id)
    }
}

/// Two claims are equal if their lines in the log are.
impl PartialEq for Claimed {
    fn eq(&self, other: &Self) -> bool {
        self.fields().eq(other.fields()) && self.key_ids().eq(other.key_ids())
    }
}

impl Eq for Claimed {}

/// The beginning of a name, whole characters only.
fn cut(name: &str) -> &str {
    let most = name.len().min(Claimed::NAME_MAX_BYTES);
    let end = (0..=most).rev().find(|at| name.is_char_boundary(*at)).unwrap_or_default();
    &name[..end]
}

#[cfg(test)]
mod tests;
