use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_plugin::{Claims, ClientCert, Reason, schemars::JsonSchema, serde::Deserialize, serde_json::Value};

use crate::Wrong;

/// The rule for tokens that are not bound to a client's certificate (RFC 8705 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", crate = "portcullis_plugin::serde")]
#[schemars(crate = "portcullis_plugin::schemars")]
pub enum CertificateBinding {
    /// The token has to be bound.
    Required,
    /// A token that is bound has to come over a connection with that certificate; others need none.
    #[default]
    WhenPresent,
}

/// The certificate that a token is bound to, if it is bound to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    sha256: Option<[u8; 32]>,
    is_required: bool,
}

impl Binding {
    /// Reads `cnf` with its member `x5t#S256`.
    ///
    /// # Errors
    /// [`Reason::TokenMalformed`]: one of the two is there and is not what it should be. A token with a broken binding
    /// is never taken for one without.
    pub fn of(claims: &Claims, rule: CertificateBinding) -> Result<Self, Wrong> {
        let confirmation = match claims.get("cnf") {
            None => None,
            Some(Value::Object(members)) => members.get("x5t#S256"),
            Some(_) => return Err(Wrong::malformed("`cnf` is no object")),
        };
        let sha256 = confirmation.map(|value| thumbprint(value).ok_or(NO_THUMBPRINT)).transpose()?;
        Ok(Self { sha256, is_required: rule == CertificateBinding::Required })
    }

    /// Checks that a request may use the token. `certificate` is the connection's, as
    /// [`RequestCx::certificate`](portcullis_plugin::RequestCx::certificate) tells it.
    ///
    /// # Errors
    /// [`Reason::TokenBindingMismatch`] where it is another certificate or none; what is wrong with the certificate, where
    /// one was sent that does not count.
    pub fn check(&self, certificate: Result<Option<&ClientCert>, Reason>) -> Result<(), Reason> {
        match self.sha256 {
            None if self.is_required => Err(Reason::TokenBindingMismatch),
            None => Ok(()),
            Some(wanted) => match certificate? {
                Some(certificate) if certificate.sha256 == wanted => Ok(()),
                _ => Err(Reason::TokenBindingMismatch),
            },
        }
    }
}

/// The SHA-256 of a certificate in base64url without padding (RFC 8705 section 3.1).
const NO_THUMBPRINT: Wrong = Wrong::malformed("`x5t#S256` of `cnf` is no SHA-256 in base64url");

fn thumbprint(value: &Value) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(value.as_str()?).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
