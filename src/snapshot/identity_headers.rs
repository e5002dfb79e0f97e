//! The headers that carry the identity to the upstream, and those that are removed from incoming requests.
//!
//! Removal is decided by the *folded* name: lower case, with all but letters and digits read as `-`, because upstreams
//! fold them too (`X_User_Id` and `X-User-ID` are one variable to CGI, WSGI and PHP). By default every header with a
//! `_` in its name is removed: nothing else tells `X_User_Id` from an innocent name on every possible upstream.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_plugin::{Identity, IdentityField};

use crate::{
    config::file::{self, HeaderChoice},
    header_names::{is_about_client, is_authentication, is_framing, is_message_metadata},
};

/// The default of the most bytes that identity headers may add to a request.
const DEFAULT_MAX_BYTES: usize = 8192;

/// Names that some applications trust: for the user, for the origin of a request, for what it really asks for.
const FOREIGN: &[&str] = &[
    "x-userinfo",
    "x-access-token",
    "x-id-token",
    "x-user-id",
    "x-user-email",
    "x-user-roles",
    "x-user-name",
    "x-user",
    "x-username",
    "x-email",
    "x-roles",
    "x-groups",
    "x-consumer",
    "x-client-id",
    "x-tenant-id",
    "x-scopes",
    "x-auth-method",
    "x-auth-user",
    "x-jwt-assertion",
    "x-client-cn",
    "x-client-dn",
    "x-client-i-dn",
    "x-client-s-dn",
    "x-client-verify",
    "x-client-serial",
    "x-client-fingerprint",
    "x-arr-clientcert",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "forwarded",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
    "x-original-method",
    "x-original-uri",
    "x-request-id",
];

/// Names with these prefixes are removed too.
const FOREIGN_PREFIXES: &[&str] = &[
    "x-consumer-",
    "x-credential-",
    "x-authenticated-",
    "x-anonymous-",
    "x-forwarded-",
    "client-cert",
    "x-client-cert",
    "ssl-client-",
    "x-amzn-mtls-",
    "x-ssl-client-",
    "x-ssl-cert",
    "x-client-subject",
    "x-client-issuer",
    "remote-",
    "x-remote-",
    "x-auth-request-",
    "x-webauth-",
    "x-ms-client-principal",
    "x-goog-authenticated-",
];

/// `[identity]`, compiled.
#[derive(Debug)]
pub(crate) struct IdentityHeaders {
    fields: Vec<(IdentityField, HeaderName)>,
    /// The headers that policies fill beside the standard fields.
    extra: Vec<HeaderName>,
    request_id: Option<HeaderName>,
    /// The header that names the client.
    reader: HeaderName,
    max_bytes: usize,
    /// The bytes of the names of all fields.
    name_bytes: usize,
    removed: HashSet<Box<str>, foldhash::fast::RandomState>,
    /// The first letters that a removed name can have: most names are let through by one look at this.
    first: [bool; 256],
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        Self::compile(&file::Identity::default(), &file::ClientAddress::default())
            .expect("the usual names do not repeat")
    }
}

impl IdentityHeaders {
    /// Compiles the file's settings.
    ///
    /// # Errors
    /// Returns the fields of `[identity]` that are wrong, each with the reason: two have the same header, or one that
    /// frames messages.
    pub(crate) fn compile(file: &file::Identity, client: &file::ClientAddress) -> Result<Self, Vec<(String, String)>> {
        use IdentityField::{Client, Consumer, Credential, Email, Groups, Method, Roles, Scopes, Tenant, User};
        let names = &file.headers;
        let chosen = [
            (Some(User), "user", &names.user, Some("x-user-id")),
            (Some(Consumer), "consumer", &names.consumer, Some("x-consumer")),
            (Some(Groups), "groups", &names.groups, Some("x-consumer-groups")),
            (Some(Credential), "credential", &names.credential, Some("x-credential-id")),
            (Some(Client), "client", &names.client, Some("x-client-id")),
            (Some(Tenant), "tenant", &names.tenant, Some("x-tenant-id")),
            // Personal data: not forwarded unless configured.
            (Some(Email), "email", &names.email, None),
            (Some(Roles), "roles", &names.roles, Some("x-user-roles")),
            (Some(Scopes), "scopes", &names.scopes, Some("x-scopes")),
            (Some(Method), "method", &names.method, Some("x-auth-method")),
            (None, "request_id", &names.request_id, Some("x-request-id")),
        ];
        let chosen = chosen
            .into_iter()
            .filter_map(|(field, word, choice, usual)| Some((field, word, choose(choice.as_ref(), usual)?)));
        let chosen: Vec<_> = chosen.collect();
        check(&chosen.iter().map(|(_, word, name)| (*word, name)).collect::<Vec<_>>(), file)?;

        let ours = chosen.iter().map(|(_, _, name)| name);
        // The header that names the client is only for the gateway, whoever sent it.
        let strip = file.strip.iter().map(|name| &name.0).chain([&client.header.0.0]);
        let configured = ours.chain(strip).map(|name| folded(name.as_str()).into_boxed_str());
        let removed: HashSet<Box<str>, _> = configured.chain(FOREIGN.iter().map(|name| Box::from(*name))).collect();
        let mut first = [false; 256];
        let starts = removed.iter().map(|name| &**name).chain(FOREIGN_PREFIXES.iter().copied());
        starts.filter_map(|name| name.bytes().next()).for_each(|byte| first[usize::from(byte)] = true);
        let request_id = chosen.iter().find(|(field, ..)| field.is_none()).map(|(_, _, name)| name.clone());
        let fields: Vec<_> = chosen.into_iter().filter_map(|(field, _, name)| Some((field?, name))).collect();
        let name_bytes = fields.iter().map(|(_, name)| name.as_str().len()).sum();
        let max_bytes = file.max_bytes.unwrap_or(DEFAULT_MAX_BYTES);
        let reader = client.header.0.0.clone();
        Ok(Self { fields, extra: Vec::new(), request_id, reader, max_bytes, name_bytes, removed, first })
    }

    /// Adds a header that identities of a policy fill: from here on it is removed from every request, as the others
    /// are.
    ///
    /// # Errors
    /// Returns why an identity cannot have this header.
    pub(crate) fn add(&mut self, name: HeaderName) -> Result<(), String> {
        if is_framing(&name) || is_message_metadata(&name) || is_authentication(&name) || is_about_client(&name) {
            return Err(format!("`{name}` belongs to the message and cannot carry an identity"));
        }
        let key = folded(name.as_str());
        let is_same = |other: &HeaderName| folded(other.as_str()) == key;
        if let Some((field, _)) = self.fields.iter().find(|(_, other)| is_same(other)) {
            return Err(format!("`{name}` is the header of the identity's {field:?} already").to_lowercase());
        }
        if self.request_id.iter().chain([&self.reader]).any(is_same) {
            return Err(format!("`{name}` is a header of the gateway's own already"));
        }
        key.bytes().next().into_iter().for_each(|byte| self.first[usize::from(byte)] = true);
        self.removed.insert(key.into_boxed_str());
        if !self.extra.contains(&name) {
            self.extra.push(name);
        }
        Ok(())
    }

    /// Returns whether this is the header of a part of the identity, in any spelling.
    pub(crate) fn carries(&self, name: &HeaderName) -> bool {
        let key = folded(name.as_str());
        let ours = self.fields.iter().map(|(_, name)| name).chain(&self.extra);
        ours.chain([&self.reader]).any(|other| folded(other.as_str()) == key)
    }

    /// Returns whether an incoming header of this name is removed.
    pub(crate) fn removes(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        if name.as_bytes().contains(&b'_') {
            return true;
        }
        if !name.bytes().next().is_some_and(|byte| self.first[usize::from(byte)]) {
            return false;
        }
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_plain { self.is_removed(name) } else { self.is_removed(&folded(name)) }
    }

    fn is_removed(&self, folded: &str) -> bool {
        self.removed.contains(folded) || FOREIGN_PREFIXES.iter().any(|prefix| folded.starts_with(prefix))
    }

    /// Returns the names in `headers` that are removed.
    pub(crate) fn foreign<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h HeaderName> {
        headers.keys().filter(|name| self.removes(name))
    }

    /// Returns the header that carries the request's id.
    pub(crate) fn request_id(&self) -> Option<&HeaderName> {
        self.request_id.as_ref()
    }

    /// Returns the identity's headers. Those that no policy declared are left out: they are not removed from incoming
    /// requests, and so could come from anybody.
    pub(crate) fn of<'i>(&'i self, identity: &'i Identity) -> impl Iterator<Item = (&'i HeaderName, &'i HeaderValue)> {
        let values = identity.values();
        let fields = self.fields.iter().filter_map(move |(field, name)| {
            let (_, value) = values.iter().find(|(of, _)| of == field)?;
            Some((name, value))
        });
        let extra = identity.headers.iter().filter(|(name, _)| self.extra.contains(name));
        fields.chain(extra.map(|(name, value)| (name, value)))
    }

    /// Returns whether the identity's headers together stay within the limit.
    pub(crate) fn fits(&self, identity: &Identity) -> bool {
        // Nearly always all that there could be fits, and no header has to be found for that.
        let values: usize = identity.values().iter().map(|(_, value)| value.len()).sum();
        let extra: usize = identity.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if self.name_bytes + values + extra <= self.max_bytes {
            return true;
        }
        let bytes: usize = self.of(identity).map(|(name, value)| name.as_str().len() + value.len()).sum();
        bytes <= self.max_bytes
    }
}

/// Checks the chosen names, by field: an upstream may take two names with one folded form for one.
fn check(chosen: &[(&str, &HeaderName)], file: &file::Identity) -> Result<(), Vec<(String, String)>> {
    let mut wrong = Vec::new();
    for (at, (field, name)) in chosen.iter().enumerate() {
        let field = format!("headers.{field}");
        if is_framing(name) || is_message_metadata(name) || is_about_client(name) {
            wrong.push((field, format!("`{name}` belongs to the message and cannot carry an identity")));
        } else if let Some((other, _)) =
            chosen[..at].iter().find(|other| folded(other.1.as_str()) == folded(name.as_str()))
        {
            wrong.push((field, format!("`{name}` is the header of `{other}` already")));
        }
    }
    for (index, name) in file.strip.iter().enumerate().filter(|(_, name)| is_framing(&name.0)) {
        wrong.push((format!("strip[{index}]"), format!("`{}` belongs to the message and stays", name.0)));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn choose(choice: Option<&HeaderChoice>, usual: Option<&'static str>) -> Option<HeaderName> {
    match choice {
        Some(HeaderChoice(chosen)) => chosen.clone(),
        None => usual.map(HeaderName::from_static),
    }
}

/// Folds a name as an upstream may: some make one variable out of all characters but letters and digits.
fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
mod tests;
