//! Gemini `generateContent`.

use filiation_core::Message;
use serde_json::{Map, Value, json};

use super::chat::{Written, put, seed};
use super::parse::{
    Parsed, end, field, id, logprob, malformed, maybe_list, optional, text_at, usage,
};
use crate::Endpoint;
use crate::call::{Alternative, Complete, Completed, Token};

pub(super) fn encode(endpoint: &Endpoint, turns: &[Message], c: &Complete) -> Written {
    if c.forced.is_some() {
        return Err("log-probabilities of given text");
    }
    let part = |m: &Message| json!([{ "text": m.content }]);
    let turn = |m: &Message| {
        let role = if m.role == "assistant" {
            "model"
        } else {
            "user"
        };
        json!({ "role": role, "parts": part(m) })
    };
    let mut config = Map::new();
    config.insert("maxOutputTokens".into(), c.max_tokens.into());
    put(&mut config, "temperature", c.temperature);
    put(&mut config, "topP", c.top_p);
    put(&mut config, "seed", c.seed.map(seed));
    if let Some(top) = c.top {
        config.insert("responseLogprobs".into(), true.into());
        // At least one; the chosen token comes apart from them.
        config.insert("logprobs".into(), top.max(1).into());
    }
    let said: Vec<Value> = turns
        .iter()
        .filter(|m| m.role != "system")
        .map(turn)
        .collect();
    let system: Vec<&Message> = turns.iter().filter(|m| m.role == "system").collect();
    let mut body = Map::new();
    body.insert("contents".into(), said.into());
    if !system.is_empty() {
        let parts: Vec<Value> = system
            .iter()
            .map(|m| json!({ "text": m.content }))
            .collect();
        body.insert("systemInstruction".into(), json!({ "parts": parts }));
    }
    body.insert("generationConfig".into(), config.into());
    if !endpoint
        .model()
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b))
        || endpoint.model().contains("..")
    {
        return Err("a model of this name");
    }
    let model = endpoint.model();
    let model = model.strip_prefix("models/").unwrap_or(model);
    Ok((format!("/models/{model}:generateContent"), body))
}

pub(super) fn decode(value: &Value) -> Parsed<Completed> {
    let usage = usage(
        value,
        "/usageMetadata/promptTokenCount",
        "/usageMetadata/candidatesTokenCount",
        "/usageMetadata/thoughtsTokenCount",
    );
    // Thoughts are paid for beside the candidate.
    let usage = usage.map(|u| crate::call::Usage {
        output: u.output + u.reasoning,
        ..u
    });
    let said = Completed {
        model: optional(value, "/modelVersion"),
        usage,
        ..Completed::default()
    };
    if let Some(blocked) = optional(value, "/promptFeedback/blockReason") {
        return Ok(Completed {
            end: end(Some(&blocked)),
            ..said
        });
    }
    let candidate = field(value, "/candidates/0")?;
    let reason = optional(candidate, "/finishReason");
    let parts = maybe_list(candidate, "/content/parts");
    let thought = |part: &&Value| part.get("thought").and_then(Value::as_bool) == Some(true);
    let text: String = parts
        .iter()
        .filter(|p| !thought(p))
        .filter_map(|p| optional(p, "/text"))
        .collect();
    if parts.is_empty() && reason.is_none() {
        return Err(malformed("the candidate has neither text nor a reason"));
    }
    let thoughts: Vec<String> = parts
        .iter()
        .filter(thought)
        .filter_map(|p| optional(p, "/text"))
        .collect();
    let chosen = maybe_list(candidate, "/logprobsResult/chosenCandidates");
    let tops = maybe_list(candidate, "/logprobsResult/topCandidates");
    let tokens = chosen.iter().enumerate().map(|(i, token)| {
        let list = tops
            .get(i)
            .map_or(&[][..], |t| maybe_list(t, "/candidates"));
        let top = list.iter().map(read).collect::<Parsed<Vec<_>>>()?;
        let Alternative { id, bytes, logprob } = read(token)?;
        Ok(Token {
            id,
            bytes,
            logprob: Some(logprob),
            top,
        })
    });
    Ok(Completed {
        text,
        reasoning: (!thoughts.is_empty()).then(|| thoughts.concat()),
        end: end(reason.as_deref()),
        tokens: tokens.collect::<Parsed<_>>()?,
        ..said
    })
}

fn read(entry: &Value) -> Parsed<Alternative> {
    Ok(Alternative {
        id: entry.get("tokenId").and_then(id),
        bytes: text_at(entry, "/token")?.into(),
        logprob: logprob(field(entry, "/logProbability")?)?,
    })
}
