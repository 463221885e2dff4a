//! Requests as they go out and replies in the shapes of each API.

use filiation_core::Message;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::PROVIDERS;
use crate::call::{Completed, End, Token};

fn endpoint(id: &str) -> Endpoint {
    Endpoint::new(id, None).expect("an endpoint")
}

fn chat() -> Input {
    let turn = |role: &str, content: &str| Message {
        role: role.into(),
        content: content.into(),
    };
    Input::Chat(vec![turn("system", "Be brief."), turn("user", "Hi")])
}

fn sampled(input: Input) -> Complete {
    Complete {
        temperature: Some(0.7),
        top_p: Some(0.9),
        seed: Some(5),
        ..Complete::of(input, 20)
    }
}

fn sent(id: &str, complete: Complete) -> (String, Value) {
    let endpoint = endpoint(id);
    let encoded = endpoint
        .dialect()
        .encode(&endpoint, &complete.into())
        .expect("can be said");
    (
        encoded.path,
        serde_json::from_slice(&encoded.body).expect("JSON"),
    )
}

fn read(id: &str, complete: Complete, body: &Value) -> Result<Completed, Failure> {
    let bytes = serde_json::to_vec(body).expect("JSON");
    match endpoint(id).dialect().decode(&complete.into(), &bytes)? {
        Reply::Completed(completed) => Ok(completed),
        other => panic!("{other:?}"),
    }
}

fn top(input: Input, top: u32) -> Complete {
    Complete {
        top: Some(top),
        ..Complete::of(input, 1)
    }
}

fn spelled(tokens: &[Token]) -> Vec<(Option<u32>, String, Option<f64>)> {
    tokens
        .iter()
        .map(|t| {
            (
                t.id,
                String::from_utf8_lossy(&t.bytes).into_owned(),
                t.logprob,
            )
        })
        .collect()
}

#[test]
fn chat_is_written_as_each_provider_wants_it() {
    let turns =
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]);
    let (path, body) = sent("openai:gpt-4o", sampled(chat()));
    assert_eq!(path, "/chat/completions");
    let expected = json!({"model": "gpt-4o", "messages": turns, "max_completion_tokens": 20, "stream": false,
        "temperature": 0.7, "top_p": 0.9, "seed": 5});
    assert_eq!(body, expected);
    let (_, body) = sent("mistral:m", sampled(chat()));
    assert_eq!(
        (&body["random_seed"], &body["max_tokens"]),
        (&json!(5), &json!(20))
    );
    let (_, body) = sent("deepseek:m", sampled(chat()));
    assert_eq!(
        (&body["thinking"]["type"], &body["seed"]),
        (&json!("disabled"), &Value::Null)
    );
    let (_, body) = sent("vllm:m", sampled(chat()));
    assert_eq!(
        (&body["top_k"], &body["repetition_penalty"]),
        (&json!(-1), &json!(1))
    );
    let (path, body) = sent("llamacpp:m", sampled(chat()));
    assert_eq!(
        (path.as_str(), &body["top_k"], &body["min_p"]),
        ("/v1/chat/completions", &json!(0), &json!(0))
    );
    let (path, body) = sent("anthropic:m", Complete::of(chat(), 20));
    let expected = json!({"model": "m", "max_tokens": 20, "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!((path.as_str(), body), ("/messages", expected));
    let (path, body) = sent("gemini:g-2", sampled(chat()));
    let expected = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"maxOutputTokens": 20, "temperature": 0.7, "topP": 0.9, "seed": 5}});
    assert_eq!(
        (path.as_str(), body),
        ("/models/g-2:generateContent", expected)
    );
    let (path, body) = sent("openai-responses:m", top(chat(), 5));
    let expected = json!({"model": "m", "input": turns, "max_output_tokens": 1, "store": false,
        "include": ["message.output_text.logprobs"], "top_logprobs": 5});
    assert_eq!((path.as_str(), body), ("/responses", expected));
    let (path, body) = sent("ollama:m", sampled(chat()));
    let options = json!({"num_predict": 20, "temperature": 0.7, "top_p": 0.9, "seed": 5, "top_k": 0, "min_p": 0,
        "repeat_penalty": 1});
    assert_eq!(
        (path.as_str(), &body["options"], &body["stream"]),
        ("/api/chat", &options, &json!(false))
    );
}

#[test]
fn bodies_are_canonical_so_that_a_question_has_one_key() {
    let endpoint = endpoint("openai:m");
    let encoded = endpoint
        .dialect()
        .encode(&endpoint, &sampled(chat()).into())
        .expect("can be said");
    let text = String::from_utf8(encoded.body).expect("UTF-8");
    assert!(text.starts_with(
        r#"{"max_completion_tokens":20,"messages":[{"content":"Be brief.","role":"system"}"#
    ));
    assert!(
        text.ends_with(r#""seed":5,"stream":false,"temperature":0.7,"top_p":0.9}"#),
        "{text}"
    );
}

#[test]
fn what_a_user_adds_is_in_the_body_and_in_the_identity() {
    let plain = endpoint("openai:m");
    let extra = json!({"reasoning_effort": "none"})
        .as_object()
        .cloned()
        .expect("an object");
    let extended = plain.clone().with_extra(extra);
    let encoded = extended
        .dialect()
        .encode(&extended, &sampled(chat()).into())
        .expect("can be said");
    assert!(String::from_utf8_lossy(&encoded.body).contains(r#""reasoning_effort":"none""#));
    assert_ne!(plain.identity().digest, extended.identity().digest);
}

#[test]
fn what_a_dialect_cannot_say_is_refused_before_it_is_sent() {
    let text = || Input::Text("The".into());
    let forced = |input| Complete {
        forced: Some(0),
        ..Complete::of(input, 1)
    };
    for (id, complete) in [
        ("openai:m", Complete::of(text(), 1)),
        ("openai:m", forced(chat())),
        ("anthropic:m", top(chat(), 5)),
        ("anthropic:m", Complete::of(text(), 1)),
        ("gemini:m", forced(chat())),
        ("gemini:a/../b", Complete::of(chat(), 1)),
        ("openai-completions:m", Complete::of(chat(), 1)),
        ("llamacpp:m", forced(text())),
        ("sglang:m", forced(chat())),
        ("ollama:m", forced(text())),
        ("openai:m", Complete::of(Input::Tokens(vec![1]), 1)),
    ] {
        let endpoint = endpoint(id);
        let result = endpoint
            .dialect()
            .encode(&endpoint, &complete.clone().into());
        assert!(
            matches!(result, Err(TeacherError::Unsupported { .. })),
            "{id} {complete:?}"
        );
    }
}

#[test]
fn chat_completions_with_alternatives() {
    // As llama.cpp's server answers, cut: entries have an id beside the fields of OpenAI.
    let body = json!({"model": "smol", "system_fingerprint": "b0-unknown",
        "choices": [{"finish_reason": "length", "index": 0,
            "message": {"role": "assistant", "content": "One"},
            "logprobs": {"content": [{"id": 2705, "token": "One", "bytes": [79, 110, 101], "logprob": -1.95583,
                "top_logprobs": [
                    {"id": 2705, "token": "One", "bytes": [79, 110, 101], "logprob": -1.95583},
                    {"id": 504, "token": "The", "bytes": [84, 104, 101], "logprob": -1.98849}]}]}}],
        "usage": {"prompt_tokens": 31, "completion_tokens": 1, "total_tokens": 32}});
    for id in ["llamacpp:m", "openai:m", "vllm:m", "sglang:m"] {
        let said = read(id, top(chat(), 2), &body).expect(id);
        assert_eq!((said.text.as_str(), said.end), ("One", Some(End::Length)));
        assert_eq!(
            spelled(&said.tokens),
            [(Some(2705), "One".into(), Some(-1.95583))]
        );
        assert_eq!(said.tokens[0].top[1].bytes, b"The");
        assert_eq!(said.model.as_deref(), Some("smol"));
        assert_eq!(said.usage.map(|u| (u.input, u.output)), Some((31, 1)));
    }
}

#[test]
fn refusals_filters_and_hidden_reasoning_are_told_apart_from_text() {
    let reply = |message: Value, reason: &str| json!({"choices": [{"message": message, "finish_reason": reason}]});
    let said = read(
        "openai:m",
        Complete::of(chat(), 1),
        &reply(json!({"content": null, "refusal": "No."}), "stop"),
    );
    assert_eq!(
        said.expect("read").end,
        Some(End::Filtered("refusal".into()))
    );
    let said = read(
        "openai:m",
        Complete::of(chat(), 1),
        &reply(json!({"content": "Ha"}), "content_filter"),
    );
    assert_eq!(
        said.expect("read").end,
        Some(End::Filtered("content_filter".into()))
    );
    let thought = json!({"content": "4", "reasoning_content": "2+2"});
    let said = read(
        "deepseek:m",
        Complete::of(chat(), 1),
        &reply(thought, "stop"),
    )
    .expect("read");
    assert_eq!(
        (said.text.as_str(), said.reasoning.as_deref()),
        ("4", Some("2+2"))
    );
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "g-1"});
    let said = read("gemini:m", Complete::of(chat(), 1), &blocked).expect("read");
    assert_eq!(
        (said.end, said.model.as_deref()),
        (Some(End::Filtered("SAFETY".into())), Some("g-1"))
    );
    let body = json!({"model": "c", "stop_reason": "refusal", "content": [],
        "usage": {"input_tokens": 9, "output_tokens": 0}});
    let said = read("anthropic:m", Complete::of(chat(), 1), &body).expect("read");
    assert_eq!(said.end, Some(End::Filtered("refusal".into())));
}

#[test]
fn messages_responses_and_generate_content() {
    let body = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello"}, {"type": "text", "text": "!"}],
        "stop_reason": "max_tokens", "usage": {"input_tokens": 10, "output_tokens": 4}});
    let said = read("anthropic:m", Complete::of(chat(), 4), &body).expect("read");
    assert_eq!(
        (said.text.as_str(), said.end, said.model.as_deref()),
        ("Hello!", Some(End::Length), Some("claude-x"))
    );
    let body = json!({"model": "gpt-x", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "reasoning", "summary": []}, {"type": "message", "content": [{"type": "output_text",
            "text": "Hi", "logprobs": [{"token": "Hi", "bytes": [72, 105], "logprob": -0.5, "top_logprobs": []}]}]}],
        "usage": {"input_tokens": 10, "output_tokens": 16, "output_tokens_details": {"reasoning_tokens": 12}}});
    let said = read("openai-responses:m", top(chat(), 1), &body).expect("read");
    assert_eq!((said.text.as_str(), said.end), ("Hi", Some(End::Length)));
    assert_eq!(said.usage.map(|u| u.reasoning), Some(12));
    assert_eq!(spelled(&said.tokens), [(None, "Hi".into(), Some(-0.5))]);
    let body = json!({"modelVersion": "gemini-x", "candidates": [{"finishReason": "STOP",
        "content": {"role": "model", "parts": [{"text": "so", "thought": true}, {"text": "Hi"}]},
        "logprobsResult": {"chosenCandidates": [{"token": "Hi", "tokenId": 7, "logProbability": -3.0}],
            "topCandidates": [{"candidates": [{"token": "Yo", "tokenId": 8, "logProbability": -0.1}]}]}}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "thoughtsTokenCount": 6}});
    let said = read("gemini:m", top(chat(), 1), &body).expect("read");
    assert_eq!(
        (said.text.as_str(), said.reasoning.as_deref(), said.end),
        ("Hi", Some("so"), Some(End::Stop))
    );
    assert_eq!(spelled(&said.tokens), [(Some(7), "Hi".into(), Some(-3.0))]);
    assert_eq!(said.usage.map(|u| u.output), Some(7));
}

#[test]
fn scores_of_given_text() {
    let forced = |input| Complete {
        forced: Some(0),
        ..Complete::of(input, 1)
    };
    let text = || Input::Text("The capital".into());
    let echo = json!({"model": "m", "choices": [{"text": "The capital of", "finish_reason": "length",
        "logprobs": {"tokens": ["The", " capital", " of"], "token_logprobs": [null, -11.45, -0.311],
            "top_logprobs": [null, {" cat": -3.0, " capital": -11.45}, {" of": -0.311}], "text_offset": [0, 3, 11]}}]});
    let said = read("openai-completions:m", forced(text()), &echo).expect("read");
    let expected = [
        (None, "The".into(), None),
        (None, " capital".into(), Some(-11.45)),
    ];
    assert_eq!(spelled(&said.input), expected);
    assert_eq!((said.text.as_str(), said.tokens.len()), (" of", 1));
    assert_eq!(said.input[1].top[0].bytes, b" cat");
    let ignored = json!({"choices": [{"text": " of", "finish_reason": "length",
        "logprobs": {"tokens": [" of"], "token_logprobs": [-0.3], "top_logprobs": [{}]}}]});
    let error = read("openai-completions:m", forced(text()), &ignored)
        .expect_err("ignored")
        .to_string();
    assert!(error.contains("`echo` (the text"), "{error}");

    let vllm = json!({"model": "m", "choices": [{"text": " of", "finish_reason": "length", "logprobs": null,
        "prompt_token_ids": [504, 3575],
        "prompt_logprobs": [null, {"3575": {"logprob": -11.45, "rank": 900, "decoded_token": " capital"},
            "12": {"logprob": -1.0, "rank": 1, "decoded_token": " a"}}]}]});
    let said = read("vllm:m", forced(text()), &vllm).expect("read");
    assert_eq!(
        spelled(&said.input)[1],
        (Some(3575), " capital".into(), Some(-11.45))
    );
    assert_eq!(said.input[1].top[0].bytes, b" a");

    let sglang = json!({"text": " of", "meta_info": {"finish_reason": {"type": "length", "length": 1},
        "prompt_tokens": 2, "completion_tokens": 1, "weight_version": "default",
        "input_token_logprobs": [[null, 504, "The"], [-11.45, 3575, " capital"]],
        "output_token_logprobs": [[-0.311, 282, " of"]]}});
    let said = read("sglang:m", forced(text()), &sglang).expect("read");
    assert_eq!(
        spelled(&said.input)[1],
        (Some(3575), " capital".into(), Some(-11.45))
    );
    assert_eq!(
        spelled(&said.tokens),
        [(Some(282), " of".into(), Some(-0.311))]
    );
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let reply = |logprob: Value| {
        json!({"choices": [{"message": {"content": "a"}, "finish_reason": "stop",
            "logprobs": {"content": [{"token": "a", "logprob": logprob, "bytes": null, "top_logprobs": []}]}}]})
    };
    for bad in [json!(0.1), json!(null), json!("NaN")] {
        let result = read("openai:m", top(chat(), 1), &reply(bad.clone()));
        assert!(
            matches!(result, Err(Failure::NotFinite { .. })),
            "{bad}: {result:?}"
        );
    }
    // Single precision: a probability of 1 may be a little more.
    assert!(read("openai:m", top(chat(), 1), &reply(json!(1e-4))).is_ok());
}

fn shape() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,8}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "choices",
        "message",
        "content",
        "logprobs",
        "tokens",
        "token_logprobs",
        "top_logprobs",
        "token",
        "logprob",
        "bytes",
        "prompt_logprobs",
        "prompt_token_ids",
        "text",
        "output",
        "type",
        "candidates",
        "parts",
        "meta_info",
        "input_token_logprobs",
        "completion_probabilities",
        "finish_reason",
        "usage",
        "0",
        "pieces",
        "data",
    ]);
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|map| Value::Object(
                map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn no_reply_panics(value in shape(), cut in 0_usize..400, forced in any::<bool>()) {
        let mut body = serde_json::to_vec(&value).expect("JSON");
        body.truncate(cut.max(body.len() / 2));
        for provider in &PROVIDERS {
            for input in [chat(), Input::Text("The".into()), Input::Tokens(vec![1])] {
                let complete = Complete { forced: forced.then_some(1), ..Complete::of(input, 1) };
                drop(provider.dialect.decode(&complete.into(), &body));
            }
            let tokenize = Call::Tokenize { text: String::new(), begin: true, special: true };
            for call in [tokenize, Call::Render(Vec::new()), Call::Models] {
                drop(provider.dialect.decode(&call, &body));
            }
        }
    }
}
