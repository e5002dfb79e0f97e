//! `mtls`: the certificate of the connection proves which client calls (RFC 8446 section 4.4.2).
//!
//! ```toml
//! [listeners.tls]
//! client_auth = "optional"
//! client_ca = "tls/clients-ca.pem"
//!
//! [policies.client-cert]
//! use = "mtls"
//! spiffe = { trust_domains = ["example.org"] }
//!
//! [[consumers.acme.credentials]]
//! use = "mtls"
//! id = "acme-billing"
//! uri = "spiffe://example.org/acme/billing"
//! ```
//!
//! The listener asks for the certificate and verifies it, and the engine looks again, for each request, whether it is
//! still acceptable; the policy decides what it opens. With a `ca` of its own a policy takes fewer certificates than the
//! listener does, never more.
//!
//! # What is promised
//! - A certificate that was sent and is not good, or not any more, is a refusal and never "no certificate".
//! - No part of a request can name a certificate, except for a header of a load balancer whose network the file names
//!   (`from_header`), and such a header is verified here against the policy's own `ca`: anybody can write one. A policy
//!   uses the connection or a header, never both: the connection of a load balancer has the load balancer's own
//!   certificate.
//! - Names are compared whole. There are no substrings, no regular expressions, and `*.` stands for one label.
//! - Whose certificate it is has to be clear: one that two credentials fit is refused.
//!
//! # Rooms
//! `config` has the settings, and `names` the names in them. `filter` chooses the certificates that a policy takes, and
//! `consumers` finds their owners; `handed_on` writes the headers for the upstream, `from_header` reads a load
//! balancer's. `ocsp` asks a CA's responder. `policy` judges a request.

#![forbid(unsafe_code)]

mod config;
mod consumers;
mod filter;
mod from_header;
mod handed_on;
mod names;
mod ocsp;
mod policy;
mod problems;

pub use config::{
    Config, ConsumerRule, CrlRule, Files, FromHeader, HandedOn, Holder, MAX_CACHED_CERTIFICATES,
    MAX_CACHED_CERTIFICATES_CAP, MAX_CHAIN_DEPTH, Spiffe,
};
pub use names::{CnPattern, Dn, DnsPattern, Email, Fingerprint, Serial, SpiffePath, TrustDomain, Uri};
pub use ocsp::{OcspConfig, OnFailure};

use portcullis_plugin::{BuildCx, BuildError, Ends, Hooks, Plugin, UnixTime, Verifications};
use portcullis_x509::{Crl, Trust, certificates};

use crate::{
    consumers::Consumers,
    ocsp::Ocsp,
    policy::{METHOD, Policy},
    problems::Problems,
};

/// The plugin `mtls`.
pub struct Mtls;

impl Plugin for Mtls {
    const NAME: &'static str = METHOD;
    type Config = Config;
    type Credential = Holder;
    const HOLDS_SECRETS: bool = false;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        Ok(Hooks::new().authenticate(policy(config, cx)?))
    }
}

fn policy(config: Config, cx: &mut BuildCx<'_>) -> Result<Policy, BuildError> {
    let mut problems = config.problems();
    let trust = trust(&config, cx, &mut problems);
    let most = config.max_cached_certificates.map_or(MAX_CACHED_CERTIFICATES, std::num::NonZeroUsize::get);
    let ocsp = config.ocsp.as_ref().and_then(|ocsp| Ocsp::new(ocsp, most, cx, &mut problems));
    let consumers = Consumers::new(cx);
    if problems.is_empty() {
        Ok(Policy::new(config, trust, consumers, ocsp, Verifications::new(cx)))
    } else {
        Err(BuildError { problems })
    }
}

/// The policy's own CAs, where it has some.
fn trust(config: &Config, cx: &mut BuildCx<'_>, problems: &mut Problems) -> Option<Trust> {
    let before = problems.len();
    let mut cas = Vec::new();
    for (field, path) in config.ca.iter().flat_map(|files| files.fields("ca")) {
        let read = cx.read_file(&field, path).map_err(|error| problems.extend(error.problems));
        let read = read.ok().map(|pem| certificates(&pem).map_err(|why| problems.push((field, why.to_string()))));
        cas.extend(read.and_then(Result::ok).unwrap_or_default());
    }
    let mut crls = Vec::new();
    for (field, path) in config.crl.iter().flat_map(|files| files.fields("crl")) {
        let read = cx.read_file(&field, path).map_err(|error| problems.extend(error.problems));
        let read = read.ok().map(|file| Crl::parse(&file).map_err(|why| problems.push((field, why.to_string()))));
        crls.extend(read.and_then(Result::ok).unwrap_or_default());
    }
    config.ca.as_ref()?;
    if problems.len() > before {
        return None;
    }
    let policy = config.crl_policy.unwrap_or_default().into();
    let depth = config.max_chain_depth.unwrap_or(MAX_CHAIN_DEPTH);
    let trust = Trust::new(cas, crls, policy, depth);
    let trust = trust.and_then(|trust| trust.check(UnixTime::now()).map(|()| trust)).map_err(|why| {
        let field = if why.is_about_crls() { "crl" } else { "ca" };
        problems.push((field.to_owned(), why.to_string()));
    });
    let trust = trust.ok()?;
    trust.ca_expiries().for_each(|(subject, at)| cx.ends(Ends::Certificate(subject.to_owned()), at));
    trust.crls().for_each(|(issuer, at)| cx.ends(Ends::RevocationList(issuer.to_owned()), at));
    Some(trust.requiring_purpose(config.require_purpose))
}

#[cfg(test)]
mod tests;
