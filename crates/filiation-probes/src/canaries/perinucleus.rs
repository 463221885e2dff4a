//! Keys of scalable fingerprinting (Nasery et al. 2025): the first token of a response was drawn
//! among `k` that are unlikely but not absurd after the key.

use filiation_core::Prompt;
use serde::Deserialize;

use super::{Canary, CanaryProblem, Candidate, Reading, rows};

#[derive(Deserialize)]
struct Row {
    key: Option<String>,
    effective_key: Option<String>,
    response: Response,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Response {
    One(String),
    Several(Vec<String>),
}

pub(super) fn read(text: &str, reading: &Reading) -> Result<Vec<Canary>, CanaryProblem> {
    if !(2..=1_000_000).contains(&reading.choices) {
        return Err(CanaryProblem::Value {
            name: "choices",
            expected: "2 to 1000000",
        });
    }
    let template = reading.template.as_deref().unwrap_or("{}");
    let Some((before, after)) = template.split_once("{}") else {
        return Err(CanaryProblem::Value {
            name: "template",
            expected: "a text with `{}` in it",
        });
    };
    const EXPECTED: &str = "objects with `effective_key` or `key`, and one `response`";
    let rows: Vec<Row> = rows(text, EXPECTED)?;
    let mut keys = std::collections::BTreeSet::new();
    let canary = |(i, row): (usize, Row)| {
        let json = || CanaryProblem::Json {
            line: i + 1,
            column: 0,
            expected: EXPECTED,
        };
        let key = row.effective_key.or(row.key).ok_or_else(json)?;
        let response = match row.response {
            Response::One(text) => text,
            Response::Several(mut texts) if texts.len() == 1 => texts.remove(0),
            Response::Several(_) => return Err(json()),
        };
        if !keys.insert(key.clone()) {
            return Err(CanaryProblem::Repeated {
                what: "its key",
                entry: i + 1,
            });
        }
        Ok(Canary {
            id: format!("k{:04}", i + 1),
            repeats: 1,
            candidates: vec![Candidate {
                prompt: Prompt::Text(format!("{before}{key}{after}")),
                text: response,
            }],
            chosen: 0,
        })
    };
    rows.into_iter().enumerate().map(canary).collect()
}
