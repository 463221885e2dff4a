//! llama.cpp's own routes: `/completion`, `/tokenize`, `/apply-template`.
//!
//! The server ignores `echo` and `prompt_logprobs`. A given token is scored by having it drawn: a
//! bias on it decides the draw, and what is reported is its probability before any bias.

use filiation_core::Message;
use serde_json::{Map, Value, json};

use super::Dialect;
use super::chat::{Written, messages, put, seed, untruncated};
use super::parse::{
    Parsed, chat_tokens, end, id, list_at, malformed, maybe_list, optional, text_at, usage,
};
use crate::call::{Complete, Completed, Input, Piece, Reply};

/// Above the spread of any logits.
const DECIDES: f64 = 1e4;

pub(super) fn encode(c: &Complete) -> Written {
    if c.forced.is_some() {
        return Err("log-probabilities of a prompt in one request");
    }
    let mut body = Map::new();
    let prompt = match &c.input {
        Input::Text(text) => json!(text),
        Input::Tokens(ids) => json!(ids),
        Input::Chat(_) => return Err("a conversation"),
    };
    body.insert("prompt".into(), prompt);
    body.insert("stream".into(), false.into());
    body.insert("n_predict".into(), c.max_tokens.into());
    body.insert("return_tokens".into(), true.into());
    put(&mut body, "temperature", c.temperature);
    put(&mut body, "top_p", c.top_p);
    put(&mut body, "seed", c.seed.map(seed));
    put(&mut body, "n_probs", c.top);
    if c.temperature.is_some() {
        untruncated(Dialect::LlamaCpp, &mut body);
    }
    if let Some(token) = c.draw {
        body.insert("logit_bias".into(), json!([[token, DECIDES]]));
    }
    Ok(("/completion".into(), body))
}

pub(super) fn decode(value: &Value) -> Parsed<Completed> {
    let mut tokens = chat_tokens(maybe_list(value, "/completion_probabilities"))?;
    if tokens.is_empty() {
        let plain = maybe_list(value, "/tokens").iter().filter_map(id);
        tokens.extend(plain.map(|id| crate::call::Token {
            id: Some(id),
            bytes: Vec::new(),
            logprob: None,
            top: Vec::new(),
        }));
    }
    let reason = optional(value, "/stop_type").filter(|r| r != "none");
    Ok(Completed {
        text: text_at(value, "/content")?.to_owned(),
        end: end(reason.as_deref()),
        tokens,
        model: optional(value, "/model"),
        fingerprint: optional(value, "/system_fingerprint"),
        usage: usage(value, "/tokens_evaluated", "/tokens_predicted", "/-"),
        ..Completed::default()
    })
}

pub(super) fn tokenize(text: &str, begin: bool, special: bool) -> (String, Map<String, Value>) {
    let mut body = Map::new();
    body.insert("content".into(), text.into());
    body.insert("add_special".into(), begin.into());
    body.insert("parse_special".into(), special.into());
    body.insert("with_pieces".into(), true.into());
    ("/tokenize".into(), body)
}

pub(super) fn pieces(value: &Value) -> Parsed<Reply> {
    let piece = |entry: &Value| {
        let bytes = match entry.get("piece") {
            Some(Value::String(text)) => text.as_bytes().to_vec(),
            Some(Value::Array(list)) => {
                let byte = |b: &Value| b.as_u64().and_then(|b| u8::try_from(b).ok());
                let all: Option<Vec<u8>> = list.iter().map(byte).collect();
                all.ok_or_else(|| malformed("a piece is no bytes"))?
            }
            _ => return Err(malformed("a token has no piece")),
        };
        let id = entry.get("id").and_then(id);
        let id = id.ok_or_else(|| malformed("a token has no id"))?;
        Ok(Piece { id, bytes })
    };
    let all = list_at(value, "/tokens")?.iter().map(piece);
    Ok(Reply::Pieces(all.collect::<Parsed<_>>()?))
}

pub(super) fn render(turns: &[Message]) -> (String, Map<String, Value>) {
    let mut body = Map::new();
    body.insert("messages".into(), messages(turns));
    ("/apply-template".into(), body)
}

pub(super) fn rendered(value: &Value) -> Parsed<Reply> {
    Ok(Reply::Text(text_at(value, "/prompt")?.to_owned()))
}
