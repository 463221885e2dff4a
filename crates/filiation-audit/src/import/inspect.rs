//! Logs of Inspect: an archive with a file a sample, or one JSON document.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::text::{Content, Turn, conversation, finish, json};
use super::zip::Archive;
use super::{Decoding, EvalLog, ImportProblem, Logged, Passed, Said, What};

const EXPECTED_HEADER: &str = "the header of an Inspect log: `eval` with `model`";
const EXPECTED_SAMPLE: &str = "a sample of an Inspect log: `id`, `epoch`, `messages`, `output`";
/// Where a text stands elsewhere in the sample.
const ATTACHMENT: &str = "attachment://";

#[derive(Deserialize)]
struct Header {
    eval: Spec,
    plan: Option<Plan>,
}

#[derive(Deserialize)]
struct Spec {
    model: String,
    created: Option<String>,
    model_generate_config: Option<Config>,
}

#[derive(Deserialize)]
struct Plan {
    config: Option<Config>,
}

#[derive(Deserialize, Clone, Copy, Default)]
struct Config {
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_tokens: Option<u32>,
}

impl Config {
    fn or(self, other: Self) -> Self {
        Self {
            temperature: self.temperature.or(other.temperature),
            top_p: self.top_p.or(other.top_p),
            max_tokens: self.max_tokens.or(other.max_tokens),
        }
    }
}

#[derive(Deserialize)]
struct Sample {
    id: serde_json::Value,
    #[serde(default)]
    epoch: u32,
    #[serde(default)]
    messages: Vec<Turn>,
    #[serde(default)]
    output: Output,
    #[serde(default)]
    error: serde_json::Value,
    #[serde(default)]
    attachments: BTreeMap<String, String>,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize, Default)]
struct Output {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Turn,
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    event: Option<String>,
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    samples: Vec<Sample>,
}

pub(super) fn read(bytes: &[u8], log: &mut EvalLog) -> Result<(), (String, ImportProblem)> {
    if !bytes.starts_with(b"PK") {
        return read_document(bytes, log);
    }
    let of_archive = |problem| ("the archive".to_owned(), problem);
    let mut archive = Archive::open(bytes).map_err(of_archive)?;
    let mut header = None;
    for name in ["header.json", "_journal/start.json"] {
        if header.is_none() {
            header = archive
                .file(name)
                .and_then(|bytes| {
                    bytes
                        .map(|b| json::<Header>(&b, EXPECTED_HEADER))
                        .transpose()
                })
                .map_err(|problem| (format!("`{name}`"), problem))?;
        }
    }
    let header = header.ok_or_else(|| of_archive(ImportProblem::NoFile("header.json")))?;
    let config = take_header(header, log).map_err(of_archive)?;
    let is_sample = |n: &String| n.starts_with("samples/") && n.ends_with(".json");
    for (i, name) in archive
        .names()
        .map_err(of_archive)?
        .into_iter()
        .filter(is_sample)
        .enumerate()
    {
        // The name is the log's own text: the place is told by number.
        let at = |problem| (format!("sample file {} of the archive", i + 1), problem);
        let bytes = archive.file(&name).map_err(at)?.unwrap_or_default();
        let sample: Sample = json(&bytes, EXPECTED_SAMPLE).map_err(at)?;
        take(sample, config, log).map_err(at)?;
    }
    Ok(())
}

fn read_document(bytes: &[u8], log: &mut EvalLog) -> Result<(), (String, ImportProblem)> {
    let of_file = |problem| ("the document".to_owned(), problem);
    let header: Header = json(bytes, EXPECTED_HEADER).map_err(of_file)?;
    let config = take_header(header, log).map_err(of_file)?;
    let whole: Whole = json(bytes, EXPECTED_SAMPLE).map_err(of_file)?;
    for (i, sample) in whole.samples.into_iter().enumerate() {
        take(sample, config, log).map_err(|p| (format!("sample {}", i + 1), p))?;
    }
    Ok(())
}

fn take_header(header: Header, log: &mut EvalLog) -> Result<Config, ImportProblem> {
    log.of_model(&header.eval.model)?;
    // `2026-02-03T10:00:00+00:00`
    let day = header.eval.created.as_deref().and_then(|c| c.get(..10));
    log.day = day.filter(|d| is_day(d)).map(str::to_owned);
    let plan = header.plan.and_then(|p| p.config).unwrap_or_default();
    Ok(plan.or(header.eval.model_generate_config.unwrap_or_default()))
}

fn is_day(text: &str) -> bool {
    let digit = |i: usize, b: u8| {
        if [4, 7].contains(&i) {
            b == b'-'
        } else {
            b.is_ascii_digit()
        }
    };
    text.len() == 10 && text.bytes().enumerate().all(|(i, b)| digit(i, b))
}

fn take(sample: Sample, config: Config, log: &mut EvalLog) -> Result<(), ImportProblem> {
    let attachments = &sample.attachments;
    if !sample.error.is_null() {
        log.pass(Passed::Failed);
        return Ok(());
    }
    // What the last call to the model said of itself goes before what the log says of all.
    let mut calls = sample
        .events
        .iter()
        .filter(|e| e.event.as_deref() == Some("model"));
    let config = calls
        .next_back()
        .and_then(|e| e.config)
        .unwrap_or_default()
        .or(config);
    let mut turns = sample.messages;
    // The last turn is the answer; what it answers is before it.
    if turns.last().is_some_and(|t| t.role == "assistant") {
        turns.pop();
    }
    let turns = turns
        .into_iter()
        .map(|t| resolved(t, attachments))
        .collect();
    let Some(prompt) = conversation(turns) else {
        log.pass(Passed::NotText);
        return Ok(());
    };
    let mut texts = Vec::new();
    for choice in sample.output.choices {
        match said(choice, attachments) {
            Some(text) => texts.push(text),
            None => log.pass(Passed::Failed),
        }
    }
    if texts.is_empty() {
        return Ok(());
    }
    let id = match &sample.id {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    log.add(Logged {
        id: format!("{id}-{}", sample.epoch),
        prompt,
        decoding: Decoding {
            temperature: config.temperature,
            top_p: config.top_p,
            max_tokens: config.max_tokens,
        },
        what: What::Texts(texts),
    })
}

fn said(choice: Choice, attachments: &BTreeMap<String, String>) -> Option<Said> {
    let finish = finish(choice.stop_reason.as_deref())?;
    let message = resolved(choice.message, attachments).message()?;
    Some(Said {
        text: message.content,
        tokens: Vec::new(),
        finish,
    })
}

// A long text stands once, under its hash. One that is nowhere is no text.
fn resolved(turn: Turn, attachments: &BTreeMap<String, String>) -> Turn {
    let content = turn.content.and_then(|content| match content {
        Content::Text(text) => match text.strip_prefix(ATTACHMENT) {
            Some(hash) => attachments.get(hash).cloned().map(Content::Text),
            None => Some(Content::Text(text)),
        },
        parts => Some(parts),
    });
    Turn { content, ..turn }
}
