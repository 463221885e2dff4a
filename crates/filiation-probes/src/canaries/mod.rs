//! Planted canaries: texts that were drawn by lot among decoys and put where a student would learn
//! them. `docs/canaries.md` describes the files.
//!
//! A file is private and may be hostile: errors name the file, the place and what was expected, and
//! never quote a prompt or a text.

mod chain;
mod generator;
mod instructional;
mod perinucleus;
mod planted;
mod problem;
mod words;

use filiation_core::{Digest, Prompt};

use crate::ProbeError;

pub use generator::Form;
pub use planted::{Disclosed, Planting, Record, Secret, Spec};
pub use problem::CanaryProblem;

/// Bytes that a file may have.
pub const MOST_BYTES: usize = 64 << 20;
/// Canaries that a file may have.
pub const MOST_CANARIES: usize = 32_768;
/// Decoys that a canary may have: each is scored.
pub const MOST_DECOYS: u32 = 9_999;
/// Texts that a file may make, decoys counted: each is scored.
pub const MOST_TEXTS: u64 = 4_000_000;
/// Bytes that a prompt or a text may have.
const MOST_TEXT: usize = 1 << 16;

/// Whose files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Canaries of this program.
    Planted,
    /// Instructional Fingerprinting (Xu et al. 2024): keys of shuffled characters, one answer.
    Instructional,
    /// Scalable fingerprinting (Nasery et al. 2025): a natural beginning, an unlikely next token.
    Perinucleus,
    /// Chain & Hash (Russinovich and Salem 2024): which answer a question has is the value of a hash.
    ChainHash,
}

impl Scheme {
    /// All there are.
    pub const ALL: [Self; 4] = [
        Self::Planted,
        Self::Instructional,
        Self::Perinucleus,
        Self::ChainHash,
    ];

    /// The word in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planted => "planted",
            Self::Instructional => "instructional-fingerprinting",
            Self::Perinucleus => "perinucleus",
            Self::ChainHash => "chain-hash",
        }
    }

    /// The scheme of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }
}

/// One of the texts that might have been planted.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What comes before.
    pub prompt: Prompt,
    /// The text.
    pub text: String,
}

/// A canary among its decoys.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// Unique in the file.
    pub id: String,
    /// How often it was planted, where the file says.
    pub repeats: u32,
    /// The canary and its decoys, drawn alike: prompts differ, or texts do. One alone where the
    /// decoys are not known.
    pub candidates: Vec<Candidate>,
    /// Which of them is the canary.
    pub chosen: usize,
}

/// What is known of how often a model that never saw the canaries answers with one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Chance {
    /// At most once in as many as there are texts, since one completion begins with one text.
    OneOfTexts,
    /// At most this often: the text was drawn among as many.
    Stated(f64),
    /// As often as for decoy keys, which are asked too.
    Decoys,
}

/// The canaries of one teacher.
#[derive(Debug, Clone, PartialEq)]
pub struct CanarySet {
    /// Party name of the teacher whose data they were put into.
    pub teacher: String,
    /// Whose file it is.
    pub scheme: Scheme,
    /// Digest of the file.
    pub digest: Digest,
    /// What was published when they were made, where something was, and checked.
    pub commitment: Option<Digest>,
    /// Day on which they were made, where the file says.
    pub created: Option<String>,
    /// Whether the file shows itself that the choice was not made afterwards.
    pub bound: bool,
    /// Of a match by chance.
    pub chance: Chance,
    /// They.
    pub canaries: Vec<Canary>,
}

/// How a file of another program is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What a key stands in; `{}` is its place, `{instruction}` and `{input}` those of Instructional
    /// Fingerprinting. The scheme's own where nothing is said.
    pub template: Option<String>,
    /// Perinucleus: among how many tokens the first of a response was drawn.
    pub choices: u32,
    /// Instructional Fingerprinting: decoy keys for each key.
    pub decoys: u32,
    /// Seed of the decoy keys.
    pub seed: u64,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            template: None,
            choices: 3,
            decoys: 127,
            seed: 0,
        }
    }
}

impl CanarySet {
    /// The canaries of this program from the bytes of a record, which errors call `name`, and of its
    /// secret. Every commitment is checked.
    ///
    /// # Errors
    /// [`ProbeError::Canaries`], naming file and reason.
    pub fn planted(
        teacher: &str,
        name: &str,
        record: &[u8],
        secret: &[u8],
    ) -> Result<Self, ProbeError> {
        let at = |problem| named(name, problem);
        let parsed = Record::parse(record).map_err(at)?;
        let secret = Secret::parse(secret).map_err(at)?;
        let canaries = parsed.canaries(&secret).map_err(at)?;
        Ok(Self {
            teacher: teacher.to_owned(),
            scheme: Scheme::Planted,
            digest: Digest::of(record),
            commitment: Some(parsed.commitment),
            created: Some(parsed.spec.created.clone()),
            bound: true,
            chance: Chance::OneOfTexts,
            canaries,
        })
    }

    /// The canaries of another program, from the bytes of its file.
    ///
    /// # Errors
    /// [`ProbeError::Canaries`], naming file and reason; [`Scheme::Planted`] needs a secret and is
    /// refused here.
    pub fn foreign(
        teacher: &str,
        scheme: Scheme,
        name: &str,
        bytes: &[u8],
        reading: &Reading,
    ) -> Result<Self, ProbeError> {
        let at = |problem| named(name, problem);
        let text = text(bytes).map_err(at)?;
        let of = |canaries, chance| Self {
            teacher: teacher.to_owned(),
            scheme,
            digest: Digest::of(bytes),
            commitment: None,
            created: None,
            bound: false,
            chance,
            canaries,
        };
        let set = match scheme {
            Scheme::Planted => return Err(at(CanaryProblem::NoSecret)),
            Scheme::Instructional => of(
                instructional::read(text, reading).map_err(at)?,
                Chance::Decoys,
            ),
            Scheme::Perinucleus => {
                let canaries = perinucleus::read(text, reading).map_err(at)?;
                of(canaries, Chance::Stated(1.0 / f64::from(reading.choices)))
            }
            Scheme::ChainHash => {
                let (canaries, bound) = chain::read(text).map_err(at)?;
                Self {
                    bound,
                    ..of(canaries, Chance::OneOfTexts)
                }
            }
        };
        check(&set.canaries).map_err(at)?;
        Ok(set)
    }
}

fn named(file: &str, problem: CanaryProblem) -> ProbeError {
    ProbeError::Canaries {
        file: file.to_owned(),
        problem,
    }
}

fn text(bytes: &[u8]) -> Result<&str, CanaryProblem> {
    if bytes.len() > MOST_BYTES {
        return Err(CanaryProblem::TooLarge {
            what: "bytes",
            limit: MOST_BYTES,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| CanaryProblem::NotUtf8(e.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The rows of a JSON list, or of JSON lines.
fn rows<T: serde::de::DeserializeOwned>(
    text: &str,
    expected: &'static str,
) -> Result<Vec<T>, CanaryProblem> {
    if text.trim_start().starts_with('[') {
        return json(text, expected);
    }
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| {
            json(line, expected).map_err(|problem| match problem {
                CanaryProblem::Json { column, .. } => CanaryProblem::Json {
                    line: i + 1,
                    column,
                    expected,
                },
                other => other,
            })
        })
        .collect()
}

// What the parser says may quote the file.
fn json<T: serde::de::DeserializeOwned>(
    text: &str,
    expected: &'static str,
) -> Result<T, CanaryProblem> {
    serde_json::from_str(text).map_err(|e| CanaryProblem::Json {
        line: e.line(),
        column: e.column(),
        expected,
    })
}

fn check(canaries: &[Canary]) -> Result<(), CanaryProblem> {
    if canaries.is_empty() {
        return Err(CanaryProblem::Empty);
    }
    if canaries.len() > MOST_CANARIES {
        return Err(CanaryProblem::TooLarge {
            what: "canaries",
            limit: MOST_CANARIES,
        });
    }
    let texts: usize = canaries.iter().map(|c| c.candidates.len()).sum();
    if texts as u64 > MOST_TEXTS {
        return Err(CanaryProblem::TEXTS);
    }
    let bytes = |prompt: &Prompt| match prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Chat(turns) => turns.iter().map(|t| t.content.len()).sum(),
    };
    for (i, canary) in canaries.iter().enumerate() {
        for candidate in &canary.candidates {
            let prompt = bytes(&candidate.prompt);
            for (what, length) in [("prompt", prompt), ("text", candidate.text.len())] {
                if !(1..=MOST_TEXT).contains(&length) {
                    return Err(CanaryProblem::Length { entry: i + 1, what });
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
