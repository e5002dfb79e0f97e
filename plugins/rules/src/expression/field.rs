use portcullis_plugin::{
    Identity,
    http::{HeaderName, header},
};

use super::{effect::Effect, kind::Kind};

/// Something of the identity or of the request that an expression may mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Consumer,
    Groups,
    Roles,
    Scopes,
    Labels,
    Label(String),
    Tenant,
    Subject,
    Client,
    Issuer,
    Email,
    Method,
    Credentials,
    /// The claim at this path; all of them where it is empty.
    Claims(Vec<String>),
    Certificate(OfCertificate),
    RequestMethod,
    Path,
    Host,
    Query,
    Header(HeaderName),
    PathParameter(String),
    Address,
    IsHttps,
    Time,
}

/// Something that the client's certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfCertificate {
    Subject,
    Cn,
    Issuer,
    Serial,
    Fingerprint,
    Dns,
    Uris,
    Emails,
}

/// The names that an expression may begin with.
pub(super) const ROOTS: [&str; 2] = ["identity", "request"];

const OF_IDENTITY: &str = "consumer, groups, roles, scopes, labels, tenant, subject, client, issuer, email, method, credentials, claims, \
     certificate";
const OF_CERTIFICATE: &str = "subject, cn, issuer, serial, fingerprint, dns, uris, emails";
const OF_REQUEST: &str = "method, path, host, query, headers, path_params, address, is_https, time";

impl Field {
    /// The field of this root that is written like this.
    pub(super) fn new(root: &str, names: &[&str]) -> Result<Self, String> {
        let [first, rest @ ..] = names else {
            let fields = if root == "identity" { OF_IDENTITY } else { OF_REQUEST };
            return Err(format!("`{root}` is no value: name one of its fields ({fields})"));
        };
        if root == "identity" { Self::of_identity(first, rest) } else { Self::of_request(first, rest) }
    }

    fn of_identity(name: &str, rest: &[&str]) -> Result<Self, String> {
        let field = match name {
            "claims" => return Ok(Self::Claims(rest.iter().map(|name| (*name).to_owned()).collect())),
            "certificate" => return OfCertificate::new(rest).map(Self::Certificate),
            "labels" => match rest {
                [] => return Ok(Self::Labels),
                [label] => return Ok(Self::Label((*label).to_owned())),
                [label, ..] => return Err(no_fields(&format!("identity.labels.{label}"))),
            },
            "consumer" => Self::Consumer,
            "groups" => Self::Groups,
            "roles" => Self::Roles,
            "scopes" => Self::Scopes,
            "tenant" => Self::Tenant,
            "subject" => Self::Subject,
            "client" => Self::Client,
            "issuer" => Self::Issuer,
            "email" => Self::Email,
            "method" => Self::Method,
            "credentials" => Self::Credentials,
            other => return Err(format!("`identity` has no field `{}`: it has {OF_IDENTITY}", other.escape_debug())),
        };
        if rest.is_empty() { Ok(field) } else { Err(no_fields(&format!("identity.{name}"))) }
    }

    fn of_request(name: &str, rest: &[&str]) -> Result<Self, String> {
        let field = match name {
            "headers" => return Ok(Self::Header(header_name(one_of_many("headers", "x-region", rest)?)?)),
            "path_params" => {
                return Ok(Self::PathParameter(one_of_many("path_params", "tenant", rest)?.to_owned()));
            }
            "method" => Self::RequestMethod,
            "path" => Self::Path,
            "host" => Self::Host,
            "query" => Self::Query,
            "address" => Self::Address,
            "is_https" => Self::IsHttps,
            "time" => Self::Time,
            other => return Err(format!("`request` has no field `{}`: it has {OF_REQUEST}", other.escape_debug())),
        };
        if rest.is_empty() { Ok(field) } else { Err(no_fields(&format!("request.{name}"))) }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Groups | Self::Roles | Self::Scopes | Self::Credentials => Kind::Texts,
            Self::Certificate(OfCertificate::Dns | OfCertificate::Uris | OfCertificate::Emails) => Kind::Texts,
            Self::Labels => Kind::Map,
            Self::Claims(path) if path.is_empty() => Kind::Map,
            Self::Claims(_) => Kind::Any,
            Self::IsHttps => Kind::Bool,
            Self::Time => Kind::Time,
            _ => Kind::Text,
        }
    }

    /// Returns `true` if a part of an identity has this field. Fields that are not kept for each part are fields of all
    /// of them.
    pub(super) fn is_of(&self, part: &Identity, effect: Effect) -> bool {
        match self {
            Self::Roles | Self::Scopes if effect == Effect::Require => true,
            Self::Roles => !part.roles.is_empty(),
            Self::Scopes => !part.scopes.is_empty(),
            Self::Claims(_) => part.claims.is_some(),
            _ => true,
        }
    }
}

impl OfCertificate {
    fn new(names: &[&str]) -> Result<Self, String> {
        let wrong = |why: String| Err(format!("`identity.certificate` {why}: it has {OF_CERTIFICATE}"));
        let field = match names {
            [] => return wrong("is no value, name one of its fields".to_owned()),
            ["subject", ..] => Self::Subject,
            ["cn", ..] => Self::Cn,
            ["issuer", ..] => Self::Issuer,
            ["serial", ..] => Self::Serial,
            ["fingerprint", ..] => Self::Fingerprint,
            ["dns", ..] => Self::Dns,
            ["uris", ..] => Self::Uris,
            ["emails", ..] => Self::Emails,
            [other, ..] => return wrong(format!("has no field `{}`", other.escape_debug())),
        };
        if names.len() == 1 { Ok(field) } else { Err(no_fields(&format!("identity.certificate.{}", names[0]))) }
    }
}

fn no_fields(of: &str) -> String {
    format!("`{of}` has no fields")
}

/// The one name after a field that is many things. They have no value as a whole: an expression has to name the one
/// that it looks at.
fn one_of_many<'n>(field: &str, example: &str, names: &[&'n str]) -> Result<&'n str, String> {
    match names {
        [name] => Ok(name),
        [] => Err(format!("`request.{field}` is no value: name one of them, such as request.{field}[\"{example}\"]")),
        [name, ..] => Err(no_fields(&format!("request.{field}.{}", name.escape_debug()))),
    }
}

/// Headers that hold credentials. Comparing them here would be neither in constant time nor kept out of sight.
const SECRET: [HeaderName; 3] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];

/// Beginnings of headers that say who calls. In a request the client wrote them, and can forge them.
const FORGEABLE: [&str; 17] = [
    "client-cert",
    "forwarded",
    "remote-user",
    "x-auth-method",
    "x-authenticated",
    "x-client-cert",
    "x-client-id",
    "x-consumer",
    "x-credential",
    "x-forwarded-",
    "x-real-ip",
    "x-scopes",
    "x-tenant-id",
    "x-user-email",
    "x-user-id",
    "x-user-roles",
    "x-userinfo",
];

fn header_name(name: &str) -> Result<HeaderName, String> {
    let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(format!("`{}` is not the name of a header", name.escape_debug()));
    };
    if header.as_str() != name {
        return Err(format!("the header `{name}` has to be written in lower case"));
    }
    if SECRET.contains(&header) {
        return Err(format!("the header `{name}` holds credentials: ask `identity` instead"));
    }
    if FORGEABLE.iter().any(|start| name.starts_with(start)) {
        return Err(format!(
            "the header `{name}` is what anyone may send: ask `identity` or `request.address` instead"
        ));
    }
    Ok(header)
}
