//! The folder: which files may be opened, and how.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{CheckpointError, Limits, Mapping};

/// A model folder. Only files that lie in it are opened, or, in a hub cache, the blobs beside it
/// that its links lead to.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    real: PathBuf,
    blobs: Option<PathBuf>,
}

/// A file mapped into memory, read-only. What is hashed is what is parsed: the same bytes.
#[derive(Debug)]
pub(crate) struct MappedFile {
    /// Plain name in the folder.
    pub(crate) name: String,
    /// Path for messages.
    pub(crate) path: PathBuf,
    map: Mapping,
}

impl Folder {
    pub(crate) fn open(root: &Path) -> Result<Self, CheckpointError> {
        let io = |cause| CheckpointError::Io {
            file: root.to_owned(),
            cause,
        };
        let real = fs::canonicalize(root).map_err(io)?;
        if !real.is_dir() {
            return Err(CheckpointError::NotAFolder {
                path: root.to_owned(),
            });
        }
        Ok(Self {
            root: root.to_owned(),
            blobs: hub_blobs(&real),
            real,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Path of `name` for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Names in the folder, sorted; those that are not UTF-8 are left out, as no index can name
    /// them.
    pub(crate) fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let io = |cause| CheckpointError::Io {
            file: self.root.clone(),
            cause,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.real).map_err(io)? {
            names.extend(entry.map_err(io)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// Maps file `name`, or gives `None` where there is no such file.
    pub(crate) fn map(&self, name: &str) -> Result<Option<MappedFile>, CheckpointError> {
        let path = self.path(name);
        let io = |cause| CheckpointError::Io {
            file: path.clone(),
            cause,
        };
        match fs::symlink_metadata(self.real.join(name)) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
        }
        let target = fs::canonicalize(self.real.join(name)).map_err(io)?;
        let inside = target.starts_with(&self.real)
            || self.blobs.as_ref().is_some_and(|b| target.starts_with(b));
        if !inside {
            return Err(CheckpointError::EscapesFolder { file: path, target });
        }
        // Opening a pipe would wait for its writer.
        if !fs::metadata(&target).map_err(io)?.is_file() {
            return Err(CheckpointError::NotAFile { file: path });
        }
        let map = File::open(&target)
            .and_then(|f| Mapping::new(&f))
            .map_err(io)?;
        Ok(Some(MappedFile {
            name: name.to_owned(),
            path,
            map,
        }))
    }

    /// As [`map`](Self::map) for a file that is parsed whole.
    pub(crate) fn map_small(
        &self,
        name: &str,
        limits: &Limits,
    ) -> Result<Option<MappedFile>, CheckpointError> {
        let file = self.map(name)?;
        match file {
            Some(file) if file.bytes().len() as u64 > limits.json_bytes => {
                Err(CheckpointError::OverLimit {
                    what: "the size in bytes",
                    found: file.bytes().len() as u64,
                    limit: limits.json_bytes,
                    file: file.path,
                })
            }
            file => Ok(file),
        }
    }

    /// As [`map_small`](Self::map_small) for a file that must be there.
    pub(crate) fn require(
        &self,
        name: &str,
        needed_by: &str,
        limits: &Limits,
    ) -> Result<MappedFile, CheckpointError> {
        self.map_small(name, limits)?
            .ok_or_else(|| CheckpointError::MissingFile {
                file: self.path(name),
                needed_by: needed_by.to_owned(),
            })
    }
}

impl MappedFile {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }

    pub(crate) fn map(&self) -> &Mapping {
        &self.map
    }

    pub(crate) fn json(&self) -> Result<Value, CheckpointError> {
        serde_json::from_slice(self.bytes()).map_err(|cause| CheckpointError::Json {
            file: self.path.clone(),
            offset: 0,
            cause,
        })
    }
}

// A snapshot of the hub cache is `models--org--name/snapshots/<revision>`, and its files are links
// into `models--org--name/blobs`.
fn hub_blobs(real: &Path) -> Option<PathBuf> {
    let snapshots = real.parent()?;
    let entry = snapshots.parent()?;
    let named = |path: &Path, test: fn(&str) -> bool| {
        path.file_name().and_then(|n| n.to_str()).is_some_and(test)
    };
    (named(snapshots, |n| n == "snapshots") && named(entry, |n| n.starts_with("models--")))
        .then(|| entry.join("blobs"))
}

/// The newest snapshot of hub cache entry `real`.
pub(crate) fn newest_snapshot(real: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(real.join("snapshots")).ok()?;
    entries
        .flatten()
        .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
        .max()
        .map(|(_, path)| path)
}
