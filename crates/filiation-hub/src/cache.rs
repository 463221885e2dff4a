//! The cache as `huggingface_hub` lays it out: `models--OWNER--NAME/{blobs,refs,snapshots}`. A snapshot
//! holds links to blobs, which are named by their hash.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::id::{is_commit, is_hex};
use crate::verify::Found;
use crate::{HubError, HubId, names};

/// Our own note beside the snapshots: which files of a commit were checked. Other tools pass over it.
const NOTES: &str = ".filiation";

#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// A file of a snapshot that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checked {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// The name of its blob.
    pub(crate) blob: String,
}

impl Cache {
    pub(crate) const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn folder(&self, id: &HubId) -> PathBuf {
        let parts = ["models", id.owner(), id.name()];
        let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        self.root.join(parts.join("--"))
    }

    pub(crate) fn snapshot(&self, id: &HubId, commit: &str) -> PathBuf {
        self.folder(id).join("snapshots").join(commit)
    }

    #[cfg(feature = "hub")]
    pub(crate) fn blob(&self, id: &HubId, name: &str) -> PathBuf {
        self.folder(id).join("blobs").join(name)
    }

    /// The commit that a branch or tag was last seen at.
    pub(crate) fn commit(&self, id: &HubId) -> Result<Option<String>, HubError> {
        let path = self.folder(id).join("refs").join(id.revision());
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|t| is_commit(t))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(HubError::io(path)(e)),
        }
    }

    /// Whether every file of a commit was checked before and is still there, as long as it was.
    pub(crate) fn is_checked(&self, id: &HubId, commit: &str) -> Result<bool, HubError> {
        let path = self.note(id, commit);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(HubError::io(path)(e)),
        };
        // A note that does not read back is none.
        let files: Vec<Checked> = serde_json::from_slice(&bytes).unwrap_or_default();
        let there = |file: &Checked| {
            let place = self.snapshot(id, commit).join(&file.name);
            let long = fs::metadata(&place).is_ok_and(|m| m.is_file() && m.len() == file.bytes);
            names::is_read(&file.name)
                && long
                && self
                    .linked(id, commit, &file.name)
                    .is_none_or(|b| b == file.blob)
        };
        Ok(!files.is_empty() && files.iter().all(there))
    }

    /// Checks a snapshot that another tool put there, each file against the name of its blob; `false` where
    /// there is nothing to read in it.
    pub(crate) fn check_snapshot(&self, id: &HubId, commit: &str) -> Result<bool, HubError> {
        let folder = self.snapshot(id, commit);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(HubError::io(folder)(e)),
        };
        let (mut checked, mut weights) = (Vec::new(), false);
        for entry in entries {
            let entry = entry.map_err(HubError::io(&folder))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if !names::is_read(&name) {
                continue;
            }
            weights |= names::is_weights(&name);
            let blob = self.linked(id, commit, &name);
            checked.extend(self.check_file(&folder.join(&name), name, blob)?);
        }
        if weights {
            checked.sort_by(|a, b| a.name.cmp(&b.name));
            self.note_checked(id, commit, &checked)?;
        }
        Ok(weights)
    }

    fn check_file(
        &self,
        path: &Path,
        name: String,
        blob: Option<String>,
    ) -> Result<Option<Checked>, HubError> {
        let found = Found::of_file(path).map_err(HubError::io(path))?;
        // Where links cannot be made, a copy stands there that nothing names.
        let Some(blob) = blob else {
            return Ok(None);
        };
        let sound = match blob.len() {
            64 => blob == found.sha256,
            40 => blob == found.blob,
            _ => false,
        };
        if !sound {
            return Err(HubError::Spoilt {
                file: path.to_owned(),
            });
        }
        Ok(Some(Checked {
            name,
            bytes: found.bytes,
            blob,
        }))
    }

    /// The name of the blob that a file of a snapshot is a link to.
    pub(crate) fn linked(&self, id: &HubId, commit: &str, name: &str) -> Option<String> {
        let target = fs::read_link(self.snapshot(id, commit).join(name)).ok()?;
        let blob = target.file_name()?.to_str()?.to_owned();
        is_hex(&blob).then_some(blob)
    }

    fn note(&self, id: &HubId, commit: &str) -> PathBuf {
        self.folder(id).join(NOTES).join(format!("{commit}.json"))
    }

    pub(crate) fn note_checked(
        &self,
        id: &HubId,
        commit: &str,
        files: &[Checked],
    ) -> Result<(), HubError> {
        let bytes = serde_json::to_vec(files).expect("names and numbers serialise");
        put(&self.note(id, commit), &bytes)
    }
}

/// Puts a small file in its place as a whole.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    let io = || HubError::io(path);
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).map_err(io())?;
    let scratch = path.with_extension(format!("{}.tmp", std::process::id()));
    File::create(&scratch)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&scratch, path))
        .map_err(io())
}

#[cfg(feature = "hub")]
impl Cache {
    /// Keeps where a branch or tag stands, as other tools do.
    pub(crate) fn remember(&self, id: &HubId, commit: &str) -> Result<(), HubError> {
        put(
            &self.folder(id).join("refs").join(id.revision()),
            commit.as_bytes(),
        )
    }

    /// Held while a file is downloaded: a second download of it waits.
    pub(crate) fn lock(&self, id: &HubId, oid: &str) -> Result<File, HubError> {
        let folder = self.folder(id);
        let name = folder.file_name().map(PathBuf::from).unwrap_or_default();
        let path = self
            .root
            .join(".locks")
            .join(name)
            .join(format!("{oid}.lock"));
        let parent = path.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(parent).map_err(HubError::io(parent))?;
        let file = File::create(&path).map_err(HubError::io(&path))?;
        file.lock().map_err(HubError::io(&path))?;
        Ok(file)
    }

    /// Gives a checked content its name, and the snapshot a link to it.
    pub(crate) fn install(
        &self,
        id: &HubId,
        commit: &str,
        file: &Checked,
        content: &Path,
    ) -> Result<(), HubError> {
        let blob = self.blob(id, &file.blob);
        fs::rename(content, &blob).map_err(HubError::io(&blob))?;
        self.link(id, commit, file)
    }

    pub(crate) fn link(&self, id: &HubId, commit: &str, file: &Checked) -> Result<(), HubError> {
        let snapshot = self.snapshot(id, commit);
        fs::create_dir_all(&snapshot).map_err(HubError::io(&snapshot))?;
        let place = snapshot.join(&file.name);
        remove(&place)?;
        link(&self.blob(id, &file.blob), &file.blob, &place).map_err(HubError::io(&place))
    }

    /// Removes a file of a snapshot with its blob.
    pub(crate) fn drop_file(&self, id: &HubId, commit: &str, name: &str) -> Result<(), HubError> {
        if let Some(blob) = self.linked(id, commit, name) {
            remove(&self.blob(id, &blob))?;
        }
        remove(&self.snapshot(id, commit).join(name))
    }
}

#[cfg(feature = "hub")]
pub(crate) fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(HubError::io(path)(e)),
        _ => Ok(()),
    }
}

#[cfg(all(feature = "hub", unix))]
fn link(_: &Path, name: &str, place: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(name), place)
}

#[cfg(all(feature = "hub", not(unix)))]
fn link(blob: &Path, _: &str, place: &Path) -> std::io::Result<()> {
    fs::copy(blob, place).map(|_| ())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    // A snapshot as Python's tool leaves it: one file by git's hash, one by that of git-lfs.
    fn cached(root: &Path) -> (Cache, HubId) {
        let cache = Cache::at(root.to_owned());
        let id: HubId = "hf:acme/tiny".parse().expect("an id");
        let folder = root.join("models--acme--tiny");
        let snapshot = folder.join("snapshots").join(COMMIT);
        for folder in [&snapshot, &folder.join("blobs"), &folder.join("refs")] {
            fs::create_dir_all(folder).expect("a folder");
        }
        fs::write(folder.join("refs/main"), COMMIT).expect("a ref");
        for (name, content) in [("config.json", "{}"), ("model.safetensors", "weights")] {
            let scratch = root.join("scratch");
            fs::write(&scratch, content).expect("a file");
            let found = Found::of_file(&scratch).expect("hashes");
            let blob = if name == "config.json" {
                found.blob
            } else {
                found.sha256
            };
            fs::rename(&scratch, folder.join("blobs").join(&blob)).expect("a blob");
            let target = Path::new("../../blobs").join(blob);
            std::os::unix::fs::symlink(target, snapshot.join(name)).expect("a link");
        }
        (cache, id)
    }

    #[test]
    fn a_snapshot_of_another_tool_is_checked_once() {
        let root = tempfile::tempdir().expect("a folder");
        let (cache, id) = cached(root.path());
        assert_eq!(cache.commit(&id).expect("reads").as_deref(), Some(COMMIT));
        assert!(!cache.is_checked(&id, COMMIT).expect("reads"));
        assert!(cache.check_snapshot(&id, COMMIT).expect("sound"));
        assert!(cache.is_checked(&id, COMMIT).expect("reads"));
        fs::write(cache.snapshot(&id, COMMIT).join("config.json"), "{ }").expect("another");
        assert!(!cache.is_checked(&id, COMMIT).expect("reads"));
        assert!(matches!(
            cache.check_snapshot(&id, COMMIT),
            Err(HubError::Spoilt { file }) if file.ends_with("config.json")
        ));
        let other = "f".repeat(40);
        assert!(!cache.check_snapshot(&id, &other).expect("nothing there"));
    }

    #[test]
    fn a_ref_that_is_no_commit_is_none() {
        let root = tempfile::tempdir().expect("a folder");
        let (cache, id) = cached(root.path());
        fs::write(cache.folder(&id).join("refs/main"), "../../x").expect("a ref");
        assert_eq!(cache.commit(&id).expect("reads"), None);
    }
}
