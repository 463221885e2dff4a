use std::path::{Path, PathBuf};

use filiation_core::{Digest, Probe};
use filiation_probes::{NAMES, ProbeError, ProbeOptions, PromptForm, Stopping, Suite, standard};
use filiation_report::{NotRun, SuiteFacts};

use crate::entry::Entry;
use crate::owned::Owned;
use crate::{Asking, AuditError, disk};

/// A prompt suite as the run keeps it.
#[derive(Debug)]
pub(crate) struct SuiteFile {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl SuiteFile {
    /// The suites from where the case finds them.
    pub(crate) fn of_case(paths: &[PathBuf], folder: &Path) -> Result<Vec<Self>, AuditError> {
        Self::read(paths, |_, path, _| folder.join(path))
    }

    /// The suites from the run's own copies.
    pub(crate) fn of_run(paths: &[PathBuf], root: &Path) -> Result<Vec<Self>, AuditError> {
        Self::read(paths, |i, _, name| Self::place(root, i, name))
    }

    /// Where a run keeps suite `i`.
    pub(crate) fn place(root: &Path, i: usize, name: &str) -> PathBuf {
        root.join("suites").join(format!("{}-{name}", i + 1))
    }

    pub(crate) fn facts(&self) -> SuiteFacts {
        SuiteFacts {
            name: self.name.clone(),
            digest: Digest::of(&self.bytes),
            prompts: lines(&self.bytes).count() as u64,
        }
    }

    fn read(
        paths: &[PathBuf],
        place: impl Fn(usize, &Path, &str) -> PathBuf,
    ) -> Result<Vec<Self>, AuditError> {
        paths
            .iter()
            .enumerate()
            .map(|(i, path)| {
                let name = Entry::at(path).name;
                let bytes = disk::read(&place(i, path, &name))?;
                Ok(Self { name, bytes })
            })
            .collect()
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
}

/// The probes asked for, planned.
pub(crate) fn probes(
    asking: &Asking,
    stopping: Option<Stopping>,
    suites: &[SuiteFile],
    owned: &Owned,
    chat: bool,
) -> Result<Vec<Box<dyn Probe>>, AuditError> {
    let options = ProbeOptions {
        form: if chat {
            PromptForm::Chat
        } else {
            PromptForm::Text
        },
        max_tokens: asking.max_tokens,
        samples: asking.samples,
        temperature: asking.temperature,
        seed: asking.seed,
        served: owned.served.clone(),
        canaries: owned.canaries.clone(),
        marks: owned.marks.clone(),
        stopping,
        ..ProbeOptions::default()
    };
    let suites = parsed(asking, suites).map_err(AuditError::Plan)?;
    standard(&asking.probes, &suites, &options).map_err(AuditError::Plan)
}

/// The probes by name: where none is named, all for which suites and owners' files have something.
pub(crate) fn names(
    asking: &Asking,
    suites: &[SuiteFile],
    owned: &Owned,
) -> Result<Vec<String>, AuditError> {
    if !asking.probes.is_empty() {
        return Ok(asking.probes.clone());
    }
    let suites = parsed(asking, suites).map_err(AuditError::Plan)?;
    let mut names = Vec::new();
    for name in NAMES {
        if lacks(name, &suites, owned)?.is_none() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The probes there are and the case does not run, with why.
pub(crate) fn not_run(
    asking: &Asking,
    suites: &[SuiteFile],
    owned: &Owned,
) -> Result<Vec<NotRun>, AuditError> {
    let suites = parsed(asking, suites).map_err(AuditError::Plan)?;
    NAMES
        .iter()
        .filter(|name| !asking.probes.iter().any(|p| p == *name))
        .map(|name| {
            Ok(NotRun {
                probe: (*name).to_owned(),
                because: lacks(name, &suites, owned)?
                    .unwrap_or_else(|| "the case leaves it out".into()),
            })
        })
        .collect()
}

// What probe `name` misses in the suites and owners' files, if anything.
fn lacks(name: &str, suites: &[Suite], owned: &Owned) -> Result<Option<String>, AuditError> {
    let options = ProbeOptions {
        served: owned.served.clone(),
        canaries: owned.canaries.clone(),
        marks: owned.marks.clone(),
        ..ProbeOptions::default()
    };
    match standard(&[name.to_owned()], suites, &options) {
        Ok(_) => Ok(None),
        Err(ProbeError::NoServed { .. }) => {
            Ok(Some("the case names no log of served responses".into()))
        }
        Err(ProbeError::NoCanaries { .. }) => Ok(Some("the case names no canaries".into())),
        Err(ProbeError::NoMarks { .. }) => Ok(Some("the case names no marked texts".into())),
        Err(ProbeError::NoItems { needed, .. }) => Ok(Some(format!("the suites hold no {needed}"))),
        Err(other) => Err(AuditError::Plan(other)),
    }
}

fn parsed(asking: &Asking, suites: &[SuiteFile]) -> Result<Vec<Suite>, ProbeError> {
    suites
        .iter()
        .map(|suite| Suite::parse(&suite.name, first(&suite.bytes, asking.limit)))
        .collect()
}

// The bytes of the first `limit` lines.
pub(crate) fn first(bytes: &[u8], limit: Option<usize>) -> &[u8] {
    let ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
    let end = limit.and_then(|limit| ends.map(|(i, _)| i + 1).nth(limit - 1));
    &bytes[..end.unwrap_or(bytes.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_keeps_whole_lines() {
        let bytes = b"one\ntwo\nthree";
        assert_eq!(first(bytes, Some(1)), b"one\n");
        assert_eq!(first(bytes, Some(2)), b"one\ntwo\n");
        assert_eq!(first(bytes, Some(3)), bytes);
        assert_eq!(first(bytes, None), bytes);
    }
}
