use filiation_core::{Digest, canonical};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Mapping;
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
    /// Digest of `file`, the whole of what is called `name`. Its memory is let go of as it is read.
    pub fn of(name: impl Into<String>, file: &Mapping) -> Self {
        let mut hasher = Sha256::new();
        file.parts().for_each(|part| hasher.update(part));
        Self {
            name: name.into(),
            bytes: file.bytes().len() as u64,
            sha256: Digest::from_bytes(hasher.finalize().into()),
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

/// Digests of `files`, computed in parallel, sorted by name.
pub(crate) fn digest_all(files: &[&MappedFile]) -> Vec<FileDigest> {
    // The largest first: a file is hashed by one core, and it should not be the last to start.
    let mut order = files.to_vec();
    order.sort_by_key(|f| std::cmp::Reverse(f.bytes().len()));
    let mut digests: Vec<_> = order
        .par_iter()
        .with_max_len(1)
        .map(|f| FileDigest::of(&f.name, f.map()))
        .collect();
    digests.sort_by(|a, b| a.name.cmp(&b.name));
    digests
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn digest(name: &str, bytes: &[u8]) -> FileDigest {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("room on the disk");
        FileDigest::of(name, &Mapping::new(&file).expect("maps"))
    }

    #[test]
    fn a_file_has_the_digest_of_its_bytes() {
        let found = digest("a", b"some bytes");
        assert_eq!((found.bytes, found.sha256), (10, Digest::of(b"some bytes")));
    }

    #[test]
    fn combining_does_not_depend_on_order() {
        let a = digest("a", b"1");
        let b = digest("b", b"2");
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
        let a = digest("a", b"1");
        let renamed = digest("b", b"1");
        assert_ne!(FileDigest::combine(&[a]), FileDigest::combine(&[renamed]));
    }
}
