//! From a log to a log of served responses, which `regeneration-rank` reads.

use std::collections::BTreeSet;

use filiation_core::{Finish, Prompt, canonical};
use serde::Serialize;

use super::{EvalLog, What};

#[derive(Serialize)]
struct Line<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<&'a [filiation_core::Message]>,
    response: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish: Option<Finish>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
}

impl EvalLog {
    /// The texts of the log as served responses, and their number. `model` is for where the log does not
    /// say.
    pub fn served(&self, model: Option<&str>) -> (Vec<u8>, u64) {
        let model = model.or(self.model()).map(name);
        let (mut bytes, mut count) = (Vec::new(), 0);
        let mut ids = BTreeSet::new();
        for question in &self.questions {
            let What::Texts(texts) = &question.what else {
                continue;
            };
            let (prompt, messages) = match &question.prompt {
                Prompt::Text(text) if !text.is_empty() => (Some(text.as_str()), None),
                Prompt::Text(_) => continue,
                Prompt::Chat(messages) => (None, Some(messages.as_slice())),
            };
            for said in texts {
                count += 1;
                let mut id = name(&question.id);
                if !ids.insert(id.clone()) {
                    id = format!("{count}-{}", &self.digest.to_string()[..8]);
                    ids.insert(id.clone());
                }
                let line = Line {
                    id,
                    prompt,
                    messages,
                    response: &said.text,
                    finish: said.finish,
                    max_tokens: question.decoding.max_tokens,
                    temperature: question.decoding.temperature,
                    top_p: question.decoding.top_p,
                    model: model.clone(),
                };
                bytes.extend(canonical::to_bytes(&line));
                bytes.push(b'\n');
            }
        }
        (bytes, count)
    }
}

// As logs of served responses have names: 1 to 64 letters, digits, `.`, `_`, `:`, `-`.
fn name(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._:-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = text.chars().take(64).map(plain).collect();
    if name.is_empty() { "-".into() } else { name }
}
