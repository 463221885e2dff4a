use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{MethodId, Observations, Request, Statistic};

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

    /// The statistic of what was seen. Pure: the same observations give the same bytes.
    ///
    /// # Errors
    /// An [`Abstention`] where the observations do not carry the statistic.
    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention>;
}
