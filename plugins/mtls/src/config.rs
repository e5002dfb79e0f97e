//! The settings of a policy and of a credential.

use std::{num::NonZeroUsize, path::PathBuf};

use portcullis_plugin::{Place, http::HeaderName, ipnet::IpNet};
use portcullis_x509::CrlPolicy;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    names::{CnPattern, Dn, DnsPattern, Email, Fingerprint, Serial, SpiffePath, TrustDomain, Uri},
    ocsp::OcspConfig,
    problems::Problems,
};

/// The most certificates between a client's and its CA's where the policy does not say.
pub const MAX_CHAIN_DEPTH: u32 = 4;

/// The number of certificates that a policy remembers, once they were verified, where it does not say.
pub const MAX_CACHED_CERTIFICATES: usize = 10_000;

/// The most that it can remember.
pub const MAX_CACHED_CERTIFICATES_CAP: usize = 1_000_000;

/// Proves a client by its certificate. The fields that name certificates hold together, the entries of each
/// alternatively; without any, every certificate is taken that the listener, or the policy's own `ca`, trusts.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A file of CAs, PEM, or a list of files: of the certificates that the listener trusts, only theirs are taken.
    pub ca: Option<Files>,
    /// With `ca`: a file of CRLs, PEM or DER, or a list of files.
    pub crl: Option<Files>,
    /// With `ca`: `required` asks for a fresh CRL of every CA, `if-present` (unless said) only of those that have one
    /// at all.
    pub crl_policy: Option<CrlRule>,
    /// With `ca`: the most CAs that may stand between a certificate and the CA that ends its chain; 4 unless said.
    pub max_chain_depth: Option<u32>,
    /// Refuses certificates that do not say that they were made for clients (`clientAuth`). Those that say they were
    /// made for something else are refused anyway.
    #[serde(default)]
    pub require_purpose: bool,
    /// Subjects, whole: as `openssl x509 -noout -subject -nameopt RFC2253` prints them.
    pub subjects: Option<Vec<Dn>>,
    /// Common names, whole; `*.` before a host name stands for one label.
    pub cns: Option<Vec<CnPattern>>,
    /// Host names among the alternative names; `*.` at the beginning stands for one label.
    pub dns: Option<Vec<DnsPattern>>,
    /// URIs among the alternative names, whole.
    pub uris: Option<Vec<Uri>>,
    /// SPIFFE IDs: a certificate whose only URI is one, of these trust domains and paths.
    pub spiffe: Option<Spiffe>,
    /// E-mail addresses among the alternative names.
    pub emails: Option<Vec<Email>>,
    /// The SHA-256 of whole certificates, in hexadecimal digits.
    pub fingerprints: Option<Vec<Fingerprint>>,
    /// The issuers of the certificate itself, as `subjects` are written.
    pub issuers: Option<Vec<Dn>>,
    /// With `ca`: asks a responder whether a certificate was revoked (OCSP).
    pub ocsp: Option<OcspConfig>,
    /// `required` refuses a certificate that belongs to no consumer; `optional` (unless said) takes it.
    #[serde(default)]
    pub consumer: ConsumerRule,
    /// The headers in which the certificate is handed on to the upstream.
    #[serde(default)]
    pub headers: Vec<HandedOn>,
    /// Takes the certificate from a header of a load balancer that ends TLS, and not from the connection.
    pub from_header: Option<FromHeader>,
    /// The most certificates that are remembered once they were verified; 10000 unless said.
    pub max_cached_certificates: Option<NonZeroUsize>,
}

/// `"tls/ca.pem"` or `["tls/ca.pem", "tls/old-ca.pem"]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "the path of a file, or a list of paths")]
pub enum Files {
    /// One file.
    One(PathBuf),
    /// Several, taken together.
    Several(Vec<PathBuf>),
}

impl Files {
    /// Each file with the field that names it.
    pub(crate) fn fields(&self, field: &str) -> Vec<(String, &PathBuf)> {
        match self {
            Self::One(path) => vec![(field.to_owned(), path)],
            Self::Several(paths) => {
                paths.iter().enumerate().map(|(at, path)| (format!("{field}[{at}]"), path)).collect()
            }
        }
    }
}

/// The certificates that have to be looked up in a CRL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CrlRule {
    /// Every one: a CA without a fresh CRL is a refusal.
    Required,
    /// Those of CAs that have a CRL; it has to be fresh.
    #[default]
    IfPresent,
}

impl From<CrlRule> for CrlPolicy {
    fn from(rule: CrlRule) -> Self {
        match rule {
            CrlRule::Required => Self::Required,
            CrlRule::IfPresent => Self::IfPresent,
        }
    }
}

/// The rule for certificates that belong to no consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConsumerRule {
    /// They are refused with 403.
    Required,
    /// They are taken.
    #[default]
    Optional,
}

/// `{ trust_domains = ["example.org"], paths = ["/ns/prod/*"] }`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spiffe {
    /// The trust domains.
    pub trust_domains: Vec<TrustDomain>,
    /// The paths, whole; one that ends in `/*` stands for everything below. Absent: all.
    pub paths: Option<Vec<SpiffePath>>,
}

/// `{ header = "client-cert", networks = ["10.0.0.0/8"] }`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FromHeader {
    /// The header with the certificate: in the form of RFC 9440, or as URL-encoded PEM, which may have the chain in it.
    pub header: String,
    /// The header with the chain, in the form of RFC 9440.
    pub chain: Option<String>,
    /// The networks of the load balancers: the header counts only where the connection comes from there.
    #[schemars(with = "Vec<String>")]
    pub networks: Vec<IpNet>,
}

/// A header that tells the upstream about the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HandedOn {
    /// The certificate (RFC 9440 section 2.2).
    ClientCert,
    /// The certificates that the client sent after it (RFC 9440 section 2.3).
    ClientCertChain,
    /// Its subject's common name.
    XClientCertCn,
    /// Its serial number, in upper-case hexadecimal digits.
    XClientCertSerial,
    /// Its SHA-256, in lower-case hexadecimal digits.
    XClientCertFingerprint,
    /// `SUCCESS`.
    XClientCertVerify,
    /// Hash, subject, URIs and host names, as Envoy writes them.
    XForwardedClientCert,
}

/// A consumer's credential: the facts by which its certificates are recognized. All that is written here has to fit,
/// and it has to be enough to tell one holder from another: a fingerprint, a subject, a name, or an issuer together
/// with a serial number.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The SHA-256 of the certificate.
    pub fingerprint: Option<Fingerprint>,
    /// The subject, whole.
    pub subject: Option<Dn>,
    /// The subject's common name, whole.
    pub cn: Option<String>,
    /// A host name among its alternative names.
    pub dns: Option<DnsPattern>,
    /// A URI among its alternative names.
    pub uri: Option<Uri>,
    /// An e-mail address among its alternative names.
    pub email: Option<Email>,
    /// Who made it.
    pub issuer: Option<Dn>,
    /// With `issuer`: its serial number, in hexadecimal digits.
    pub serial: Option<Serial>,
}

impl Config {
    /// Returns the problems of the settings, except for those of the files.
    pub(crate) fn problems(&self) -> Problems {
        let mut problems = Problems::new();
        let mut wrong = |field: &str, why: &str| problems.push((field.to_owned(), why.to_owned()));
        for (field, length) in self.lists() {
            if length == Some(0) {
                wrong(field, "is empty: no certificate would be taken");
            }
        }
        if self.ca.is_none() {
            let alone = [
                ("crl", self.crl.is_some()),
                ("crl_policy", self.crl_policy.is_some()),
                ("max_chain_depth", self.max_chain_depth.is_some()),
                ("ocsp", self.ocsp.is_some()),
            ];
            for (field, _) in alone.into_iter().filter(|(_, is_said)| *is_said) {
                wrong(field, "goes with `ca`: the listener has its own for the CAs that it trusts");
            }
        }
        if self.crl_policy == Some(CrlRule::Required) && self.crl.is_none() && self.ca.is_some() {
            wrong("crl", "is missing: with `crl_policy = \"required\"` every certificate would be refused");
        }
        if self.max_cached_certificates.is_some_and(|most| most.get() > MAX_CACHED_CERTIFICATES_CAP) {
            wrong("max_cached_certificates", &format!("is more than {MAX_CACHED_CERTIFICATES_CAP}"));
        }
        if self.headers.iter().enumerate().any(|(at, header)| self.headers[..at].contains(header)) {
            wrong("headers", "names one twice");
        }
        if let Some(from) = &self.from_header {
            if self.ca.is_none() {
                // Without a CA nothing would verify the certificate: whoever reaches the load balancer could bring any.
                wrong("ca", "is missing: with `from_header` the certificate is verified here");
            }
            if from.networks.is_empty() {
                wrong("from_header.networks", "is empty: the header would never count");
            }
            if from.networks.iter().any(|network| network.prefix_len() == 0) {
                wrong("from_header.networks", "names the whole world: anybody could send the header");
            }
            for network in from.networks.iter().filter(|network| network.addr() != network.network()) {
                let why = format!("`{network}` is the network `{}`: write that, or a single address", network.trunc());
                wrong("from_header.networks", &why);
            }
            for (field, name) in
                [("from_header.header", Some(&from.header)), ("from_header.chain", from.chain.as_ref())]
            {
                if let Some(Err(why)) = name.map(|name| Place::header(name, None)) {
                    wrong(field, &why);
                }
            }
            if from.chain.as_ref().is_some_and(|chain| chain.eq_ignore_ascii_case(&from.header)) {
                wrong("from_header.chain", "is the header of the certificate itself");
            }
        }
        problems
    }

    /// Returns each list, with its length where it is there.
    fn lists(&self) -> [(&'static str, Option<usize>); 11] {
        let files = |files: &Option<Files>| match files {
            Some(Files::Several(paths)) => Some(paths.len()),
            _ => None,
        };
        [
            ("ca", files(&self.ca)),
            ("crl", files(&self.crl)),
            ("subjects", self.subjects.as_ref().map(Vec::len)),
            ("cns", self.cns.as_ref().map(Vec::len)),
            ("dns", self.dns.as_ref().map(Vec::len)),
            ("uris", self.uris.as_ref().map(Vec::len)),
            ("spiffe.trust_domains", self.spiffe.as_ref().map(|spiffe| spiffe.trust_domains.len())),
            ("spiffe.paths", self.spiffe.as_ref().and_then(|spiffe| spiffe.paths.as_ref()).map(Vec::len)),
            ("emails", self.emails.as_ref().map(Vec::len)),
            ("fingerprints", self.fingerprints.as_ref().map(Vec::len)),
            ("issuers", self.issuers.as_ref().map(Vec::len)),
        ]
    }
}

impl FromHeader {
    /// The names of its headers; those of a policy that was built are names.
    pub(crate) fn names(&self) -> impl Iterator<Item = HeaderName> {
        [Some(&self.header), self.chain.as_ref()].into_iter().flatten().filter_map(|name| name.parse().ok())
    }
}
