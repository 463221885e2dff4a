//! Archives, as hostile as any other file: nothing is written, names are only compared, and what is
//! unpacked is counted.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use ::zip::ZipArchive;

use super::{ImportProblem, MOST_QUESTIONS};

/// Bytes that one file of an archive may unpack to, and all of them.
const MOST_FILE: u64 = 256 << 20;
const MOST_UNPACKED: u64 = 8 << 30;

pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    unpacked: u64,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, ImportProblem> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| broken(&e))?;
        if zip.len() > 2 * MOST_QUESTIONS {
            return Err(ImportProblem::TooLarge {
                what: "files in the archive",
                limit: 2 * MOST_QUESTIONS,
            });
        }
        Ok(Self { zip, unpacked: 0 })
    }

    /// The names, in their order: archives list them as they were written, which differs from run to run.
    pub(super) fn names(&self) -> Result<Vec<String>, ImportProblem> {
        let names = self.zip.file_names().map(|name| name.map(Cow::into_owned));
        let mut names: Vec<String> = names.collect::<Result<_, _>>().map_err(|e| broken(&e))?;
        names.sort();
        Ok(names)
    }

    /// A file's bytes; `None` where there is none of that name.
    pub(super) fn file(&mut self, name: &str) -> Result<Option<Vec<u8>>, ImportProblem> {
        let too_large = ImportProblem::TooLarge {
            what: "bytes unpacked",
            limit: MOST_FILE as usize,
        };
        let file = match self.zip.by_name(name) {
            Ok(file) => file,
            Err(::zip::result::ZipError::FileNotFound) => return Ok(None),
            Err(e) => return Err(broken(&e)),
        };
        let mut bytes = Vec::new();
        file.take(MOST_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| ImportProblem::Archive(e.to_string()))?;
        self.unpacked += bytes.len() as u64;
        if bytes.len() as u64 > MOST_FILE || self.unpacked > MOST_UNPACKED {
            return Err(too_large);
        }
        Ok(Some(bytes))
    }
}

fn broken(error: &::zip::result::ZipError) -> ImportProblem {
    ImportProblem::Archive(error.to_string())
}
