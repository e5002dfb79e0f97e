//! The choice of certificates that a policy takes among those that are trusted.

use std::collections::HashSet;

use portcullis_x509::Facts;

use crate::{
    config::Config,
    names::{CnPattern, DnsPattern, Email, SpiffePath, TrustDomain, is_spiffe},
};

/// The certificates that a policy takes: all of its fields have to fit, and of each field one of the entries.
pub(crate) struct CertificateFilter {
    subjects: Option<HashSet<String>>,
    issuers: Option<HashSet<String>>,
    fingerprints: Option<HashSet<String>>,
    uris: Option<HashSet<String>>,
    cns: Option<Vec<CnPattern>>,
    dns: Option<Vec<DnsPattern>>,
    emails: Option<Vec<Email>>,
    spiffe: Option<(Vec<TrustDomain>, Option<Vec<SpiffePath>>)>,
}

impl CertificateFilter {
    pub(crate) fn new(config: &Config) -> Self {
        fn texts<T: ToString>(names: Option<&Vec<T>>) -> Option<HashSet<String>> {
            names.map(|names| names.iter().map(ToString::to_string).collect())
        }
        Self {
            subjects: texts(config.subjects.as_ref()),
            issuers: texts(config.issuers.as_ref()),
            fingerprints: texts(config.fingerprints.as_ref()),
            uris: texts(config.uris.as_ref()),
            cns: config.cns.clone(),
            dns: config.dns.clone(),
            emails: config.emails.clone(),
            spiffe: config.spiffe.clone().map(|spiffe| (spiffe.trust_domains, spiffe.paths)),
        }
    }

    /// Returns `true` if the policy takes a certificate.
    pub(crate) fn takes(&self, facts: &Facts) -> bool {
        let is_among =
            |names: &Option<HashSet<String>>, name: &String| names.as_ref().is_none_or(|names| names.contains(name));
        is_among(&self.subjects, &facts.subject)
            && is_among(&self.issuers, &facts.issuer)
            && is_among(&self.fingerprints, &hex::encode(facts.sha256))
            && self.uris.as_ref().is_none_or(|uris| facts.uris.iter().any(|uri| uris.contains(uri)))
            && self.cns.as_ref().is_none_or(|cns| facts.cn.as_ref().is_some_and(|cn| cns.iter().any(|of| of.fits(cn))))
            && any(self.dns.as_deref(), &facts.dns, DnsPattern::fits)
            && any(self.emails.as_deref(), &facts.emails, Email::fits)
            && self.takes_spiffe(facts)
    }

    /// An X.509-SVID has exactly one URI (X509-SVID section 2): of several nobody could say which one speaks.
    fn takes_spiffe(&self, facts: &Facts) -> bool {
        let Some((domains, paths)) = &self.spiffe else { return true };
        matches!(&facts.uris[..], [uri] if is_spiffe(uri, domains, paths.as_deref()))
    }
}

/// Returns `true` if no names are wanted, or one of the certificate's names fits one of them.
fn any<T>(wanted: Option<&[T]>, names: &[String], fits: impl Fn(&T, &str) -> bool) -> bool {
    wanted.is_none_or(|wanted| names.iter().any(|name| wanted.iter().any(|one| fits(one, name))))
}
