//! Builds the issuers of a policy from its settings.

use std::{collections::HashMap, sync::Arc};

use portcullis_jose::{Expectations, remote};
use portcullis_plugin::{BuildCx, Claims, Reason, serde_json::Value};

use crate::{
    config::{Config, Issuer as IssuerSettings},
    consumers::{self, Consumers},
    headers,
    issuer::Issuer,
    keys,
    layers::Layers,
    mapping::Parts,
    problems::Problems,
    tables,
};

/// The issuers that a policy knows.
pub(crate) enum Issuers {
    /// Any issuer: whoever holds the key.
    Any(Arc<Issuer>),
    /// By `iss`, to the letter.
    Named(HashMap<String, Arc<Issuer>>),
}

impl Issuers {
    /// Returns the issuer that a token names.
    ///
    /// # Errors
    /// [`Reason::IssuerUnknown`], before anything else is looked at or fetched.
    pub(crate) fn of(&self, claims: &Claims) -> Result<&Arc<Issuer>, Reason> {
        match self {
            Self::Any(issuer) => Ok(issuer),
            Self::Named(_) => {
                let name = claims.get("iss").and_then(Value::as_str).ok_or(Reason::IssuerUnknown)?;
                self.named(name).ok_or(Reason::IssuerUnknown)
            }
        }
    }

    /// The issuer of this name, or whoever holds the key.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Issuer>> {
        match self {
            Self::Any(issuer) => Some(issuer),
            Self::Named(issuers) => issuers.get(name),
        }
    }

    /// Every issuer.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = &Issuer> + '_> {
        match self {
            Self::Any(issuer) => Box::new(std::iter::once(&**issuer)),
            Self::Named(issuers) => Box::new(issuers.values().map(Arc::as_ref)),
        }
    }

    /// Reads files and secrets, and gives each consumer's credential to its issuer. Problems are added to `problems`.
    pub(crate) fn build(config: &mut Config, cx: &mut BuildCx<'_>, problems: &mut Problems) -> Option<Self> {
        let (any_issuer, listed) = (config.any_issuer, config.issuers.take());
        let common = config.take_common();
        tables::check("", &common, problems);
        let nothing = IssuerSettings::default();
        let layers = match &listed {
            None => vec![Layers { prefix: String::new(), own: &common, common: &nothing }],
            Some(listed) => {
                check_list(listed, &common, any_issuer, problems);
                let each = listed.iter().enumerate();
                each.map(|(at, own)| Layers { prefix: format!("issuers[{at}]."), own, common: &common }).collect()
            }
        };
        layers.iter().for_each(|layers| layers.check(any_issuer && listed.is_none(), problems));
        let names: Vec<_> = layers.iter().map(|layers| layers.own.issuer.clone()).collect();
        let mut consumers: Vec<_> = layers.iter().map(Layers::consumers).collect();
        consumers::distribute(cx, &names, &mut consumers);
        let issuers = layers.iter().zip(consumers).map(|(layers, consumers)| issuer(layers, consumers, cx, problems));
        // All of them, so that the problems of each are reported in one run.
        let issuers: Vec<_> = issuers.collect();
        let issuers = issuers.into_iter().collect::<Option<Vec<_>>>()?;
        let sources: Vec<_> = issuers.iter().filter_map(|issuer| issuer.keys.fetched().cloned()).collect();
        remote::register(&sources, cx);
        if listed.is_some() && common.fetch.is_some() && sources.is_empty() {
            problems.push(("fetch".to_owned(), "has no use: none of the issuers' keys are fetched".to_owned()));
        }
        let mut issuers = names.into_iter().zip(issuers);
        match any_issuer {
            true => issuers.next().map(|(_, issuer)| Self::Any(issuer)),
            false => issuers.map(|(name, issuer)| Some((name?, issuer))).collect::<Option<_>>().map(Self::Named),
        }
    }
}

/// Checks the list of issuers as a whole.
fn check_list(listed: &[IssuerSettings], common: &IssuerSettings, any_issuer: bool, problems: &mut Problems) {
    let mut wrong = |field: &str, why: &str| problems.push((field.to_owned(), why.to_owned()));
    if listed.is_empty() {
        wrong("issuers", "is empty: no token would be taken");
    }
    if any_issuer {
        wrong("any_issuer", "has no use beside `issuers`: each of them has its name");
    }
    // A key that several issuers share lets each of them speak for all the others.
    let of_one = [
        ("issuer", common.issuer.is_some()),
        ("jwks_url", common.jwks_url.is_some()),
        ("jwks_file", common.jwks_file.is_some()),
        ("public_key_file", common.public_key_file.is_some()),
        ("secret", common.secret.is_some()),
    ];
    for (field, _) in of_one.iter().filter(|(_, is_said)| *is_said) {
        wrong(field, "belongs to one issuer: write it into the entry of `issuers`");
    }
    for (index, own) in listed.iter().enumerate() {
        tables::check(&format!("issuers[{index}]."), own, problems);
        if own.issuer.is_some() && listed[..index].iter().any(|other| other.issuer == own.issuer) {
            problems.push((format!("issuers[{index}].issuer"), "stands in the list already".to_owned()));
        }
    }
}

/// Reads or subscribes to the keys of one issuer, and makes it of what its layers say.
fn issuer(
    layers: &Layers<'_>,
    consumers: Consumers,
    cx: &mut BuildCx<'_>,
    problems: &mut Problems,
) -> Option<Arc<Issuer>> {
    if layers.own.issuer.as_ref().is_some_and(|issuer| layers.audiences().0.contains(issuer)) {
        let why = "this is the issuer itself: tokens that it makes for its own use would be taken; name your API";
        cx.warn(&layers.field("audience"), why);
    }
    let keys = keys::build(layers, cx, problems);
    let headers = layers.pick(|settings| settings.headers.as_ref()).map(headers::read).unwrap_or_default();
    let rules = [&layers.common.claims, &layers.own.claims].into_iter().flatten().flatten().cloned();
    let (algorithms, keys) = keys?;
    Some(Arc::new(Issuer {
        keys,
        algorithms,
        expectations: expectations(layers),
        rules: rules.collect(),
        parts: Parts::new(layers.own.identity.as_ref(), layers.common.identity.as_ref()),
        tenant: layers.pick(|settings| settings.tenant.as_ref()).cloned(),
        consumers,
        headers,
        binding: layers.pick(|settings| settings.certificate_binding.as_ref()).copied().unwrap_or_default(),
        version_claim: layers.pick(|settings| settings.version_claim.as_ref()).cloned(),
    }))
}

fn expectations(layers: &Layers<'_>) -> Expectations {
    let usual = Expectations::default();
    Expectations {
        issuer: layers.own.issuer.clone(),
        audiences: layers.audiences().0.to_vec(),
        typ: layers.pick(|settings| settings.typ.as_ref()).cloned(),
        leeway: layers.span(|settings| settings.leeway.as_ref()).unwrap_or(usual.leeway),
        max_age: layers.span(|settings| settings.max_age.as_ref()),
        max_lifetime: layers.span(|settings| settings.max_lifetime.as_ref()),
    }
}
