//! A large file, cut into pieces that are parsed one after the other.
//!
//! The parser of TOML holds tokens, events and tables of all that it parses at once, some thirty bytes for each byte of
//! the file. A piece of it takes as many for as long as it is looked at, so that to read a large configuration takes
//! little more memory than what is made of it.
//!
//! A file is cut where a header such as `[routes.NAME]` begins another route than the header before it, and only if the
//! pieces say together what the whole file says. Wherever that is in doubt, also where something is wrong with the syntax,
//! the file is parsed as a whole.

use std::{collections::HashSet, ops::Range};

use super::{node::Node, problem::Problems};

/// A smaller file is parsed as a whole.
const MIN_FILE_BYTES: usize = 1 << 20;

/// A piece ends in front of the first entry that begins behind so many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// The tables whose entries may stand in several pieces.
const CUT: [&str; 4] = ["consumers", "routes", "policies", "upstreams"];

/// The text of a file from one header to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    file: usize,
    range: Range<usize>,
    /// It has consumers alone, which are most of a large file: it need not be parsed before it is their turn.
    pub(super) is_of_consumers: bool,
}

impl Piece {
    /// Parses it; `None` where something is wrong with it.
    pub(super) fn parse<'i>(&self, text: &'i str) -> Option<Node<'i>> {
        let mut problems = Problems::default();
        let node = Node::parse(self.file, &text[self.range.clone()], &mut problems)?;
        Some(node.shifted(self.range.start))
    }
}

/// Cuts a file; `None`: it is small, or what its pieces would say together is in doubt.
pub(super) fn cut(file: usize, text: &str) -> Option<Vec<Piece>> {
    (text.len() >= MIN_FILE_BYTES).then(|| cut_every(file, text, PIECE_BYTES)).flatten()
}

/// The same of any file, by pieces of any length.
pub(super) fn cut_every(file: usize, text: &str, bytes: usize) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut add = |range: Range<usize>, before: Option<Header<'_>>| {
        let is_of_consumers = before.is_some_and(|before| before.table == CUT[0]);
        pieces.push(Piece { file, range, is_of_consumers });
    };
    let (mut start, mut at) = (0, 0);
    let mut before: Option<Header<'_>> = None;
    // What stood before: none of it may come again.
    let mut seen = HashSet::new();
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') {
            let header = Header::read(line)?;
            let is_same_table = before.is_some_and(|before| before.table == header.table);
            if before != Some(header) && !seen.insert(header) {
                return None;
            }
            if !is_same_table || (before != Some(header) && at - start >= bytes) {
                add(start..at, before);
                start = at;
            }
            before = Some(header);
        } else if before.is_none() && CUT.iter().any(|table| begins_with(line, table)) {
            // A table that is begun in front of all headers cannot be gone on with by a header.
            return None;
        }
        at += line.len();
    }
    add(start..at, before);
    Some(pieces)
}

/// Whether a line may begin with this key.
fn begins_with(line: &str, key: &str) -> bool {
    line.trim_start_matches([' ', '\t', '"', '\'']).starts_with(key)
}

/// The table that a header is about, and the entry of one that is cut.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Header<'t> {
    table: &'t str,
    entry: Option<&'t str>,
}

impl<'t> Header<'t> {
    /// `None`: it has to be read by somebody who knows more of TOML.
    fn read(line: &'t str) -> Option<Self> {
        let (table, rest) = key(line.trim_start_matches('['))?;
        if !CUT.contains(&table) {
            return Some(Self { table, entry: None });
        }
        let (entry, _) = key(rest.strip_prefix('.')?)?;
        Some(Self { table, entry: Some(entry) })
    }
}

/// A key, without its quotes, and what follows it.
fn key(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    let (key, rest) = match quote {
        Some(quote) => text[1..].split_once(quote).filter(|(key, _)| !key.contains('\\'))?,
        None => {
            let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            text.split_at(text.bytes().position(|byte| !is_bare(byte)).unwrap_or(text.len()))
        }
    };
    (!key.is_empty()).then(|| (key, rest.trim_start_matches([' ', '\t'])))
}

#[cfg(test)]
mod tests;
