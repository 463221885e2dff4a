//! Messages, lines and numbers as the logs write them.

use filiation_core::{Finish, Message, Prompt};
use serde::Deserialize;

use super::{Decoding, ImportProblem, Logged, MOST_TEXT, What};

/// The content of a message: a text, or parts of which each has a type.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
pub(super) struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

impl Content {
    /// The text; `None` where there is more than text. What a model thought before it spoke is no part
    /// of its answer.
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Parts(parts) => {
                let said = parts.into_iter().filter(|p| p.kind != "reasoning");
                let text = |part: Part| match part.kind.as_str() {
                    "text" | "input_text" | "output_text" => part.text,
                    _ => None,
                };
                let texts: Option<Vec<String>> = said.map(text).collect();
                texts.map(|texts| texts.concat())
            }
        }
    }
}

/// A message as chat APIs and logs write it; what else it has is passed over.
#[derive(Deserialize)]
pub(super) struct Turn {
    pub(super) role: String,
    pub(super) content: Option<Content>,
    #[serde(default)]
    pub(super) tool_calls: Option<Vec<serde::de::IgnoredAny>>,
}

impl Turn {
    /// `None` for what is not text of a system, user or assistant.
    pub(super) fn message(self) -> Option<Message> {
        let known = ["system", "user", "assistant"].contains(&self.role.as_str());
        let calls = self.tool_calls.is_some_and(|calls| !calls.is_empty());
        if !known || calls {
            return None;
        }
        Some(Message {
            role: self.role,
            content: self.content?.text()?,
        })
    }
}

pub(super) fn conversation(turns: Vec<Turn>) -> Option<Prompt> {
    let messages: Option<Vec<Message>> = turns.into_iter().map(Turn::message).collect();
    messages.filter(|m| !m.is_empty()).map(Prompt::Chat)
}

/// Why a completion ended, as APIs say it; `None` where it failed, was filtered or called a tool.
pub(super) fn finish(reason: Option<&str>) -> Option<Option<Finish>> {
    match reason {
        Some("stop" | "end_turn" | "stop_sequence" | "eos") => Some(Some(Finish::Stop)),
        Some("length" | "max_tokens" | "model_length") => Some(Some(Finish::Length)),
        None | Some("unknown") => Some(None),
        Some(_) => None,
    }
}

/// Lines with their numbers, blank ones left out.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let all = bytes.split(|b| *b == b'\n').enumerate();
    all.map(|(i, line)| (i + 1, line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty())
}

/// One JSON value of a line.
pub(super) fn json<'a, T: Deserialize<'a>>(
    line: &'a [u8],
    expected: &'static str,
) -> Result<T, ImportProblem> {
    let text = std::str::from_utf8(line).map_err(|_| ImportProblem::NotUtf8)?;
    serde_json::from_str(text).map_err(|e| ImportProblem::json(&e, expected))
}

pub(super) fn check(question: &Logged) -> Result<(), ImportProblem> {
    let too_long = |what| ImportProblem::TooLarge {
        what,
        limit: MOST_TEXT,
    };
    let asked = match &question.prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Chat(messages) => messages.iter().map(|m| m.content.len()).sum(),
    };
    if asked > MOST_TEXT {
        return Err(too_long("bytes of a prompt"));
    }
    check_decoding(&question.decoding)?;
    match &question.what {
        What::Texts(texts) => {
            if texts.iter().any(|t| t.text.len() > MOST_TEXT) {
                return Err(too_long("bytes of an answer"));
            }
        }
        What::Options {
            options, logprobs, ..
        } => {
            if options.len() != logprobs.len() {
                return Err(ImportProblem::Options {
                    options: options.len(),
                    answers: logprobs.len(),
                });
            }
            // A probability above 1 by more than rounding is none.
            if !logprobs.iter().all(|l| l.is_finite() && *l <= 1e-3) {
                return Err(ImportProblem::Number("log-probability"));
            }
        }
    }
    Ok(())
}

fn check_decoding(decoding: &Decoding) -> Result<(), ImportProblem> {
    if decoding
        .temperature
        .is_some_and(|t| !(0.0..=10.0).contains(&t))
    {
        return Err(ImportProblem::Number("temperature"));
    }
    if decoding.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        return Err(ImportProblem::Number("top_p"));
    }
    if decoding.max_tokens == Some(0) {
        return Err(ImportProblem::Number("max_tokens"));
    }
    Ok(())
}
