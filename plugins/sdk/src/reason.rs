/// Declares [`Reason`] together with its codes and their meanings, so that neither can be forgotten.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// Why a request was refused. It stands in the audit log and in metrics, never in the answer to the client.
        ///
        /// The list is closed and its codes are stable. A plugin from elsewhere brings its own by [`Reason::Plugin`];
        /// those are constants too, so that a metric's labels stay bounded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
            /// A reason of a plugin that is not built in: a constant in snake_case.
            Plugin(&'static str),
        }

        impl Reason {
            /// Every reason with a code of its own, with what it means.
            pub const ALL: &'static [(Reason, &'static str)] = &[$((Reason::$name, concat!($($doc),+)),)+];

            /// The stable code, in snake_case.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ Self::Plugin(code) => code }
            }
        }
    };
}

reasons! {
    /// No credential in any place where one could be.
    CredentialAbsent = "credential_absent",
    /// A key in the right place that is empty, too long or not printable.
    KeyMalformed = "key_malformed",
    /// Two different keys in one request.
    KeyConflict = "key_conflict",
    /// A key that nobody has, or that does not open this policy.
    KeyUnknown = "key_unknown",
    /// A credential that is switched off.
    CredentialDisabled = "credential_disabled",
    /// A credential before its `not_before`.
    CredentialNotYetValid = "credential_not_yet_valid",
    /// A key after its `expires`, or older than the policy's `max_age`.
    KeyExpired = "key_expired",
    /// A credential that does not list this route.
    RouteNotAllowed = "route_not_allowed",
    /// A credential used from an address that it does not list.
    AddressNotAllowed = "address_not_allowed",
    /// All-of authentication found two different consumers, subjects or tenants.
    IdentityConflict = "identity_conflict",
    /// A restriction refuses this consumer, group, role, label, tenant or credential.
    ConsumerNotAllowed = "consumer_not_allowed",
    /// A restriction asks for a scope that no credential of the request has.
    ScopeMissing = "scope_missing",
    /// A restriction asks for a role that the identity does not have.
    RoleMissing = "role_missing",
    /// A restriction asks for a claim that the token does not have, or has with another value.
    ClaimMismatch = "claim_mismatch",
    /// A rule says no, or could not be evaluated.
    RuleDenied = "rule_denied",
    /// A token that is no token: not three parts, not JSON, too long, members twice.
    TokenMalformed = "token_malformed",
    /// Two different tokens in one request.
    TokenConflict = "token_conflict",
    /// A token of an issuer that the policy does not know.
    IssuerUnknown = "issuer_unknown",
    /// A token that is meant for somebody else.
    AudienceMismatch = "audience_mismatch",
    /// A token signed with an algorithm that the policy or the key does not take.
    AlgorithmNotAllowed = "algorithm_not_allowed",
    /// A signature made with a key that nobody knows.
    SigningKeyUnknown = "signing_key_unknown",
    /// A signature that does not fit what was signed.
    SignatureInvalid = "signature_invalid",
    /// A token after its `exp`.
    TokenExpired = "token_expired",
    /// A token before its `nbf`, or issued in the future.
    TokenNotYetValid = "token_not_yet_valid",
    /// A token that is older, or lives longer, than the policy takes.
    TokenTooOld = "token_too_old",
    /// A token of another type than the policy takes.
    TokenTypeMismatch = "token_type_mismatch",
    /// A token that was revoked.
    TokenRevoked = "token_revoked",
    /// The token belongs to no consumer, and the policy asks for one.
    ConsumerUnknown = "consumer_unknown",
    /// A token or a credential of another tenant.
    TenantMismatch = "tenant_mismatch",
    /// A signature, or a header that goes with it, that cannot be read.
    SignatureMalformed = "signature_malformed",
    /// A signature that leaves out a component the policy asks for, or names one that the request does not have.
    SignatureIncomplete = "signature_incomplete",
    /// A signature made too long ago, or in the future.
    SignatureStale = "signature_stale",
    /// A signature that was seen before.
    SignatureReplayed = "signature_replayed",
    /// A body other than the one that was signed.
    DigestMismatch = "digest_mismatch",
    /// A body that has to be verified and comes without a length.
    BodyLengthUnknown = "body_length_unknown",
    /// User name and password that cannot be read.
    BasicMalformed = "basic_malformed",
    /// Two different pairs of user name and password in one request.
    BasicConflict = "basic_conflict",
    /// An unknown user, or a wrong password: which of the two is not told even here.
    PasswordWrong = "password_wrong",
    /// A certificate after its `notAfter`.
    CertificateExpired = "certificate_expired",
    /// A certificate before its `notBefore`.
    CertificateNotYetValid = "certificate_not_yet_valid",
    /// A certificate that leads to no CA that is trusted, or whose signature does not fit.
    CertificateUnknownCa = "certificate_unknown_ca",
    /// A certificate that was revoked, or one that leads to its CA.
    CertificateRevoked = "certificate_revoked",
    /// A certificate that was not made for clients.
    CertificateWrongPurpose = "certificate_wrong_purpose",
    /// A good certificate that the policy does not take.
    CertificateNotAllowed = "certificate_not_allowed",
    /// A certificate, or a header that carries one, that cannot be read.
    CertificateMalformed = "certificate_malformed",
    /// A certificate that leads to its CA over more steps than are taken.
    CertificateChainTooLong = "certificate_chain_too_long",
    /// Nobody says whether the certificate was revoked: a CRL or an OCSP answer is missing, has expired or cannot be read.
    CertificateRevocationUnknown = "certificate_revocation_unknown",
    /// A token that is bound to another certificate than the connection's.
    TokenBindingMismatch = "token_binding_mismatch",
    /// A request for another host than the one that the connection was made for.
    ServerNameMismatch = "server_name_mismatch",
    /// A credential that was taken out of the configuration, or out of its policy, or got another secret, while a request
    /// that it had opened went on.
    CredentialWithdrawn = "credential_withdrawn",
    /// The route of a request that went on is gone, or takes it no longer.
    RouteWithdrawn = "route_withdrawn",
    /// A policy changed while a request that it had let in went on, and cannot tell whether it would take it now.
    PolicyChanged = "policy_changed",
    /// Too many attempts of this kind failed.
    TooManyAttempts = "too_many_attempts",
    /// The identity does not fit into the headers that would carry it.
    IdentityTooLarge = "identity_too_large",
    /// The request body is larger than the route takes.
    BodyTooLarge = "body_too_large",
    /// A plugin could not decide, for example because a server did not answer.
    PluginFailed = "plugin_failed",
    /// A plugin took longer to decide than its `hook_timeout`.
    PluginTimedOut = "plugin_timed_out",
    /// A plugin panicked: a bug in it.
    PluginPanicked = "plugin_panicked",
    /// The client left before a plugin had decided.
    ClientGone = "client_gone",
    /// The audit log is full, and `audit.on_full` says to refuse.
    AuditFull = "audit_full",
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
