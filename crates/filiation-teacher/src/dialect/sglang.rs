//! SGLang's `/generate`. Entries are `[log-probability, id, text]`.

use serde_json::{Map, Value, json};

use super::chat::{Written, put, seed};
use super::parse::{Parsed, end, id, logprob, malformed, maybe_list, optional, text_at, usage};
use crate::call::{Alternative, Complete, Completed, Input, Token};

pub(super) fn encode(c: &Complete) -> Written {
    let mut sampling = Map::new();
    sampling.insert("max_new_tokens".into(), c.max_tokens.into());
    put(&mut sampling, "temperature", c.temperature);
    put(&mut sampling, "top_p", c.top_p);
    put(&mut sampling, "sampling_seed", c.seed.map(seed));
    if c.temperature.is_some() {
        sampling.insert("top_k".into(), json!(-1));
        sampling.insert("min_p".into(), json!(0));
        sampling.insert("repetition_penalty".into(), json!(1));
    }
    let mut body = Map::new();
    match &c.input {
        Input::Text(text) => body.insert("text".into(), text.as_str().into()),
        Input::Tokens(ids) => body.insert("input_ids".into(), json!(ids)),
        Input::Chat(_) => return Err("log-probabilities of a conversation"),
    };
    body.insert("sampling_params".into(), sampling.into());
    body.insert("stream".into(), false.into());
    if let Some(top) = c.forced.max(c.top) {
        body.insert("return_logprob".into(), true.into());
        body.insert("return_text_in_logprobs".into(), true.into());
        body.insert("top_logprobs_num".into(), top.into());
        body.insert(
            "logprob_start_len".into(),
            json!(if c.forced.is_some() { 0 } else { -1 }),
        );
    }
    Ok(("/generate".into(), body))
}

pub(super) fn decode(value: &Value) -> Parsed<Completed> {
    let list = |path: &str| maybe_list(value, path);
    Ok(Completed {
        text: text_at(value, "/text")?.to_owned(),
        end: end(optional(value, "/meta_info/finish_reason/type").as_deref()),
        tokens: tokens(
            list("/meta_info/output_token_logprobs"),
            list("/meta_info/output_top_logprobs"),
        )?,
        input: tokens(
            list("/meta_info/input_token_logprobs"),
            list("/meta_info/input_top_logprobs"),
        )?,
        model: optional(value, "/model"),
        fingerprint: optional(value, "/meta_info/weight_version"),
        usage: usage(
            value,
            "/meta_info/prompt_tokens",
            "/meta_info/completion_tokens",
            "/-",
        ),
        ..Completed::default()
    })
}

fn tokens(list: &[Value], tops: &[Value]) -> Parsed<Vec<Token>> {
    let token = |(i, entry): (usize, &Value)| {
        let top = tops
            .get(i)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(alternative);
        let first = i == 0 && entry.get(0).is_some_and(Value::is_null);
        Ok(Token {
            id: entry.get(1).and_then(id),
            bytes: entry
                .get(2)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .into(),
            logprob: if first {
                None
            } else {
                Some(alternative(entry)?.logprob)
            },
            top: top.collect::<Parsed<_>>()?,
        })
    };
    list.iter().enumerate().map(token).collect()
}

fn alternative(entry: &Value) -> Parsed<Alternative> {
    let value = entry
        .get(0)
        .ok_or_else(|| malformed("an entry is no `[log-probability, id, text]`"))?;
    Ok(Alternative {
        id: entry.get(1).and_then(id),
        bytes: entry
            .get(2)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .into(),
        logprob: logprob(value)?,
    })
}
