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
    /// All-of authentication found two different consumers, or two different tenants.
    IdentityConflict = "identity_conflict",
    /// A restriction refuses this consumer, group, role, label, tenant or credential.
    ConsumerNotAllowed = "consumer_not_allowed",
    /// A restriction asks for a scope that no credential of the request has.
    ScopeMissing = "scope_missing",
    /// The identity does not fit into the headers that would carry it.
    IdentityTooLarge = "identity_too_large",
    /// The request body is larger than the route takes.
    BodyTooLarge = "body_too_large",
    /// A plugin could not decide, for example because a server did not answer.
    PluginFailed = "plugin_failed",
    /// The audit log is full, and `audit.on_full` says to refuse.
    AuditFull = "audit_full",
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
