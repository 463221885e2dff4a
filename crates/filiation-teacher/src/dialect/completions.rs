//! Completions: plain text, `echo`, and vLLM's `prompt_logprobs`.

use serde_json::{Map, Value, json};

use super::Dialect;
use super::chat::{Written, prompt_logprobs, put, seed, untruncated};
use super::parse::{
    Parsed, chat_tokens, end, escaped, field, ignored, logprob, malformed, maybe_list, optional,
    text_at, usage,
};
use crate::Endpoint;
use crate::call::{Alternative, Complete, Completed, Input, Token};

pub(super) fn encode(dialect: Dialect, endpoint: &Endpoint, c: &Complete) -> Written {
    let mut body = Map::new();
    body.insert("model".into(), endpoint.model().into());
    let prompt = match &c.input {
        Input::Text(text) => json!(text),
        Input::Tokens(ids) => json!(ids),
        Input::Chat(_) => return Err("a conversation"),
    };
    body.insert("prompt".into(), prompt);
    body.insert("stream".into(), false.into());
    body.insert("max_tokens".into(), c.max_tokens.into());
    put(&mut body, "temperature", c.temperature);
    put(&mut body, "top_p", c.top_p);
    put(&mut body, "seed", c.seed.map(seed));
    put(&mut body, "logprobs", c.top);
    if c.temperature.is_some() {
        untruncated(dialect, &mut body);
    }
    match (c.forced, dialect) {
        (Some(top), Dialect::Vllm) => {
            body.insert("prompt_logprobs".into(), top.into());
            body.insert("return_token_ids".into(), true.into());
        }
        (Some(top), _) => {
            body.insert("echo".into(), true.into());
            body.insert("logprobs".into(), top.max(1).into());
        }
        (None, _) => {}
    }
    Ok(("/completions".into(), body))
}

pub(super) fn decode(value: &Value, c: &Complete) -> Parsed<Completed> {
    let choice = field(value, "/choices/0")?;
    let mut text = text_at(choice, "/text")?.to_owned();
    let (mut input, mut tokens) = (Vec::new(), tokens(choice)?);
    if c.forced.is_some() {
        if choice.get("prompt_logprobs").is_some() {
            input = prompt_logprobs(choice, choice)?;
        } else if let Input::Text(prompt) = &c.input {
            let length = echoed(prompt, &text, &tokens)?;
            let rest = tokens.split_off(length);
            input = std::mem::replace(&mut tokens, rest);
            text = text[prompt.len()..].to_owned();
        } else {
            return Err(malformed(
                "an echo of tokens has no text to be held against",
            ));
        }
    }
    Ok(Completed {
        text,
        reasoning: None,
        end: end(optional(choice, "/finish_reason").as_deref()),
        tokens,
        input,
        model: optional(value, "/model"),
        fingerprint: optional(value, "/system_fingerprint"),
        usage: usage(
            value,
            "/usage/prompt_tokens",
            "/usage/completion_tokens",
            "/-",
        ),
    })
}

/// How many of the tokens are the prompt's. An endpoint that ignores `echo` gives what it drew, and
/// nothing else tells.
fn echoed(prompt: &str, text: &str, tokens: &[Token]) -> Parsed<usize> {
    if !text.starts_with(prompt) {
        return Err(ignored("`echo` (the text does not begin with the prompt)"));
    }
    let mut bytes = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if bytes.len() >= prompt.len() {
            return Ok(i);
        }
        bytes.extend_from_slice(&token.bytes);
        // A beginning-of-text token is shown in words, or as nothing.
        if i == 0 && !prompt.as_bytes().starts_with(&bytes) {
            bytes.clear();
        }
    }
    if bytes.len() < prompt.len() {
        return Err(ignored(&format!(
            "`echo` ({} tokens cover {} of {} bytes of the prompt)",
            tokens.len(),
            bytes.len(),
            prompt.len()
        )));
    }
    Ok(tokens.len())
}

// The dialect's own shape is four lists; llama.cpp gives the shape of chat.
fn tokens(choice: &Value) -> Parsed<Vec<Token>> {
    if choice.pointer("/logprobs/content").is_some() {
        return chat_tokens(maybe_list(choice, "/logprobs/content"));
    }
    let texts = maybe_list(choice, "/logprobs/tokens");
    let values = maybe_list(choice, "/logprobs/token_logprobs");
    let tops = maybe_list(choice, "/logprobs/top_logprobs");
    if texts.len() != values.len() {
        return Err(malformed(format!(
            "{} tokens have {} log-probabilities",
            texts.len(),
            values.len()
        )));
    }
    let token = |(i, (text, value)): (usize, (&Value, &Value))| {
        let text = text
            .as_str()
            .ok_or_else(|| malformed("a token is no text"))?;
        let value = if value.is_null() && i == 0 {
            None
        } else {
            Some(logprob(value)?)
        };
        let mut top = Vec::new();
        for (text, value) in tops.get(i).and_then(Value::as_object).into_iter().flatten() {
            top.push(Alternative {
                id: None,
                bytes: escaped(text),
                logprob: logprob(value)?,
            });
        }
        top.sort_by(|a, b| b.logprob.total_cmp(&a.logprob).then(a.bytes.cmp(&b.bytes)));
        Ok(Token {
            id: None,
            bytes: escaped(text),
            logprob: value,
            top,
        })
    };
    texts.iter().zip(values).enumerate().map(token).collect()
}
