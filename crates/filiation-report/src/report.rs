use filiation_core::{Abstention, Digest, MethodId, Party, Proposition, Statistic, canonical};
use filiation_lr::Opinion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::FoundBy;

/// What made the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Program.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseFacts {
    /// Name of the case.
    pub name: String,
    /// How the suspect came to be suspected.
    pub found_by: FoundBy,
    /// Prior probability of Hd, in (0, 1), where the reader stated one.
    pub prior: Option<f64>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Most tokens a completion could have.
    pub max_tokens: u32,
    /// Completions of each prompt by each teacher.
    pub samples: u32,
    /// Sampling temperature of the teachers.
    pub temperature: f64,
    /// Whether every prompt was put as plain text by request, chat templates unused.
    pub raw: bool,
    /// Most prompts taken of each suite, where that was limited.
    pub limit: Option<u64>,
    /// Digest of the plan: every request, fixed before the first was put.
    pub plan: Digest,
    /// The probes that were not run.
    pub not_run: Vec<NotRun>,
}

/// A probe that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotRun {
    /// Its name.
    pub probe: String,
    /// Why.
    pub because: String,
}

/// A prompt suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuiteFacts {
    /// Its file name.
    pub name: String,
    /// Digest of the file.
    pub digest: Digest,
    /// Prompts in the file.
    pub prompts: u64,
}

/// A party that answered from a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordingFacts {
    /// The party.
    pub party: String,
    /// Digest that names the pack.
    pub pack: Digest,
    /// Where the model was when it was recorded, in the words of whoever did.
    pub source: String,
    /// The model's version, in the same words.
    pub version: Option<String>,
    /// Day of the recording (UTC), `YYYY-MM-DD`.
    pub recorded: String,
    /// Answers in the pack.
    pub answers: u64,
}

/// By what right a model behind an API was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Authorisation {
    /// On what basis: a contract, a licence, terms that allow it, the owner's own consent.
    pub basis: String,
    /// Who says so.
    pub by: String,
    /// Day, `YYYY-MM-DD`.
    pub date: String,
}

/// A party behind an API: nobody saw its weights, and it is what it answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointFacts {
    /// The party.
    pub party: String,
    /// What was asked for, and where.
    pub endpoint: String,
    /// By what right.
    pub authorisation: Authorisation,
    /// How much of the model it shows (`T0` to `T3`), as it was used.
    pub tier: String,
    /// What testing it found, one phrase each; empty where it was not tested, or nothing is wrong.
    pub faults: Vec<String>,
    /// Day it was tested, where it was.
    pub tested: Option<String>,
    /// Models that answered, in the endpoint's words.
    pub answered_by: Vec<String>,
    /// Exchanges that the answers are from.
    pub exchanges: u64,
    /// Tokens of their inputs, as the endpoint counted them.
    pub input_tokens: u64,
    /// Tokens drawn, hidden reasoning included, as the endpoint counted them.
    pub output_tokens: u64,
    /// Day of the first of them (UTC).
    pub first: String,
    /// Day of the last.
    pub last: String,
    /// SHA-256 of the exchanges, each with request and response byte for byte.
    pub sha256: Digest,
}

/// One alternative to "distilled", and what was held against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// Which.
    pub proposition: Proposition,
    /// The proposition in words.
    pub sentence: String,
    /// One entry a probe of the teacher axis that gave a statistic.
    pub held: Vec<Held>,
}

/// Whether a probe could hold "distilled" against one alternative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The probe's name.
    pub probe: String,
    /// Whether the models that the contrast needs were compared.
    pub present: bool,
    /// What was compared, or what is missing.
    pub because: String,
}

/// The propositions about one candidate teacher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contested {
    /// The teacher.
    pub teacher: String,
    /// Hd in words.
    pub distilled: String,
    /// Ha, Hb and Hc.
    pub alternatives: Vec<Alternative>,
}

/// What a probe said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A statistic.
    Statistic(Statistic),
    /// Nothing, and why.
    Abstention(Abstention),
}

/// What a probe read: the transcript of one party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The party.
    pub party: String,
    /// Digest of its transcript.
    pub transcript: Digest,
    /// Requests of this probe that it answered.
    pub answered: u64,
    /// Requests of this probe that it failed, by refusing or otherwise.
    pub failed: u64,
}

/// A probe, used or not: every probe of the plan is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeRecord {
    /// How it was computed.
    pub method: MethodId,
    /// What it read, in the order of the case.
    pub inputs: Vec<Input>,
    /// What it said.
    pub outcome: Outcome,
}

/// All that an audit says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// `filiation-report/1`.
    pub format: String,
    /// What made it.
    pub tool: Tool,
    /// What was asked for.
    pub case: CaseFacts,
    /// The propositions, one entry a teacher.
    pub propositions: Vec<Contested>,
    /// The models.
    pub parties: Vec<Party>,
    /// Those of them that answered from a recording.
    pub recordings: Vec<RecordingFacts>,
    /// Those of them that are behind an API, or were when they were recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointFacts>,
    /// The prompts.
    pub suites: Vec<SuiteFacts>,
    /// The probes.
    pub probes: Vec<ProbeRecord>,
    /// What follows.
    pub opinion: Opinion,
    /// What the opinion does not say.
    pub limitations: Vec<String>,
    /// What else would give such scores.
    pub explanations: Vec<String>,
}

/// Why bytes are not a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Not JSON of the expected shape.
    #[error("not a report: {0}")]
    Shape(serde_json::Error),
    /// A report of another version.
    #[error("report has format `{found}`, expected `{expected}`")]
    Format {
        /// What it says.
        found: String,
        /// What this version reads.
        expected: &'static str,
    },
}

impl Report {
    /// The format that this version writes and reads.
    pub const FORMAT: &'static str = "filiation-report/1";

    /// The bytes of `report.json`: canonical JSON, indented, with a final newline.
    pub fn to_json(&self) -> Vec<u8> {
        canonical::to_pretty(self)
    }

    /// Reads `report.json`.
    ///
    /// # Errors
    /// [`ReportError`] when the bytes are not a report of this format.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReportError> {
        let report: Self = serde_json::from_slice(bytes).map_err(ReportError::Shape)?;
        if report.format == Self::FORMAT {
            return Ok(report);
        }
        Err(ReportError::Format {
            found: report.format,
            expected: Self::FORMAT,
        })
    }
}
