//! Judges requests.
//!
//! A certificate that was seen before costs one look-up and a look at the clock. One that was not is verified where the
//! policy has CAs of its own, read, judged and given to its consumer; only what was verified is remembered.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use openssl::x509::{X509, X509Ref};
use portcullis_plugin::{
    Answer, Attempt, Authenticate, Authentication, CertificateNames, Challenge, Claimed, ClientCert, Cost, Credential,
    Denial, Identity, OpenStream, PluginError, Proof, Reason, RequestCx, UnixTime, Verifications, http::HeaderName,
};
use portcullis_x509::{Facts, Fault, Trust};
use quick_cache::{Weighter, sync::Cache};
use sha2::{Digest, Sha256};

use crate::{
    config::{Config, ConsumerRule, FromHeader, HandedOn, MAX_CACHED_CERTIFICATES},
    consumers::{Consumers, Owner},
    filter::CertificateFilter,
    from_header, handed_on,
    ocsp::{Ocsp, Status},
};

/// The name of the plugin, which is the method of every identity that it makes.
pub(crate) const METHOD: &str = "mtls";

/// The room for each remembered certificate, on the average, in bytes of what the client sent.
const CACHED_CERTIFICATE_BYTES: usize = 4 << 10;

/// One policy, ready to judge requests.
pub(crate) struct Policy {
    trust: Option<Trust>,
    filter: CertificateFilter,
    consumers: Consumers,
    needs_consumer: bool,
    needs_purpose: bool,
    headers: Vec<HandedOn>,
    from_header: Option<Source>,
    ocsp: Option<Arc<Ocsp>>,
    known: Cache<[u8; 32], Arc<Known>, ByBytes>,
    pub(crate) verifications: Verifications,
}

/// The headers with the certificate that a load balancer hands on, and the networks of the load balancers.
struct Source {
    header: HeaderName,
    chain: Option<HeaderName>,
    from: FromHeader,
}

/// A certificate that was verified, and the policy's verdict on it.
struct Known {
    /// The identity, or the reason why the policy does not take it.
    verdict: Result<Arc<Identity>, Denial>,
    /// Its status by its CA's responder, where one is asked.
    status: Option<Arc<Status>>,
    not_before: UnixTime,
    /// The time until which everything that was looked at is in force: the certificate itself, and with CAs of the
    /// policy's own those that lead to them, and their CRLs.
    holds_until: UnixTime,
    bytes: usize,
}

impl Policy {
    pub(crate) fn new(
        config: Config,
        trust: Option<Trust>,
        consumers: Consumers,
        ocsp: Option<Ocsp>,
        verifications: Verifications,
    ) -> Self {
        let most = config.max_cached_certificates.map_or(MAX_CACHED_CERTIFICATES, std::num::NonZeroUsize::get);
        let weight = u64::try_from(most * CACHED_CERTIFICATE_BYTES).unwrap_or(u64::MAX);
        Self {
            trust,
            filter: CertificateFilter::new(&config),
            consumers,
            needs_consumer: config.consumer == ConsumerRule::Required,
            needs_purpose: config.require_purpose,
            headers: config.headers,
            from_header: config.from_header.and_then(Source::new),
            ocsp: ocsp.map(Arc::new),
            known: Cache::with_weighter(most, weight, ByBytes),
            verifications,
        }
    }

    /// The certificate that counts for this request.
    fn sent<'c>(&self, cx: &'c RequestCx<'_>) -> Result<Option<Cow<'c, ClientCert>>, Reason> {
        match &self.from_header {
            Some(source) => Ok(source.read(cx)?.map(Cow::Owned)),
            None => Ok(cx.certificate()?.map(Cow::Borrowed)),
        }
    }

    /// The certificate that an identity was proven by, verified as it would be now; `None` where it cannot be told.
    fn verified_again(&self, stream: &OpenStream<'_>) -> Result<Option<Arc<Known>>, Denial> {
        let sent = match &self.from_header {
            Some(source) => stream.identity.proof.get::<ClientCert>().filter(|_| source.believes(stream.peer)),
            None => stream.certificate.map_err(Denial::unauthorized)?,
        };
        let then = stream.identity.certificate.as_ref().map(|names| names.fingerprint.as_str());
        let sent = sent.filter(|sent| then == Some(hex::encode(sent.sha256).as_str()));
        sent.map(|sent| self.known(sent, stream.now)).transpose()
    }

    fn known(&self, sent: &ClientCert, now: UnixTime) -> Result<Arc<Known>, Denial> {
        let digest = self.digest(sent);
        match self.remembered(&digest, now) {
            Some(known) => Ok(known),
            None => self.learn(sent, digest, now),
        }
    }

    fn remembered(&self, digest: &[u8; 32], now: UnixTime) -> Option<Arc<Known>> {
        self.known.get(digest).filter(|known| known.not_before <= now && now < known.holds_until)
    }

    /// Verifies a certificate, and remembers it if it is good.
    fn learn(&self, sent: &ClientCert, digest: [u8; 32], now: UnixTime) -> Result<Arc<Known>, Denial> {
        let known = Arc::new(self.verify(sent, now)?);
        self.known.insert(digest, known.clone());
        Ok(known)
    }

    /// Verifies a certificate that is not remembered, and its chain, in its turn.
    async fn judge(
        &self,
        sent: Cow<'_, ClientCert>,
        digest: [u8; 32],
        address: IpAddr,
        now: UnixTime,
    ) -> Result<Authentication, PluginError> {
        // Others may have brought it meanwhile.
        let learn = || self.remembered(&digest, now).map_or_else(|| self.learn(&sent, digest, now), Ok);
        match self.verifications.run(Cost::CERTIFICATE_CHAIN, address, Some(&digest), learn).await? {
            Ok(known) => {
                self.verifications.succeeded(Cost::CERTIFICATE_CHAIN, address, Some(&digest));
                self.settle(&known, now).get().await
            }
            Err(denial) => Ok(Authentication::Denied(denial)),
        }
    }

    /// The answer to a certificate that was verified, after its CA's responder was asked where one is.
    fn settle(&self, known: &Known, now: UnixTime) -> Answer<'_, Result<Authentication, PluginError>> {
        // A request that is refused anyway asks no responder.
        let (Some(ocsp), Some(status), Ok(identity)) = (&self.ocsp, &known.status, &known.verdict) else {
            return Answer::Now(Ok(known.answer()));
        };
        let settle = |identity: &Arc<Identity>, said: Result<(), Reason>| match said {
            Ok(()) => Authentication::Granted(identity.clone()),
            Err(reason) => {
                Authentication::Denied(Denial::unauthorized(reason).claiming(Claimed::once(identity.clone())))
            }
        };
        match ocsp.check(status.clone(), now) {
            Answer::Now(said) => Answer::Now(Ok(settle(identity, said))),
            Answer::Later(asking) => {
                let identity = identity.clone();
                Answer::later(async move { Ok(settle(&identity, asking.await)) })
            }
        }
    }

    /// Returns the digest by which a certificate is remembered. It includes the chain where that is handed on.
    fn digest(&self, sent: &ClientCert) -> [u8; 32] {
        if !self.headers.contains(&HandedOn::ClientCertChain) {
            return sent.sha256;
        }
        let mut digest = Sha256::new_with_prefix(sent.sha256);
        for certificate in &sent.chain {
            digest.update(certificate.len().to_be_bytes());
            digest.update(certificate);
        }
        digest.finalize().into()
    }

    /// Verifies a certificate that is not remembered, and judges it. A refusal names the certificate's subject.
    fn verify(&self, sent: &ClientCert, now: UnixTime) -> Result<Known, Denial> {
        let denied = |fault: Fault| Denial::unauthorized(fault.reason());
        let facts = Facts::of_der(&sent.der).map_err(denied)?;
        let sha256 = hex::encode(sent.sha256);
        let claiming =
            |denial: Denial| denial.claiming(Claimed::by_certificate(&facts.issuer, &facts.subject, &sha256));
        let (status, holds_until) = self.check(sent, &facts, now).map_err(denied).map_err(claiming)?;
        Ok(Known {
            verdict: self.judge_facts(sent, &facts).map(Arc::new).map_err(claiming),
            status,
            not_before: facts.not_before,
            holds_until,
            bytes: sent.der.len() + sent.chain.iter().map(Vec::len).sum::<usize>(),
        })
    }

    /// Checks a certificate. Returns the status to ask its CA's responder for, and the time until which all
    /// certificates and lists that it needs are in force.
    fn check(&self, sent: &ClientCert, facts: &Facts, now: UnixTime) -> Result<(Option<Arc<Status>>, UnixTime), Fault> {
        facts.check_dates(now)?;
        let wanted =
            if self.needs_purpose { facts.is_for_clients == Some(true) } else { facts.is_for_clients != Some(false) };
        if !wanted {
            return Err(Fault::WrongPurpose);
        }
        let (chain, chain_holds_until) = match &self.trust {
            Some(trust) => self.chain(trust, sent, now)?,
            None => (Vec::new(), facts.not_after),
        };
        let status = self.ocsp.as_ref().map(|ocsp| status(ocsp, chain)).transpose()?;
        Ok((status, facts.not_after.min(chain_holds_until)))
    }

    /// Returns the chain to a CA of the policy's own, and the time until which it holds.
    fn chain(&self, trust: &Trust, sent: &ClientCert, now: UnixTime) -> Result<(Vec<X509>, UnixTime), Fault> {
        let read = |der: &Vec<u8>| X509::from_der(der).map_err(|_| Fault::Malformed);
        let untrusted = sent.chain.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let leaf = read(&sent.der)?;
        let chain = trust.verify(&leaf, &untrusted, now)?;
        let holds_until = trust.holds_until(&chain.iter().map(AsRef::as_ref).collect::<Vec<&X509Ref>>());
        Ok((chain, holds_until))
    }

    fn judge_facts(&self, sent: &ClientCert, facts: &Facts) -> Result<Identity, Denial> {
        if !self.filter.takes(facts) {
            return Err(Denial::forbidden(Reason::CertificateNotAllowed));
        }
        let credential = match self.consumers.of(facts) {
            Owner::One(credential) => Some(credential),
            Owner::Nobody if self.needs_consumer => return Err(Denial::forbidden(Reason::ConsumerUnknown)),
            Owner::Nobody => None,
            Owner::Unclear => return Err(Denial::forbidden(Reason::IdentityConflict)),
        };
        let headers = handed_on::fill(&self.headers, sent, facts);
        // A connection has its own certificate for as long as it lasts; one from a header has to be kept.
        let proof = self.from_header.as_ref().map(|_| Proof::new(sent.clone())).unwrap_or_default();
        Ok(Identity { headers, proof, ..identity(facts, credential) })
    }
}

impl Known {
    fn answer(&self) -> Authentication {
        match &self.verdict {
            Ok(identity) => Authentication::Granted(identity.clone()),
            Err(denial) => Authentication::Denied(denial.clone()),
        }
    }
}

/// Returns the status to ask a responder for: that of the certificate, by whoever made it. A certificate that is
/// trusted for itself has no issuer to ask.
fn status(ocsp: &Ocsp, chain: Vec<X509>) -> Result<Arc<Status>, Fault> {
    let mut chain = chain.into_iter();
    let (Some(certificate), Some(issuer)) = (chain.next(), chain.next()) else { return Err(Fault::RevocationUnknown) };
    Ok(ocsp.status(certificate, issuer))
}

/// Makes the identity of a certificate: a client and not a user, so that there is no subject.
fn identity(facts: &Facts, credential: Option<&Arc<Credential>>) -> Identity {
    let of_credential = credential.map(Identity::of_client).unwrap_or_default();
    let client_id = credential.and_then(|credential| credential.consumer.client_id.clone());
    Identity {
        method: METHOD.to_owned(),
        client: Some(client_id.unwrap_or_else(|| name(facts))),
        issuer: Some(facts.issuer.clone()).filter(|issuer| !issuer.is_empty()),
        certificate: Some(Arc::new(names(facts))),
        expires: Some(facts.not_after),
        ..of_credential
    }
}

/// Returns the name of the holder: the first URI, or else the first host name, e-mail address, the common name, the
/// whole subject. One without any, such as an address's, is named by its digest: together with a key the engine asks
/// whose each is that names a client, and one that named nobody would pass beside anybody's.
fn name(facts: &Facts) -> String {
    let names = [facts.uris.first(), facts.dns.first(), facts.emails.first(), facts.cn.as_ref(), Some(&facts.subject)];
    let name = names.into_iter().flatten().find(|name| !name.is_empty());
    name.cloned().unwrap_or_else(|| hex::encode(facts.sha256))
}

/// For rules that ask for more.
fn names(facts: &Facts) -> CertificateNames {
    CertificateNames {
        subject: facts.subject.clone(),
        cn: facts.cn.clone(),
        issuer: facts.issuer.clone(),
        serial: facts.serial.clone(),
        fingerprint: hex::encode(facts.sha256),
        dns: facts.dns.clone(),
        uris: facts.uris.clone(),
        emails: facts.emails.clone(),
    }
}

impl Source {
    fn new(from: FromHeader) -> Option<Self> {
        let mut names = from.names();
        let (header, chain) = (names.next()?, names.next());
        drop(names);
        Some(Self { header, chain, from })
    }

    fn believes(&self, peer: SocketAddr) -> bool {
        let peer = peer.ip().to_canonical();
        self.from.networks.iter().any(|network| network.contains(&peer))
    }

    /// Reads the certificate that a load balancer sends. The header of anybody else is ignored: every client can write
    /// it.
    fn read(&self, cx: &RequestCx<'_>) -> Result<Option<ClientCert>, Reason> {
        if !self.believes(cx.peer()) {
            return Ok(None);
        }
        from_header::read(cx.headers(), &self.header, self.chain.as_ref()).map_err(|_| Reason::CertificateMalformed)
    }
}

impl Authenticate for Policy {
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>> {
        let cx = &*cx;
        let sent = match self.sent(cx) {
            Ok(Some(sent)) => sent,
            Ok(None) => return Answer::Now(Ok(Authentication::Absent)),
            Err(reason) => return Answer::Now(Ok(Authentication::Denied(Denial::unauthorized(reason)))),
        };
        let (digest, now) = (self.digest(&sent), cx.now());
        match self.remembered(&digest, now) {
            Some(known) => self.settle(&known, now),
            None if self.trust.is_none() => match self.learn(&sent, digest, now) {
                Ok(known) => self.settle(&known, now),
                Err(denial) => Answer::Now(Ok(Authentication::Denied(denial))),
            },
            None => Answer::later(self.judge(sent, digest, cx.address(), now)),
        }
    }

    fn recheck<'a>(&'a self, stream: &'a OpenStream<'a>) -> Answer<'a, Result<Authentication, PluginError>> {
        match self.verified_again(stream) {
            Ok(Some(known)) => self.settle(&known, stream.now),
            Ok(None) => Answer::Now(Ok(OpenStream::changed())),
            Err(denial) => Answer::Now(Ok(Authentication::Denied(denial))),
        }
    }

    fn challenges(&self, _: &RequestCx<'_>, _: Attempt) -> Vec<Challenge> {
        vec![Challenge::new("TLS-Client-Certificate")]
    }

    fn headers(&self) -> Vec<HeaderName> {
        let read = self.from_header.iter().flat_map(|source| [Some(&source.header), source.chain.as_ref()]);
        let mut names: Vec<_> =
            read.flatten().cloned().chain(self.headers.iter().map(|header| header.name())).collect();
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        names
    }

    fn needs_certificate(&self) -> bool {
        // The connection of a load balancer is its own, and made for whatever name it likes.
        self.from_header.is_none()
    }

    fn believes_listeners(&self) -> bool {
        self.trust.is_none()
    }
}

/// Weighs a certificate by what the client sent: what is kept of it is about as much.
#[derive(Clone)]
struct ByBytes;

impl Weighter<[u8; 32], Arc<Known>> for ByBytes {
    fn weight(&self, _: &[u8; 32], known: &Arc<Known>) -> u64 {
        // None weighs less than what would fill the cache with the most entries there may be.
        u64::try_from(known.bytes.max(CACHED_CERTIFICATE_BYTES)).unwrap_or(u64::MAX)
    }
}
