//! Fingerprints, by which parts of two configurations are compared.

use sha2::{Digest, Sha256};
use toml::de::DeValue;

use super::node::Node;

/// A hash of a piece of configuration: equal for two pieces with the same meaning, whatever their white space, order
/// and file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Returns the fingerprint of a value in a file.
    pub(crate) fn of(node: &Node<'_>) -> Self {
        let mut hasher = Sha256::new();
        feed(node.value(), &mut hasher, str::to_owned);
        Self(hasher.finalize().into())
    }

    /// Returns the fingerprint of a value in a file without regard to case: a hash in capitals is the same hash.
    pub(crate) fn of_any_case(node: &Node<'_>) -> Self {
        let mut hasher = Sha256::new();
        feed(node.value(), &mut hasher, str::to_ascii_lowercase);
        Self(hasher.finalize().into())
    }

    /// Returns the fingerprint of bytes, such as a file that a policy read.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Combines several, in their order.
    pub(crate) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut hasher = Sha256::new();
        parts.into_iter().for_each(|part| hasher.update(part.0));
        Self(hasher.finalize().into())
    }
}

/// Hashes each value after its type and length, so that no two different trees feed the same bytes.
fn feed(value: &DeValue<'_>, hasher: &mut Sha256, spell: fn(&str) -> String) {
    let mut leaf = |kind: u8, bytes: &[u8]| {
        hasher.update([kind]);
        hasher.update(bytes.len().to_le_bytes());
        hasher.update(bytes);
    };
    match value {
        DeValue::String(text) => leaf(b's', spell(text).as_bytes()),
        DeValue::Integer(number) => leaf(b'i', number.to_string().as_bytes()),
        DeValue::Float(number) => leaf(b'f', number.as_str().as_bytes()),
        DeValue::Boolean(truth) => leaf(b'b', &[u8::from(*truth)]),
        DeValue::Datetime(time) => leaf(b'd', time.to_string().as_bytes()),
        DeValue::Array(items) => {
            leaf(b'a', &items.len().to_le_bytes());
            items.iter().for_each(|item| feed(item.get_ref(), hasher, spell));
        }
        DeValue::Table(table) => {
            leaf(b't', &table.len().to_le_bytes());
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by(|a, b| a.0.get_ref().cmp(b.0.get_ref()));
            for (key, value) in entries {
                feed(&DeValue::String(key.get_ref().clone()), hasher, spell);
                feed(value.get_ref(), hasher, spell);
            }
        }
    }
}
