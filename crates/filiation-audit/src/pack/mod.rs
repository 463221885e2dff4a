//! Packs: every answer of a model to the requests of a plan, sealed in one file.
//!
//! The first line is the seal: what was recorded, when, how it was asked, the digest of the
//! answers, and the digest of all that. The answers follow as lines of a transcript. The digest of
//! the head names the pack.

mod collect;
mod recording;

pub(crate) use collect::by_probe;
pub use collect::{Collection, Order, Questions};
pub(crate) use recording::{Recording, WithPacks, require_recorded};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use filiation_core::{Digest, ModelIdentity, canonical};
use filiation_report::{EndpointFacts, RecordingFacts, SuiteFacts};
use serde::{Deserialize, Serialize};

use crate::transcript::{Recorded, Transcript};
use crate::{Asking, AuditError, Profile, disk};

/// What a pack says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackHead {
    /// `filiation-pack/1`.
    pub format: String,
    /// The model that answered.
    pub model: ModelIdentity,
    /// Its version, in the words of whoever recorded it.
    pub version: Option<String>,
    /// Day of the recording (UTC), `YYYY-MM-DD`.
    pub recorded: String,
    /// Whether the model has a chat template.
    pub template: bool,
    /// Whether prompts were put in chat templates.
    pub chat: bool,
    /// How it was asked.
    pub asking: Asking,
    /// The prompts.
    pub suites: Vec<SuiteFacts>,
    /// Digest of the plan.
    pub plan: Digest,
    /// What is behind it, where it was recorded from an API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointFacts>,
    /// Lines of answers.
    pub answers: u64,
    /// Bytes of the answers.
    pub bytes: u64,
    /// SHA-256 of the answers.
    pub sha256: Digest,
    /// The log that the answers were taken from, where they were not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportFacts>,
}

/// The log that a pack was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportFacts {
    /// What wrote it.
    pub log: String,
    /// SHA-256 of its file.
    pub sha256: Digest,
    /// Questions of the plan that it answers.
    pub answered: u64,
    /// Questions of the plan.
    pub asked: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    head: PackHead,
    digest: Digest,
}

/// A pack, read and found whole.
#[derive(Debug)]
pub struct Pack {
    head: PackHead,
    digest: Digest,
    log: Transcript,
}

/// Whether a path is to be read as a pack: by its name alone, so that a missing one is told as such.
pub(crate) fn is_pack(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("pack"))
}

impl Pack {
    /// The format that this version writes and reads.
    pub const FORMAT: &'static str = "filiation-pack/1";

    /// Reads a pack and checks every digest in it.
    ///
    /// # Errors
    /// [`AuditError`] for a file that is missing, no pack, of another format, cut short or changed.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let content = disk::read(path)?;
        let end = content.iter().position(|b| *b == b'\n');
        let (first, answers) = match end {
            Some(end) => (&content[..end], &content[end + 1..]),
            None => (content.as_slice(), &[][..]),
        };
        let Seal { head, digest } = seal(path, first)?;
        if digest != Self::name(&head) {
            return Err(AuditError::PackSeal {
                path: path.to_owned(),
            });
        }
        let (found, sum) = (answers.len() as u64, Digest::of(answers));
        if found != head.bytes || sum != head.sha256 {
            return Err(AuditError::PackAnswers {
                path: path.to_owned(),
                found,
                expected: head.bytes,
            });
        }
        let log = Transcript::of_bytes(path.to_owned(), answers)?;
        Ok(Self { head, digest, log })
    }

    /// What was asked, and what came of it, in the order of the recording.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn recorded(path: &Path) -> Result<Vec<Recorded>, AuditError> {
        Self::read(path)?;
        let content = disk::read(path)?;
        let end = content.iter().position(|b| *b == b'\n');
        let answers = end.map_or(&[][..], |end| &content[end + 1..]);
        Transcript::recorded(path, answers)
    }

    /// What the pack says of itself.
    pub const fn head(&self) -> &PackHead {
        &self.head
    }

    /// The digest that names the pack.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Questions answered and questions failed (refused or not supported), by kind.
    pub fn counts(&self) -> BTreeMap<&'static str, (u64, u64)> {
        self.log.counts()
    }

    /// What a report says of a party that answers from this pack.
    pub(crate) fn facts(&self, party: &str) -> RecordingFacts {
        // An opinion must not pass for one on answers that this tool asked for.
        let log = self.head.imported.as_ref().map(|import| {
            let sha256 = &import.sha256.to_string()[..16];
            format!("answers taken from a log of {} ({sha256})", import.log)
        });
        let told = [self.head.version.clone(), log];
        let told: Vec<String> = told.into_iter().flatten().collect();
        RecordingFacts {
            party: party.to_owned(),
            pack: self.digest,
            source: self.head.model.source.clone(),
            version: (!told.is_empty()).then(|| told.join("; ")),
            recorded: self.head.recorded.clone(),
            answers: self.head.answers,
        }
    }

    pub(crate) fn endpoint(&self, party: &str) -> Option<EndpointFacts> {
        let facts = self.head.endpoint.clone()?;
        Some(EndpointFacts {
            party: party.to_owned(),
            ..facts
        })
    }

    pub(crate) fn profile(&self) -> Profile {
        Profile {
            identity: self.head.model.clone(),
            chat: self.head.template,
            // What it cannot answer is found missing, with the reason.
            plain: true,
        }
    }

    pub(crate) fn into_model(self) -> Recording {
        Recording::new(self.head.model, self.log.into_answers())
    }

    fn name(head: &PackHead) -> Digest {
        Digest::of(&canonical::to_bytes(head))
    }

    /// Seals `answers` at `path`, whole or not at all.
    pub(crate) fn write(
        path: &Path,
        mut head: PackHead,
        answers: &[u8],
    ) -> Result<Self, AuditError> {
        let log = Transcript::of_bytes(path.to_owned(), answers)?;
        head.answers = log.len() as u64;
        head.bytes = answers.len() as u64;
        head.sha256 = Digest::of(answers);
        let digest = Self::name(&head);
        let seal = Seal { head, digest };
        let mut bytes = canonical::to_bytes(&seal);
        bytes.push(b'\n');
        bytes.extend(answers);
        disk::put(path, &bytes)?;
        let head = seal.head;
        Ok(Self { head, digest, log })
    }
}

// The first line: another format is told as such, whatever else is in it.
fn seal(path: &Path, line: &[u8]) -> Result<Seal, AuditError> {
    #[derive(Deserialize)]
    struct Format {
        format: String,
    }
    #[derive(Deserialize)]
    struct Outer {
        head: Format,
    }
    let no_pack = |reason: serde_json::Error| AuditError::NotAPack {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let Outer { head } = serde_json::from_slice(line).map_err(no_pack)?;
    if head.format != Pack::FORMAT {
        return Err(AuditError::PackFormat {
            path: path.to_owned(),
            found: head.format,
            expected: Pack::FORMAT,
        });
    }
    serde_json::from_slice(line).map_err(no_pack)
}

/// The place of the pack of party `name`: `out` itself where it is named as a pack, else in it.
fn place(out: &Path, name: &str) -> PathBuf {
    if is_pack(out) {
        return out.to_owned();
    }
    out.join(format!("{name}.pack"))
}
