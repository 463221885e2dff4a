//! Logs of what a teacher served, as its owner keeps them. `probes/README.md` describes the file.
//!
//! A log is private and may be hostile: errors name the file, the line and what was expected, and
//! never quote a prompt or a response.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use filiation_core::{Digest, Finish, Message, Prompt};
use serde::Deserialize;

use crate::ProbeError;

/// Bytes that a log may have.
pub const MOST_BYTES: usize = 256 << 20;
/// Pairs that a log may have: every one costs its regenerations.
pub const MOST_PAIRS: usize = 20_000;
/// Bytes that a prompt or a response may have.
const MOST_TEXT: usize = 1 << 20;
const MOST_NAME: usize = 64;

/// One response that a teacher served.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// Unique in the log.
    pub id: String,
    /// What was asked.
    pub prompt: Prompt,
    /// What was answered.
    pub response: String,
    /// Whose traffic it was, where the log says.
    pub account: Option<String>,
    /// Most tokens that it could have, where the log says.
    pub max_tokens: Option<u32>,
    /// Sampling temperature, where the log says.
    pub temperature: Option<f64>,
    /// Nucleus, where the log says.
    pub top_p: Option<f64>,
    /// Why it ended, where the log says.
    pub finish: Option<Finish>,
}

/// What one candidate teacher served.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedLog {
    /// Party name of the teacher.
    pub teacher: String,
    /// Digest of the file.
    pub digest: Digest,
    /// Fresh answers to draw for each response.
    pub regenerations: u32,
    /// The responses in the order of the file; never empty.
    pub pairs: Vec<Served>,
}

/// What is wrong with a line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServedProblem {
    /// Nothing in the file.
    Empty,
    /// More bytes or lines than are read.
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// Not UTF-8.
    NotUtf8,
    /// Not the JSON of an entry.
    Json {
        /// Whether the JSON is broken, rather than of another shape.
        broken: bool,
        /// Where the parser stopped.
        column: usize,
    },
    /// Neither or both of `prompt` and `messages`, or one of them is empty.
    Prompt,
    /// A text is longer than is read.
    Long(&'static str),
    /// An id, account or model name that is empty, too long or of other characters.
    Name(&'static str),
    /// A role that no message has.
    Role,
    /// A number is out of range.
    Number(&'static str),
    /// An earlier line has the same id.
    DuplicateId(usize),
    /// An earlier line names another version of the teacher.
    OtherModel(usize),
}

impl fmt::Display for ServedProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no entry, expected one JSON object a line"),
            Self::TooLarge { what, limit } => {
                write!(
                    f,
                    "more than {limit} {what}; hint: draw a sample of the log at random"
                )
            }
            Self::NotUtf8 => f.write_str("not UTF-8, expected a JSON object in UTF-8"),
            Self::Json { broken, column } => {
                let what = if *broken {
                    "broken JSON"
                } else {
                    "another shape"
                };
                write!(
                    f,
                    "{what} at column {column}, expected an object of `id`, `prompt` or \
                     `messages`, `response`, and where known `account`, `finish` (`stop` or \
                     `length`), `max_tokens`, `temperature`, `top_p`, `model`, `time`"
                )
            }
            Self::Prompt => f.write_str(
                "expected either `prompt`, a text, or `messages`, a list, and not empty",
            ),
            Self::Long(key) => write!(f, "`{key}` has more than {MOST_TEXT} bytes"),
            Self::Name(key) => write!(
                f,
                "`{key}` is no name, expected 1 to {MOST_NAME} letters, digits, `.`, `_`, `:`, `-`"
            ),
            Self::Role => {
                f.write_str("a message has another role than `system`, `user`, `assistant`")
            }
            Self::Number(key) => write!(f, "`{key}` is out of range"),
            Self::DuplicateId(line) => write!(f, "`id` stands on line {line} already"),
            Self::OtherModel(line) => write!(
                f,
                "`model` is another one than on line {line}; hint: one log a version, since the \
                 fresh answers come from one"
            ),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    response: String,
    account: Option<String>,
    finish: Option<Finish>,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    model: Option<String>,
    time: Option<String>,
}

impl ServedLog {
    /// A log from the bytes of its file, which errors call `name`.
    ///
    /// # Errors
    /// [`ProbeError::Served`], naming file and line.
    pub fn parse(
        teacher: &str,
        regenerations: u32,
        name: &str,
        bytes: &[u8],
    ) -> Result<Self, ProbeError> {
        let at = |line: usize, problem| ProbeError::Served {
            file: name.to_owned(),
            line,
            problem,
        };
        let too_large = |what, limit| at(1, ServedProblem::TooLarge { what, limit });
        if bytes.len() > MOST_BYTES {
            return Err(too_large("bytes", MOST_BYTES));
        }
        if bytes.trim_ascii().is_empty() {
            return Err(at(1, ServedProblem::Empty));
        }
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut ids = BTreeMap::new();
        let mut version: Option<(String, usize)> = None;
        let mut pairs = Vec::new();
        for (i, line) in lines.split(|b| *b == b'\n').enumerate() {
            if i == MOST_PAIRS {
                return Err(too_large("lines", MOST_PAIRS));
            }
            let (pair, model) = parse_line(line).map_err(|problem| at(i + 1, problem))?;
            if let Some(earlier) = ids.insert(pair.id.clone(), i + 1) {
                return Err(at(i + 1, ServedProblem::DuplicateId(earlier)));
            }
            match (&version, model) {
                (Some((known, earlier)), Some(model)) if *known != model => {
                    return Err(at(i + 1, ServedProblem::OtherModel(*earlier)));
                }
                (None, Some(model)) => version = Some((model, i + 1)),
                _ => {}
            }
            pairs.push(pair);
        }
        Ok(Self {
            teacher: teacher.to_owned(),
            digest: Digest::of(bytes),
            regenerations,
            pairs,
        })
    }

    /// The accounts, in order of their names.
    pub fn accounts(&self) -> BTreeSet<&str> {
        let named = self.pairs.iter().filter_map(|p| p.account.as_deref());
        named.collect()
    }
}

// The pair, and the version of the teacher.
fn parse_line(line: &[u8]) -> Result<(Served, Option<String>), ServedProblem> {
    let text = std::str::from_utf8(line).map_err(|_| ServedProblem::NotUtf8)?;
    // What the parser says may quote the line.
    let line: Line = serde_json::from_str(text).map_err(|e| ServedProblem::Json {
        broken: e.is_syntax() || e.is_eof(),
        column: e.column(),
    })?;
    let names = [
        ("id", Some(&line.id)),
        ("account", line.account.as_ref()),
        ("model", line.model.as_ref()),
        ("time", line.time.as_ref()),
    ];
    for (key, value) in names {
        if value.is_some_and(|v| !is_name(v)) {
            return Err(ServedProblem::Name(key));
        }
    }
    if line.response.len() > MOST_TEXT {
        return Err(ServedProblem::Long("response"));
    }
    if line.max_tokens == Some(0) {
        return Err(ServedProblem::Number("max_tokens"));
    }
    if line.temperature.is_some_and(|t| !(0.0..=10.0).contains(&t)) {
        return Err(ServedProblem::Number("temperature"));
    }
    if line.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        return Err(ServedProblem::Number("top_p"));
    }
    let pair = Served {
        id: line.id,
        prompt: prompt(line.prompt, line.messages)?,
        response: line.response,
        account: line.account,
        max_tokens: line.max_tokens,
        temperature: line.temperature,
        top_p: line.top_p,
        finish: line.finish,
    };
    Ok((pair, line.model))
}

fn prompt(text: Option<String>, messages: Option<Vec<Message>>) -> Result<Prompt, ServedProblem> {
    match (text, messages) {
        (Some(text), None) if !text.is_empty() => {
            if text.len() > MOST_TEXT {
                return Err(ServedProblem::Long("prompt"));
            }
            Ok(Prompt::Text(text))
        }
        (None, Some(messages)) if !messages.is_empty() => {
            let bytes: usize = messages.iter().map(|m| m.content.len()).sum();
            if bytes > MOST_TEXT {
                return Err(ServedProblem::Long("messages"));
            }
            let known = |m: &Message| ["system", "user", "assistant"].contains(&m.role.as_str());
            if !messages.iter().all(known) {
                return Err(ServedProblem::Role);
            }
            Ok(Prompt::Chat(messages))
        }
        _ => Err(ServedProblem::Prompt),
    }
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    (1..=MOST_NAME).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "the launch code is seven";

    fn parse(text: &str) -> Result<ServedLog, ProbeError> {
        ServedLog::parse("t1", 9, "served.jsonl", text.as_bytes())
    }

    fn line(id: &str, rest: &str) -> String {
        format!(r#"{{"id":"{id}","prompt":"{SECRET}?","response":"{SECRET}."{rest}}}"#)
    }

    #[test]
    fn reads_texts_and_conversations() {
        let chat = r#"{"id":"msg_2","messages":[{"role":"user","content":"Hi"}],"response":"Hello",
            "account":"a:7","finish":"stop","max_tokens":64,"temperature":0.7,"top_p":0.9,
            "model":"t1.2026-03","time":"2026-03-01T10:00:00Z"}"#
            .replace('\n', " ");
        let text = line("req-1", r#","account":"b""#) + "\n" + &chat + "\n";
        let log = parse(&text).expect("two entries");
        assert_eq!(log.pairs[0].prompt, Prompt::Text(format!("{SECRET}?")));
        assert_eq!(log.pairs[1].prompt, Prompt::user("Hi"));
        assert_eq!(log.pairs[1].max_tokens, Some(64));
        assert!(log.accounts().iter().eq(&["a:7", "b"]));
        assert_eq!(log.digest, Digest::of(text.as_bytes()));
    }

    #[test]
    fn a_bad_line_is_named_and_never_quoted() {
        let good = line("a", r#","model":"v1""#);
        let long = "x".repeat(MOST_TEXT + 1);
        let other = |from: &str, to: &str| line("b", "").replace(from, to);
        for (second, wanted) in [
            (String::new(), "broken JSON"),
            ("{".into(), "broken JSON"),
            ("[1]".into(), "another shape"),
            (line("b", r#","secret":"the launch code""#), "another shape"),
            (
                line("b", r#","max_tokens":"the launch code""#),
                "another shape",
            ),
            (line("b", r#","finish":"the launch code""#), "another shape"),
            (line("a", ""), "line 1 already"),
            (line("", ""), "`id` is no name"),
            (line("a b", ""), "`id` is no name"),
            (
                line("b", &format!(r#","account":"{}""#, "y".repeat(65))),
                "`account` is no name",
            ),
            (line("b", r#","model":"v2""#), "another one than on line 1"),
            (line("b", r#","max_tokens":0"#), "`max_tokens` is out"),
            (line("b", r#","temperature":-1"#), "`temperature` is out"),
            (line("b", r#","top_p":0"#), "`top_p` is out"),
            (line("b", r#","messages":[]"#), "either `prompt`"),
            (other("\"prompt\"", "\"messages\""), "another shape"),
            (other(SECRET, &long), "more than"),
            (
                r#"{"id":"b","messages":[{"role":"the launch code","content":""}],"response":"x"}"#
                    .into(),
                "another role",
            ),
        ] {
            let error = parse(&format!("{good}\n{second}\n")).expect_err(wanted);
            let said = error.to_string();
            assert!(said.contains("`served.jsonl`, line 2"), "{said}");
            assert!(said.contains(wanted), "{wanted}: {said}");
            let full = format!("{said} {error:?}");
            assert!(!full.contains("launch code"), "{full}");
        }
        let bytes = [good.as_bytes(), b"\n\xff\n"].concat();
        let broken = ServedLog::parse("t1", 9, "served.jsonl", &bytes).expect_err("not UTF-8");
        assert!(broken.to_string().contains("line 2: not UTF-8"));
        assert!(
            parse(" \n")
                .expect_err("nothing")
                .to_string()
                .contains("no entry")
        );
    }

    #[test]
    fn an_endless_log_is_refused() {
        let lines: Vec<String> = (0..=MOST_PAIRS)
            .map(|i| line(&format!("r{i}"), ""))
            .collect();
        let said = parse(&lines.join("\n")).expect_err("too many").to_string();
        assert!(said.contains("more than 20000 lines"), "{said}");
    }
}
