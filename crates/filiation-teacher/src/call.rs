use filiation_core::Message;
use serde::{Deserialize, Serialize};

/// What precedes the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Plain text, continued as it stands.
    Text(String),
    /// A conversation, rendered by the endpoint.
    Chat(Vec<Message>),
    /// Token ids of the endpoint's own tokenizer.
    Tokens(Vec<u32>),
}

/// A completion, or the log-probabilities of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Complete {
    /// What precedes.
    pub input: Input,
    /// Most tokens to draw.
    pub max_tokens: u32,
    /// Softmax temperature; `None` leaves it to the endpoint, and then it is not known.
    pub temperature: Option<f64>,
    /// Nucleus; `None` leaves it to the endpoint.
    pub top_p: Option<f64>,
    /// Seed, where the dialect has one.
    pub seed: Option<u64>,
    /// Log-probabilities of what is drawn, with so many alternatives at each position.
    pub top: Option<u32>,
    /// Log-probabilities of the input itself, with so many alternatives at each position.
    pub forced: Option<u32>,
    /// The input ends in an assistant's turn that goes on, instead of being answered.
    pub continues: bool,
    /// The one token to draw, whatever its probability: reads the log-probability of that token.
    pub draw: Option<u32>,
    /// Tells apart draws whose requests are the same bytes.
    pub sample: u64,
}

impl Complete {
    /// A completion of `input`, everything else left to the endpoint.
    pub const fn of(input: Input, max_tokens: u32) -> Self {
        Self {
            input,
            max_tokens,
            temperature: None,
            top_p: None,
            seed: None,
            top: None,
            forced: None,
            continues: false,
            draw: None,
            sample: 0,
        }
    }

    /// The likeliest token at each step.
    pub fn greedy(self) -> Self {
        Self {
            temperature: Some(0.0),
            ..self
        }
    }
}

/// One question to an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Answered by [`Reply::Completed`].
    Complete(Complete),
    /// The tokens of a text. Answered by [`Reply::Pieces`].
    Tokenize {
        /// The text.
        text: String,
        /// Whether to put the beginning-of-text token first, where the tokenizer does.
        begin: bool,
        /// Whether special tokens that stand in the text are read as such.
        special: bool,
    },
    /// The text that a conversation is rendered to, generation prompt included. Answered by
    /// [`Reply::Text`].
    Render(Vec<Message>),
    /// The models served. Answered by [`Reply::Models`].
    Models,
}

impl From<Complete> for Call {
    fn from(complete: Complete) -> Self {
        Self::Complete(complete)
    }
}

/// What came back, parsed.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To [`Call::Complete`].
    Completed(Completed),
    /// To [`Call::Tokenize`].
    Pieces(Vec<Piece>),
    /// To [`Call::Render`].
    Text(String),
    /// To [`Call::Models`].
    Models(Vec<String>),
}

/// A token of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its id.
    pub id: u32,
    /// The bytes that it stands for.
    pub bytes: Vec<u8>,
}

/// Why a completion ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The model ended its text.
    Stop,
    /// The allowed number of tokens was reached.
    Length,
    /// The endpoint withheld or cut the text, in its words.
    Filtered(String),
}

/// Tokens counted by the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Of the input.
    pub input: u64,
    /// Drawn, hidden reasoning included.
    pub output: u64,
    /// Of these, reasoning that is not shown.
    pub reasoning: u64,
}

/// A token that might have stood here.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// Its id, where the endpoint gives ids.
    pub id: Option<u32>,
    /// Its bytes; of a token that is no text by itself the endpoint may give a replacement.
    pub bytes: Vec<u8>,
    /// Log-probability, nats.
    pub logprob: f64,
}

/// A token of the input or of the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its id, where the endpoint gives ids.
    pub id: Option<u32>,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Log-probability, nats; `None` where nothing precedes, or nothing is given.
    pub logprob: Option<f64>,
    /// The alternatives as the endpoint orders them; the token itself may be among them.
    pub top: Vec<Alternative>,
}

/// A completion, parsed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Completed {
    /// The text, reasoning left out.
    pub text: String,
    /// Reasoning that is shown apart from the text.
    pub reasoning: Option<String>,
    /// Why it ended.
    pub end: Option<End>,
    /// Tokens drawn, where asked with [`Complete::top`] or given anyway.
    pub tokens: Vec<Token>,
    /// Tokens of the input, where asked with [`Complete::forced`].
    pub input: Vec<Token>,
    /// The model that answered, in the endpoint's words.
    pub model: Option<String>,
    /// What else names the system: `system_fingerprint` and the like.
    pub fingerprint: Option<String>,
    /// Tokens counted by the endpoint.
    pub usage: Option<Usage>,
}
