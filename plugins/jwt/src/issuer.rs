//! One issuer, which judges the claims of its tokens.

use std::sync::Arc;

use portcullis_jose::{
    Algorithm, Binding, CertificateBinding, Expectations, KeyId, Times, Token, Wrong,
    claims::{Path, Rule},
};
use portcullis_plugin::{
    Claims, Credential, Denial, Identity, Proof, Reason, RevocationKeys, UnixTime, serde_json::Value,
};

use crate::{
    consumers::Consumers,
    headers::{self, Headers},
    keys::Keys,
    mapping::{MappedClaims, Parts, claimed},
};

/// The name of the plugin, which is the method of every identity that it makes.
pub(crate) const METHOD: &str = "jwt";

/// The settings of an issuer, as they are applied to its tokens.
pub(crate) struct Issuer {
    pub(crate) keys: Keys,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) expectations: Expectations,
    pub(crate) rules: Vec<Rule>,
    pub(crate) parts: Parts,
    pub(crate) tenant: Option<String>,
    pub(crate) consumers: Consumers,
    pub(crate) headers: Headers,
    pub(crate) binding: CertificateBinding,
    pub(crate) version_claim: Option<Path>,
}

/// The facts about a token that are kept beside its claims, to judge it again: its signature and its header are gone by
/// then.
#[derive(Clone)]
pub(crate) struct Verification {
    pub(crate) key: KeyId,
    pub(crate) algorithm: Algorithm,
    typ: Option<Box<str>>,
}

/// The result of judging a verified token.
pub(crate) struct JudgedToken {
    pub(crate) identity: Identity,
    pub(crate) times: Times,
    pub(crate) revocation: RevocationKeys,
    pub(crate) binding: Binding,
}

/// The content of claims that nothing speaks against.
struct AcceptedClaims {
    said: MappedClaims,
    revocation: RevocationKeys,
    binding: Binding,
    credential: Option<Arc<Credential>>,
    tenant: Option<String>,
}

impl Issuer {
    /// Judges a token whose signature was found right, made with this key.
    pub(crate) fn judge(&self, token: Token<'_>, key: KeyId, now: UnixTime) -> Result<JudgedToken, Denial> {
        let typ = token.header().typ.as_deref().map(Box::from);
        let verification = Verification { key, algorithm: token.algorithm(), typ };
        self.judge_claims(Arc::new(token.into_claims()), verification, now)
    }

    /// Judges the claims of a token whose signature was verified before.
    pub(crate) fn judge_claims(
        &self,
        claims: Arc<Claims>,
        verification: Verification,
        now: UnixTime,
    ) -> Result<JudgedToken, Denial> {
        let times = self.expectations.check_typ(verification.typ.as_deref()).map_err(Wrong::from);
        let times = times.and_then(|()| self.expectations.check_claims(&claims, now));
        let said = times.map_err(Denial::from).and_then(|times| Ok((times, self.accept(&claims)?)));
        match said {
            Ok((times, AcceptedClaims { said, revocation, binding, credential, tenant })) => {
                let identity = self.identity(said, tenant, credential, claims, times);
                let identity = Identity { proof: Proof::new(verification), ..identity };
                Ok(JudgedToken { identity, times, revocation, binding })
            }
            Err(denial) => Err(denial.claiming(claimed(&claims))),
        }
    }

    fn accept(&self, claims: &Claims) -> Result<AcceptedClaims, Denial> {
        if !self.rules.iter().all(|rule| rule.holds(claims)) {
            return Err(Denial::unauthorized(Reason::ClaimMismatch).detailed("a rule of `claims` does not hold"));
        }
        let binding = Binding::of(claims, self.binding)?;
        let revocation = RevocationKeys::of(claims, self.version(claims)?);
        let said = self.parts.read(claims)?;
        let credential = self.consumers.of(&said, claims);
        if credential.is_none() && self.consumers.is_required {
            return Err(Denial::forbidden(Reason::ConsumerUnknown));
        }
        let tenant = self.tenant(said.tenant.as_deref(), credential)?;
        Ok(AcceptedClaims { revocation, binding, credential: credential.cloned(), tenant, said })
    }

    /// Reads the token's version. If `version_claim` is configured, a token without it is refused: it could not be
    /// revoked.
    fn version(&self, claims: &Claims) -> Result<Option<u64>, Denial> {
        let Some(path) = &self.version_claim else { return Ok(None) };
        let version = path.get(claims).and_then(Value::as_u64);
        let no_version = || Denial::unauthorized(Reason::ClaimMismatch).detailed("no whole number at `version_claim`");
        version.map(Some).ok_or_else(no_version)
    }

    /// The one tenant that the configuration, the token and the consumer agree on, as far as each says something.
    ///
    /// Where the configuration names both a tenant and the claim for it, the token has to say it: one without the claim
    /// would belong to whichever tenant's route it is sent to.
    fn tenant(&self, claimed: Option<&str>, credential: Option<&Arc<Credential>>) -> Result<Option<String>, Denial> {
        let configured = self.tenant.as_deref();
        let is_claimed = configured.is_none() || !self.parts.has_tenant() || claimed == configured;
        let said = claimed.or(configured);
        let of_consumer = credential.and_then(|credential| credential.consumer.tenant.as_deref());
        let agrees = said.is_none() || of_consumer.is_none() || said == of_consumer;
        if is_claimed && agrees {
            Ok(said.or(of_consumer).map(str::to_owned))
        } else {
            Err(Denial::forbidden(Reason::TenantMismatch))
        }
    }

    fn identity(
        &self,
        said: MappedClaims,
        tenant: Option<String>,
        credential: Option<Arc<Credential>>,
        claims: Arc<Claims>,
        times: Times,
    ) -> Identity {
        let consumer = credential.as_ref().map(|credential| credential.consumer.clone());
        let mut roles = said.roles;
        for role in consumer.iter().flat_map(|consumer| &consumer.roles) {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        Identity {
            method: METHOD.to_owned(),
            subject: said.subject,
            client: said.client,
            tenant,
            email: said.email,
            issuer: claims.get("iss").and_then(Value::as_str).map(str::to_owned),
            roles,
            scopes: within(said.scopes, credential.as_deref()),
            headers: headers::fill(&self.headers, &claims),
            expires: Some(times.ends()),
            consumer,
            credentials: credential.into_iter().collect(),
            claims: Some(claims),
            ..Identity::default()
        }
    }
}

/// The token's scopes that the credential lets it have. The credential's own scopes are a limit and never added: its
/// issuer decides what a token is for.
fn within(mut scopes: Vec<String>, credential: Option<&Credential>) -> Vec<String> {
    if let Some(limit) = credential.map(|credential| &credential.scopes).filter(|limit| !limit.is_empty()) {
        scopes.retain(|scope| limit.contains(scope));
    }
    scopes
}
