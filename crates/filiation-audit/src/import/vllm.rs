//! Results of vLLM: of a batch (`vllm run-batch`, and OpenAI's, in the same form), and of
//! `LLM.generate` written out by the user (`RequestOutput` as JSON).

use std::collections::BTreeMap;

use filiation_core::Prompt;
use serde::Deserialize;

use super::text::{Content, Turn, conversation, finish, json, lines};
use super::{Decoding, EvalLog, ImportProblem, Logged, Passed, Said, What};

const EXPECTED: &str = "`custom_id` with `response`, or `prompt` (or `messages`) with `outputs`";
const EXPECTED_REQUEST: &str = "a request of a batch: `custom_id` and `body`";

/// What was handed in, by `custom_id`.
#[derive(Default)]
pub(crate) struct Requests(BTreeMap<String, Body>);

#[derive(Deserialize)]
struct Request {
    custom_id: String,
    body: Body,
}

#[derive(Deserialize, Clone)]
struct Body {
    #[serde(skip_deserializing)]
    asked: Option<Prompt>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Question {
    messages: Option<Vec<Turn>>,
    prompt: Option<serde_json::Value>,
}

impl Question {
    fn asked(self) -> Option<Prompt> {
        match (self.messages, self.prompt) {
            (Some(turns), None) => conversation(turns),
            (None, Some(serde_json::Value::String(text))) => Some(Prompt::Text(text)),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    body: Question,
}

impl Requests {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, (String, ImportProblem)> {
        let mut all = BTreeMap::new();
        for (number, line) in lines(bytes) {
            let at = |problem| (format!("line {number}"), problem);
            let request: Request = json(line, EXPECTED_REQUEST).map_err(at)?;
            let question: Envelope = json(line, EXPECTED_REQUEST).map_err(at)?;
            let body = Body {
                asked: question.body.asked(),
                ..request.body
            };
            if all.insert(request.custom_id, body).is_some() {
                return Err(at(ImportProblem::DuplicateId));
            }
        }
        Ok(Self(all))
    }
}

impl Body {
    fn decoding(&self) -> Decoding {
        Decoding {
            temperature: self.temperature,
            top_p: self.top_p,
            max_tokens: self.max_tokens.or(self.max_completion_tokens),
        }
    }
}

#[derive(Deserialize)]
struct Line {
    custom_id: Option<String>,
    response: Option<Response>,
    #[serde(default)]
    error: serde_json::Value,
    request_id: Option<serde_json::Value>,
    model: Option<String>,
    sampling_params: Option<serde_json::Value>,
    outputs: Option<Vec<Choice>>,
}

#[derive(Deserialize)]
struct Response {
    status_code: Option<u16>,
    body: Option<Completion>,
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
    model: Option<String>,
    created: Option<u64>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Reply>,
    text: Option<String>,
    token_ids: Option<Vec<u32>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Reply {
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Option<Vec<serde::de::IgnoredAny>>,
}

pub(super) fn read(
    bytes: &[u8],
    asked: &Requests,
    log: &mut EvalLog,
) -> Result<(), (String, ImportProblem)> {
    for (number, line) in lines(bytes) {
        take(number, line, asked, log).map_err(|p| (format!("line {number}"), p))?;
    }
    Ok(())
}

fn take(
    number: usize,
    bytes: &[u8],
    asked: &Requests,
    log: &mut EvalLog,
) -> Result<(), ImportProblem> {
    let line: Line = json(bytes, EXPECTED)?;
    if line.outputs.is_some() {
        return offline(number, bytes, line, log);
    }
    let (Some(id), true) = (
        line.custom_id,
        line.response.is_some() || !line.error.is_null(),
    ) else {
        return Err(ImportProblem::Json {
            broken: false,
            at: (1, 1),
            expected: EXPECTED,
        });
    };
    let answered = line
        .response
        .filter(|r| r.status_code.is_none_or(|s| s == 200));
    let Some(body) = answered
        .and_then(|r| r.body)
        .filter(|_| line.error.is_null())
    else {
        log.pass(Passed::Failed);
        return Ok(());
    };
    if let Some(model) = &body.model {
        log.of_model(model)?;
    }
    if let (None, Some(seconds)) = (&log.day, body.created) {
        log.day = Some(day(seconds));
    }
    let Some(request) = asked.0.get(&id) else {
        log.pass(Passed::NoQuestion);
        return Ok(());
    };
    let Some(prompt) = request.asked.clone() else {
        log.pass(Passed::NotText);
        return Ok(());
    };
    put(id, prompt, request.decoding(), body.choices, log)
}

fn offline(
    number: usize,
    bytes: &[u8],
    line: Line,
    log: &mut EvalLog,
) -> Result<(), ImportProblem> {
    let question: Question = json(bytes, EXPECTED)?;
    if let Some(model) = &line.model {
        log.of_model(model)?;
    }
    let id = line
        .request_id
        .or(line.custom_id.map(serde_json::Value::String));
    let id = match id {
        Some(serde_json::Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => number.to_string(),
    };
    // Written as an object, or as Python prints it: then it is not read.
    let how = line.sampling_params.filter(serde_json::Value::is_object);
    let how = how.map(serde_json::from_value::<Body>).transpose();
    let how = how.map_err(|_| ImportProblem::Number("sampling_params"))?;
    let Some(prompt) = question.asked() else {
        log.pass(Passed::NotText);
        return Ok(());
    };
    let decoding = how.map(|b| b.decoding()).unwrap_or_default();
    put(id, prompt, decoding, line.outputs.unwrap_or_default(), log)
}

fn put(
    id: String,
    prompt: Prompt,
    decoding: Decoding,
    choices: Vec<Choice>,
    log: &mut EvalLog,
) -> Result<(), ImportProblem> {
    let mut texts = Vec::new();
    for choice in choices {
        match said(choice) {
            Some(text) => texts.push(text),
            None => log.pass(Passed::Failed),
        }
    }
    if texts.is_empty() {
        return Ok(());
    }
    log.add(Logged {
        id,
        prompt,
        decoding,
        what: What::Texts(texts),
    })
}

fn said(choice: Choice) -> Option<Said> {
    let finish = finish(choice.finish_reason.as_deref())?;
    let text = match choice.message {
        Some(reply) if reply.tool_calls.as_ref().is_some_and(|c| !c.is_empty()) => return None,
        Some(reply) => reply.content?.text()?,
        None => choice.text?,
    };
    Some(Said {
        text,
        tokens: choice.token_ids.unwrap_or_default(),
        finish,
    })
}

/// The day of a moment, UTC. (Days to civil: Hinnant, "chrono-compatible low-level date algorithms".)
fn day(seconds: u64) -> String {
    let days = (seconds / 86_400).min(10_000_000) + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..=9 => (era * 400 + year, month + 3),
        _ => (era * 400 + year + 1, month - 9),
    };
    format!("{year:04}-{month:02}-{date:02}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_of_moments() {
        assert_eq!(super::day(0), "1970-01-01");
        assert_eq!(super::day(951_782_400), "2000-02-29");
        assert_eq!(super::day(1_798_675_200), "2026-12-31");
    }
}
