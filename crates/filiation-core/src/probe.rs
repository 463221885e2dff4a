use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{MethodId, Observations, Request, RequestId, Statistic};

/// Why a probe says nothing. It never scores zero instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No base model is named.
    NoBase,
    /// Fewer candidate teachers than the contrast needs.
    TooFewTeachers,
    /// Too few usable answers.
    TooFewAnswers,
    /// A party does not give what the probe needs.
    NotSupported,
    /// The parties cannot be compared this way (other tokenizer, other shapes).
    NotComparable,
    /// The answers carry no information (constant, degenerate).
    Degenerate,
}

impl Reason {
    /// What would let the probe speak, where the detail does not say it better.
    pub const fn lifted_by(self) -> &'static str {
        match self {
            Self::NoBase => {
                "name the model that the suspect began from; `filiation lineage SUSPECT --against \
                 PACKS` looks for it"
            }
            Self::TooFewTeachers => "name further candidates, siblings of the teacher among them",
            Self::TooFewAnswers => "ask more, or let answers be longer",
            Self::NotSupported => {
                "use models that answer this: local ones, or packs recorded with this probe"
            }
            Self::NotComparable => "put right what differs, or leave that party out",
            Self::Degenerate => "ask what tells these models apart: other prompts, or more of them",
        }
    }
}

/// A probe that cannot say, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Abstention {
    /// The kind of reason.
    pub reason: Reason,
    /// What was found and what was needed, in a sentence fragment.
    pub detail: String,
}

impl Abstention {
    /// An abstention.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Abstention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// One way to see a teacher in a suspect.
pub trait Probe: Send + Sync {
    /// Name, version and every parameter.
    fn id(&self) -> &MethodId;

    /// What is asked, the same of every party of a role. Fixed before anything is collected.
    fn plan(&self) -> &[Request];

    /// What may be bought piece by piece, and stopped. `None` for a fixed budget: a score that means
    /// something only beside those of other models must be computed at the budget that they were.
    fn stream(&self) -> Option<&dyn Stream> {
        None
    }

    /// A secret that [`Self::measure`] needs, that is not there and that no run keeps, in words; `None`
    /// where nothing is missing.
    fn withheld(&self) -> Option<String> {
        None
    }

    /// The statistic of what was seen. Pure: the same observations give the same bytes.
    ///
    /// # Errors
    /// An [`Abstention`] where the observations do not carry the statistic.
    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention>;
}

/// A probe whose evidence is valid whenever one stops: units are bought in an order that was fixed
/// before any of them was, until there is enough evidence, or no hope of it.
pub trait Stream {
    /// The requests of each unit that are put to teachers.
    fn units(&self) -> &[Vec<RequestId>];

    /// The units in the order in which they are bought: a permutation, from what was asked of
    /// others than teachers alone.
    fn order(&self, seen: &Observations<'_>) -> Vec<usize>;

    /// Where the evidence stands, of the units that were bought.
    fn watch(&self, seen: &Observations<'_>) -> Watch;
}

/// Where a [`Stream`] stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Units that could be used.
    pub units: u32,
    /// log10 of the e-value against "no candidate leads", all candidates counted.
    pub log10_e: f64,
    /// Whether to stop, and why.
    pub stop: Option<Stop>,
}

/// Why a stream stops before its budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// The evidence asked for is there.
    Evidence,
    /// No candidate leads by as much as would be of interest.
    Futility,
}
