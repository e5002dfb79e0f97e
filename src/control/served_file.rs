//! Tells whether the file that a caller means is the one that the gateway serves.

use std::{fs, path::Path};

/// Returns whether both names mean one file: they are the same, or they lead to the same file now.
pub(super) fn is_one_file(named: &Path, serves: &Path) -> bool {
    named == serves || fs::canonicalize(named).is_ok_and(|file| fs::canonicalize(serves).is_ok_and(|own| own == file))
}

/// Returns the text for a caller that meant another file than the gateway serves.
pub(crate) fn serves_another(serves: &Path) -> String {
    let serves = serves.display();
    format!(
        "the gateway serves `{serves}`: name that file with --config, or the control socket of the gateway that is meant \
         with --socket"
    )
}
