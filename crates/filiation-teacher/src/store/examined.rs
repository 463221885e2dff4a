//! How endpoints were found when they were tested last: `examined/<digest>.json`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use filiation_core::{Digest, canonical};

use super::{damaged, disk, objects};
use crate::{Examination, TeacherError};

fn folder(root: &Path) -> PathBuf {
    root.join("examined")
}

fn place(root: &Path, endpoint: &Digest, epoch: &str) -> PathBuf {
    let name = Digest::of(&canonical::to_bytes(&(endpoint, epoch)));
    folder(root).join(format!("{name}.json"))
}

pub(super) fn read(
    root: &Path,
    endpoint: &Digest,
    epoch: &str,
) -> Result<Option<Examination>, TeacherError> {
    let path = place(root, endpoint, epoch);
    match fs::read(&path) {
        Ok(bytes) => parse(root, &path, &bytes).map(Some),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(disk("read", &path, &e)),
    }
}

fn parse(root: &Path, path: &Path, bytes: &[u8]) -> Result<Examination, TeacherError> {
    serde_json::from_slice(bytes)
        .map_err(|e| damaged(root, format!("examination `{}`: {e}", path.display())))
}

pub(super) fn put(
    root: &Path,
    endpoint: &Digest,
    epoch: &str,
    examination: &Examination,
) -> Result<(), TeacherError> {
    let path = place(root, endpoint, epoch);
    let beside = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder(root))?;
        let mut file = File::create(&beside)?;
        file.write_all(&canonical::to_pretty(examination))?;
        file.sync_data()?;
        fs::rename(&beside, &path)
    };
    write().map_err(|e| disk("write", &path, &e))
}

/// Examinations that cannot be read, or whose exchanges are not there.
pub(super) fn problems(root: &Path) -> Vec<String> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(folder(root)) {
        Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
        Err(_) => return Vec::new(),
    };
    paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let mut problems = Vec::new();
    for path in paths {
        let read = fs::read(&path).map_err(|e| disk("read", &path, &e));
        match read.and_then(|bytes| parse(root, &path, &bytes)) {
            Err(e) => problems.push(e.to_string()),
            Ok(found) => {
                let lost = |digest: &&Digest| !objects::place(root, digest).is_file();
                let lost = found.finding.responses.iter().filter(lost).count();
                if lost > 0 {
                    let of = found.finding.responses.len();
                    problems.push(format!(
                        "examination `{}`: {lost} of {of} responses are not kept",
                        path.display()
                    ));
                }
            }
        }
    }
    problems
}
