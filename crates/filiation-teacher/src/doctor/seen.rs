use std::collections::BTreeSet;

use filiation_core::{Digest, Prompt};

use super::Notes;
use crate::call::{Call, Complete, Completed, Input, Piece, Reply};
use crate::{Client, Dialect, TeacherError};

/// Asks, and keeps what names the one who answered.
pub(super) struct Asking<'a> {
    client: &'a Client,
    models: BTreeSet<String>,
    fingerprints: BTreeSet<String>,
    responses: Vec<Digest>,
    questions: u32,
}

/// An answer, or why this question has none. What stops all questions is an error.
pub(super) type Answered<T> = Result<Result<T, String>, TeacherError>;

impl<'a> Asking<'a> {
    pub(super) const fn of(client: &'a Client) -> Self {
        Self {
            client,
            models: BTreeSet::new(),
            fingerprints: BTreeSet::new(),
            responses: Vec::new(),
            questions: 0,
        }
    }

    pub(super) const fn client(&self) -> &'a Client {
        self.client
    }

    /// A short user turn where the endpoint answers those, else a text to go on with.
    pub(super) fn input(&self, turn: &str, opening: &str) -> Input {
        match self.client.endpoint().declared().chat {
            true => match Prompt::user(turn) {
                Prompt::Chat(messages) => Input::Chat(messages),
                Prompt::Text(text) => Input::Text(text),
            },
            false => Input::Text(opening.to_owned()),
        }
    }

    pub(super) fn complete(&mut self, call: Complete) -> Answered<Completed> {
        let reply = self.reply(call.into())?;
        Ok(reply.and_then(|reply| match reply {
            Reply::Completed(completed) => {
                self.models.extend(completed.model.clone());
                self.fingerprints.extend(completed.fingerprint.clone());
                Ok(completed)
            }
            _ => Err("the reply is no completion".into()),
        }))
    }

    pub(super) fn pieces(&mut self, text: &str) -> Answered<Vec<Piece>> {
        let call = Call::Tokenize {
            text: text.to_owned(),
            begin: false,
            special: false,
        };
        let reply = self.reply(call)?;
        Ok(reply.and_then(|reply| match reply {
            Reply::Pieces(pieces) => Ok(pieces),
            _ => Err("the reply is no list of tokens".into()),
        }))
    }

    fn reply(&mut self, call: Call) -> Answered<Reply> {
        self.questions += 1;
        match self.client.ask(&call) {
            Ok(seen) => {
                self.responses.push(Digest::of(&seen.response));
                Ok(Ok(seen.reply))
            }
            Err(error) if error.is_data() => Ok(Err(error.to_string())),
            // Another model than before is what is looked for. The client asks no more then.
            Err(TeacherError::Switched { before, now, .. }) => {
                self.models.extend([before, now]);
                Ok(Err("another model answered".into()))
            }
            Err(TeacherError::Stopped { .. }) if self.switched() => {
                Ok(Err("another model answered before".into()))
            }
            Err(error) => Err(error),
        }
    }

    /// Counts questions that were asked by other ways.
    pub(super) const fn also_asked(&mut self, questions: u32) {
        self.questions += questions;
    }

    /// Who answered, held against who was asked.
    pub(super) fn names(&self, notes: &mut Notes) {
        let endpoint = self.client.endpoint();
        let asked = endpoint.model();
        // llama.cpp serves one file, whatever it is asked for.
        let binds = endpoint.dialect() != Dialect::LlamaCpp;
        let shown = |all: &BTreeSet<String>| {
            all.iter()
                .map(|m| format!("`{m}`"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let said = shown(&self.models);
        let other = |model: &&String| !(model.as_str() == asked || is_dated(asked, model));
        match self.models.len() {
            0 => notes.unproved("model", "no answer names the model"),
            1 if binds && self.models.iter().any(|m| other(&m)) => {
                notes.odd(
                    "model",
                    "other-model",
                    format!("asked for `{asked}`, answered by {said}"),
                );
            }
            1 => notes.sound("model", format!("asked for `{asked}`, answered by {said}")),
            _ => notes.odd(
                "model",
                "model-switches",
                format!("asked for `{asked}`, answered by {said}"),
            ),
        }
        match self.fingerprints.len() {
            0 => notes.unproved("fingerprint", "no answer names the system"),
            1 => notes.sound("fingerprint", shown(&self.fingerprints)),
            n => {
                let detail = format!(
                    "{n} systems answered within one examination: {}",
                    shown(&self.fingerprints)
                );
                notes.odd("fingerprint", "fingerprint-drifts", detail);
            }
        }
    }

    /// Whether more than one model answered.
    pub(super) fn switched(&self) -> bool {
        self.models.len() > 1
    }

    pub(super) fn models(&self) -> Vec<String> {
        self.models.iter().cloned().collect()
    }

    pub(super) fn fingerprints(&self) -> Vec<String> {
        self.fingerprints.iter().cloned().collect()
    }

    pub(super) fn responses(&self) -> Vec<Digest> {
        self.responses.clone()
    }

    pub(super) const fn questions(&self) -> u32 {
        self.questions
    }
}

// An alias is answered by the dated model behind it: `gpt-4o` by `gpt-4o-2024-08-06`.
fn is_dated(asked: &str, model: &str) -> bool {
    let tail = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let (asked, model) = (tail(asked), tail(model));
    let rest = model.strip_prefix(&asked);
    rest.is_some_and(|r| {
        r.is_empty() || r.starts_with(['-', '@', ':', '.']) && r.chars().any(|c| c.is_ascii_digit())
    })
}
