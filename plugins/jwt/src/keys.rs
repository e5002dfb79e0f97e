//! The keys of an issuer, and the algorithms that go with them.

use std::{path::Path, sync::Arc};

use portcullis_jose::{
    Algorithm, Family, KeySet,
    remote::{KeySource, KeysUnavailable, Location},
};
use portcullis_plugin::{BuildCx, BuildError, SecretSource};

use crate::{config::Issuer as IssuerSettings, layers::Layers, problems::Problems};

/// The algorithms of an issuer with public keys, unless the file says otherwise: for each type of key the algorithm
/// that its owners use, and none that needs a secret.
const USUAL: [Algorithm; 4] = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];

/// An issuer's keys.
pub(crate) enum Keys {
    /// From a file or a secret: the same until the next configuration.
    Fixed(Arc<KeySet>),
    /// From the issuer.
    Fetched(Arc<KeySource>),
}

impl Keys {
    /// The source of the keys, where they are fetched.
    pub(crate) fn fetched(&self) -> Option<&Arc<KeySource>> {
        match self {
            Self::Fixed(_) => None,
            Self::Fetched(source) => Some(source),
        }
    }

    /// The keys that count now.
    pub(crate) fn current(&self) -> Result<Arc<KeySet>, KeysUnavailable> {
        match self {
            Self::Fixed(keys) => Ok(keys.clone()),
            Self::Fetched(source) => source.current(),
        }
    }

    /// The keys that count after the issuer was asked for one that is not among the current ones.
    pub(crate) async fn refreshed_for(&self, kid: Option<&str>) -> Result<Arc<KeySet>, KeysUnavailable> {
        match self {
            Self::Fixed(keys) => Ok(keys.clone()),
            Self::Fetched(source) => source.refreshed_for(kid).await,
        }
    }
}

/// One of the ways to name keys.
#[derive(Clone, Copy)]
enum Source<'c> {
    Url(&'c str),
    Discovery,
    JwksFile(&'c Path),
    PublicKeyFile(&'c Path),
    Secret(&'c SecretSource),
}

/// The ways that a table names, each with its field.
fn sources(settings: &IssuerSettings) -> Vec<(&'static str, Source<'_>)> {
    let sources = [
        ("jwks_url", settings.jwks_url.as_deref().map(Source::Url)),
        ("discovery", settings.discovery.unwrap_or(false).then_some(Source::Discovery)),
        ("jwks_file", settings.jwks_file.as_deref().map(Source::JwksFile)),
        ("public_key_file", settings.public_key_file.as_deref().map(Source::PublicKeyFile)),
        ("secret", settings.secret.as_ref().map(Source::Secret)),
    ];
    sources.into_iter().filter_map(|(field, source)| Some((field, source?))).collect()
}

/// Reads or subscribes to the issuer's keys. Problems are added to `problems`, and there are no keys then.
pub(crate) fn build(
    layers: &Layers<'_>,
    cx: &mut BuildCx<'_>,
    problems: &mut Problems,
) -> Option<(Vec<Algorithm>, Keys)> {
    let (field, source) = only_source(layers, problems)?;
    let algorithms = algorithms(layers, source, problems)?;
    let is_fetched = matches!(source, Source::Url(_) | Source::Discovery);
    if layers.own.fetch.is_some() && !is_fetched {
        let why = format!("has no use beside `{field}`: these keys are not fetched");
        problems.push((layers.field("fetch"), why));
    }
    match source.keys(field, layers, &algorithms, cx) {
        Ok(keys) => {
            check_fit(&keys, &algorithms, layers, problems);
            Some((algorithms, keys))
        }
        Err(error) => {
            for (field, why) in error.problems {
                let problem = (layers.field_of(&field), why);
                // A problem of the common table is reported once.
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
            None
        }
    }
}

/// The one way to the keys: the issuer's own, or else the common one.
fn only_source<'c>(layers: &Layers<'c>, problems: &mut Problems) -> Option<(&'static str, Source<'c>)> {
    let own = sources(layers.own);
    let is_own = !own.is_empty() || layers.own.discovery.is_some();
    let found = if is_own { own } else { sources(layers.common) };
    match found[..] {
        [one] => Some(one),
        [] => {
            const WAYS: &str = "`jwks_url`, `discovery`, `jwks_file`, `public_key_file` or `secret`";
            problems.push((layers.field(""), format!("has no keys: say where they are by {WAYS}")));
            None
        }
        [(first, _), (second, _), ..] => {
            let why = format!("stands beside `{first}`: keys come from one place");
            problems.push((layers.field(second), why));
            None
        }
    }
}

/// Returns the algorithms in the settings, if they go with the source of the keys, or the usual ones.
fn algorithms(layers: &Layers<'_>, source: Source<'_>, problems: &mut Problems) -> Option<Vec<Algorithm>> {
    let named = layers.pick(|settings| settings.algorithms.as_ref());
    let is_symmetric = |algorithm: &Algorithm| algorithm.family() == Family::Hmac;
    let why = match (source, named) {
        (Source::Secret(_), Some(named)) if named.len() == 1 && named.iter().all(is_symmetric) => {
            return Some(named.clone());
        }
        // A key is for one algorithm (RFC 8725 section 3.1, RFC 7518 section 3.2).
        (Source::Secret(_), _) => "with `secret` is one of \"HS256\", \"HS384\", \"HS512\", and has to be said",
        (_, None) => return Some(USUAL.to_vec()),
        (Source::JwksFile(_), Some(named)) => return Some(named.clone()),
        // With an HMAC algorithm beside public keys, anybody could sign tokens with the public key as secret
        // (CVE-2015-9235).
        (_, Some(named)) if named.iter().any(is_symmetric) => "takes a secret, and these keys are public",
        (_, Some(named)) => return Some(named.clone()),
    };
    problems.push((layers.field("algorithms"), why.to_owned()));
    None
}

/// Checks that each algorithm has a key, as far as that can be known here.
fn check_fit(keys: &Keys, algorithms: &[Algorithm], layers: &Layers<'_>, problems: &mut Problems) {
    let Keys::Fixed(keys) = keys else { return };
    let fits = |algorithm: &Algorithm| keys.keys().iter().any(|key| key.algorithms().any(|taken| taken == *algorithm));
    let is_said = layers.pick(|settings| settings.algorithms.as_ref()).is_some();
    if let Some(idle) = algorithms.iter().find(|algorithm| is_said && !fits(algorithm)) {
        problems.push((layers.field("algorithms"), format!("names {idle}, which none of the keys can verify")));
    }
    if !is_said && !algorithms.iter().any(fits) {
        let taken = keys.keys().first().and_then(|key| key.algorithms().next());
        let such_as = taken.map(|taken| format!(", such as [\"{taken}\"]")).unwrap_or_default();
        problems
            .push((layers.field("algorithms"), format!("is missing: none of the usual ones fits the keys{such_as}")));
    }
}

impl Source<'_> {
    fn keys(
        self,
        field: &str,
        layers: &Layers<'_>,
        algorithms: &[Algorithm],
        cx: &mut BuildCx<'_>,
    ) -> Result<Keys, BuildError> {
        let named = |error: &dyn std::fmt::Display| BuildError::new(field, error.to_string());
        let fixed = |keys| Keys::Fixed(Arc::new(keys));
        match self {
            Self::Url(url) => fetched(field, Location::Url(url.to_owned()), layers, cx),
            Self::Discovery => {
                let issuer = layers.own.issuer.clone();
                let issuer = issuer.ok_or_else(|| BuildError::new(field, "needs `issuer`: who would be asked?"))?;
                fetched(field, Location::Issuer(issuer), layers, cx)
            }
            Self::JwksFile(path) => {
                let file = cx.read_file(field, path)?;
                if file.trim_ascii_start().starts_with(b"-----BEGIN ") {
                    return Err(BuildError::new(
                        field,
                        "this is a key in PEM and not a key set: say `public_key_file`",
                    ));
                }
                KeySet::from_jwks(&file).map(fixed).map_err(|error| named(&error))
            }
            Self::PublicKeyFile(path) => {
                KeySet::from_pem(&cx.read_file(field, path)?, None).map(fixed).map_err(|error| named(&error))
            }
            Self::Secret(source) => {
                let secret = cx.secret(field, source)?;
                let algorithm = *algorithms.first().ok_or_else(|| BuildError::new("algorithms", "is empty"))?;
                KeySet::from_secret(&secret, algorithm).map(fixed).map_err(|error| named(&error))
            }
        }
    }
}

fn fetched(field: &str, from: Location, layers: &Layers<'_>, cx: &mut BuildCx<'_>) -> Result<Keys, BuildError> {
    let settings = layers.pick(|settings| settings.fetch.as_ref()).copied().unwrap_or_default();
    let place = match from {
        Location::Url(_) => "url",
        Location::Issuer(_) => "issuer",
    };
    KeySource::shared(cx, from, settings).map(Keys::Fetched).map_err(|error| {
        let name = |of: String| if of == place { field.to_owned() } else { format!("fetch.{of}") };
        BuildError { problems: error.problems.into_iter().map(|(of, why)| (name(of), why)).collect() }
    })
}
