//! Links between the pages: relative, and to something that is there.

use std::{collections::HashSet, path::PathBuf};

use super::{PAGES, all_pages, page::Page, root};

/// A path in the tree, from a page and a link on it; `None` if it leaves the tree.
fn resolve(page: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// A link's page or file, and its anchor.
fn target(page: &Page, link: &str) -> Option<(String, Option<String>)> {
    if link.starts_with("https://") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor.to_owned())));
    assert!(!path.starts_with('/') && !path.contains(':'), "{}: {link} is not relative", page.path);
    let path = if path.is_empty() { Some(page.path.clone()) } else { resolve(&page.path, path) };
    Some((path.unwrap_or_else(|| panic!("{}: {link} leaves the tree", page.path)), anchor))
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in all_pages() {
        for link in page.links() {
            let Some((path, anchor)) = target(&page, &link) else { continue };
            let is_there = match &anchor {
                None => root().join(&path).exists(),
                Some(anchor) => PAGES.contains(&path.as_str()) && Page::read(&path).anchors().contains(anchor),
            };
            if !is_there {
                wrong.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
}

/// GitHub numbers anchors that occur twice, and a link then depends on the order of the headings.
#[test]
fn no_page_has_two_headings_with_one_anchor() {
    for page in all_pages() {
        let mut seen = HashSet::new();
        for anchor in page.anchors() {
            assert!(seen.insert(anchor.clone()), "{}: #{anchor} is there twice", page.path);
        }
    }
}

#[test]
fn every_page_is_reached_from_the_main_page() {
    let mut reached = vec!["README.md".to_owned()];
    let mut next = 0;
    while next < reached.len() {
        let page = Page::read(&reached[next]);
        next += 1;
        for (path, _) in page.links().iter().filter_map(|link| target(&page, link)) {
            if PAGES.contains(&path.as_str()) && !reached.contains(&path) {
                reached.push(path);
            }
        }
    }
    let missing: Vec<_> = PAGES.iter().filter(|page| !reached.iter().any(|path| path == *page)).collect();
    assert!(missing.is_empty(), "no link leads to {missing:?}");
}

/// A code span of the prose that looks like a path of the tree is one.
#[test]
fn files_that_pages_name_are_there() {
    for page in all_pages() {
        for span in page.prose.split('`').skip(1).step_by(2) {
            let folders = ["conf/", "plugins/", "tests/", "benches/", "src/", "systemd/", ".ci/"];
            if folders.iter().any(|folder| span.starts_with(folder)) && !span.contains(char::is_whitespace) {
                let path: PathBuf = root().join(span);
                assert!(path.exists(), "{}: there is no `{span}`", page.path);
            }
        }
    }
}
