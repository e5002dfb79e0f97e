//! A large file, cut into pieces that are parsed one after the other.
//!
//! The parser of TOML holds tokens, events and tables of all that it parses at once, some thirty bytes for each byte of
//! the file. A piece takes that memory only while it is read, so that reading a large configuration takes little more
//! memory than its result.
//!
//! A file is cut where a header such as `[routes.NAME]` begins another entry than the header before it, and only if the
//! pieces together mean the same as the whole file. Where that is in doubt, and also after a syntax error, the file is
//! parsed as a whole.

use std::{collections::HashSet, ops::Range};

use super::{node::Node, problem::Problems};

/// The size from which a file is cut.
const MIN_FILE_BYTES: usize = 1 << 20;

/// The size after which a piece ends, before the next entry.
const PIECE_BYTES: usize = 64 << 10;

/// The tables whose entries may be spread over several pieces.
const CUT: [&str; 4] = ["consumers", "routes", "policies", "upstreams"];

/// The text of a file from one header to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    file: usize,
    range: Range<usize>,
    /// Set if it contains only consumers, which are most of a large file: it is parsed only when they are read.
    pub(super) is_of_consumers: bool,
}

impl Piece {
    /// Parses it; `None` if it has an error.
    pub(super) fn parse<'i>(&self, text: &'i str) -> Option<Node<'i>> {
        let mut problems = Problems::default();
        let node = Node::parse(self.file, &text[self.range.clone()], &mut problems)?;
        Some(node.shifted(self.range.start))
    }
}

/// Cuts a file; `None` if it is small, or if its pieces may mean something else than the whole.
pub(super) fn cut(file: usize, text: &str) -> Option<Vec<Piece>> {
    (text.len() >= MIN_FILE_BYTES).then(|| cut_every(file, text, PIECE_BYTES)).flatten()
}

/// Cuts a file of any size into pieces of this length.
pub(super) fn cut_every(file: usize, text: &str, bytes: usize) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut add = |range: Range<usize>, before: Option<Header<'_>>| {
        let is_of_consumers = before.is_some_and(|before| before.table == CUT[0]);
        pieces.push(Piece { file, range, is_of_consumers });
    };
    let (mut start, mut at) = (0, 0);
    let mut before: Option<Header<'_>> = None;
    // The entries so far: none of them may come again.
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
            // A table that is begun in front of all headers cannot be continued by a header.
            return None;
        }
        at += line.len();
    }
    add(start..at, before);
    Some(pieces)
}

/// Returns whether a line may begin with this key.
fn begins_with(line: &str, key: &str) -> bool {
    line.trim_start_matches([' ', '\t', '"', '\'']).starts_with(key)
}

/// The table of a header, and the entry within it if the table can be cut.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Header<'t> {
    table: &'t str,
    entry: Option<&'t str>,
}

impl<'t> Header<'t> {
    /// Parses a header; `None` if it uses more of TOML than this understands.
    fn read(line: &'t str) -> Option<Self> {
        let (table, rest) = key(line.trim_start_matches('['))?;
        if !CUT.contains(&table) {
            return Some(Self { table, entry: None });
        }
        let (entry, _) = key(rest.strip_prefix('.')?)?;
        Some(Self { table, entry: Some(entry) })
    }
}

/// Returns a key without its quotes, and the rest of the text.
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
