//! Anthropic Messages: samples, at the provider's own temperature unless set.

use filiation_core::Message;
use serde_json::{Map, Value};

use super::chat::{Written, messages, put};
use super::parse::{Parsed, end, list_at, optional, usage};
use crate::Endpoint;
use crate::call::{Complete, Completed};

pub(super) fn encode(endpoint: &Endpoint, turns: &[Message], c: &Complete) -> Written {
    if c.forced.is_some() || c.top.is_some() {
        return Err("log-probabilities");
    }
    let (system, turns): (Vec<_>, Vec<_>) = turns.iter().cloned().partition(|m| m.role == "system");
    let mut body = Map::new();
    body.insert("model".into(), endpoint.model().into());
    body.insert("messages".into(), messages(&turns));
    body.insert("max_tokens".into(), c.max_tokens.into());
    let system: Vec<String> = system.into_iter().map(|m| m.content).collect();
    put(
        &mut body,
        "system",
        (!system.is_empty()).then(|| system.join("\n\n")),
    );
    put(&mut body, "temperature", c.temperature);
    put(&mut body, "top_p", c.top_p);
    Ok(("/messages".into(), body))
}

pub(super) fn decode(value: &Value) -> Parsed<Completed> {
    let parts = list_at(value, "/content")?;
    let of = |kind: &str, path: &str| -> Vec<String> {
        parts
            .iter()
            .filter(|part| optional(part, "/type").as_deref() == Some(kind))
            .filter_map(|part| optional(part, path))
            .collect()
    };
    let thought = of("thinking", "/thinking");
    Ok(Completed {
        text: of("text", "/text").concat(),
        reasoning: (!thought.is_empty()).then(|| thought.concat()),
        end: end(optional(value, "/stop_reason").as_deref()),
        model: optional(value, "/model"),
        usage: usage(value, "/usage/input_tokens", "/usage/output_tokens", "/-"),
        ..Completed::default()
    })
}
