//! Reads a page of Markdown: as much of the language as the pages use.

use super::read;

/// A page, split into its parts.
pub(super) struct Page {
    /// Its path in the tree.
    pub(super) path: String,
    pub(super) blocks: Vec<Block>,
    /// Everything but the blocks.
    pub(super) prose: String,
}

/// A fenced block of code.
pub(super) struct Block {
    /// The word after the fence.
    pub(super) language: String,
    pub(super) text: String,
    /// The line of its fence, counted from 1.
    pub(super) line: usize,
}

impl Page {
    pub(super) fn read(path: &str) -> Self {
        let mut page = Self { path: path.to_owned(), blocks: Vec::new(), prose: String::new() };
        let mut is_inside = false;
        for (index, line) in read(path).lines().enumerate() {
            match (line.strip_prefix("```"), is_inside) {
                (Some(language), false) => {
                    is_inside = true;
                    page.blocks.push(Block { language: language.to_owned(), text: String::new(), line: index + 1 });
                }
                (Some(_), true) => is_inside = false,
                (None, true) => {
                    let block = page.blocks.last_mut().expect("the block that has begun");
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, false) => {
                    page.prose.push_str(line);
                    page.prose.push('\n');
                }
            }
        }
        assert!(!is_inside, "{path}: a block has no end");
        page
    }

    /// The anchors of its headings, as GitHub makes them.
    pub(super) fn anchors(&self) -> Vec<String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    }

    /// The targets of its links.
    pub(super) fn links(&self) -> Vec<String> {
        // Code may hold brackets and parentheses of its own; the text of a link may hold code.
        let mut rest = self.prose.as_str();
        let mut links = Vec::new();
        while let Some(start) = rest.find("](") {
            rest = &rest[start + 2..];
            let end = rest.find(')').expect("a link ends");
            links.push(rest[..end].to_owned());
        }
        links
    }
}

/// Lower case, words joined by hyphens, without punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || [' ', '-', '_'].contains(char));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn anchors_are_made_as_github_makes_them() {
    let cases = [
        ("TLS to the upstream", "tls-to-the-upstream"),
        ("The client's address", "the-clients-address"),
        ("CRLs and OCSP", "crls-and-ocsp"),
        ("scopes, roles, claims: what a caller may do", "scopes-roles-claims-what-a-caller-may-do"),
        ("`key-auth`", "key-auth"),
    ];
    for (heading, expected) in cases {
        assert_eq!(anchor(heading), expected);
    }
}
