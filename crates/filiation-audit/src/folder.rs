//! The folder of a run: whose it is, and that one process at a time works in it.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::{AuditError, Case, disk};

/// Refuses a folder that is another case's or nobody's: told before the models are read, which may
/// take long.
pub(crate) fn check(root: &Path, case: &Case) -> Result<(), AuditError> {
    if let Some(before) = disk::read_if_there(&root.join("case.toml"))? {
        return if before == case.to_toml().as_bytes() {
            Ok(())
        } else {
            Err(AuditError::OtherCase {
                path: root.to_owned(),
                what: "case",
            })
        };
    }
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(AuditError::Read {
                path: root.to_owned(),
                source,
            });
        }
    };
    let foreign = entries.flatten().any(|entry| {
        let name = entry.file_name();
        name != LOCK && !name.to_string_lossy().ends_with(".tmp")
    });
    if foreign {
        return Err(AuditError::NotARun {
            path: root.to_owned(),
        });
    }
    Ok(())
}

/// Held while a run is in use.
pub(crate) const LOCK: &str = ".lock";

/// Locks a run; the system lets go however the process ends.
pub(crate) fn lock(root: &Path) -> Result<File, AuditError> {
    let path = root.join(LOCK);
    let file = File::create(&path).map_err(|source| disk::write_error(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::Locked {
            path: root.to_owned(),
        }),
        // A file system without locks: the user sees to it alone.
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(source)) => Err(disk::write_error(&path, source)),
    }
}
