//! The layout of a message: its fields, in their order, and what separates them.

use super::{
    config::TimestampConfig,
    field::{Component, Field, Literal, Part},
};
use crate::{
    problems::Problems,
    scheme::{Message, Piece, SignedRequest, Wrong},
};

/// The values of the fields that stand in headers.
#[derive(Default)]
pub(super) struct Values<'r> {
    pub time: Option<&'r str>,
    pub id: Option<&'r str>,
    pub key_id: Option<&'r str>,
}

/// A layout whose messages can be read in one way only.
pub(super) struct Layout {
    fields: Vec<Field>,
    separator: String,
    body_hash_prefix: String,
}

impl Layout {
    /// Checks that a message can be read in one way only, and covers what it should but for what is `unsigned`.
    pub(super) fn new(config: &TimestampConfig, problems: &mut Problems) -> Self {
        const FIELDS: [Part; 4] = [Part::Method, Part::Target, Part::Timestamp, Part::BodySha256];
        let layout = Self {
            fields: config.layout.clone().unwrap_or_else(|| FIELDS.map(Field::Part).into()),
            separator: config.separator.clone().unwrap_or_else(|| "\n".to_owned()),
            body_hash_prefix: config.body_hash_prefix.clone().unwrap_or_default(),
        };
        let mut wrong = |field: &str, why: String| problems.push((field.to_owned(), why));
        if layout.fields.is_empty() {
            wrong("layout", "is empty".to_owned());
        }
        if config.separator.is_some() && layout.fields.len() < 2 {
            wrong("separator", "has nothing to separate in this `layout`".to_owned());
        } else if layout.separator.is_empty() {
            wrong("separator", "is empty: where one field ends and the next begins could not be told".to_owned());
        }
        let is_hash = |field: &Field| matches!(field, Field::Part(part) if part.body_hash().is_some());
        if config.body_hash_prefix.is_some() && !layout.fields.iter().any(is_hash) {
            wrong("body_hash_prefix", "goes with a hash of the body in `layout`, such as `body-sha256`".to_owned());
        }
        layout.check_fields(&mut wrong);
        layout.check_coverage(config.unsigned.as_deref().unwrap_or_default(), &mut wrong);
        layout
    }

    fn check_fields(&self, wrong: &mut dyn FnMut(&str, String)) {
        for (index, field) in self.fields.iter().enumerate() {
            let Field::Part(part) = field else { continue };
            if self.fields[..index].contains(field) {
                wrong(&format!("layout[{index}]"), "stands here twice".to_owned());
            }
            if *part == Part::Body && index + 1 < self.fields.len() {
                wrong(&format!("layout[{index}]"), "comes last: what follows could be a part of the body".to_owned());
            }
        }
    }

    fn check_coverage(&self, unsigned: &[Component], wrong: &mut dyn FnMut(&str, String)) {
        for (component, name) in Component::ALL {
            match (self.covers(component), unsigned.contains(&component)) {
                (false, false) => {
                    wrong("layout", format!("does not cover the {name}: if that is so, write it into `unsigned`"));
                }
                (true, true) => wrong("unsigned", format!("names the {name}, which `layout` covers")),
                _ => {}
            }
        }
    }

    /// Returns `true` if the part is one of the fields.
    pub(super) fn has(&self, part: Part) -> bool {
        self.fields.contains(&Field::Part(part))
    }

    fn covers(&self, component: Component) -> bool {
        let is_covered = |field: &Field| matches!(field, Field::Part(part) if component.is_covered_by(*part));
        self.fields.iter().any(is_covered)
    }

    /// The message of this request.
    pub(super) fn message(&self, request: &SignedRequest<'_>, values: &Values<'_>) -> Result<Message, Wrong> {
        let mut pieces = Vec::with_capacity(3);
        let mut bytes = Vec::with_capacity(256);
        for (index, field) in self.fields.iter().enumerate() {
            if index > 0 {
                bytes.extend_from_slice(self.separator.as_bytes());
            }
            let part = match field {
                Field::Literal(Literal { literal }) => {
                    bytes.extend_from_slice(literal.as_bytes());
                    continue;
                }
                Field::Part(part) => *part,
            };
            if let Some(hash) = part.body_hash() {
                bytes.extend_from_slice(self.body_hash_prefix.as_bytes());
                pieces.extend([Piece::Bytes(std::mem::take(&mut bytes)), Piece::BodyHash(hash)]);
            } else if part == Part::Body {
                pieces.extend([Piece::Bytes(std::mem::take(&mut bytes)), Piece::Body]);
            } else {
                bytes.extend_from_slice(self.unambiguous(value(part, request, values)?)?.as_bytes());
            }
        }
        if !bytes.is_empty() {
            pieces.push(Piece::Bytes(bytes));
        }
        Ok(Message(pieces))
    }

    /// Checks that a value does not hold the separator, so that it is one field and not two.
    fn unambiguous<'v>(&self, value: &'v str) -> Result<&'v str, Wrong> {
        if self.fields.len() > 1 && value.contains(&self.separator) {
            return Err(Wrong::malformed("a signed field holds the separator of the message"));
        }
        Ok(value)
    }
}

/// The value of a part that is known from the head.
fn value<'r>(part: Part, request: &SignedRequest<'r>, values: &Values<'r>) -> Result<&'r str, Wrong> {
    let value = match part {
        Part::Method => Some(request.method.as_str()),
        Part::Target => Some(request.target),
        Part::Path => Some(request.path()),
        Part::Query => Some(request.query().unwrap_or_default()),
        Part::Timestamp => values.time,
        Part::Id => values.id,
        Part::KeyId => values.key_id,
        Part::Body | Part::BodySha256 | Part::BodySha384 | Part::BodySha512 => None,
    };
    value.ok_or(Wrong::incomplete("a header that is part of what is signed is not there"))
}
