//! Bytes by their digest, compressed.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use filiation_core::Digest;

use super::{damaged, disk};
use crate::TeacherError;

/// No body of an exchange is allowed to be as large.
const LARGEST: u64 = 1 << 30;
const LEVEL: i32 = 3;

pub(super) fn folder(root: &Path) -> PathBuf {
    root.join("objects")
}

pub(super) fn place(root: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    folder(root)
        .join(&name[..2])
        .join(format!("{}.zst", &name[2..]))
}

/// Puts bytes on disk under their digest, whole or not at all.
pub(super) fn put(root: &Path, digest: &Digest, bytes: &[u8]) -> Result<(), TeacherError> {
    let path = place(root, digest);
    if path.is_file() {
        return Ok(());
    }
    let compressed = zstd::bulk::compress(bytes, LEVEL).map_err(|e| disk("write", &path, &e))?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| disk("make", parent, &e))?;
    }
    let beside = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(&compressed)?;
        file.sync_data()?;
        fs::rename(&beside, &path)
    };
    write().map_err(|e| disk("write", &path, &e))
}

/// The bytes of a digest, checked.
pub(super) fn read(root: &Path, digest: &Digest) -> Result<Vec<u8>, TeacherError> {
    let path = place(root, digest);
    let file = fs::read(&path).map_err(|e| disk("read", &path, &e))?;
    let bytes = decompress(&file).map_err(|e| damaged(root, format!("object {digest}: {e}")))?;
    let found = Digest::of(&bytes);
    if found != *digest {
        return Err(damaged(
            root,
            format!("object {digest} holds bytes of digest {found}"),
        ));
    }
    Ok(bytes)
}

fn decompress(file: &[u8]) -> std::io::Result<Vec<u8>> {
    // The size that a frame states is not believed beyond the limit.
    let mut bytes = Vec::new();
    zstd::Decoder::new(file)?
        .take(LARGEST)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
