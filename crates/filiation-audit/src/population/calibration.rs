use std::path::Path;

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

/// The population in a folder: `scores.jsonl` and `calibration.toml`.
///
/// # Errors
/// As [`Decided::read`] and [`records`], and [`AuditError::Calibration`] where they make no calibration.
pub fn calibration(folder: &Path) -> Result<Calibration, AuditError> {
    let decided = Decided::read(&folder.join("calibration.toml"))?;
    let path = folder.join("scores.jsonl");
    let bytes = disk::read(&path)?;
    let Decided {
        name,
        streams,
        evasive,
        ..
    } = decided;
    Calibration::new(
        &name,
        Digest::of(&bytes),
        streams,
        evasive,
        &records(&path, &bytes)?,
    )
    .map_err(|source| AuditError::Calibration {
        path: folder.to_owned(),
        source,
    })
}
