//! Finds the consumer of a certificate among the credentials.

use std::{collections::HashMap, sync::Arc};

use portcullis_plugin::{BuildCx, Credential};
use portcullis_x509::Facts;

use crate::{config::Holder, names::DnsPattern};

/// The credentials of a policy.
pub(crate) struct Consumers {
    credentials: Vec<(Arc<Credential>, Arc<Holder>)>,
    /// Every credential once, by one of its facts: the facts of a certificate lead to the few credentials that can fit.
    by: HashMap<Key, Vec<usize>>,
}

/// The owner of a certificate.
pub(crate) enum Owner<'c> {
    /// Nobody's.
    Nobody,
    /// A credential fits it.
    One(&'c Arc<Credential>),
    /// Several do.
    Unclear,
}

/// A fact by which a credential is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Fingerprint(String),
    Subject(String),
    Cn(String),
    Dns(String),
    Uri(String),
    Email(String),
    Serial(String, String),
}

impl Consumers {
    /// Collects the credentials that open the policy, and reports their problems by field.
    pub(crate) fn new(cx: &mut BuildCx<'_>) -> Self {
        let mut consumers = Self { credentials: Vec::new(), by: HashMap::new() };
        for (index, credential, holder) in cx.credentials::<Holder>() {
            if let Err((field, why)) = consumers.add(credential, holder) {
                cx.credential_problem(index, field, why);
            }
        }
        consumers
    }

    fn add(&mut self, credential: Arc<Credential>, holder: Arc<Holder>) -> Result<(), (&'static str, String)> {
        let key = key(&holder)?;
        let of_key = self.by.entry(key).or_default();
        let twin = of_key.iter().map(|at| &self.credentials[*at]).find(|(_, other)| *other == holder);
        if let Some((twin, _)) = twin {
            return Err(("", format!("the credential `{}` says the same", twin.id)));
        }
        of_key.push(self.credentials.len());
        self.credentials.push((credential, holder));
        Ok(())
    }

    /// Whose a certificate is.
    pub(crate) fn of(&self, facts: &Facts) -> Owner<'_> {
        if self.credentials.is_empty() {
            return Owner::Nobody;
        }
        let candidates = keys(facts).filter_map(|key| self.by.get(&key)).flatten();
        let mut fitting: Vec<_> = candidates.filter(|at| self.credentials[**at].1.fits(facts)).collect();
        // A certificate may say the same name twice.
        fitting.sort_unstable();
        fitting.dedup();
        match fitting[..] {
            [] => Owner::Nobody,
            [at] => Owner::One(&self.credentials[*at].0),
            _ => Owner::Unclear,
        }
    }
}

/// Returns the key by which a credential is found.
fn key(holder: &Holder) -> Result<Key, (&'static str, String)> {
    if holder.dns.as_ref().is_some_and(DnsPattern::is_wildcard) {
        return Err(("dns", "is a wildcard: a credential is of one holder".to_owned()));
    }
    if holder.cn.as_ref().is_some_and(String::is_empty) {
        return Err(("cn", "is empty: no certificate would fit".to_owned()));
    }
    if holder.serial.is_some() && holder.issuer.is_none() {
        return Err(("issuer", "is missing: every CA has its own serial numbers".to_owned()));
    }
    let serial = holder.issuer.as_ref().zip(holder.serial.as_ref());
    let key = (holder.fingerprint.as_ref().map(|it| Key::Fingerprint(it.to_string())))
        .or_else(|| serial.map(|(issuer, serial)| Key::Serial(issuer.to_string(), serial.to_string())))
        .or_else(|| holder.uri.as_ref().map(|it| Key::Uri(it.to_string())))
        .or_else(|| holder.dns.as_ref().map(|it| Key::Dns(it.to_string())))
        .or_else(|| holder.email.as_ref().map(|it| Key::Email(it.to_string())))
        .or_else(|| holder.subject.as_ref().map(|it| Key::Subject(it.to_string())))
        .or_else(|| holder.cn.clone().map(Key::Cn));
    key.ok_or_else(|| {
        let needed =
            "says too little: one of `fingerprint`, `subject`, `cn`, `dns`, `uri`, `email`, or `issuer` with `serial`";
        ("", needed.to_owned())
    })
}

/// Returns everything in a certificate that a credential can be found by.
fn keys(facts: &Facts) -> impl Iterator<Item = Key> {
    let one = [
        Some(Key::Fingerprint(hex::encode(facts.sha256))),
        Some(Key::Serial(facts.issuer.clone(), facts.serial.clone())),
        Some(Key::Subject(facts.subject.clone())),
        facts.cn.clone().map(Key::Cn),
    ];
    let emails = facts.emails.iter().filter_map(|address| crate::Email::try_from(address.clone()).ok());
    one.into_iter()
        .flatten()
        .chain(facts.uris.iter().cloned().map(Key::Uri))
        .chain(facts.dns.iter().cloned().map(Key::Dns))
        .chain(emails.map(|address| Key::Email(address.to_string())))
}

impl Holder {
    /// Returns `true` if the certificate has everything that this entry lists.
    fn fits(&self, facts: &Facts) -> bool {
        fn is<T>(wanted: Option<&T>, fits: impl FnOnce(&T) -> bool) -> bool {
            wanted.is_none_or(fits)
        }
        is(self.fingerprint.as_ref(), |it| it.as_str() == hex::encode(facts.sha256))
            && is(self.subject.as_ref(), |it| it.as_str() == facts.subject)
            && is(self.cn.as_ref(), |it| facts.cn.as_ref() == Some(it))
            && is(self.dns.as_ref(), |it| facts.dns.iter().any(|name| it.fits(name)))
            && is(self.uri.as_ref(), |it| facts.uris.iter().any(|uri| it.as_str() == uri))
            && is(self.email.as_ref(), |it| facts.emails.iter().any(|address| it.fits(address)))
            && is(self.issuer.as_ref(), |it| it.as_str() == facts.issuer)
            && is(self.serial.as_ref(), |it| it.as_str() == facts.serial)
    }
}
