//! Every README stays true: its code blocks are tried, its links lead somewhere, and its tables name all that there is.
//!
//! - `page`: reads a page: blocks, headings, links.
//! - `configurations`: blocks of TOML, judged by `portcullis check`.
//! - `commands`: blocks for a shell, run with stand-ins for the commands that would change the machine.
//! - `alerts`: rules for Prometheus, and metrics.
//! - `links`: links and anchors.
//! - `tables`: codes, reasons, metrics and settings.
//! - `first`: the first requests of the main page, and their answers.

mod alerts;
mod commands;
mod configurations;
mod first;
mod links;
mod page;
mod tables;

use std::{
    fs,
    path::{Path, PathBuf},
};

use page::{Block, Page};

/// Makes one test of each page, and keeps the list.
macro_rules! pages {
    ($($name:ident: $path:literal,)*) => {
        const PAGES: &[&str] = &[$($path),*];
        $(
            #[test]
            fn $name() {
                try_blocks($path);
            }
        )*
    };
}

pages! {
    the_blocks_of_the_main_page: "README.md",
    the_blocks_about_costs: "benches/README.md",
    the_blocks_about_configuration: "conf/README.md",
    the_blocks_about_writing_a_plugin: "plugins/README.md",
    the_blocks_about_basic_auth: "plugins/basic-auth/README.md",
    the_blocks_about_consumer_restriction: "plugins/consumer-restriction/README.md",
    the_blocks_about_hmac: "plugins/hmac/README.md",
    the_blocks_about_jwt: "plugins/jwt/README.md",
    the_blocks_about_key_auth: "plugins/key-auth/README.md",
    the_blocks_about_mtls: "plugins/mtls/README.md",
    the_blocks_about_permissions: "plugins/permissions/README.md",
    the_blocks_about_rules: "plugins/rules/README.md",
    the_blocks_about_operating: "systemd/README.md",
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

fn all_pages() -> impl Iterator<Item = Page> {
    PAGES.iter().map(|path| Page::read(path))
}

/// Tries each block of a page. All failures are shown, each with its line.
fn try_blocks(path: &str) {
    let page = Page::read(path);
    let failures: Vec<String> = page
        .blocks
        .iter()
        .filter_map(|block| Some(format!("{path}:{}: {}", block.line, try_block(block).err()?)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A language that nothing here can try is a failure: each block is tried, or is no code.
fn try_block(block: &Block) -> Result<(), String> {
    match block.language.as_str() {
        "toml" if block.text.starts_with("[package]") => is_file_of_own_gateway(block),
        "toml" => configurations::check(&block.text),
        "rust" => is_file_of_own_gateway(block),
        "sh" => commands::run(&block.text),
        "console" => commands::run(&commands::typed(&block.text)),
        // A script: the scenarios of `hmac` run it against a gateway.
        "bash" if block.text.starts_with(crate::hmac::SCRIPT_BEGINS) => Ok(()),
        "yaml" => alerts::check(&block.text),
        language => Err(format!("nothing tries blocks of `{language}`")),
    }
}

/// `tests/own-gateway` is built and run by `own_gateway`; a page shows its files as they are.
fn is_file_of_own_gateway(block: &Block) -> Result<(), String> {
    let files = ["Cargo.toml", "src/main.rs", "src/ticket.rs"];
    let is_one = files.iter().any(|file| read(&format!("tests/own-gateway/{file}")) == block.text);
    if is_one { Ok(()) } else { Err(format!("this is none of {files:?} of tests/own-gateway as it is now")) }
}

#[test]
fn the_page_about_plugins_shows_a_whole_gateway() {
    let page = Page::read("plugins/README.md");
    for file in ["Cargo.toml", "src/main.rs", "src/ticket.rs"] {
        let text = read(&format!("tests/own-gateway/{file}"));
        assert!(page.blocks.iter().any(|block| block.text == text), "plugins/README.md shows another {file}");
    }
}

/// Another page would have blocks that nobody tries.
#[test]
fn every_page_is_known() {
    let mut found = Vec::new();
    find(root(), &mut found);
    found.sort();
    let mut known: Vec<PathBuf> = PAGES.iter().map(|path| root().join(path)).collect();
    known.sort();
    assert_eq!(found, known, "a new page is one more line of `pages!`");
}

/// The Markdown files of the tree, without what is built or installed.
fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if path.is_dir() {
            let is_ours = !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str());
            if is_ours && !path.is_symlink() {
                find(&path, found);
            }
        } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("md")) {
            found.push(path);
        }
    }
}

/// The main page is for newcomers; what is more belongs on the other pages.
#[test]
fn the_main_page_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines < 250, "README.md has {lines} lines");
}
