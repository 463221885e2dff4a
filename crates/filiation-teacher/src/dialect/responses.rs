//! OpenAI Responses. Log-probabilities come only where `include` asks for them too.

use filiation_core::Message;
use serde_json::{Map, Value, json};

use super::chat::{Written, messages, put};
use super::parse::{Parsed, chat_tokens, end, list_at, malformed, maybe_list, optional, usage};
use crate::Endpoint;
use crate::call::{Complete, Completed};

pub(super) fn encode(endpoint: &Endpoint, turns: &[Message], c: &Complete) -> Written {
    if c.forced.is_some() {
        return Err("log-probabilities of given text");
    }
    let mut body = Map::new();
    body.insert("model".into(), endpoint.model().into());
    body.insert("input".into(), messages(turns));
    body.insert("max_output_tokens".into(), c.max_tokens.into());
    body.insert("store".into(), false.into());
    put(&mut body, "temperature", c.temperature);
    put(&mut body, "top_p", c.top_p);
    if let Some(top) = c.top {
        body.insert("include".into(), json!(["message.output_text.logprobs"]));
        body.insert("top_logprobs".into(), top.into());
    }
    Ok(("/responses".into(), body))
}

pub(super) fn decode(value: &Value) -> Parsed<Completed> {
    let (mut text, mut tokens, mut refused) = (String::new(), Vec::new(), None);
    let parts = list_at(value, "/output")?
        .iter()
        .filter(|item| optional(item, "/type").as_deref() == Some("message"))
        .flat_map(|item| maybe_list(item, "/content"));
    for part in parts {
        match optional(part, "/type").as_deref() {
            Some("output_text") => {
                let said = optional(part, "/text")
                    .ok_or_else(|| malformed("`output_text` has no text"))?;
                text.push_str(&said);
                tokens.extend(chat_tokens(maybe_list(part, "/logprobs"))?);
            }
            Some("refusal") => refused = Some("refusal".to_owned()),
            _ => {}
        }
    }
    let cut = optional(value, "/incomplete_details/reason");
    let reason = refused.or(cut).or_else(|| optional(value, "/status"));
    Ok(Completed {
        text,
        end: end(reason.as_deref()),
        tokens,
        model: optional(value, "/model"),
        usage: usage(
            value,
            "/usage/input_tokens",
            "/usage/output_tokens",
            "/usage/output_tokens_details/reasoning_tokens",
        ),
        ..Completed::default()
    })
}
