use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// What a model is in a case.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The model under question.
    Suspect,
    /// What the suspect was initialised from, as far as known.
    Base,
    /// A candidate teacher; siblings are candidates too.
    Teacher,
    /// A model known not to have learned from any candidate.
    Control,
}

impl Role {
    /// The word used in files and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspect => "suspect",
            Self::Base => "base",
            Self::Teacher => "teacher",
            Self::Control => "control",
        }
    }
}

/// What a model is, apart from any case: stable under moving its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelIdentity {
    /// Where it came from, in the user's words (a folder, a hub id, an endpoint). Not trusted.
    pub source: String,
    /// Digest over the digests of its files (weights, configuration, tokenizer).
    pub digest: Digest,
    /// Architecture, as its configuration names it (`LlamaForCausalLM`).
    pub architecture: String,
    /// Number of parameters stored, zero where unknown.
    pub parameters: u64,
    /// Digest of the tokenizer file, where there is one.
    pub tokenizer: Option<Digest>,
}

/// A model in a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// Short name, unique in the case: lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// What it is.
    pub identity: ModelIdentity,
}
