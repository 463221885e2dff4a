//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read `{}`: {e}", path.display()))
}

pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("cannot list `{}`: {e}", folder.display()))
        .map(|entry| entry.expect("a folder entry").path())
        .collect();
    paths.sort();
    paths
}

pub(crate) fn name(path: &Path) -> String {
    path.file_name()
        .expect("a path below the root")
        .to_string_lossy()
        .into_owned()
}

/// Files of the repository, without what `.gitignore` names.
pub(crate) fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            let name = name(&path);
            let ignored =
                ["target", "runs", ".git", ".filiation", "__pycache__"].contains(&name.as_str());
            if ignored || name.ends_with(".tmp") {
            } else if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The path below the root, for messages and for asking where a file lies.
pub(crate) fn shown(path: &Path) -> String {
    let below = path.strip_prefix(root()).unwrap_or(path);
    below.display().to_string()
}

pub(crate) fn with_extension(extensions: &[&str]) -> Vec<PathBuf> {
    let wanted = |path: &PathBuf| {
        path.extension()
            .is_some_and(|e| extensions.contains(&e.to_string_lossy().as_ref()))
    };
    files().into_iter().filter(wanted).collect()
}
