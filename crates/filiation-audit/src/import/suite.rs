//! From a log to a suite of its own prompts, so that others can be asked what the logged model was.

use std::collections::{BTreeMap, BTreeSet};

use filiation_core::{Prompt, canonical};
use filiation_probes::Suite;
use serde::Serialize;

use super::{EvalLog, Logged, What};

/// A suite made from a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSuite {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its prompts.
    pub items: u64,
    /// Prompts that no suite can hold, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Item<'a> {
    id: &'a str,
    text: &'a str,
    domain: &'a str,
    language: &'a str,
    licence: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl EvalLog {
    /// A suite of the prompts of the log: single user turns, texts that are continued, and closed
    /// questions whose right option the log tells. `language` (ISO 639-1) and `licence` (SPDX) are of
    /// the prompts.
    pub fn suite(&self, language: &str, licence: &str) -> LogSuite {
        let mut suite = LogSuite {
            bytes: Vec::new(),
            items: 0,
            left_out: BTreeMap::new(),
        };
        let mut seen = BTreeSet::new();
        let prefix = format!("{}-{}", self.format, &self.digest.to_string()[..8]);
        for question in &self.questions {
            let options = matches!(question.what, What::Options { .. });
            if !seen.insert((options, canonical::to_bytes(&question.prompt))) {
                continue;
            }
            let id = format!("{prefix}-{:04}", suite.items + 1);
            match line(question, &id, language, licence) {
                Ok(line) => {
                    suite.bytes.extend(line);
                    suite.bytes.push(b'\n');
                    suite.items += 1;
                }
                Err(why) => *suite.left_out.entry(why).or_default() += 1,
            }
        }
        suite
    }
}

fn line(
    question: &Logged,
    id: &str,
    language: &str,
    licence: &str,
) -> Result<Vec<u8>, &'static str> {
    let (text, raw) = match &question.prompt {
        Prompt::Text(text) => (text, true),
        Prompt::Chat(messages) => match messages.as_slice() {
            [one] if one.role == "user" => (&one.content, false),
            _ => return Err("more than one user turn"),
        },
    };
    let (domain, options, key) = match &question.what {
        What::Texts(_) if raw => ("opening", None, None),
        What::Texts(_) => ("chat", None, None),
        What::Options { options, key, .. } => {
            let key = key.ok_or("a closed question without its key")?;
            let domain = if raw { "question-opening" } else { "question" };
            (
                domain,
                Some(options.as_slice()),
                Some(options[key].as_str()),
            )
        }
    };
    let item = Item {
        id,
        text,
        domain,
        language,
        licence,
        options,
        key,
    };
    let line = canonical::to_bytes(&item);
    match Suite::parse("log", &line) {
        Ok(_) => Ok(line),
        Err(_) => Err("empty, or with options of which one begins another"),
    }
}
