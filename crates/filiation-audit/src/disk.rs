//! Writes that survive a kill at any moment: a file is whole or absent, a log ends in a whole
//! line or in a tail that the next reader discards.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use crate::AuditError;

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, AuditError> {
    fs::read(path).map_err(|source| AuditError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file, and one byte more of it than `limit` where it is longer: enough to refuse it.
pub(crate) fn read_within(path: &Path, limit: usize) -> Result<Vec<u8>, AuditError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| AuditError::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok(bytes)
}

/// Reads a file; `None` where there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, AuditError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AuditError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Reads a file from byte `start` on; nothing where there is no file.
pub(crate) fn read_from(path: &Path, start: u64) -> Result<Vec<u8>, AuditError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => Ok(bytes),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(bytes),
        Err(source) => Err(AuditError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// `path`, which is there as the user stands, as it is found from `folder`: a case that keeps it so can move with what
/// it names. What lies on another drive stays absolute.
///
/// # Errors
/// [`AuditError::Read`] where one of the two is not there.
pub fn from_folder(path: &Path, folder: &Path) -> Result<PathBuf, AuditError> {
    let here = folder.as_os_str().is_empty();
    if here && path.is_relative() {
        return Ok(path.to_owned());
    }
    // Links are followed, so that `..` leads where the names say.
    let real = |path: &Path| {
        fs::canonicalize(path).map_err(|source| AuditError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let path = real(path)?;
    let folder = real(if here { Path::new(".") } else { folder })?;
    let both = path.components().zip(folder.components());
    let common = both.take_while(|(a, b)| a == b).count();
    if common == 0 {
        return Ok(path);
    }
    let up = folder.components().skip(common);
    let up = up.map(|_| Component::ParentDir);
    Ok(up.chain(path.components().skip(common)).collect())
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), AuditError> {
    fs::create_dir_all(path).map_err(|source| write_error(path, source))
}

/// Puts `bytes` at `path` as a whole: the old file or the new one is there, never a part.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let scratch = Path::new(&name);
    let written = File::create(scratch)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(scratch, path))
        .and_then(|()| sync_folder(path));
    written.map_err(|source| {
        // The first failure is the one to tell; a scratch file left behind is overwritten next time.
        let _ = fs::remove_file(scratch);
        write_error(path, source)
    })
}

/// Appends `bytes` in one piece and waits until they are on disk. On failure the file is cut
/// back to what it was.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| write_error(path, source))?;
    let before = file
        .metadata()
        .map_err(|source| write_error(path, source))?
        .len();
    file.write_all(bytes)
        .and_then(|()| file.sync_data())
        .map_err(|source| {
            // Should this fail too, the torn tail is discarded by the next reader.
            let _ = file.set_len(before);
            write_error(path, source)
        })
}

/// Cuts a file to its first `bytes` bytes.
pub(crate) fn truncate(path: &Path, bytes: u64) -> Result<(), AuditError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| {
            file.set_len(bytes)?;
            file.sync_all()
        })
        .map_err(|source| write_error(path, source))
}

pub(crate) fn write_error(path: &Path, source: std::io::Error) -> AuditError {
    AuditError::Write {
        path: path.to_owned(),
        source,
    }
}

// A rename is durable once the folder that holds it is. Other systems give no handle on one.
#[cfg(unix)]
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_replaces_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.json");
        put(&path, b"one").expect("writes");
        put(&path, b"two").expect("writes again");
        assert_eq!(read(&path).expect("reads"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1);
    }

    #[test]
    fn a_failed_put_keeps_the_old_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.json");
        put(&path, b"one").expect("writes");
        fs::create_dir(folder.path().join("a.json.tmp")).expect("takes the scratch name");
        let error = put(&path, b"two").expect_err("the scratch name is a folder");
        assert!(error.to_string().contains("a.json"), "{error}");
        assert_eq!(read(&path).expect("reads"), b"one");
    }

    #[test]
    fn append_and_truncate() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        append(&path, b"one\n").expect("writes");
        append(&path, b"two\n").expect("writes");
        truncate(&path, 5).expect("cuts");
        assert_eq!(read(&path).expect("reads"), b"one\nt");
    }
}
