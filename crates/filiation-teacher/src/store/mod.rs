//! What was asked and answered, byte for byte: cache and evidence in one.
//!
//! ```text
//! objects/ab/cdef….zst   bytes of a request or response (zstd), named by their SHA-256
//! index.sqlite           one row an attempt, each with the digest of the row before it
//! in-flight              what was being asked; not empty only while asking, or after a kill
//! examined/….json        how an endpoint was found when it was tested last; its exchanges are rows
//! ```
//!
//! Objects are on disk before the row that names them, and an answer is used only after its row is.
//! So a kill loses what was on the way and nothing else, and leaves at worst objects that no row
//! names. Rows are never changed or removed. The digest of the last row stands for all.

mod check;
mod examined;
mod exchange;
mod flight;
mod index;
mod objects;
mod writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use filiation_core::Digest;
use rusqlite::Connection;

pub use check::{Sweep, Verified};
pub(crate) use exchange::Draft;
pub use exchange::{Exchange, Kind};
pub use index::Summary;
use writer::Writer;

use crate::{Examination, Key, TeacherError};

/// A folder of exchanges.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    reader: Mutex<Connection>,
    writer: Option<Writer>,
}

/// The one process that records.
const LOCK: &str = ".lock";

impl Store {
    /// Opens a store to record in it, and makes it where there is none. What was in flight when an
    /// earlier process ended is noted in a row.
    ///
    /// # Errors
    /// [`TeacherError::InUse`] while another process records; [`TeacherError::Disk`],
    /// [`TeacherError::Damaged`].
    pub fn record(root: &Path) -> Result<Self, TeacherError> {
        let make = |path: &Path| std::fs::create_dir_all(path).map_err(|e| disk("make", path, &e));
        make(&root.join("objects"))?;
        let lock = lock(root)?;
        let mut connection = index::open(root, true)?;
        flight::settle(root, &mut connection)?;
        let reader = Mutex::new(index::open(root, false)?);
        Ok(Self {
            root: root.to_owned(),
            reader,
            writer: Some(Writer::start(root.to_owned(), connection, lock)?),
        })
    }

    /// Opens a store to read in it. Nothing in the folder changes.
    ///
    /// # Errors
    /// [`TeacherError::Disk`] where there is none; [`TeacherError::Damaged`].
    pub fn read(root: &Path) -> Result<Self, TeacherError> {
        if !root.join(index::FILE).is_file() {
            return Err(TeacherError::Disk {
                what: "read",
                path: root.to_owned(),
                reason: "there is no store".into(),
            });
        }
        Ok(Self {
            root: root.to_owned(),
            reader: Mutex::new(index::open(root, false)?),
            writer: None,
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What was answered, or definitely refused, under a key, with the bytes of the response.
    ///
    /// # Errors
    /// [`TeacherError::Damaged`] where the bytes are not those that were kept.
    pub fn find(&self, key: &Key) -> Result<Option<(Exchange, Vec<u8>)>, TeacherError> {
        let found = index::find(&self.root, &self.reader(), key)?;
        let Some(exchange) = found else {
            return Ok(None);
        };
        let Some(response) = exchange.response else {
            return Err(self.damaged(format!("row {} has no response", exchange.seq)));
        };
        let bytes = objects::read(&self.root, &response)?;
        Ok(Some((exchange, bytes)))
    }

    /// The bytes of a request or response.
    ///
    /// # Errors
    /// [`TeacherError::Disk`] where they are not there, [`TeacherError::Damaged`] where they changed.
    pub fn bytes(&self, digest: &Digest) -> Result<Vec<u8>, TeacherError> {
        objects::read(&self.root, digest)
    }

    /// The model that first answered for an endpoint in an epoch, in the endpoint's words.
    ///
    /// # Errors
    /// [`TeacherError::Damaged`].
    pub fn first_model(
        &self,
        endpoint: &Digest,
        epoch: &str,
    ) -> Result<Option<String>, TeacherError> {
        index::first_model(&self.root, &self.reader(), endpoint, epoch)
    }

    /// Every row, oldest first; of one endpoint alone where one is named.
    ///
    /// # Errors
    /// [`TeacherError::Damaged`].
    pub fn exchanges(&self, endpoint: Option<&Digest>) -> Result<Vec<Exchange>, TeacherError> {
        index::exchanges(&self.root, &self.reader(), endpoint)
    }

    /// What is there, an entry an endpoint and epoch.
    ///
    /// # Errors
    /// [`TeacherError::Damaged`].
    pub fn summary(&self) -> Result<Vec<Summary>, TeacherError> {
        index::summary(&self.root, &self.reader())
    }

    /// Digest of the last row: names all that was recorded. `None` for an empty store.
    ///
    /// # Errors
    /// [`TeacherError::Damaged`].
    pub fn head(&self) -> Result<Option<Digest>, TeacherError> {
        index::head(&self.root, &self.reader())
    }

    /// How an endpoint was found when it was tested last.
    ///
    /// # Errors
    /// [`TeacherError::Damaged`].
    pub fn examination(
        &self,
        endpoint: &Digest,
        epoch: &str,
    ) -> Result<Option<Examination>, TeacherError> {
        examined::read(&self.root, endpoint, epoch)
    }

    /// Keeps it, in place of an earlier one; the exchanges of both stay.
    ///
    /// # Errors
    /// [`TeacherError::Disk`].
    pub fn keep_examination(
        &self,
        endpoint: &Digest,
        epoch: &str,
        examination: &Examination,
    ) -> Result<(), TeacherError> {
        examined::put(&self.root, endpoint, epoch, examination)
    }

    /// Reads everything and checks every digest.
    ///
    /// # Errors
    /// [`TeacherError`] where the index cannot be read at all.
    pub fn verify(&self) -> Result<Verified, TeacherError> {
        check::verify(&self.root, &self.reader())
    }

    /// Removes files that no row names: what a kill left behind. Rows stay, and so do the bytes of
    /// faults.
    ///
    /// # Errors
    /// [`TeacherError::InUse`] while a process records; [`TeacherError::Disk`].
    pub fn sweep(root: &Path) -> Result<Sweep, TeacherError> {
        let _held = lock(root)?;
        let store = Self::read(root)?;
        check::sweep(root, &store.reader())
    }

    pub(crate) const fn writer(&self) -> Option<&Writer> {
        self.writer.as_ref()
    }

    fn reader(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.reader
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn damaged(&self, reason: String) -> TeacherError {
        damaged(&self.root, reason)
    }
}

pub(crate) fn damaged(root: &Path, reason: impl Into<String>) -> TeacherError {
    TeacherError::Damaged {
        path: root.to_owned(),
        reason: reason.into(),
    }
}

pub(crate) fn disk(what: &'static str, path: &Path, error: &std::io::Error) -> TeacherError {
    TeacherError::Disk {
        what,
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn lock(root: &Path) -> Result<File, TeacherError> {
    let path = root.join(LOCK);
    let file = File::create(&path).map_err(|e| disk("write", &path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TeacherError::InUse {
            path: root.to_owned(),
        }),
        // A file system without locks: the user sees to it that one process records.
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(e)) => Err(disk("write", &path, &e)),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
