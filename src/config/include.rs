use std::path::{Path, PathBuf};

use super::{node::Node, problem::Problems};

/// A file, and the item of the list that names it.
pub(super) struct Included<'i> {
    pub(super) file: PathBuf,
    pub(super) item: Node<'i>,
}

/// The files that `include = ["conf.d/*.toml"]` names, in the order of the list and then of their names.
pub(super) fn files<'i>(list: Option<&Node<'i>>, main: &Path, problems: &mut Problems) -> Vec<Included<'i>> {
    let Some(list) = list else { return Vec::new() };
    let folder = main.parent().unwrap_or(Path::new(""));
    let mut found: Vec<Included<'i>> = Vec::new();
    for item in list.clone().items(problems) {
        let Some(pattern) = item.as_str() else {
            item.problem(problems, "this has to be the path of a file, in which `*` may stand for a part of a name");
            continue;
        };
        match matches(&folder.join(pattern)) {
            Err(why) => item.problem(problems, why),
            Ok(files) if files.is_empty() && !pattern.contains(['*', '?', '[']) => {
                item.problem(problems, format!("there is no file `{pattern}`"));
            }
            Ok(files) => {
                for file in files {
                    if file == main {
                        item.problem(problems, format!("`{}` includes itself", file.display()));
                    } else if let Some(first) = found.iter().find(|first| first.file == file) {
                        let text = format!("`{}` is included by {} already", file.display(), first.item.path);
                        item.problem(problems, text);
                    } else {
                        found.push(Included { file, item: item.clone() });
                    }
                }
            }
        }
    }
    found
}

fn matches(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let pattern = pattern.to_str().ok_or("the path is not UTF-8")?;
    let paths = glob::glob(pattern).map_err(|error| format!("not a pattern: {}", error.msg))?;
    paths.map(|path| path.map_err(|error| error.to_string())).collect()
}
