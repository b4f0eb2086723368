//! Files of other projects that tests read where they are given.

use std::path::PathBuf;

/// Where the folders with test data are, relative to the workspace, unless a variable names another place.
const DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");

/// Returns the folder that `variable` names, or `folder` of the default place. Says so where there is none: the test is skipped.
pub(crate) fn directory(variable: &str, folder: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map_or_else(|| PathBuf::from(DEFAULT).join(folder), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: set {variable} to a folder with test data; {} does not exist", path.display());
    None
}
