//! Files that owners of teachers keep: logs of what was served, canaries, marked texts with their keys.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use filiation_probes::canaries::{MOST_BYTES as MOST_CANARY_BYTES, Reading, Scheme};
use filiation_probes::marks::{KeyFile, MOST_BYTES as MOST_MARK_BYTES};
use filiation_probes::served::MOST_BYTES;
use filiation_probes::{CanarySet, MarkFiles, MarkLog, ProbeError, ServedLog};
use filiation_report::SuiteFacts;

use crate::entry::{CanaryEntry, Entry, MarkEntry, ServedEntry};
use crate::suites::{SuiteFile, first};
use crate::{AuditError, Case, disk};

/// What names them, and how much of them is read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Owners<'a> {
    pub(crate) served: &'a [ServedEntry],
    pub(crate) canaries: &'a [CanaryEntry],
    pub(crate) marks: &'a [MarkEntry],
    pub(crate) teachers: &'a [Entry],
    pub(crate) limit: Option<usize>,
    pub(crate) seed: u64,
}

impl<'a> Owners<'a> {
    pub(crate) fn of(case: &'a Case) -> Self {
        Self {
            served: &case.served,
            canaries: &case.canaries,
            marks: &case.marks,
            teachers: &case.teachers,
            limit: case.limit,
            seed: case.seed,
        }
    }
}

impl Owners<'_> {
    /// Key, texts and tokenizer of a mark.
    fn files_of(&self, mark: &MarkEntry) -> [PathBuf; FILES] {
        let tokenizer = mark.tokenizer.clone().or_else(|| {
            let teacher = self.teachers.iter().find(|t| t.name == mark.teacher)?;
            Some(teacher.path.join("tokenizer.json"))
        });
        [
            mark.key.clone(),
            mark.texts.clone(),
            tokenizer.unwrap_or_default(),
        ]
    }
}

/// Files of a mark.
const FILES: usize = 3;

/// A file of a run.
pub(crate) struct Placed<'a> {
    pub(crate) place: PathBuf,
    pub(crate) bytes: Cow<'a, [u8]>,
    pub(crate) told: &'static str,
}

/// They, as they were read.
#[derive(Debug)]
pub(crate) struct OwnerFiles {
    logs: Vec<SuiteFile>,
    /// The file of each entry, and its secret where it has one.
    canaries: Vec<SuiteFile>,
    /// Key, texts and tokenizer of each entry. A key stays in memory: the run keeps it sealed.
    marks: Vec<SuiteFile>,
}

/// They, parsed.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    pub(crate) served: Vec<ServedLog>,
    pub(crate) canaries: Vec<CanarySet>,
    pub(crate) marks: Vec<MarkLog>,
}

impl Owned {
    /// The same with keys that a run does not keep.
    pub(crate) fn opened(self, keys: &[PathBuf]) -> Result<Self, AuditError> {
        let mut marks = self.marks;
        for path in keys {
            let bytes = disk::read_within(path, MOST_MARK_BYTES)?;
            let other = |reason: String| AuditError::OtherKey {
                path: path.clone(),
                reason,
            };
            let text = std::str::from_utf8(&bytes).map_err(|e| other(e.to_string()))?;
            let key = KeyFile::parse(text).map_err(|e| other(e.to_string()))?;
            if !marks.iter().any(|mark| mark.key.is_of(&key)) {
                let commitment = key.commitment();
                return Err(other(format!(
                    "the run names no key with commitment {commitment}"
                )));
            }
            marks = marks.into_iter().map(|mark| mark.opened(&key)).collect();
        }
        Ok(Self { marks, ..self })
    }
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
            marks: owners
                .marks
                .iter()
                .flat_map(|mark| owners.files_of(mark))
                .enumerate()
                .map(|(i, path)| read("marks", i, &path, MOST_MARK_BYTES))
                .collect::<Result<_, AuditError>>()?,
        })
    }

    /// What the run at `root` keeps: place, bytes, and what it is called. Of the key of a mark that is its
    /// commitment with the parameters; `marks` are those that these files hold.
    pub(crate) fn places(&self, root: &Path, marks: &[MarkLog]) -> Vec<Placed<'_>> {
        let kinds = [
            ("served", &self.logs, "log of served responses"),
            ("canaries", &self.canaries, "file of canaries"),
            ("marks", &self.marks, "file of a mark"),
        ];
        let placed = kinds.into_iter().flat_map(|(kind, files, told)| {
            files.iter().enumerate().map(move |(i, file)| Placed {
                place: place(root, kind, i, &file.name),
                bytes: Cow::Borrowed(file.bytes.as_slice()),
                told,
            })
        });
        let mut placed: Vec<Placed<'_>> = placed.collect();
        let first = placed.len() - self.marks.len();
        for (i, mark) in marks.iter().enumerate() {
            placed[first + FILES * i].bytes = Cow::Owned(mark.key.to_toml().into_bytes());
        }
        placed
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
        let texts = self.marks.iter().skip(1).step_by(FILES);
        let all = self.logs.iter().chain(records).chain(texts);
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
                marks: self.marks(owners)?,
            })
        };
        parsed().map_err(AuditError::Plan)
    }

    fn marks(&self, owners: &Owners<'_>) -> Result<Vec<MarkLog>, ProbeError> {
        let logs = owners.marks.iter().zip(self.marks.chunks_exact(FILES));
        logs.map(|(entry, files)| {
            let named = |i: usize| (files[i].name.as_str(), files[i].bytes.as_slice());
            let files = MarkFiles {
                key: named(0),
                texts: named(1),
                tokenizer: named(2),
            };
            MarkLog::parse(&entry.teacher, files, !entry.unmarked, owners.limit)
        })
        .collect()
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
