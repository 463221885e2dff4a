//! Answers that were paid for already: logs of evaluations, read as what a teacher said.
//!
//! A log is read whole into [`Logged`] questions, whatever wrote it. From there it becomes a pack, by
//! matching its prompts with those of a plan, a suite of its own prompts, or a log of served responses.
//! What is malformed is refused with file, place and reason; what is sound and cannot be used is counted.

mod inspect;
mod lm_eval;
mod pack;
mod problem;
mod served;
mod suite;
mod text;
mod vllm;
mod zip;

pub use pack::{ImportOrder, Imported};
pub use problem::ImportProblem;
pub use suite::LogSuite;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use filiation_core::{Digest, Finish, Prompt};

use crate::{AuditError, disk};

/// Bytes that a log may have, compressed or not.
const MOST_BYTES: usize = 1 << 30;
/// Questions that a log may have.
const MOST_QUESTIONS: usize = 200_000;
/// Bytes that a prompt or an answer may have.
const MOST_TEXT: usize = 1 << 20;

/// What wrote a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `samples_*.jsonl` of `lm_eval --log_samples`.
    LmEval,
    /// `.eval` or `.json` of Inspect.
    Inspect,
    /// Results of vLLM or of an OpenAI batch, one JSON object a line.
    Vllm,
}

impl LogFormat {
    /// The word on the command line and in packs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LmEval => "lm-eval",
            Self::Inspect => "inspect",
            Self::Vllm => "vllm",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::LmEval, Self::Inspect, Self::Vllm];
        let found = all.into_iter().find(|f| f.as_str() == text);
        found.ok_or_else(|| {
            format!("`{text}` is no log that is read, expected lm-eval, inspect or vllm")
        })
    }
}

/// How an answer was drawn, as far as the log says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Decoding {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
}

/// One text that was answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) tokens: Vec<u32>,
    pub(crate) finish: Option<Finish>,
}

/// What was answered to a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// Texts, one a sample.
    Texts(Vec<Said>),
    /// Log-probabilities (nats) of options, and the right one where the log says.
    Options {
        options: Vec<String>,
        logprobs: Vec<f64>,
        key: Option<usize>,
    },
}

/// One question and what was answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Logged {
    /// In the words of the log: unique or not, of any characters.
    pub(crate) id: String,
    pub(crate) prompt: Prompt,
    pub(crate) decoding: Decoding,
    pub(crate) what: What,
}

/// Why a sound entry of a log is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Passed {
    /// The request failed or was filtered.
    Failed,
    /// It holds images, sounds, or calls of tools.
    NotText,
    /// The options are not of one prompt.
    SeveralPrompts,
    /// A kind of question that no probe puts.
    OtherKind,
    /// The same answers under another filter of lm-eval.
    Repeated,
    /// The log holds an answer and not what was asked.
    NoQuestion,
}

impl Passed {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed or filtered",
            Self::NotText => "not text alone",
            Self::SeveralPrompts => "options of several prompts",
            Self::OtherKind => "a kind that no probe asks",
            Self::Repeated => "repeated for another filter",
            Self::NoQuestion => "without its question",
        }
    }
}

/// A log as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalLog {
    pub(crate) format: LogFormat,
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    /// The model, as the log calls it.
    pub(crate) model: Option<String>,
    /// The day (`YYYY-MM-DD`), where the log says.
    pub(crate) day: Option<String>,
    pub(crate) questions: Vec<Logged>,
    pub(crate) passed: BTreeMap<Passed, u64>,
}

impl EvalLog {
    /// Reads a log. Results of a batch do not repeat what was asked: `requests` is the file that was
    /// handed in.
    ///
    /// # Errors
    /// [`AuditError::Read`] and [`AuditError::Import`], which names file, place and reason and quotes no
    /// text.
    pub fn read(
        format: LogFormat,
        path: &Path,
        requests: Option<&Path>,
    ) -> Result<Self, AuditError> {
        let bytes = contents(path)?;
        let asked = match requests {
            Some(path) => vllm::Requests::parse(&contents(path)?).map_err(at(path))?,
            None => vllm::Requests::default(),
        };
        let read = Self::parse(format, &bytes, &asked).map_err(at(path))?;
        Ok(Self {
            path: path.to_owned(),
            ..read
        })
    }

    pub(crate) fn parse(
        format: LogFormat,
        bytes: &[u8],
        asked: &vllm::Requests,
    ) -> Result<Self, (String, ImportProblem)> {
        let mut log = Self {
            format,
            path: PathBuf::new(),
            digest: Digest::of(bytes),
            model: None,
            day: None,
            questions: Vec::new(),
            passed: BTreeMap::new(),
        };
        match format {
            LogFormat::LmEval => lm_eval::read(bytes, &mut log)?,
            LogFormat::Inspect => inspect::read(bytes, &mut log)?,
            LogFormat::Vllm => vllm::read(bytes, asked, &mut log)?,
        }
        if log.questions.is_empty() && log.passed.is_empty() {
            return Err(("line 1".into(), ImportProblem::Empty));
        }
        Ok(log)
    }

    /// The model, as the log calls it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The day of the log (`YYYY-MM-DD`), where it says.
    pub fn day(&self) -> Option<&str> {
        self.day.as_deref()
    }

    /// Questions that were read.
    pub fn questions(&self) -> usize {
        self.questions.len()
    }

    /// Entries that were sound and cannot be used, by reason.
    pub fn passed(&self) -> BTreeMap<&'static str, u64> {
        self.passed
            .iter()
            .map(|(why, n)| (why.as_str(), *n))
            .collect()
    }

    /// The sampling temperature, where the log states one and the same throughout.
    pub fn temperature(&self) -> Option<f64> {
        self.single(|d| d.temperature.map(f64::to_bits))
            .map(f64::from_bits)
    }

    /// Most tokens of a completion, where the log states one and the same throughout.
    pub fn max_tokens(&self) -> Option<u32> {
        self.single(|d| d.max_tokens)
    }

    /// The number of texts that most prompts have, the larger of two such; 0 without one.
    pub fn samples(&self) -> u32 {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for (_, texts) in pack::by_prompt(&self.questions) {
            *counts.entry(texts.len()).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(texts, n)| (*n, *texts));
        most.map_or(0, |(texts, _)| texts as u32)
    }

    fn single<T: Ord + Copy>(&self, of: impl Fn(&Decoding) -> Option<T>) -> Option<T> {
        let texts = self
            .questions
            .iter()
            .filter(|q| matches!(q.what, What::Texts(_)));
        let all: std::collections::BTreeSet<Option<T>> = texts.map(|q| of(&q.decoding)).collect();
        match all.len() {
            1 => all.into_iter().next().flatten(),
            _ => None,
        }
    }

    fn pass(&mut self, why: Passed) {
        *self.passed.entry(why).or_default() += 1;
    }

    // A log is of one model: answers of two would be taken for one teacher.
    fn of_model(&mut self, name: &str) -> Result<(), ImportProblem> {
        match &self.model {
            Some(known) if known != name => Err(ImportProblem::OtherModel),
            Some(_) => Ok(()),
            None => {
                self.model = Some(name.to_owned());
                Ok(())
            }
        }
    }

    fn add(&mut self, question: Logged) -> Result<(), ImportProblem> {
        if self.questions.len() == MOST_QUESTIONS {
            return Err(ImportProblem::TooLarge {
                what: "questions",
                limit: MOST_QUESTIONS,
            });
        }
        text::check(&question)?;
        self.questions.push(question);
        Ok(())
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, AuditError> {
    let bytes = disk::read_within(path, MOST_BYTES)?;
    if bytes.len() > MOST_BYTES {
        return Err(at(path)((
            "the file".into(),
            ImportProblem::TooLarge {
                what: "bytes",
                limit: MOST_BYTES,
            },
        )));
    }
    Ok(bytes)
}

fn at(path: &Path) -> impl Fn((String, ImportProblem)) -> AuditError {
    move |(place, problem)| AuditError::Import {
        path: path.to_owned(),
        place,
        problem,
    }
}

#[cfg(test)]
mod tests;
