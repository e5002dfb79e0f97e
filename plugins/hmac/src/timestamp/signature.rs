//! The header with the signature, or with several.

use portcullis_plugin::http::HeaderName;

use crate::{
    key::Algorithm,
    scheme::{CANDIDATES_MAX, Wrong},
    tag::{self, SignatureEncoding},
};

/// The form of the header with the signatures.
pub(super) struct SignatureHeader {
    pub name: HeaderName,
    pub prefix: String,
    /// Between several items; `None`: the whole value is the one signature.
    pub separator: Option<char>,
    pub encoding: SignatureEncoding,
    pub algorithm: Algorithm,
}

impl SignatureHeader {
    /// Every signature in the header, decoded: at least one. Items with another prefix are of another version of the
    /// scheme, and are passed over.
    pub(super) fn read(&self, line: &str) -> Result<Vec<Vec<u8>>, Wrong> {
        let mut signatures = Vec::with_capacity(1);
        for encoded in self.items(line).filter_map(|item| strip(item, &self.prefix)) {
            if signatures.len() == CANDIDATES_MAX {
                return Err(Wrong::malformed("too many signatures in one header"));
            }
            let signature = tag::decode(encoded, self.encoding, self.algorithm);
            signatures.push(signature.ok_or(Wrong::malformed("the signature is not one of the algorithm"))?);
        }
        if signatures.is_empty() { Err(Wrong::malformed("no signature in its header")) } else { Ok(signatures) }
    }

    /// The one item with this prefix.
    pub(super) fn beside<'l>(&self, line: &'l str, prefix: &str) -> Result<&'l str, Wrong> {
        let mut found = self.items(line).filter_map(|item| strip(item, prefix));
        match (found.next(), found.next()) {
            (Some(value), None) if !value.is_empty() => Ok(value),
            (None, _) => Err(Wrong::incomplete("no time beside the signature")),
            _ => Err(Wrong::malformed("an empty time beside the signature, or two")),
        }
    }

    fn items<'l>(&self, line: &'l str) -> impl Iterator<Item = &'l str> {
        let separator = self.separator;
        let items = line.split(move |char| Some(char) == separator).map(str::trim_ascii);
        // Two spaces between items of a list that spaces separate are no empty item.
        items.filter(move |item| separator.is_none() || !item.is_empty())
    }
}

/// Returns the text after the prefix, which is compared without case: `SHA256=` is as good as `sha256=`.
fn strip<'i>(item: &'i str, prefix: &str) -> Option<&'i str> {
    let (start, rest) = item.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
