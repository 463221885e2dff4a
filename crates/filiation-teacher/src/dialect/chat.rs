//! Chat Completions, and what Mistral, DeepSeek, vLLM, SGLang and llama.cpp add to it.

use filiation_core::Message;
use serde_json::{Map, Value, json};

use super::Dialect;
use super::parse::{
    Parsed, chat_tokens, end, escaped, field, id, ignored, list_at, logprob, malformed, maybe_list,
    optional, usage,
};
use crate::Endpoint;
use crate::call::{Alternative, Complete, Completed, Piece, Reply, Token};

pub(super) type Written = Result<(String, Map<String, Value>), &'static str>;

pub(super) fn messages(messages: &[Message]) -> Value {
    messages
        .iter()
        .map(|m| json!({ "role": m.role, "content": m.content }))
        .collect()
}

/// A seed that every dialect takes: 31 bits of the 64.
pub(super) const fn seed(seed: u64) -> u64 {
    (seed ^ (seed >> 31) ^ (seed >> 62)) & 0x7fff_ffff
}

pub(super) fn put<T: Into<Value>>(body: &mut Map<String, Value>, key: &str, value: Option<T>) {
    if let Some(value) = value {
        body.insert(key.into(), value.into());
    }
}

/// The model's own distribution and nothing else: servers of open weights fill in what the model's
/// maker recommends.
pub(super) fn untruncated(dialect: Dialect, body: &mut Map<String, Value>) {
    match dialect {
        Dialect::Vllm | Dialect::Sglang => {
            body.insert("top_k".into(), json!(-1));
            body.insert("min_p".into(), json!(0));
            body.insert("repetition_penalty".into(), json!(1));
        }
        Dialect::LlamaCpp => {
            for (key, value) in [
                ("top_k", 0),
                ("min_p", 0),
                ("typical_p", 1),
                ("repeat_penalty", 1),
            ] {
                body.insert(key.into(), json!(value));
            }
        }
        _ => {}
    }
}

pub(super) fn encode(
    dialect: Dialect,
    endpoint: &Endpoint,
    turns: &[Message],
    c: &Complete,
) -> Written {
    let mut body = Map::new();
    body.insert("model".into(), endpoint.model().into());
    body.insert("messages".into(), messages(turns));
    body.insert("stream".into(), false.into());
    // OpenAI's reasoning models know this name alone, others only the old one.
    let own = dialect == Dialect::OpenAiChat && endpoint.is_own();
    let limit = if own {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    body.insert(limit.into(), c.max_tokens.into());
    put(&mut body, "temperature", c.temperature);
    put(&mut body, "top_p", c.top_p);
    let name = if dialect == Dialect::Mistral {
        "random_seed"
    } else {
        "seed"
    };
    if dialect.form().seed {
        put(&mut body, name, c.seed.map(seed));
    }
    if let Some(top) = c.top {
        body.insert("logprobs".into(), true.into());
        body.insert("top_logprobs".into(), top.into());
    }
    if c.temperature.is_some() {
        untruncated(dialect, &mut body);
    }
    if let Some(top) = c.forced {
        if dialect != Dialect::Vllm {
            return Err("log-probabilities of a conversation");
        }
        body.insert("prompt_logprobs".into(), top.into());
        body.insert("return_token_ids".into(), true.into());
    }
    if c.continues {
        body.insert("add_generation_prompt".into(), false.into());
        body.insert("continue_final_message".into(), true.into());
    }
    let path = match dialect {
        Dialect::LlamaCpp | Dialect::Sglang => "/v1/chat/completions",
        _ => "/chat/completions",
    };
    Ok((path.into(), body))
}

pub(super) fn decode(value: &Value, c: &Complete) -> Parsed<Completed> {
    let choice = field(value, "/choices/0")?;
    let message = field(choice, "/message")?;
    let reasoning = ["/reasoning_content", "/reasoning"]
        .iter()
        .find_map(|path| optional(message, path));
    let text = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|p| optional(p, "/text")).collect(),
        _ if c.forced.is_some() => String::new(),
        None | Some(Value::Null) if reasoning.is_some() || message.get("refusal").is_some() => {
            String::new()
        }
        _ => return Err(malformed("no `/choices/0/message/content`")),
    };
    let reason = match optional(message, "/refusal") {
        Some(_) if text.is_empty() => Some("refusal".to_owned()),
        _ => optional(choice, "/finish_reason"),
    };
    let input = match c.forced {
        Some(_) => prompt_logprobs(value, value)?,
        None => Vec::new(),
    };
    Ok(Completed {
        text,
        reasoning,
        end: end(reason.as_deref()),
        tokens: chat_tokens(maybe_list(choice, "/logprobs/content"))?,
        input,
        model: optional(value, "/model"),
        fingerprint: optional(value, "/system_fingerprint"),
        usage: usage(
            value,
            "/usage/prompt_tokens",
            "/usage/completion_tokens",
            "/usage/completion_tokens_details/reasoning_tokens",
        ),
    })
}

/// vLLM's `prompt_logprobs`: null for the first token, then an object a token, ids to
/// `{logprob, rank, decoded_token}`. Which of several is the token itself is in `prompt_token_ids`.
pub(super) fn prompt_logprobs(holder: &Value, ids: &Value) -> Parsed<Vec<Token>> {
    if holder.get("prompt_logprobs").is_none_or(Value::is_null) {
        return Err(ignored("`prompt_logprobs`"));
    }
    let list = list_at(holder, "/prompt_logprobs")?;
    let ids = maybe_list(ids, "/prompt_token_ids");
    if !ids.is_empty() && ids.len() != list.len() {
        return Err(malformed(format!(
            "`prompt_logprobs` has {} entries for {} tokens",
            list.len(),
            ids.len()
        )));
    }
    let mut tokens = Vec::with_capacity(list.len());
    for (i, entry) in list.iter().enumerate() {
        let own = ids.get(i).and_then(id);
        let Some(entry) = entry.as_object() else {
            let first = i == 0 && entry.is_null();
            if !first {
                return Err(malformed(format!("`prompt_logprobs/{i}` is no object")));
            }
            tokens.push(Token {
                id: own,
                bytes: Vec::new(),
                logprob: None,
                top: Vec::new(),
            });
            continue;
        };
        let mut top = Vec::with_capacity(entry.len());
        for (key, other) in entry {
            top.push(Alternative {
                id: key.parse().ok(),
                bytes: escaped(&optional(other, "/decoded_token").unwrap_or_default()),
                logprob: logprob(field(other, "/logprob")?)?,
            });
        }
        top.sort_by(|a, b| b.logprob.total_cmp(&a.logprob).then(a.id.cmp(&b.id)));
        let mine = match own {
            Some(own) => top.iter().find(|a| a.id == Some(own)),
            None => top.first().filter(|_| top.len() == 1),
        };
        let mine = mine.ok_or_else(|| {
            malformed(format!(
                "`prompt_logprobs/{i}` does not say which token stands there"
            ))
        })?;
        tokens.push(Token {
            id: mine.id,
            bytes: mine.bytes.clone(),
            logprob: Some(mine.logprob),
            top: top.clone(),
        });
    }
    Ok(tokens)
}

pub(super) fn vllm_tokenize(
    endpoint: &Endpoint,
    text: &str,
    begin: bool,
) -> (String, Map<String, Value>) {
    let mut body = Map::new();
    body.insert("model".into(), endpoint.model().into());
    body.insert("prompt".into(), text.into());
    body.insert("add_special_tokens".into(), begin.into());
    body.insert("return_token_strs".into(), true.into());
    ("/../tokenize".into(), body)
}

pub(super) fn vllm_pieces(value: &Value) -> Parsed<Reply> {
    let texts = maybe_list(value, "/token_strs");
    let piece = |(i, token): (usize, &Value)| {
        Ok(Piece {
            id: id(token).ok_or_else(|| malformed("a token id is no number"))?,
            bytes: texts
                .get(i)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .into(),
        })
    };
    let all = list_at(value, "/tokens")?.iter().enumerate().map(piece);
    Ok(Reply::Pieces(all.collect::<Parsed<_>>()?))
}
