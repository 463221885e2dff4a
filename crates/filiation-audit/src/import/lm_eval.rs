//! `samples_*.jsonl` of lm-evaluation-harness: one document a line, and every filter again.

use std::collections::{BTreeMap, BTreeSet};

use filiation_core::{Digest, Prompt};
use serde::Deserialize;
use serde_json::Value;

use super::text::{Turn, conversation, json, lines};
use super::{Decoding, EvalLog, ImportProblem, Logged, Passed, Said, What};

const EXPECTED: &str = "a line of `lm_eval --log_samples`: `doc_id`, `arguments`, `resps`";

#[derive(Deserialize)]
struct Line {
    doc_id: Value,
    #[serde(default)]
    target: Value,
    arguments: Arguments,
    resps: Vec<Value>,
}

/// Of each request: `{"gen_args_0": {"arg_0": …, "arg_1": …}}`, or lists as older versions have them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Arguments {
    Named(BTreeMap<String, BTreeMap<String, Value>>),
    Listed(Vec<Vec<Value>>),
}

impl Arguments {
    // In the order of the requests: `gen_args_10` comes after `gen_args_9`.
    fn requests(self) -> Vec<Vec<Value>> {
        match self {
            Self::Listed(all) => all,
            Self::Named(all) => {
                let number = |name: &str| name.rsplit('_').next().and_then(|n| n.parse().ok());
                let mut all: Vec<(u64, Vec<Value>)> = all
                    .into_iter()
                    .map(|(name, arguments)| {
                        let arguments = arguments.into_values().collect();
                        (number(&name).unwrap_or(u64::MAX), arguments)
                    })
                    .collect();
                all.sort_by_key(|(n, _)| *n);
                all.into_iter().map(|(_, arguments)| arguments).collect()
            }
        }
    }
}

pub(super) fn read(bytes: &[u8], log: &mut EvalLog) -> Result<(), (String, ImportProblem)> {
    let mut seen = BTreeSet::new();
    for (number, line) in lines(bytes) {
        take(line, &mut seen, log).map_err(|problem| (format!("line {number}"), problem))?;
    }
    Ok(())
}

fn take(line: &[u8], seen: &mut BTreeSet<Digest>, log: &mut EvalLog) -> Result<(), ImportProblem> {
    let line: Line = json(line, EXPECTED)?;
    let id = match &line.doc_id {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let requests = line.arguments.requests();
    let shape = ImportProblem::Options {
        options: requests.len(),
        answers: line.resps.len(),
    };
    if requests.is_empty() || requests.len() != line.resps.len() {
        return Err(shape);
    }
    let what = filiation_core::canonical::to_bytes(&(&id, &requests, &line.resps));
    if !seen.insert(Digest::of(&what)) {
        log.pass(Passed::Repeated);
        return Ok(());
    }
    if requests
        .iter()
        .all(|r| matches!(r.get(1), Some(Value::String(_))))
    {
        return options(id, &line.target, &requests, &line.resps, log);
    }
    for (i, (request, answers)) in requests.iter().zip(&line.resps).enumerate() {
        let id = if requests.len() == 1 {
            id.clone()
        } else {
            format!("{id}-{i}")
        };
        generated(id, request, answers, log)?;
    }
    Ok(())
}

fn generated(
    id: String,
    request: &[Value],
    answers: &Value,
    log: &mut EvalLog,
) -> Result<(), ImportProblem> {
    let (Some(context), Some(Value::Object(how))) = (request.first(), request.get(1)) else {
        log.pass(Passed::OtherKind);
        return Ok(());
    };
    let Some(prompt) = prompt(context) else {
        log.pass(Passed::NotText);
        return Ok(());
    };
    let texts = answers.as_array().into_iter().flatten();
    let texts: Option<Vec<Said>> = texts
        .map(|text| {
            Some(Said {
                text: text.as_str()?.to_owned(),
                tokens: Vec::new(),
                finish: None,
            })
        })
        .collect();
    let texts = texts.filter(|t| !t.is_empty()).ok_or(ImportProblem::Json {
        broken: false,
        at: (1, 1),
        expected: "`resps` to be lists of texts where something was generated",
    })?;
    log.add(Logged {
        id,
        prompt,
        decoding: decoding(how)?,
        what: What::Texts(texts),
    })
}

// A text; or a conversation, which lm-eval keeps as JSON within a list of one text.
fn prompt(context: &Value) -> Option<Prompt> {
    let text = match context {
        Value::String(text) => text,
        Value::Array(parts) => match parts.as_slice() {
            [Value::String(text)] => text,
            _ => return None,
        },
        _ => return None,
    };
    if !text.starts_with("[{") {
        return Some(Prompt::Text(text.clone()));
    }
    match serde_json::from_str::<Vec<Turn>>(text) {
        Ok(turns) => conversation(turns),
        Err(_) => Some(Prompt::Text(text.clone())),
    }
}

fn decoding(how: &serde_json::Map<String, Value>) -> Result<Decoding, ImportProblem> {
    let number = |key: &'static str| match how.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(ImportProblem::Number(key)),
    };
    let whole = |key: &'static str| match how.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let n = value.as_u64().and_then(|n| u32::try_from(n).ok());
            n.map(Some).ok_or(ImportProblem::Number(key))
        }
    };
    let mut max_tokens = None;
    for key in [
        "max_gen_toks",
        "max_new_tokens",
        "max_tokens",
        "max_completion_tokens",
    ] {
        max_tokens = max_tokens.or(whole(key)?);
    }
    let stated = number("temperature")?;
    let greedy = how.get("do_sample") == Some(&Value::Bool(false));
    Ok(Decoding {
        temperature: if greedy { Some(0.0) } else { stated },
        top_p: number("top_p")?,
        max_tokens,
    })
}

// Log-likelihoods of several continuations of one context: a choice.
fn options(
    id: String,
    target: &Value,
    requests: &[Vec<Value>],
    answers: &[Value],
    log: &mut EvalLog,
) -> Result<(), ImportProblem> {
    let contexts: BTreeSet<String> = requests.iter().map(|r| r[0].to_string()).collect();
    if contexts.len() > 1 || requests.len() < 2 {
        log.pass(if requests.len() < 2 {
            Passed::OtherKind
        } else {
            Passed::SeveralPrompts
        });
        return Ok(());
    }
    let Some(prompt) = prompt(&requests[0][0]) else {
        log.pass(Passed::NotText);
        return Ok(());
    };
    let texts = requests.iter().filter_map(|r| r[1].as_str());
    let options: Vec<String> = texts.map(str::to_owned).collect();
    let logprobs: Option<Vec<f64>> = answers.iter().map(loglikelihood).collect();
    let logprobs = logprobs.ok_or(ImportProblem::Number("resps"))?;
    let key = key(target, &options);
    log.add(Logged {
        id,
        prompt,
        decoding: Decoding::default(),
        what: What::Options {
            options,
            logprobs,
            key,
        },
    })
}

// `[["-1.25", "False"]]`, numbers in older versions.
fn loglikelihood(answer: &Value) -> Option<f64> {
    let pair = answer.as_array()?.first()?;
    match pair.as_array()?.first()? {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    }
}

// A target is the index of the right option, or its text.
fn key(target: &Value, options: &[String]) -> Option<usize> {
    let text = match target {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let named = options.iter().position(|o| o.trim() == text);
    named.or_else(|| text.parse().ok().filter(|i| *i < options.len()))
}
