use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Party, Role, canonical};

/// Names a request inside a plan: `tlu-did/chat-017/score`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// An id from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id of this request when it is asked about what `party` answered.
    pub fn about(&self, party: &str) -> Self {
        Self(format!("{}@{party}", self.0))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// What precedes the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Prompt {
    /// Raw text, continued as it stands. The model's beginning-of-text token, where its tokenizer
    /// adds one, comes first.
    Text(String),
    /// A conversation, rendered with the model's own chat template and the generation prompt.
    Chat(Vec<Message>),
}

impl Prompt {
    /// A conversation of one user turn.
    pub fn user(content: impl Into<String>) -> Self {
        Self::Chat(vec![Message {
            role: "user".into(),
            content: content.into(),
        }])
    }
}

/// How tokens are drawn. Temperature 0 is greedy; the seed then has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Softmax temperature, ≥ 0.
    pub temperature: f64,
    /// Nucleus: smallest set of tokens with at least this mass; 1 keeps all.
    pub top_p: f64,
    /// Seed of this one answer. The drawn text depends on model, prompt and seed alone, never on
    /// what else is in the batch.
    pub seed: u64,
}

impl Sampling {
    /// The most likely token at each step.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_p: 1.0,
        seed: 0,
    };
}

/// Whose answers are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// Those of every teacher.
    Teachers,
    /// Those of the suspect.
    Suspect,
    /// Those of the base.
    Base,
    /// Those of the party that is asked.
    Own,
}

impl Whose {
    /// Whether `asked` scores what `author` answered.
    pub fn is(self, author: &Party, asked: &Party) -> bool {
        match self {
            Self::Teachers => author.role == Role::Teacher,
            Self::Suspect => author.role == Role::Suspect,
            Self::Base => author.role == Role::Base,
            Self::Own => author.name == asked.name,
        }
    }
}

/// What is wanted of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// A completion. Answered by [`Answer::Completion`](crate::Answer::Completion).
    Generate {
        /// What to continue.
        prompt: Prompt,
        /// Most tokens to draw.
        max_tokens: u32,
        /// How to draw them.
        sampling: Sampling,
    },
    /// Log-probabilities (nats) of each token of `continuation` after `prompt`.
    /// Answered by [`Answer::Scored`](crate::Answer::Scored).
    Score {
        /// Conditioned on, not scored.
        prompt: Prompt,
        /// Scored.
        continuation: String,
    },
    /// [`Want::Score`] of what others answered to request `of`, with the prompt of `of`. Stands
    /// only in plans: collecting turns it into one `Score` an author, whose id is
    /// [`RequestId::about`] the author.
    ScoreAnswers {
        /// The generating request.
        of: RequestId,
        /// Whose answers.
        whose: Whose,
    },
    /// The `k` most likely next tokens. Answered by [`Answer::TopK`](crate::Answer::TopK).
    TopK {
        /// What precedes.
        prompt: Prompt,
        /// How many.
        k: u32,
    },
    /// The `k` most likely tokens in the place of each token of `continuation` after `prompt`.
    /// Answered by [`Answer::Read`](crate::Answer::Read).
    Read {
        /// What precedes.
        prompt: Prompt,
        /// What is fed.
        continuation: String,
        /// How many.
        k: u32,
    },
    /// Log-probability (nats) of each option as the text that follows.
    /// Answered by [`Answer::Choice`](crate::Answer::Choice).
    Choice {
        /// What precedes.
        prompt: Prompt,
        /// The texts, distinct; none a prefix of another.
        options: Vec<String>,
    },
    /// Hidden states of the last token of `text` after the named layers (0 = embeddings).
    /// Answered by [`Answer::Hidden`](crate::Answer::Hidden).
    Hidden {
        /// What is read.
        text: String,
        /// Which layers.
        layers: Vec<u32>,
    },
    /// Relation of the weights to those of the party with role `with`. Collected from the two
    /// folders, not from a running model. Answered by [`Answer::Weights`](crate::Answer::Weights).
    CompareWeights {
        /// Compared with.
        with: Role,
    },
    /// `want`, put to one party alone of the roles asked. Stands only in plans: collecting asks
    /// that party `want` itself, under the same id.
    Only {
        /// Name of the party.
        party: String,
        /// What it is asked.
        want: Box<Self>,
    },
}

impl Want {
    /// The variant's name, as in files: `generate`, `score`, ….
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Generate { .. } => "generate",
            Self::Score { .. } => "score",
            Self::ScoreAnswers { .. } => "score-answers",
            Self::TopK { .. } => "top-k",
            Self::Read { .. } => "read",
            Self::Choice { .. } => "choice",
            Self::Hidden { .. } => "hidden",
            Self::CompareWeights { .. } => "compare-weights",
            Self::Only { .. } => "only",
        }
    }

    /// Digest of the question: equal questions share one answer.
    pub fn key(&self) -> Digest {
        Digest::of(&canonical::to_bytes(self))
    }
}

/// One entry of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Unique in the plan.
    pub id: RequestId,
    /// Which roles it is put to. Every party of such a role is asked the same, but for
    /// [`Want::Only`].
    pub to: Vec<Role>,
    /// What is asked.
    pub want: Want,
}

impl Request {
    /// Digest of what is asked, the id left out: equal questions share one answer.
    pub fn key(&self) -> Digest {
        self.want.key()
    }
}
