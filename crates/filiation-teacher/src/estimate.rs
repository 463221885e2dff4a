//! What a question will take, before it is asked.

use filiation_core::{Prompt, Want};

use crate::{Capability, Dialect, Endpoint, Tier, Usage};

/// Bytes of a token, about: an average of natural text over the tokenizers in use.
const BYTES: u64 = 4;
/// Tokens that a turn of a conversation adds around its text, about.
const FRAME: u64 = 6;

/// Requests and tokens, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Estimate {
    /// Requests, each answered at once.
    pub requests: u64,
    /// Tokens of inputs.
    pub input: u64,
    /// Tokens drawn at most.
    pub output: u64,
}

impl Estimate {
    /// As tokens that are paid for.
    pub const fn usage(&self) -> Usage {
        Usage {
            input: self.input,
            output: self.output,
            reasoning: 0,
        }
    }

    /// Both together.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            input: self.input + other.input,
            output: self.output + other.output,
        }
    }

    const fn times(self, n: u64) -> Self {
        Self {
            requests: self.requests * n,
            input: self.input * n,
            output: self.output * n,
        }
    }
}

fn tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(BYTES)
}

fn prompt(prompt: &Prompt) -> u64 {
    match prompt {
        Prompt::Text(text) => tokens(text),
        Prompt::Chat(turns) => turns.iter().map(|turn| tokens(&turn.content) + FRAME).sum(),
    }
}

impl Estimate {
    /// What a question takes of an endpoint, about; `None` where it is not answered at all.
    pub fn of(endpoint: &Endpoint, capability: &Capability, want: &Want) -> Option<Self> {
        let answered = capability.answers(want);
        answered.then(|| estimate(want, endpoint.dialect(), capability))
    }
}

fn estimate(want: &Want, dialect: Dialect, capability: &Capability) -> Estimate {
    let one = |input, output| Estimate {
        requests: 1,
        input,
        output,
    };
    let scored = |before: &Prompt, text: &str| {
        let (before, after) = (prompt(before), tokens(text));
        match dialect {
            // A request a token, and those that lay the text out.
            Dialect::LlamaCpp => one(before + after / 2, 1).times(after).plus(Estimate {
                requests: 3,
                ..Estimate::default()
            }),
            _ => one(before + after, 1),
        }
    };
    let forced = capability.tier >= Tier::TeacherForced;
    match want {
        Want::Generate {
            prompt: before,
            max_tokens,
            ..
        } => one(prompt(before), u64::from(*max_tokens)),
        Want::TopK { prompt: before, .. } => {
            one(prompt(before), u64::from(capability.least_tokens))
        }
        Want::Score {
            prompt: before,
            continuation,
        } => scored(before, continuation),
        Want::Choice {
            prompt: before,
            options,
        } if forced => {
            let all = options.iter().map(|option| scored(before, option));
            all.fold(Estimate::default(), Estimate::plus)
        }
        Want::Choice { prompt: before, .. } => {
            one(prompt(before), u64::from(capability.least_tokens))
        }
        _ => Estimate::default(),
    }
}
