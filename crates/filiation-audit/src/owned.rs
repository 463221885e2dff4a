//! Files that owners of teachers keep: logs of what was served, and canaries.

use std::path::{Path, PathBuf};

use filiation_probes::canaries::{MOST_BYTES as MOST_CANARY_BYTES, Reading, Scheme};
use filiation_probes::served::MOST_BYTES;
use filiation_probes::{CanarySet, ProbeError, ServedLog};
use filiation_report::SuiteFacts;

use crate::entry::{CanaryEntry, Entry, ServedEntry};
use crate::suites::{SuiteFile, first};
use crate::{AuditError, Case, disk};

/// What names them, and how much of them is read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Owners<'a> {
    pub(crate) served: &'a [ServedEntry],
    pub(crate) canaries: &'a [CanaryEntry],
    pub(crate) limit: Option<usize>,
    pub(crate) seed: u64,
}

impl<'a> Owners<'a> {
    pub(crate) fn of(case: &'a Case) -> Self {
        Self {
            served: &case.served,
            canaries: &case.canaries,
            limit: case.limit,
            seed: case.seed,
        }
    }
}

/// They, as the run keeps them.
#[derive(Debug)]
pub(crate) struct OwnerFiles {
    logs: Vec<SuiteFile>,
    /// The file of each entry, and its secret where it has one.
    canaries: Vec<SuiteFile>,
}

/// They, parsed.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    pub(crate) served: Vec<ServedLog>,
    pub(crate) canaries: Vec<CanarySet>,
}

impl OwnerFiles {
    /// From where the case finds them.
    pub(crate) fn of_case(owners: &Owners<'_>, folder: &Path) -> Result<Self, AuditError> {
        Self::read(owners, |_, _, path, _| folder.join(path))
    }

    /// From the run's own copies.
    pub(crate) fn of_run(owners: &Owners<'_>, root: &Path) -> Result<Self, AuditError> {
        Self::read(owners, |kind, i, _, name| place(root, kind, i, name))
    }

    fn read(
        owners: &Owners<'_>,
        place: impl Fn(&str, usize, &Path, &str) -> PathBuf,
    ) -> Result<Self, AuditError> {
        let read = |kind: &str, i: usize, path: &PathBuf, most: usize| {
            let name = Entry::at(path).name;
            let bytes = disk::read_within(&place(kind, i, path, &name), most)?;
            Ok(SuiteFile { name, bytes })
        };
        let logs = owners.served.iter().map(|s| &s.log).enumerate();
        let canaries = owners.canaries.iter().flat_map(|c| c.files()).enumerate();
        Ok(Self {
            logs: logs
                .map(|(i, path)| read("served", i, path, MOST_BYTES))
                .collect::<Result<_, AuditError>>()?,
            canaries: canaries
                .map(|(i, path)| read("canaries", i, path, MOST_CANARY_BYTES))
                .collect::<Result<_, AuditError>>()?,
        })
    }

    /// Each with the place where the run at `root` keeps it, and what it is called.
    pub(crate) fn places(&self, root: &Path) -> Vec<(PathBuf, &SuiteFile, &'static str)> {
        let kinds = [
            ("served", &self.logs, "log of served responses"),
            ("canaries", &self.canaries, "file of canaries"),
        ];
        let placed = kinds.into_iter().flat_map(|(kind, files, told)| {
            let at = move |i: usize, file: &SuiteFile| place(root, kind, i, &file.name);
            let files = files.iter().enumerate();
            files.map(move |(i, file)| (at(i, file), file, told))
        });
        placed.collect()
    }

    /// What the report says of them; secrets are left out.
    pub(crate) fn facts(&self, owners: &Owners<'_>) -> Vec<SuiteFacts> {
        let mut files = self.canaries.iter();
        let records: Vec<&SuiteFile> = owners
            .canaries
            .iter()
            .filter_map(|entry| {
                let record = files.next();
                let _secret = entry.secret.as_ref().and_then(|_| files.next());
                record
            })
            .collect();
        let all = self.logs.iter().chain(records);
        all.map(SuiteFile::facts).collect()
    }

    /// What they hold.
    pub(crate) fn parsed(&self, owners: &Owners<'_>) -> Result<Owned, AuditError> {
        let parsed = || -> Result<Owned, ProbeError> {
            let served = owners.served.iter().zip(&self.logs).map(|(entry, log)| {
                let bytes = first(&log.bytes, owners.limit);
                ServedLog::parse(&entry.teacher, entry.regenerations, &log.name, bytes)
            });
            Ok(Owned {
                served: served.collect::<Result<_, _>>()?,
                canaries: self.canaries(owners)?,
            })
        };
        parsed().map_err(AuditError::Plan)
    }

    fn canaries(&self, owners: &Owners<'_>) -> Result<Vec<CanarySet>, ProbeError> {
        let mut files = self.canaries.iter();
        let mut sets = Vec::new();
        for entry in owners.canaries {
            // As many files were read as the case names.
            let (Some(file), scheme) = (files.next(), Scheme::named(&entry.scheme)) else {
                continue;
            };
            let secret = entry.secret.as_ref().and_then(|_| files.next());
            let set = match (secret, scheme) {
                (Some(secret), _) => {
                    CanarySet::planted(&entry.teacher, &file.name, &file.bytes, &secret.bytes)?
                }
                (None, scheme) => {
                    let reading = Reading {
                        template: entry.template.clone(),
                        choices: entry.choices.unwrap_or(Reading::default().choices),
                        seed: owners.seed,
                        ..Reading::default()
                    };
                    let scheme = scheme.unwrap_or(Scheme::Planted);
                    let teacher = &entry.teacher;
                    CanarySet::foreign(teacher, scheme, &file.name, &file.bytes, &reading)?
                }
            };
            sets.push(set);
        }
        Ok(sets)
    }
}

fn place(root: &Path, kind: &str, i: usize, name: &str) -> PathBuf {
    root.join(kind).join(format!("{}-{name}", i + 1))
}
