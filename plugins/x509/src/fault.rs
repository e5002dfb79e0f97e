use openssl::x509::X509VerifyResult;
use portcullis_plugin::Reason;

/// Why a certificate is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// After its `notAfter`, or that of a certificate that leads to its CA.
    #[error("the certificate has expired")]
    Expired,
    /// Before its `notBefore`, or that of a certificate that leads to its CA.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// It leads to no CA that is trusted: nobody is known who made it, the signature does not fit or is made with too
    /// weak a key, or whoever made it may not make certificates like this.
    #[error("the certificate is not from a CA that is trusted")]
    UnknownCa,
    /// It is on its CA's list of those that were revoked, or a certificate that leads to its CA is.
    #[error("the certificate was revoked")]
    Revoked,
    /// It was not made for clients.
    #[error("the certificate was not made for clients")]
    WrongPurpose,
    /// It cannot be read, or could be read in two ways.
    #[error("the certificate is malformed")]
    Malformed,
    /// More certificates lead to its CA than are taken.
    #[error("the certificate's chain is too long")]
    ChainTooLong,
    /// Nobody says whether it was revoked: the list is missing, has expired, or is not of the right CA.
    #[error("nothing says whether the certificate was revoked")]
    RevocationUnknown,
}

/// OpenSSL's numbers, from `x509_vfy.h`: they are a part of its interface and do not change.
mod code {
    pub(super) const UNSPECIFIED: i32 = 1;
    pub(super) const UNABLE_TO_GET_CRL: i32 = 3;
    pub(super) const UNABLE_TO_DECRYPT_CRL_SIGNATURE: i32 = 5;
    pub(super) const CRL_SIGNATURE_FAILURE: i32 = 8;
    pub(super) const CERT_NOT_YET_VALID: i32 = 9;
    pub(super) const CERT_HAS_EXPIRED: i32 = 10;
    pub(super) const CRL_NOT_YET_VALID: i32 = 11;
    pub(super) const CRL_HAS_EXPIRED: i32 = 12;
    pub(super) const ERROR_IN_CERT_NOT_BEFORE_FIELD: i32 = 13;
    pub(super) const ERROR_IN_CERT_NOT_AFTER_FIELD: i32 = 14;
    pub(super) const ERROR_IN_CRL_LAST_UPDATE_FIELD: i32 = 15;
    pub(super) const ERROR_IN_CRL_NEXT_UPDATE_FIELD: i32 = 16;
    pub(super) const OUT_OF_MEM: i32 = 17;
    pub(super) const UNABLE_TO_GET_ISSUER_CERT_LOCALLY: i32 = 20;
    pub(super) const CERT_CHAIN_TOO_LONG: i32 = 22;
    pub(super) const CERT_REVOKED: i32 = 23;
    pub(super) const PATH_LENGTH_EXCEEDED: i32 = 25;
    pub(super) const INVALID_PURPOSE: i32 = 26;
    pub(super) const UNABLE_TO_GET_CRL_ISSUER: i32 = 33;
    pub(super) const UNHANDLED_CRITICAL_CRL_EXTENSION: i32 = 36;
    pub(super) const INVALID_EXTENSION: i32 = 41;
    pub(super) const DIFFERENT_CRL_SCOPE: i32 = 44;
    pub(super) const CRL_PATH_VALIDATION_ERROR: i32 = 54;
}

impl Fault {
    /// Returns the fault that OpenSSL's verdict stands for; `None` where it has nothing against the certificate.
    pub fn of(verdict: X509VerifyResult) -> Option<Self> {
        Some(match verdict.as_raw() {
            0 => return None,
            code::CERT_HAS_EXPIRED => Self::Expired,
            code::CERT_NOT_YET_VALID => Self::NotYetValid,
            code::CERT_REVOKED => Self::Revoked,
            code::INVALID_PURPOSE => Self::WrongPurpose,
            code::CERT_CHAIN_TOO_LONG | code::PATH_LENGTH_EXCEEDED => Self::ChainTooLong,
            code::UNSPECIFIED
            | code::OUT_OF_MEM
            | code::ERROR_IN_CERT_NOT_BEFORE_FIELD
            | code::ERROR_IN_CERT_NOT_AFTER_FIELD
            | code::INVALID_EXTENSION => Self::Malformed,
            code::UNABLE_TO_GET_CRL
            | code::UNABLE_TO_DECRYPT_CRL_SIGNATURE
            | code::CRL_SIGNATURE_FAILURE
            | code::CRL_NOT_YET_VALID
            | code::CRL_HAS_EXPIRED
            | code::ERROR_IN_CRL_LAST_UPDATE_FIELD
            | code::ERROR_IN_CRL_NEXT_UPDATE_FIELD
            | code::UNABLE_TO_GET_CRL_ISSUER
            | code::UNHANDLED_CRITICAL_CRL_EXTENSION
            | code::DIFFERENT_CRL_SCOPE
            | code::CRL_PATH_VALIDATION_ERROR => Self::RevocationUnknown,
            // Every other one says that the chain does not hold.
            _ => Self::UnknownCa,
        })
    }

    /// The verdict for OpenSSL to hand on, so that the client gets the alert that fits (RFC 8446 section 6.2).
    pub fn verdict(self) -> X509VerifyResult {
        let code = match self {
            Self::Expired => code::CERT_HAS_EXPIRED,
            Self::NotYetValid => code::CERT_NOT_YET_VALID,
            Self::UnknownCa => code::UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            Self::Revoked => code::CERT_REVOKED,
            Self::WrongPurpose => code::INVALID_PURPOSE,
            Self::Malformed => code::INVALID_EXTENSION,
            Self::ChainTooLong => code::CERT_CHAIN_TOO_LONG,
            Self::RevocationUnknown => code::UNABLE_TO_GET_CRL,
        };
        // SAFETY: the number is one of OpenSSL's.
        unsafe { X509VerifyResult::from_raw(code) }
    }

    /// For log and metric.
    pub fn reason(self) -> Reason {
        match self {
            Self::Expired => Reason::CertificateExpired,
            Self::NotYetValid => Reason::CertificateNotYetValid,
            Self::UnknownCa => Reason::CertificateUnknownCa,
            Self::Revoked => Reason::CertificateRevoked,
            Self::WrongPurpose => Reason::CertificateWrongPurpose,
            Self::Malformed => Reason::CertificateMalformed,
            Self::ChainTooLong => Reason::CertificateChainTooLong,
            Self::RevocationUnknown => Reason::CertificateRevocationUnknown,
        }
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        fault.reason()
    }
}
