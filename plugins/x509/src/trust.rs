use std::fmt;

use openssl::{
    asn1::Asn1Time,
    error::ErrorStack,
    pkey::{PKey, Public},
    stack::Stack,
    x509::{
        X509, X509PurposeId, X509Ref, X509StoreContext, X509VerifyResult,
        store::{X509Store, X509StoreBuilder},
        verify::{X509VerifyFlags, X509VerifyParam},
    },
};
use portcullis_plugin::UnixTime;
use sha2::{Digest, Sha256};

use crate::{Crl, Facts, Fault};

/// The most certificates that a client may send along with its own.
pub const MAX_SENT_CERTIFICATES: usize = 16;

/// OpenSSL's measure of how strong keys and digests are: 112 bits, so RSA from 2048 bits on and no SHA-1.
pub const SECURITY_LEVEL: u32 = 2;

/// Whose certificates have to be looked up in a CRL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrlPolicy {
    /// Every certificate below a CA that is trusted: a CA without a fresh CRL is a refusal.
    Required,
    /// Those of CAs that have a CRL; it has to be fresh.
    #[default]
    IfPresent,
}

/// The reason why CAs and CRLs cannot be trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No CA at all: nobody would be let in. It must never mean the CAs of the system, by which any public CA could
    /// make clients.
    #[error("names no CA: whose certificates are taken has to be said")]
    NoCa,
    /// A certificate that may not make others (RFC 5280 sections 4.2.1.3 and 4.2.1.9). Those of version 1 cannot say it.
    #[error("certificate {0} ({1}) is not a CA's: it says nothing of `CA:TRUE`, or its key may not sign certificates")]
    NotACa(usize, String),
    /// The time of every CA is over, or has not come.
    #[error("no CA is valid now: the certificate of {0} {1}")]
    CaNotValid(String, OutOfTime),
    /// A CA that cannot be read.
    #[error("certificate {0} cannot be read")]
    Malformed(usize),
    /// A CRL that none of the CAs has signed.
    #[error("CRL {0} is not signed by any of these CAs, or its CA's certificate may not sign CRLs")]
    ForeignCrl(usize),
    /// A CRL that is out of date, or not in force yet.
    #[error("the CRL of {0} {1}")]
    StaleCrl(String, OutOfTime),
}

/// The reason why something is not in force at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfTime {
    /// It has ended at this moment.
    Expired(UnixTime),
    /// It begins at this moment.
    NotYet(UnixTime),
}

impl fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, when) = match self {
            Self::Expired(when) => ("has expired:", when),
            Self::NotYet(when) => ("does not hold before", when),
        };
        match Asn1Time::from_unix(when.0) {
            Ok(when) => write!(f, "{what} {}", &*when),
            Err(_) => write!(f, "{what} {} seconds after 1970", when.0),
        }
    }
}

impl TrustError {
    /// Returns `true` if it is about a CRL, and not a CA.
    pub fn is_about_crls(&self) -> bool {
        matches!(self, Self::ForeignCrl(_) | Self::StaleCrl(..))
    }
}

/// The CAs that are trusted to make certificates of clients, and their lists of revoked certificates.
///
/// A CA that signed itself ends a chain, and so does one whose own CA is not among the trusted. One whose own CA is among
/// them is trusted for that and not for being in the file: where it was revoked, or the CA above it has expired, it is
/// trusted no more.
pub struct Trust {
    cas: Vec<X509>,
    names: Vec<Facts>,
    crls: Vec<Signed>,
    policy: CrlPolicy,
    max_depth: u32,
    needs_purpose: bool,
    /// A chain may end at a CA that another has made. It takes one signature for each CA to find out, too many for a
    /// request with a stranger's certificate.
    has_top: bool,
}

/// A CRL and the CA of the set that has signed it.
struct Signed {
    crl: Crl,
    ca: usize,
    key: PKey<Public>,
}

impl Trust {
    /// Trusts these CAs. Of several CRLs of one CA the newest counts. `max_depth` is the most CAs that may stand between
    /// a client's certificate and the CA that ends its chain.
    ///
    /// # Errors
    /// There is no CA, one that is none, or a CRL of somebody else.
    pub fn new(cas: Vec<X509>, crls: Vec<Crl>, policy: CrlPolicy, max_depth: u32) -> Result<Self, TrustError> {
        if cas.is_empty() {
            return Err(TrustError::NoCa);
        }
        let facts = |(at, ca): (usize, &X509)| Facts::of(ca).map_err(|_| TrustError::Malformed(at + 1));
        let names = cas.iter().enumerate().map(facts).collect::<Result<Vec<_>, _>>()?;
        if let Some((at, facts)) = names.iter().enumerate().find(|(_, facts)| !facts.is_ca) {
            return Err(TrustError::NotACa(at + 1, facts.subject.clone()));
        }
        let crls = newest(crls, &cas)?;
        let has_top = cas.iter().any(|ca| is_top(ca, &cas));
        Ok(Self { cas, names, crls, policy, max_depth, needs_purpose: false, has_top })
    }

    /// Refuses certificates that do not say what they were made for. Unsaid, such a certificate is good for everything
    /// (RFC 5280 section 4.2.1.12).
    #[must_use]
    pub fn requiring_purpose(self, needs_purpose: bool) -> Self {
        Self { needs_purpose, ..self }
    }

    /// The CAs.
    pub fn cas(&self) -> &[X509] {
        &self.cas
    }

    /// For monitoring: the subject of each CA, and when its certificate ends.
    pub fn ca_expiries(&self) -> impl Iterator<Item = (&str, UnixTime)> {
        self.names.iter().map(|facts| (facts.subject.as_str(), facts.not_after))
    }

    /// For monitoring: whose each CRL is, by the CA's subject, and when it goes out of date. One for each CA that has any.
    pub fn crls(&self) -> impl Iterator<Item = (&str, UnixTime)> {
        self.crls.iter().map(|signed| (self.names[signed.ca].subject.as_str(), signed.crl.next_update))
    }

    /// Checks that somebody can be let in now, when a configuration is loaded. A CA or a list that goes out of date
    /// later makes [`Fault`]s.
    ///
    /// # Errors
    /// None of the CAs is valid, or a CRL is out of date.
    pub fn check(&self, now: UnixTime) -> Result<(), TrustError> {
        // One of several that has ended must not keep a gateway from starting: its certificates are refused.
        if self.names.iter().all(|facts| facts.check_dates(now).is_err()) {
            let first = &self.names[0];
            return Err(TrustError::CaNotValid(
                first.subject.clone(),
                out_of_time(now, first.not_before, first.not_after),
            ));
        }
        match self.crls.iter().find(|signed| !signed.crl.is_fresh(now)) {
            Some(Signed { crl, ca, .. }) => Err(TrustError::StaleCrl(
                self.names[*ca].subject.clone(),
                out_of_time(now, crl.this_update, crl.next_update),
            )),
            None => Ok(()),
        }
    }

    /// For the handshake: OpenSSL builds and verifies the chain by it, but for the revocation, which
    /// [`Trust::revocation`] looks up.
    ///
    /// # Errors
    /// OpenSSL is out of memory.
    pub fn store(&self) -> Result<X509Store, ErrorStack> {
        self.store_at(None)
    }

    /// Judges a certificate from the beginning: its chain over `untrusted` (what the client sent along) to a CA, dates,
    /// purpose, depth, revocation. The chain, the certificate first.
    ///
    /// # Errors
    /// The certificate's fault.
    pub fn verify(&self, leaf: &X509Ref, untrusted: &[X509], now: UnixTime) -> Result<Vec<X509>, Fault> {
        if untrusted.len() > MAX_SENT_CERTIFICATES {
            return Err(Fault::ChainTooLong);
        }
        self.check_purpose(leaf)?;
        let chain = self.chain(leaf, untrusted, now).map_err(|_| Fault::Malformed)??;
        let links: Vec<&X509Ref> = chain.iter().map(AsRef::as_ref).collect();
        self.revocation(&links, now)?;
        Ok(chain)
    }

    /// Checks that the certificate was made for clients, where that is required. The handshake calls it beside the
    /// checks of OpenSSL by [`Trust::store`].
    ///
    /// # Errors
    /// [`Fault::WrongPurpose`], or [`Fault::Malformed`].
    pub fn check_purpose(&self, leaf: &X509Ref) -> Result<(), Fault> {
        match Facts::of(leaf)?.is_for_clients {
            Some(false) => Err(Fault::WrongPurpose),
            None if self.needs_purpose => Err(Fault::WrongPurpose),
            _ => Ok(()),
        }
    }

    /// Looks up a chain that was verified, the client's certificate first, in the CRLs.
    ///
    /// # Errors
    /// A certificate in it was revoked, or nobody says whether it was.
    pub fn revocation(&self, chain: &[&X509Ref], now: UnixTime) -> Result<(), Fault> {
        let links = self.whole(chain);
        for above in &links[chain.len()..] {
            Facts::of(above)?.check_dates(now)?;
        }
        if links.len() < 2 && self.policy == CrlPolicy::Required {
            // A certificate that is trusted for itself is on nobody's list.
            return Err(Fault::RevocationUnknown);
        }
        links.windows(2).try_for_each(|link| self.check_link(link[0], link[1], now))
    }

    /// From when on a chain that was found good is not, as far as the clock can tell: when the first of its certificates
    /// ends, or the first CRL that had to be asked goes out of date. Only another `Trust` can tell otherwise before.
    pub fn holds_until(&self, chain: &[&X509Ref]) -> UnixTime {
        let links = self.whole(chain);
        let ends = links.iter().map(|link| Facts::of(link).map_or(UnixTime(0), |facts| facts.not_after));
        let lists = links.windows(2).flat_map(|link| self.own_lists(link[0], link[1]));
        ends.chain(lists.map(|crl| crl.next_update)).min().unwrap_or(UnixTime(0))
    }

    /// A digest of everything that a verdict depends on but the clock.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(format!("{:?} {} {}", self.policy, self.max_depth, self.needs_purpose));
        for facts in &self.names {
            digest.update([b'c']);
            digest.update(facts.sha256);
        }
        for signed in &self.crls {
            digest.update([b'r']);
            digest.update(signed.crl.sha256);
        }
        digest.finalize().into()
    }

    fn store_at(&self, now: Option<UnixTime>) -> Result<X509Store, ErrorStack> {
        let mut param = X509VerifyParam::new()?;
        param.set_depth(i32::try_from(self.max_depth).unwrap_or(i32::MAX));
        param.set_auth_level(SECURITY_LEVEL as i32);
        param.set_purpose(X509PurposeId::SSL_CLIENT)?;
        if self.has_top {
            // Without it a chain ends at CAs alone that signed themselves.
            param.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        }
        if let Some(now) = now {
            param.set_time(now.0);
        }
        let mut store = X509StoreBuilder::new()?;
        store.set_param(&param)?;
        self.cas.iter().try_for_each(|ca| store.add_cert(ca.clone()))?;
        Ok(store.build())
    }

    fn chain(&self, leaf: &X509Ref, untrusted: &[X509], now: UnixTime) -> Result<Result<Vec<X509>, Fault>, ErrorStack> {
        let store = self.store_at(Some(now))?;
        let mut sent = Stack::new()?;
        untrusted.iter().try_for_each(|certificate| sent.push(certificate.clone()))?;
        X509StoreContext::new()?.init(&store, leaf, &sent, |cx| {
            if !cx.verify_cert()? {
                forget_errors();
                return Ok(Err(Fault::of(cx.error()).unwrap_or(Fault::UnknownCa)));
            }
            let chain = cx.chain().map(|chain| chain.iter().map(ToOwned::to_owned).collect());
            Ok(chain.ok_or(Fault::UnknownCa))
        })
    }

    /// The chain with the CAs of the set above it: it may end below a CA that is trusted for others too, and whoever
    /// stands above has a say.
    fn whole<'c>(&'c self, chain: &[&'c X509Ref]) -> Vec<&'c X509Ref> {
        let mut links = chain.to_vec();
        while let Some(issuer) = links.last().and_then(|last| self.issuer(last)) {
            // Two CAs that made each other would go on for ever.
            if links.len() == chain.len() + self.cas.len() {
                break;
            }
            links.push(issuer);
        }
        links
    }

    /// The CA of the set that has made this certificate; none for one that has made itself.
    fn issuer(&self, certificate: &X509Ref) -> Option<&X509Ref> {
        if has_made(certificate, certificate) {
            return None;
        }
        self.cas.iter().map(AsRef::as_ref).find(|ca| has_made(ca, certificate))
    }

    fn check_link(&self, certificate: &X509Ref, issuer: &X509Ref, now: UnixTime) -> Result<(), Fault> {
        // A CA that changed its key has lists by both: whichever names the certificate, it is revoked.
        if self.crls.iter().any(|signed| signed.crl.is_about(certificate) && signed.crl.lists(certificate)) {
            return Err(Fault::Revoked);
        }
        let mut own = self.own_lists(certificate, issuer).peekable();
        match self.policy {
            CrlPolicy::IfPresent if own.peek().is_none() => Ok(()),
            _ if own.any(|crl| crl.is_fresh(now)) => Ok(()),
            _ => Err(Fault::RevocationUnknown),
        }
    }

    /// The lists that say of this certificate whether it was revoked: those by the key that signed it.
    fn own_lists<'c>(&'c self, certificate: &'c X509Ref, issuer: &X509Ref) -> impl Iterator<Item = &'c Crl> {
        let key = issuer.public_key().ok();
        let is_own = move |signed: &&Signed| {
            signed.crl.is_about(certificate) && key.as_ref().is_some_and(|key| key.public_eq(&signed.key))
        };
        self.crls.iter().filter(is_own).map(|signed| &signed.crl)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names.iter().map(|facts| &facts.subject).collect();
        f.debug_struct("Trust").field("cas", &names).field("crls", &self.crls.len()).finish_non_exhaustive()
    }
}

/// For something that does not hold now.
fn out_of_time(now: UnixTime, from: UnixTime, until: UnixTime) -> OutOfTime {
    if now >= until { OutOfTime::Expired(until) } else { OutOfTime::NotYet(from) }
}

fn has_made(issuer: &X509Ref, certificate: &X509Ref) -> bool {
    let has_made = issuer.issued(certificate) == X509VerifyResult::OK
        && issuer.public_key().is_ok_and(|key| certificate.verify(&key).unwrap_or(false));
    if !has_made {
        forget_errors();
    }
    has_made
}

/// OpenSSL keeps for the thread why a signature does not fit, and would tell it to a connection that the thread serves
/// next as if it were that one's.
fn forget_errors() {
    drop(ErrorStack::get());
}

/// Returns `true` if a CA ends chains although another has made it, because the other is not in the set.
fn is_top(ca: &X509Ref, cas: &[X509]) -> bool {
    !cas.iter().any(|other| has_made(other, ca))
}

/// Of each CA's CRLs the one that was made last.
fn newest(crls: Vec<Crl>, cas: &[X509]) -> Result<Vec<Signed>, TrustError> {
    let mut newest: Vec<Signed> = Vec::new();
    for (at, crl) in crls.into_iter().enumerate() {
        let foreign = TrustError::ForeignCrl(at + 1);
        let Some(ca) = cas.iter().position(|ca| crl.is_signed_by(ca)) else { return Err(foreign) };
        match newest.iter_mut().find(|other| other.ca == ca) {
            Some(other) if other.crl.this_update >= crl.this_update => {}
            Some(other) => other.crl = crl,
            None => newest.push(Signed { crl, ca, key: cas[ca].public_key().map_err(|_| foreign)? }),
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests;
