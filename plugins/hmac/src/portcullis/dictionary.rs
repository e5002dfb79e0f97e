//! Dictionaries of structured fields (RFC 8941 section 3.2), read so that nothing in them is lost.
//!
//! The RFC has the last of several members with one name count. For a signature that is a gap: whoever adds a second
//! `sig1` to a request would have us and the next server look at different ones. A name that comes twice is refused
//! here, as is whatever exceeds the limits.

use std::borrow::Cow;

use portcullis_plugin::http::{HeaderMap, HeaderName};
use sfv::{
    BareItemFromInput, KeyRef, Parser, Version,
    visitor::{DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, ParameterVisitor},
};

use crate::scheme::Wrong;

/// The longest field that is parsed, in bytes, all its lines together.
pub(super) const FIELD_MAX_BYTES: usize = 8 * 1024;
/// The most members of a dictionary.
pub(super) const MEMBERS_MAX: usize = 16;
/// The most items of an inner list: the components that one signature covers.
pub(super) const ITEMS_MAX: usize = 64;
/// The most parameters of an item or a list.
pub(super) const PARAMETERS_MAX: usize = 16;

/// One member of a dictionary.
#[derive(Debug)]
pub(super) struct Member<'f> {
    /// Its name.
    pub key: &'f str,
    /// The member's value.
    pub value: Value<'f>,
}

/// The value of a member.
#[derive(Debug)]
pub(super) enum Value<'f> {
    /// One item.
    Item(Item<'f>),
    /// A list in brackets.
    List(List<'f>),
}

/// A value and its parameters.
#[derive(Debug)]
pub(super) struct Item<'f> {
    pub value: BareItemFromInput<'f>,
    pub parameters: Parameters<'f>,
}

/// A list in brackets and its parameters.
#[derive(Debug, Default)]
pub(super) struct List<'f> {
    pub items: Vec<Item<'f>>,
    pub parameters: Parameters<'f>,
}

/// Parameters in their order, each name once.
pub(super) type Parameters<'f> = Vec<(&'f KeyRef, BareItemFromInput<'f>)>;

/// A header as one text, its lines joined as RFC 9110 section 5.3 has it; `None` where there is no such line.
pub(super) fn field<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<Cow<'r, str>>, Wrong> {
    let mut joined: Option<Cow<'r, str>> = None;
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| Wrong::malformed("a structured field is not visible ASCII"))?;
        let whole = match joined {
            None => Cow::Borrowed(line),
            Some(before) => Cow::Owned(format!("{before}, {line}")),
        };
        if whole.len() > FIELD_MAX_BYTES {
            return Err(Wrong::malformed("a structured field is too long"));
        }
        joined = Some(whole);
    }
    Ok(joined)
}

/// Reads a dictionary.
pub(super) fn parse(field: &str) -> Result<Vec<Member<'_>>, Wrong> {
    let parser = Parser::new(field).with_version(Version::Rfc8941);
    let why = "a structured field is no dictionary, has a name twice, or is too large";
    parser.parse_dictionary_with_visitor(Members(Vec::new())).map_err(|_| Wrong::malformed(why))
}

/// The error that ends the parsing.
#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refused;

struct Members<'f>(Vec<Member<'f>>);

impl<'f> DictionaryVisitor<'f> for Members<'f> {
    type Out = Vec<Member<'f>>;
    type Error = Refused;

    fn entry(&mut self, key: &'f KeyRef) -> Result<impl EntryVisitor<'f>, Refused> {
        if self.0.len() >= MEMBERS_MAX || self.0.iter().any(|member| member.key == key.as_str()) {
            return Err(Refused);
        }
        self.0.push(Member { key: key.as_str(), value: Value::List(List::default()) });
        Ok(Entry(&mut self.0.last_mut().ok_or(Refused)?.value))
    }

    fn finish(self) -> Result<Self::Out, Refused> {
        Ok(self.0)
    }
}

/// Collects the value of a member.
struct Entry<'v, 'f>(&'v mut Value<'f>);

impl<'f> EntryVisitor<'f> for Entry<'_, 'f> {
    type Error = Refused;

    fn item(self) -> Result<impl ItemVisitor<'f>, Refused> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'f>, Refused> {
        match self.0 {
            Value::List(list) => Ok(Items(list)),
            Value::Item(_) => Err(Refused),
        }
    }
}

impl<'f> ItemVisitor<'f> for Entry<'_, 'f> {
    type Out = ();
    type Error = Refused;

    fn bare_item(self, value: BareItemFromInput<'f>) -> Result<impl ParameterVisitor<'f, Out = ()>, Refused> {
        *self.0 = Value::Item(Item { value, parameters: Vec::new() });
        match self.0 {
            Value::Item(item) => Ok(Into(&mut item.parameters)),
            Value::List(_) => Err(Refused),
        }
    }
}

/// Collects the items of a list.
struct Items<'v, 'f>(&'v mut List<'f>);

impl<'f> InnerListVisitor<'f> for Items<'_, 'f> {
    type Error = Refused;

    fn item(&mut self) -> Result<impl ItemVisitor<'f>, Refused> {
        if self.0.items.len() >= ITEMS_MAX { Err(Refused) } else { Ok(Next(&mut self.0.items)) }
    }

    fn finish(self) -> Result<impl ParameterVisitor<'f>, Refused> {
        Ok(Into(&mut self.0.parameters))
    }
}

/// Collects the next item of a list.
struct Next<'v, 'f>(&'v mut Vec<Item<'f>>);

impl<'f> ItemVisitor<'f> for Next<'_, 'f> {
    type Out = ();
    type Error = Refused;

    fn bare_item(self, value: BareItemFromInput<'f>) -> Result<impl ParameterVisitor<'f, Out = ()>, Refused> {
        self.0.push(Item { value, parameters: Vec::new() });
        Ok(Into(&mut self.0.last_mut().ok_or(Refused)?.parameters))
    }
}

/// Collects parameters.
struct Into<'v, 'f>(&'v mut Parameters<'f>);

impl<'f> ParameterVisitor<'f> for Into<'_, 'f> {
    type Out = ();
    type Error = Refused;

    fn parameter(&mut self, key: &'f KeyRef, value: BareItemFromInput<'f>) -> Result<(), Refused> {
        if self.0.len() >= PARAMETERS_MAX || self.0.iter().any(|(of, _)| *of == key) {
            return Err(Refused);
        }
        self.0.push((key, value));
        Ok(())
    }

    fn finish(self) -> Result<(), Refused> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
