//! The values of an expression's variables, in one request. Nothing is read before it is asked for, and texts are
//! borrowed.

use std::{borrow::Cow, collections::HashMap};

use cel::{
    common::{
        types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelTimestamp, CelUInt},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use chrono::DateTime;
use percent_encoding::percent_decode_str;
use portcullis_plugin::{
    CertificateNames, Claims, Identity, RequestCx,
    http::{HeaderName, header, uri::Authority},
    serde_json::Value as Json,
};

use super::{
    check::Access,
    field::{Field, OfCertificate},
    steps::Steps,
};

/// The values of one evaluation.
pub(super) struct Values<'a, 'r> {
    accesses: &'a [Access],
    cx: &'a RequestCx<'r>,
    identity: &'a Identity,
    part: &'a Identity,
    /// Whose roles and scopes count.
    speaker: &'a Identity,
    pub steps: Steps,
}

/// A value that borrows from the request or from the identity.
type Boxed<'v> = Box<dyn Val + 'v>;

impl<'a, 'r> Values<'a, 'r> {
    pub(super) fn new(
        accesses: &'a [Access],
        cx: &'a RequestCx<'r>,
        identity: &'a Identity,
        part: &'a Identity,
        speaker: &'a Identity,
    ) -> Self {
        Self { accesses, cx, identity, part, speaker, steps: Steps::new() }
    }

    /// The value of a field. `None`: it has none, it cannot be read as a text, or the steps do not suffice.
    fn read(&self, field: &Field) -> Option<Boxed<'_>> {
        let Self { cx, identity, part, speaker, .. } = self;
        let consumer = identity.consumer.as_deref();
        match field {
            Field::Consumer => self.text(&consumer?.name),
            Field::Groups => self.texts(consumer.iter().flat_map(|of| &of.groups).map(String::as_str)),
            Field::Roles => self.texts(speaker.roles.iter().map(String::as_str)),
            Field::Scopes => self.texts(speaker.scopes.iter().map(String::as_str)),
            Field::Labels => self.map(consumer.iter().flat_map(|of| &of.labels), |value| self.text(value)),
            Field::Label(name) => self.text(consumer?.labels.get(name)?),
            Field::Tenant => self.name(&identity.tenant),
            Field::Subject => self.name(&identity.subject),
            Field::Client => self.name(&identity.client),
            Field::Issuer => self.name(&identity.issuer),
            Field::Email => self.name(&identity.email),
            Field::Method => self.text(&identity.method),
            Field::Credentials => self.texts(identity.credentials.iter().map(|credential| &*credential.id)),
            Field::Claims(path) => self.claim(part.claims.as_deref()?, path),
            Field::Certificate(of) => self.certificate(identity.certificate.as_deref()?, *of),
            Field::RequestMethod => self.text(cx.method().as_str()),
            Field::Path => self.text(cx.path()),
            Field::Host => self.text(host(cx)?),
            Field::Query => self.text(cx.query()?),
            Field::Header(name) => self.text(header_text(cx, name)?),
            Field::PathParameter(name) => self.text(percent_decode_str(cx.path_parameter(name)?).decode_utf8().ok()?),
            Field::Address => self.text(cx.address().to_canonical().to_string()),
            Field::IsHttps => Some(Box::new(CelBool::from(cx.is_https()))),
            Field::Time => Some(Box::new(CelTimestamp::from(DateTime::from_timestamp(cx.now().0, 0)?.fixed_offset()))),
        }
    }

    fn text<'v>(&self, text: impl Into<Cow<'v, str>>) -> Option<Boxed<'v>> {
        let text = text.into();
        self.steps.take_text(text.len()).then(|| match text {
            Cow::Borrowed(text) => Box::new(CelString::from(text)) as Boxed<'v>,
            Cow::Owned(text) => Box::new(CelString::from(text)),
        })
    }

    /// A name of the identity. An empty one is none: it would equal whatever else is empty.
    fn name<'v>(&self, name: &'v Option<String>) -> Option<Boxed<'v>> {
        self.text(name.as_deref().filter(|name| !name.is_empty())?)
    }

    fn texts<'v>(&self, texts: impl Iterator<Item = &'v str>) -> Option<Boxed<'v>> {
        let items: Vec<Boxed<'v>> = texts.map(|text| self.text(text)).collect::<Option<_>>()?;
        Some(Box::new(CelList::from(items)))
    }

    fn map<'v, V: 'v>(
        &self,
        entries: impl Iterator<Item = (&'v String, &'v V)>,
        value: impl Fn(&'v V) -> Option<Boxed<'v>>,
    ) -> Option<Boxed<'v>> {
        let entry = |(key, of): (&'v String, &'v V)| {
            let key = self.steps.take_text(key.len()).then(|| CelMapKey::from(key.as_str()))?;
            Some((key, value(of)?))
        };
        let entries: HashMap<CelMapKey<'v>, Boxed<'v>> = entries.map(entry).collect::<Option<_>>()?;
        Some(Box::new(CelMap::from(entries)))
    }

    /// Returns a field of the certificate. Without a certificate none of the fields has a value, and neither have the
    /// lists.
    fn certificate<'v>(&self, names: &'v CertificateNames, of: OfCertificate) -> Option<Boxed<'v>> {
        let texts = |names: &'v [String]| self.texts(names.iter().map(String::as_str));
        match of {
            OfCertificate::Subject => self.text(&names.subject),
            OfCertificate::Cn => self.name(&names.cn),
            OfCertificate::Issuer => self.text(&names.issuer),
            OfCertificate::Serial => self.text(&names.serial),
            OfCertificate::Fingerprint => self.text(&names.fingerprint),
            OfCertificate::Dns => texts(&names.dns),
            OfCertificate::Uris => texts(&names.uris),
            OfCertificate::Emails => texts(&names.emails),
        }
    }

    /// The claim at this path. One that is `null` has no value: two of them would be equal.
    fn claim<'v>(&self, claims: &'v Claims, path: &[String]) -> Option<Boxed<'v>> {
        let Some((first, rest)) = path.split_first() else {
            return self.map(claims.iter(), |value| self.json(value));
        };
        let claim = rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))?;
        if claim.is_null() { None } else { self.json(claim) }
    }

    fn json<'v>(&self, value: &'v Json) -> Option<Boxed<'v>> {
        if let Json::String(text) = value {
            return self.text(text);
        }
        if !self.steps.take(1) {
            return None;
        }
        Some(match value {
            Json::Null => Box::new(CelNull),
            Json::Bool(value) => Box::new(CelBool::from(*value)),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Box::new(CelInt::from(number)),
                (None, Some(number)) => Box::new(CelUInt::from(number)),
                (None, None) => Box::new(CelDouble::from(number.as_f64()?)),
            },
            Json::Array(items) => {
                let items: Vec<Boxed<'v>> = items.iter().map(|item| self.json(item)).collect::<Option<_>>()?;
                Box::new(CelList::from(items))
            }
            Json::Object(members) => return self.map(members.iter(), |value| self.json(value)),
            Json::String(_) => return None,
        })
    }
}

impl VariableResolver for Values<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if variable == Steps::NAME {
            return Some(CowVal::Borrowed(&self.steps));
        }
        let access = Access::named(self.accesses, variable)?;
        let value = self.read(&access.field);
        if access.is_test {
            return Some(CowVal::owned(CelBool::from(value.is_some())));
        }
        value.map(CowVal::Owned)
    }
}

/// The host as routes match it: in lower case, without port and trailing dot. HTTP/2 has it in the target.
fn host<'v>(cx: &'v RequestCx<'_>) -> Option<Cow<'v, str>> {
    let host = match cx.head().uri.host() {
        Some(host) => Cow::Borrowed(host),
        None => {
            let authority = Authority::try_from(cx.headers().get(header::HOST)?.as_bytes()).ok()?;
            Cow::Owned(authority.host().to_owned())
        }
    };
    let lower = if host.contains(|letter: char| letter.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        host
    };
    Some(match lower {
        Cow::Borrowed(host) => Cow::Borrowed(host.strip_suffix('.').unwrap_or(host)),
        Cow::Owned(host) => Cow::Owned(host.strip_suffix('.').map(str::to_owned).unwrap_or(host)),
    })
}

/// All lines of a header. Lines that are no text cannot be compared with one.
fn header_text<'v>(cx: &'v RequestCx<'_>, name: &HeaderName) -> Option<Cow<'v, str>> {
    let mut lines = cx.headers().get_all(name).iter().map(|line| std::str::from_utf8(line.as_bytes()));
    let first = lines.next()?.ok()?;
    lines.try_fold(Cow::Borrowed(first), |all, line| Some(Cow::Owned(format!("{all}, {}", line.ok()?))))
}
