//! What is being asked, written down before it is sent: a kill leaves a trace of what may have been
//! paid for and was not received.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::Connection;

use super::exchange::{Draft, Kind};
use super::{damaged, disk, index};
use crate::TeacherError;
use crate::key::canonical;

const FILE: &str = "in-flight";

/// The file, and how many questions are on the way.
#[derive(Debug)]
pub(crate) struct Flight {
    path: PathBuf,
    state: Mutex<(File, u64)>,
}

impl Flight {
    pub(super) fn open(root: &Path) -> Result<Self, TeacherError> {
        let path = root.join(FILE);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|e| disk("write", &path, &e))?;
        Ok(Self {
            path,
            state: Mutex::new((file, 0)),
        })
    }

    /// Before sending.
    pub(crate) fn depart(&self, draft: &Draft) -> Result<(), TeacherError> {
        let mut line = canonical(draft);
        line.push(b'\n');
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.1 += 1;
        state
            .0
            .write_all(&line)
            .map_err(|e| disk("write", &self.path, &e))
    }

    /// After what came of it is on disk.
    pub(crate) fn arrive(&self) -> Result<(), TeacherError> {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.1 = state.1.saturating_sub(1);
        if state.1 > 0 {
            return Ok(());
        }
        state
            .0
            .set_len(0)
            .map_err(|e| disk("write", &self.path, &e))
    }
}

/// Gives a row to each question that was on the way when the last process ended.
pub(super) fn settle(root: &Path, connection: &mut Connection) -> Result<(), TeacherError> {
    let path = root.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(disk("read", &path, &e)),
    };
    let failed = |e: rusqlite::Error| damaged(root, e.to_string());
    let mut last = index::last(root, connection)?;
    let transaction = connection.transaction().map_err(failed)?;
    // A line cut short was not sent.
    for line in bytes.split(|b| *b == b'\n') {
        let Ok(draft) = serde_json::from_slice::<Draft>(line) else {
            continue;
        };
        if index::has_since(&transaction, &draft.key, draft.began).map_err(failed)? {
            continue;
        }
        let draft = Draft {
            kind: Kind::Interrupted,
            note: Some("the process ended while this was asked; it may have been paid for".into()),
            ..draft
        };
        let (exchange, digest) = index::add(&transaction, draft, last).map_err(failed)?;
        last = (exchange.seq, digest);
    }
    transaction.commit().map_err(failed)?;
    fs::write(&path, []).map_err(|e| disk("write", &path, &e))
}
