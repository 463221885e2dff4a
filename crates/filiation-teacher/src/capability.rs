use std::fmt;

use filiation_core::{Digest, Prompt, Want};
use serde::{Deserialize, Serialize};

/// How much of a model an endpoint shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Samples only.
    Samples,
    /// The likeliest tokens at each position of what it draws.
    TopOfOutput,
    /// Log-probabilities of given text.
    TeacherForced,
    /// The whole distribution.
    Full,
}

impl Tier {
    /// `T0` to `T3`.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Samples => "T0",
            Self::TopOfOutput => "T1",
            Self::TeacherForced => "T2",
            Self::Full => "T3",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Samples => "samples only",
            Self::TopOfOutput => "top-k on output",
            Self::TeacherForced => "teacher-forced log-probabilities",
            Self::Full => "full distribution",
        };
        write!(f, "{} ({what})", self.short())
    }
}

/// What an endpoint is said to do. Declared in a table by provider; what is so is found by testing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// The tier.
    pub tier: Tier,
    /// Most alternatives at a position.
    pub top: u32,
    /// Whether plain text is continued.
    pub text: bool,
    /// Whether conversations are answered.
    pub chat: bool,
    /// Whether given text can be scored after a conversation, not after plain text alone.
    pub chat_forced: bool,
    /// Whether temperature and nucleus can be set.
    pub sampling: bool,
    /// Whether there is a seed.
    pub seed: bool,
    /// Fewest tokens that a completion may be limited to.
    pub least_tokens: u32,
    /// Most tokens that a prompt and its completion may have, where known.
    pub context: Option<u64>,
}

/// What is wrong with an endpoint, as far as testing tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Short name: `prompt-logprobs-off-by-one`.
    pub name: String,
    /// What was seen and what was expected.
    pub detail: String,
}

/// What an endpoint was found to be, by testing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The tier that it proved.
    pub tier: Tier,
    /// Most alternatives that it gave at a position, where it gave any.
    pub top: Option<u32>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Day (UTC), `YYYY-MM-DD`.
    pub day: String,
    /// Digests of the responses that show it.
    pub responses: Vec<Digest>,
}

impl Capability {
    /// Whether such a question is answered.
    pub fn answers(&self, want: &Want) -> bool {
        match want {
            Want::Generate {
                prompt,
                max_tokens,
                sampling,
            } => {
                #[expect(clippy::float_cmp, reason = "the default, as it stands in the case")]
                let own = sampling.temperature == 1.0 && sampling.top_p == 1.0;
                self.takes(prompt) && (own || self.sampling) && *max_tokens >= self.least_tokens
            }
            Want::TopK { prompt, k } => {
                self.takes(prompt) && self.tier >= Tier::TopOfOutput && *k <= self.top
            }
            Want::Choice { prompt, .. } => {
                let of_top = self.takes(prompt) && self.tier >= Tier::TopOfOutput && self.top > 1;
                self.scores(prompt) || of_top
            }
            Want::Score { prompt, .. } => self.scores(prompt),
            _ => false,
        }
    }

    fn takes(&self, prompt: &Prompt) -> bool {
        match prompt {
            Prompt::Text(_) => self.text,
            Prompt::Chat(_) => self.chat,
        }
    }

    /// Whether given text can be scored after such a prompt.
    pub(crate) fn scores(&self, prompt: &Prompt) -> bool {
        let form = match prompt {
            Prompt::Text(_) => self.text,
            Prompt::Chat(_) => self.chat && self.chat_forced,
        };
        form && self.tier >= Tier::TeacherForced
    }

    /// What is left of a declaration after testing: a finding takes away and never adds.
    pub fn found(&self, finding: &Finding) -> Self {
        let tier = self.tier.min(finding.tier);
        let top = finding.top.map_or(self.top, |found| self.top.min(found));
        Self {
            tier,
            top: if tier == Tier::Samples { 0 } else { top },
            ..self.clone()
        }
    }
}
