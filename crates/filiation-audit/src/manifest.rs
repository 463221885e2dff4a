use std::fs;
use std::path::Path;

use filiation_core::{Digest, canonical};
use serde::Serialize;

use crate::folder::LOCK;
use crate::{AuditError, disk};

#[derive(Serialize)]
struct Manifest {
    format: &'static str,
    files: Vec<FileLine>,
}

#[derive(Serialize)]
struct FileLine {
    path: String,
    bytes: u64,
    sha256: Digest,
}

/// Writes `manifest.json`: the digest of every other file of the run.
pub(crate) fn write(root: &Path) -> Result<(), AuditError> {
    let mut files = Vec::new();
    walk(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest = Manifest {
        format: "filiation-manifest/1",
        files,
    };
    disk::put(
        &root.join("manifest.json"),
        &canonical::to_pretty(&manifest),
    )
}

fn walk(root: &Path, below: &str, files: &mut Vec<FileLine>) -> Result<(), AuditError> {
    let folder = root.join(below);
    let read_error = |source| AuditError::Read {
        path: folder.clone(),
        source,
    };
    for entry in fs::read_dir(&folder).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() {
            name.clone()
        } else {
            format!("{below}/{name}")
        };
        if entry.file_type().map_err(read_error)?.is_dir() {
            walk(root, &path, files)?;
        } else if path != "manifest.json" && path != LOCK && !name.ends_with(".tmp") {
            let bytes = disk::read(&entry.path())?;
            files.push(FileLine {
                path,
                bytes: bytes.len() as u64,
                sha256: Digest::of(&bytes),
            });
        }
    }
    Ok(())
}
