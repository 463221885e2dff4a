//! Hashes as git and git-lfs make them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Both hashes of a file, made as its bytes come.
pub(crate) struct Hashes {
    git: Sha1,
    lfs: Sha256,
    bytes: u64,
}

impl Hashes {
    /// Of a file of `bytes` bytes: git hashes its length before its content.
    pub(crate) fn of(bytes: u64) -> Self {
        let mut git = Sha1::new();
        git.update(format!("blob {bytes}\0"));
        Self {
            git,
            lfs: Sha256::new(),
            bytes: 0,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.git.update(bytes);
        self.lfs.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    #[cfg(feature = "hub")]
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn finish(self) -> Found {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let sha256 = hex(&self.lfs.finalize());
        Found {
            pointer: hex(&Sha1::digest(blob(&pointer(&sha256, self.bytes)))),
            blob: hex(&self.git.finalize()),
            sha256,
            bytes: self.bytes,
        }
    }
}

/// What a content hashes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Git's hash of the content.
    pub(crate) blob: String,
    /// Git's hash of the pointer that git-lfs puts in its place.
    pub(crate) pointer: String,
    /// SHA-256 of the content: the id of git-lfs.
    pub(crate) sha256: String,
    /// Its length.
    pub(crate) bytes: u64,
}

impl Found {
    /// Of a file on disk.
    pub(crate) fn of_file(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let mut hashes = Hashes::of(file.metadata()?.len());
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hashes.finish()),
                n => hashes.update(&buffer[..n]),
            }
        }
    }
}

// The one form of a pointer (git-lfs specification, version 1): the tree of a commit holds the hash of
// this text, and with it that of the content.
fn pointer(sha256: &str, bytes: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {bytes}\n")
}

fn blob(text: &str) -> Vec<u8> {
    format!("blob {}\0{text}", text.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_git() {
        // printf 'hello\n' | git hash-object --stdin; the pointer by `git lfs pointer --file`, hashed
        // likewise.
        let mut hashes = Hashes::of(6);
        hashes.update(b"hel");
        hashes.update(b"lo\n");
        let found = hashes.finish();
        assert_eq!(found.blob, "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(
            found.sha256,
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
        assert_eq!(found.pointer, POINTER);
        assert_eq!(found.bytes, 6);
    }

    const POINTER: &str = "fa61e1ef71c9908c0926776a4aa3504b3a27f159";
}
