use filiation_core::{Digest, canonical};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::folder::MappedFile;

/// A file and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Name in the folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Digest of its bytes.
    pub sha256: Digest,
}

impl FileDigest {
    /// Digest of `bytes`, the whole of file `name`.
    pub fn of(name: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            name: name.into(),
            bytes: bytes.len() as u64,
            sha256: Digest::of(bytes),
        }
    }

    /// One digest for several files: of the canonical JSON of `[[name, sha256], …]`, sorted by
    /// name. Stable under moving the folder and under the order of `files`.
    pub fn combine(files: &[Self]) -> Digest {
        let mut pairs: Vec<_> = files.iter().map(|f| (&f.name, f.sha256)).collect();
        pairs.sort();
        Digest::of(&canonical::to_bytes(&pairs))
    }
}

/// Bytes hashed between two releases of memory.
const RUN: usize = 8 << 20;

/// As [`FileDigest::of`], without leaving the whole file in memory.
fn digest(file: &MappedFile) -> FileDigest {
    let bytes = file.bytes();
    let mut hash = Sha256::new();
    for (i, run) in bytes.chunks(RUN).enumerate() {
        hash.update(run);
        file.release(i * RUN..i * RUN + run.len());
    }
    FileDigest {
        name: file.name.clone(),
        bytes: bytes.len() as u64,
        sha256: Digest::from_bytes(hash.finalize().into()),
    }
}

/// Digests of `files`, computed in parallel, sorted by name.
pub(crate) fn digest_all(files: &[&MappedFile]) -> Vec<FileDigest> {
    // The largest first: a file is hashed by one core, and it should not be the last to start.
    let mut order = files.to_vec();
    order.sort_by_key(|f| std::cmp::Reverse(f.bytes().len()));
    let mut digests: Vec<_> = order
        .par_iter()
        .with_max_len(1)
        .map(|f| digest(f))
        .collect();
    digests.sort_by(|a, b| a.name.cmp(&b.name));
    digests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combining_does_not_depend_on_order() {
        let a = FileDigest::of("a", b"1");
        let b = FileDigest::of("b", b"2");
        let both = FileDigest::combine(&[a.clone(), b.clone()]);
        assert_eq!(both, FileDigest::combine(&[b.clone(), a.clone()]));
        assert_ne!(both, FileDigest::combine(&[a]));
        let pairs = format!(
            r#"[["a","{}"],["b","{}"]]"#,
            Digest::of(b"1"),
            Digest::of(b"2")
        );
        assert_eq!(both, Digest::of(pairs.as_bytes()));
    }

    #[test]
    fn names_count() {
        let a = FileDigest::of("a", b"1");
        let renamed = FileDigest::of("b", b"1");
        assert_ne!(FileDigest::combine(&[a]), FileDigest::combine(&[renamed]));
    }
}
