use serde::{Deserialize, Serialize};

use crate::{Answer, ModelIdentity, Request, Want};

/// Why a model did not answer. Recorded in the transcript: a refused request is data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ModelError {
    /// The model cannot answer this kind of request at all.
    #[error("this model does not answer `{want}` requests")]
    Unsupported {
        /// [`Want::kind`].
        want: String,
    },
    /// Prompt and continuation do not fit.
    #[error("request needs {tokens} tokens, the model takes {limit}")]
    TooLong {
        /// Tokens needed.
        tokens: u64,
        /// Tokens allowed.
        limit: u64,
    },
    /// The chat template is missing or failed.
    #[error("chat template: {reason}")]
    Template {
        /// What the engine said.
        reason: String,
    },
    /// The tokenizer failed, or gave an id outside the embedding.
    #[error("tokenizer: {reason}")]
    Tokenizer {
        /// What happened.
        reason: String,
    },
    /// The arithmetic gave NaN or infinity.
    #[error("the model's output is not finite at position {position}")]
    NotFinite {
        /// Token position.
        position: u64,
    },
    /// An endpoint refuses this question, or withholds its answer. It refuses it again when asked
    /// again.
    #[error("refused: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// There is no answer now, and may be one later: never an answer in a transcript.
    #[error("no answer now: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// The engine below failed.
    #[error("engine: {reason}")]
    Engine {
        /// What it said.
        reason: String,
    },
}

/// A suspect, a teacher, a base, a control, or a recording of one.
pub trait Model: Send + Sync {
    /// What it is.
    fn identity(&self) -> &ModelIdentity;

    /// Whether it answers such requests. Asked once, before the first request.
    fn supports(&self, want: &Want) -> bool;

    /// One result a request, in order. How requests are batched never changes an answer.
    fn answer(&self, requests: &[Request]) -> Vec<Result<Answer, ModelError>>;
}
