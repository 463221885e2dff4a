//! Ollama's own API.

use filiation_core::Message;
use serde_json::{Map, Value, json};

use super::chat::{Written, messages, put, seed};
use super::parse::{Parsed, chat_tokens, end, malformed, maybe_list, optional, usage};
use crate::Endpoint;
use crate::call::{Complete, Completed};

fn body(endpoint: &Endpoint, c: &Complete) -> Result<Map<String, Value>, &'static str> {
    if c.forced.is_some() {
        return Err("log-probabilities of given text");
    }
    let mut options = Map::new();
    options.insert("num_predict".into(), c.max_tokens.into());
    put(&mut options, "temperature", c.temperature);
    put(&mut options, "top_p", c.top_p);
    put(&mut options, "seed", c.seed.map(seed));
    if c.temperature.is_some() {
        for (key, value) in [("top_k", 0), ("min_p", 0), ("repeat_penalty", 1)] {
            options.insert(key.into(), json!(value));
        }
    }
    let mut body = Map::new();
    body.insert("model".into(), endpoint.model().into());
    body.insert("stream".into(), false.into());
    body.insert("options".into(), options.into());
    if let Some(top) = c.top {
        body.insert("logprobs".into(), true.into());
        body.insert("top_logprobs".into(), top.into());
    }
    Ok(body)
}

pub(super) fn chat(endpoint: &Endpoint, turns: &[Message], c: &Complete) -> Written {
    let mut body = body(endpoint, c)?;
    body.insert("messages".into(), messages(turns));
    Ok(("/api/chat".into(), body))
}

pub(super) fn text(endpoint: &Endpoint, text: &str, c: &Complete) -> Written {
    let mut body = body(endpoint, c)?;
    body.insert("prompt".into(), text.into());
    body.insert("raw".into(), true.into());
    Ok(("/api/generate".into(), body))
}

pub(super) fn decode(value: &Value) -> Parsed<Completed> {
    if value.get("done").and_then(Value::as_bool) == Some(false) {
        return Err(malformed("a piece of a stream, expected the whole answer"));
    }
    let text = ["/message/content", "/response"]
        .iter()
        .find_map(|path| optional(value, path));
    let reasoning = ["/message/thinking", "/thinking"]
        .iter()
        .find_map(|path| optional(value, path));
    Ok(Completed {
        text: text.ok_or_else(|| malformed("neither `message.content` nor `response`"))?,
        reasoning: reasoning.filter(|r| !r.is_empty()),
        end: end(optional(value, "/done_reason").as_deref()),
        tokens: chat_tokens(maybe_list(value, "/logprobs"))?,
        model: optional(value, "/model"),
        usage: usage(value, "/prompt_eval_count", "/eval_count", "/-"),
        ..Completed::default()
    })
}
