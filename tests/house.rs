//! The order of the house: in no crate do files use each other in a circle.
//!
//! A file uses another where it names something that is defined there, by whatever path: re-exports are followed to the
//! definition, and a file that only hands names on (`pub use`) uses nothing by that. Tests are left out; they may look at
//! everything.
//!
//! And what rests on how Pingora works inside says for which version that was found out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    str::FromStr,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module, by its way from the root of its crate.
type Module = Vec<String>;

/// The names that a file brings in, and the paths that it names.
#[derive(Default)]
struct File {
    /// By the name under which they are known there.
    imports: BTreeMap<String, Vec<String>>,
    /// All of whose names it brings in.
    globs: Vec<Vec<String>>,
    defines: BTreeSet<String>,
    /// The modules below it that are built for tests alone.
    tests: Vec<String>,
    paths: BTreeSet<Vec<String>>,
}

/// What stands before the name of an item.
const ITEMS: [&str; 8] = ["struct", "enum", "union", "trait", "fn", "type", "const", "static"];

impl File {
    fn read(text: &str) -> Self {
        let mut file = Self::default();
        file.walk(TokenStream::from_str(text).expect("a file of Rust"));
        file
    }

    fn walk(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Punct(hash) if hash.as_char() == '#' => {
                    let attribute = tokens.get(at).map(ToString::to_string).unwrap_or_default();
                    if attribute.starts_with("[cfg") && attribute.contains("test") {
                        let end = after_item(&tokens, at);
                        let words: Vec<_> = tokens[at..end].iter().map(ToString::to_string).collect();
                        let module = words.iter().position(|word| word == "mod");
                        self.tests.extend(module.and_then(|at| words.get(at + 1).cloned()));
                        at = end;
                    } else if attribute.starts_with("[doc") {
                        at += 1;
                    }
                }
                TokenTree::Group(group) => self.walk(group.stream()),
                TokenTree::Ident(word) if word == "use" => {
                    let end = after_item(&tokens, at);
                    self.import(&tokens[at..end - 1], &[]);
                    at = end;
                }
                TokenTree::Ident(word) if word == "mod" => at += 1,
                TokenTree::Ident(word) if ITEMS.contains(&word.to_string().as_str()) => {
                    self.defines.extend(tokens.get(at).map(ToString::to_string));
                }
                TokenTree::Ident(word) => {
                    let mut path = vec![word.to_string()];
                    while let Some(next) = after_colons(&tokens, at)
                        && let Some(TokenTree::Ident(word)) = tokens.get(next)
                    {
                        path.push(word.to_string());
                        at = next + 1;
                    }
                    // By themselves they say how far something is seen, or are a value.
                    if !matches!(path[..], [ref word] if ["crate", "self", "super"].contains(&word.as_str())) {
                        self.paths.insert(path);
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes what stands behind `use`.
    fn import(&mut self, tree: &[TokenTree], before: &[String]) {
        for branch in tree.split(|token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ',')) {
            let mut path = before.to_vec();
            let mut at = 0;
            while let Some(token) = branch.get(at) {
                match token {
                    TokenTree::Group(group) => {
                        return_branches(group.stream(), |branches| self.import(branches, &path));
                        break;
                    }
                    TokenTree::Ident(word) if word == "as" => {
                        if let Some(TokenTree::Ident(name)) = branch.get(at + 1) {
                            self.imports.insert(name.to_string(), path.clone());
                        }
                        break;
                    }
                    // `use module::{self, ...}` is the module itself.
                    TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                    TokenTree::Ident(word) => path.push(word.to_string()),
                    TokenTree::Punct(star) if star.as_char() == '*' => {
                        self.globs.push(path);
                        break;
                    }
                    TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                }
                at += 1;
                if at == branch.len()
                    && let Some(name) = path.last().filter(|_| path.len() > before.len() || at == 1)
                {
                    self.imports.insert(name.clone(), path.clone());
                }
            }
        }
    }
}

fn return_branches(stream: TokenStream, mut take: impl FnMut(&[TokenTree])) {
    take(&stream.into_iter().collect::<Vec<_>>());
}

/// The place behind an item: behind its `;` or its body.
fn after_item(tokens: &[TokenTree], from: usize) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Punct(end) => end.as_char() == ';',
        TokenTree::Group(body) => body.delimiter() == Delimiter::Brace && !is_use(tokens, from),
        _ => false,
    };
    tokens[from..].iter().position(is_end).map_or(tokens.len(), |at| from + at + 1)
}

/// Returns whether the item is an import, whose braces are not its end.
fn is_use(tokens: &[TokenTree], from: usize) -> bool {
    let before = from.checked_sub(1).and_then(|at| tokens.get(at));
    let words = before.into_iter().chain(&tokens[from..]).take(4);
    words.into_iter().any(|token| matches!(token, TokenTree::Ident(word) if word == "use"))
}

fn after_colons(tokens: &[TokenTree], at: usize) -> Option<usize> {
    let is_colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(colon)) if colon.as_char() == ':');
    (is_colon(at) && is_colon(at + 1)).then_some(at + 2)
}

/// The files of a crate.
struct Crate(BTreeMap<Module, File>);

impl Crate {
    fn read(source: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![(source.to_owned(), Module::new())];
        while let Some((folder, module)) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                let name = entry.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
                let inner: Module = match name.as_str() {
                    "lib" => module.clone(),
                    _ => module.iter().cloned().chain([name]).collect(),
                };
                if entry.is_dir() {
                    folders.push((entry, inner));
                } else if entry.extension().is_some_and(|kind| kind == "rs") {
                    files.insert(inner, File::read(&fs::read_to_string(entry).expect("text")));
                }
            }
        }
        let below = |(module, file): (&Module, &File)| {
            file.tests.iter().map(|name| [&module[..], std::slice::from_ref(name)].concat()).collect::<Vec<_>>()
        };
        let tests: Vec<Module> = files.iter().flat_map(below).collect();
        files.retain(|module, _| !tests.iter().any(|tests| module.starts_with(tests)));
        Self(files)
    }

    /// The path from the root of the crate; `None` where it leads out of it.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let child = || module.iter().cloned().chain([path[0].clone()]).collect::<Module>();
        let (base, rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (module.clone(), &path[1..]),
            "super" => {
                let up = path.iter().take_while(|step| *step == "super").count();
                (module[..module.len().checked_sub(up)?].to_vec(), &path[up..])
            }
            _ if self.0.contains_key(&child()) => (module.clone(), path),
            name => match self.0[module].imports.get(name).filter(|import| import[0] != name) {
                Some(import) => (self.absolute(module, import)?, &path[1..]),
                None => (self.by_glob(module, name)?, path),
            },
        };
        Some(base.into_iter().chain(rest.iter().cloned()).collect())
    }

    /// The module that a name comes from, where all of its names are brought in.
    fn by_glob(&self, module: &Module, name: &str) -> Option<Module> {
        let file = self.0.get(module).filter(|file| !file.defines.contains(name))?;
        let mut globs = file.globs.iter().filter_map(|glob| self.absolute(module, glob));
        globs.find(|of| self.0.get(of).is_some_and(|of| of.defines.contains(name)))
    }

    /// The file in which the thing at this absolute path is defined.
    fn definition(&self, path: &[String], depth: usize) -> Module {
        let module = (0..=path.len()).rev().map(|end| path[..end].to_vec()).find(|part| self.0.contains_key(part));
        let module = module.unwrap_or_default();
        let (Some(file), Some(name)) = (self.0.get(&module), path.get(module.len())) else { return module };
        let import = file.imports.get(name).filter(|_| depth < 8);
        let handed_on = import
            .and_then(|import| self.absolute(&module, import))
            .or_else(|| Some([self.by_glob(&module, name)?, vec![name.clone()]].concat()));
        match handed_on {
            Some(import) => {
                let rest = path[module.len() + 1..].iter().cloned();
                self.definition(&import.into_iter().chain(rest).collect::<Vec<_>>(), depth + 1)
            }
            None => module,
        }
    }

    /// The files that each file uses.
    fn uses(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of_file = |(module, file): (_, &File)| {
            let named = file.paths.iter().filter_map(|path| self.absolute(module, path));
            let used: BTreeSet<_> = named.map(|path| self.definition(&path, 0)).filter(|used| used != module).collect();
            (module, used)
        };
        self.0.iter().map(of_file).collect()
    }

    /// A circle, from a file back to itself, if there is one.
    fn circle(&self) -> Option<Vec<String>> {
        let uses = self.uses();
        uses.keys().find_map(|start| {
            let mut ways: Vec<Vec<&Module>> = vec![vec![start]];
            let mut seen = BTreeSet::new();
            while let Some(way) = ways.pop() {
                for used in uses.get(way[way.len() - 1]).into_iter().flatten() {
                    if used == *start {
                        return Some(way.iter().map(|module| module.join("::")).collect());
                    }
                    if seen.insert(used) {
                        ways.push(way.iter().copied().chain([used]).collect());
                    }
                }
            }
            None
        })
    }
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let plugins = fs::read_dir(root.join("plugins")).expect("the plugins").map(|entry| entry.expect("an entry").path());
    let sources: Vec<_> =
        plugins.chain([root.to_owned()]).map(|of| of.join("src")).filter(|source| source.is_dir()).collect();
    assert!(sources.len() > 5);
    for source in sources {
        let files = Crate::read(&source);
        let uses: usize = files.uses().values().map(BTreeSet::len).sum();
        assert!(uses + 1 >= files.0.len(), "nearly every file uses another: {} says {uses}", source.display());
        assert_eq!(files.circle(), None, "in {}", source.display());
    }
}

/// An upgrade of Pingora has to look at each of these sections, and to write the new version into it.
#[test]
fn what_rests_on_pingoras_insides_names_the_version_in_the_lock_file() {
    const TITLE: &str = "//! # When Pingora is upgraded\n";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(root.join("Cargo.lock")).expect("the lock file");
    let (_, behind) = lock.split_once("name = \"pingora-core\"\nversion = \"").expect("Pingora");
    let version = format!("Pingora {}", behind.split('"').next().expect("a version"));
    let files = Crate::read(&root.join("src"));
    let sections = files.0.keys().filter(|module| !module.is_empty()).filter_map(|module| {
        let way = root.join("src").join(module.join("/"));
        let text = fs::read_to_string(way.with_extension("rs")).expect("a file");
        let section = text.split_once(TITLE)?.1.split("//! # ").next()?.to_owned();
        Some((module.join("::"), section))
    });
    let sections: Vec<_> = sections.collect();
    assert!(sections.len() >= 8, "{}", sections.len());
    for (module, section) in sections {
        let section = section.replace("\n//! ", " ");
        assert!(section.contains(&version), "{module}: is this still so in {version}?");
        assert!(section.contains("fail") && section.contains("To be offered upstream: "), "{module}: {section}");
    }
}

#[test]
fn a_circle_is_found_through_whatever_path_is_taken() {
    let of = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(module, text)| {
            let module = module.split("::").filter(|step| !step.is_empty()).map(str::to_owned).collect();
            (module, File::read(text))
        });
        Crate(files.collect()).circle()
    };
    let facade = ("", "mod a; mod b; pub use a::{A, Other as Renamed}; pub use crate::b::B;");
    let in_a_circle = Some(vec!["a".to_owned(), "b".to_owned()]);
    for (a, b, expected) in [
        ("struct A(crate::b::B);", "struct B(super::a::A);", &in_a_circle),
        ("use crate::B; struct A(B);", "use crate::A; struct B(A);", &in_a_circle),
        ("use super::{b::{self}}; struct A(b::B);", "fn b() { vec![crate::Renamed::new()]; }", &in_a_circle),
        ("struct A; struct Other;", "use crate::{A, Renamed}; struct B(A, Renamed);", &None),
        (
            "/// [`crate::b::B`]\nstruct A; #[cfg(test)] mod x { use crate::B; fn f(_: B) {} }",
            "struct B(crate::A);",
            &None,
        ),
        ("pub use crate::b::B; struct A;", "struct B(crate::A);", &None),
        ("use crate::b::*; pub(crate) struct A(B);", "pub(super) struct B(crate::A);", &in_a_circle),
    ] {
        assert_eq!(&of(&[facade, ("a", a), ("b", b)]), expected, "{a} / {b}");
    }
}
