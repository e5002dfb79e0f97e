use std::path::{Path, PathBuf};

use super::{node::Node, problem::Problems};

/// The files that `include = ["conf.d/*.toml"]` names, in the order of the list and then of their names.
pub(super) fn files(list: Option<&Node<'_>>, main: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let Some(list) = list else { return Vec::new() };
    let folder = main.parent().unwrap_or(Path::new(""));
    let mut found: Vec<PathBuf> = Vec::new();
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
                    if file == main || found.contains(&file) {
                        item.problem(problems, format!("`{}` is included twice", file.display()));
                    } else {
                        found.push(file);
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
