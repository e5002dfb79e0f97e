//! Certificates for Portcullis: their facts, the CAs that are trusted to make them, and their revocation. The engine's
//! TLS and the plugin `mtls` share it; it is a library and not a plugin itself.
//!
//! ```no_run
//! use portcullis_plugin::UnixTime;
//! use portcullis_x509::{Crl, CrlPolicy, Facts, Trust, certificates};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Once, when the configuration is loaded.
//! let cas = certificates(&std::fs::read("clients-ca.pem")?)?;
//! let crls = Crl::parse(&std::fs::read("clients.crl")?)?;
//! let trust = Trust::new(cas, crls, CrlPolicy::Required, 4)?;
//! trust.check(UnixTime::now())?;
//!
//! // For each certificate.
//! let sent = certificates(&std::fs::read("client.pem")?)?;
//! let chain = trust.verify(&sent[0], &sent[1..], UnixTime::now())?;
//! let facts = Facts::of(&chain[0])?;
//! println!("{} until {}", facts.subject, facts.not_after.0);
//! # Ok(()) }
//! ```
//!
//! # Who reads what
//! OpenSSL builds chains and verifies signatures, dates, purposes and constraints, as it does in the
//! handshake. The facts about the holder are read by `x509-parser` from the same bytes: OpenSSL's own interface tells
//! an absent list of names from a broken one only if asked in C, and ends strings at a NUL, which is how
//! `bank.example\0.evil.example` became `bank.example` once. Whatever the two could read differently makes a
//! certificate malformed here.

mod crl;
mod facts;
mod fault;
mod name;
mod pem;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod trust;

pub use crl::{CRL_MAX_BYTES, Crl, CrlError};
pub use facts::{CERTIFICATE_MAX_BYTES, Facts, MAX_ALTERNATIVE_NAMES};
pub use fault::Fault;
pub use name::{DnError, NAME_MAX_BYTES, canonical_dn};
pub use pem::{CertificatesError, MAX_CERTIFICATES, certificates, certificates_beside_key};
pub use trust::{CrlPolicy, MAX_SENT_CERTIFICATES, OutOfTime, SECURITY_LEVEL, Trust, TrustError};
