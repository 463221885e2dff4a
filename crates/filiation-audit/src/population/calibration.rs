use std::path::{Path, PathBuf};

use filiation_core::Digest;
use filiation_lr::{Calibration, Record};
use serde::Deserialize;

use crate::{AuditError, disk};

/// What is decided before the scores of a population are looked at: `calibration.toml` beside them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// Format of this file, 1.
    pub format: u32,
    /// Name of the population in reports.
    pub name: String,
    /// Probes whose scores are used.
    pub streams: Vec<String>,
    /// Whether students that hide are among the models: only then does a ratio below 1 say anything.
    #[serde(default)]
    pub evasive: bool,
}

impl Decided {
    /// Reads and checks such a file.
    ///
    /// # Errors
    /// [`AuditError::Read`], [`AuditError::Population`] for what is not such a file, and
    /// [`AuditError::Value`] for a value out of range.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let bytes = disk::read(path)?;
        let decided: Self = toml::from_slice(&bytes).map_err(|source| AuditError::Population {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let value = |field, found: String, expected| AuditError::Value {
            field,
            found,
            expected,
        };
        if decided.format != 1 {
            return Err(value("format", decided.format.to_string(), "1"));
        }
        if decided.name.is_empty() {
            return Err(value("name", "empty".into(), "the name of the population"));
        }
        if decided.streams.is_empty() {
            return Err(value("streams", "empty".into(), "at least one probe"));
        }
        Ok(decided)
    }
}

/// The records of a score file, one a line.
///
/// # Errors
/// [`AuditError::Damaged`] for a line that is no record.
pub fn records(path: &Path, bytes: &[u8]) -> Result<Vec<Record>, AuditError> {
    let lines = bytes.split(|b| *b == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_slice(line).map_err(|e| AuditError::Damaged {
                path: path.to_owned(),
                line: at + 1,
                reason: e.to_string(),
            })
        })
        .collect()
}

/// The folder of a population with a file for each probe.
pub(super) const BY_PROBE: &str = "by-probe";

/// The score files of a population: `scores.jsonl` where there is one, else those below `by-probe`, of
/// some probes or of all.
///
/// # Errors
/// [`AuditError::Read`] for a folder that cannot be read.
pub fn score_files(folder: &Path, of: Option<&[String]>) -> Result<Vec<PathBuf>, AuditError> {
    let whole = folder.join("scores.jsonl");
    let parts = folder.join(BY_PROBE);
    if whole.is_file() || !parts.is_dir() {
        return Ok(vec![whole]);
    }
    if let Some(probes) = of {
        let file = |probe: &String| parts.join(format!("{probe}.jsonl"));
        return Ok(probes.iter().map(file).collect());
    }
    let read = |source| AuditError::Read {
        path: parts.clone(),
        source,
    };
    let mut files = Vec::new();
    for entry in parts.read_dir().map_err(read)? {
        let path = entry.map_err(read)?.path();
        files.extend(Some(path).filter(|p| p.extension().is_some_and(|e| e == "jsonl")));
    }
    files.sort();
    Ok(files)
}

/// The population in a folder: its score files and `calibration.toml`.
///
/// # Errors
/// As [`Decided::read`] and [`records`], and [`AuditError::Calibration`] where they make no calibration.
pub fn calibration(folder: &Path) -> Result<Calibration, AuditError> {
    let decided = Decided::read(&folder.join("calibration.toml"))?;
    let mut bytes = Vec::new();
    let mut all = Vec::new();
    for path in score_files(folder, Some(&decided.streams))? {
        let read = disk::read(&path)?;
        all.extend(records(&path, &read)?);
        bytes.extend(read);
    }
    let Decided {
        name,
        streams,
        evasive,
        ..
    } = decided;
    Calibration::new(&name, Digest::of(&bytes), streams, evasive, &all).map_err(|source| {
        AuditError::Calibration {
            path: folder.to_owned(),
            source,
        }
    })
}
