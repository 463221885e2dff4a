//! The numbers of `transformers` in f32, for both models, as folder and as GGUF file.

use filiation_core::{Answer, Message, Model, Prompt, Request, RequestId, Sampling, Want};
use filiation_model::LocalModel;
use serde::Deserialize;

use crate::{folder, open};

/// Largest difference of a log-probability, nats.
const TOLERANCE: f64 = 2e-3;
/// Lead of the most likely token over the second from which both must name the same, nats.
const CLEAR_LEAD: f64 = 1e-2;

#[derive(Deserialize)]
struct Oracle {
    windows: Vec<Window>,
    text: String,
    ids: Vec<u32>,
    prompt: String,
    greedy: Vec<u32>,
    chat: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    tokens: Vec<u32>,
    logprobs: Vec<f64>,
    argmax: Vec<u32>,
    lead: Vec<f64>,
}

fn oracle(name: &str) -> Oracle {
    let bytes = std::fs::read(folder(name).join("oracle.json")).expect("setup.py wrote it");
    serde_json::from_slice(&bytes).expect("setup.py wrote this form")
}

fn ask(model: &LocalModel, want: Want) -> Answer {
    let request = Request {
        id: RequestId::new("real/parity"),
        to: vec![],
        want,
    };
    let mut answers = model.answer(&[request]);
    answers.pop().expect("one answer").expect("an answer")
}

fn score(model: &LocalModel, prompt: Prompt, continuation: &str) -> filiation_core::ScoredText {
    let continuation = continuation.into();
    match ask(
        model,
        Want::Score {
            prompt,
            continuation,
        },
    ) {
        Answer::Scored(scored) => scored,
        other => panic!("score answered by {other:?}"),
    }
}

fn log_probabilities_agree(model: &LocalModel, oracle: &Oracle) {
    let rows: Vec<&[u32]> = oracle.windows.iter().map(|w| &w.tokens[..]).collect();
    let scored = model.log_probs(&rows);
    let (mut worst, mut positions, mut disagreed) = (0.0_f64, 0, 0);
    for (window, row) in oracle.windows.iter().zip(scored) {
        let row = row.expect("the windows fit the model");
        let best = most_likely(model, &window.tokens);
        assert_eq!(row.len(), window.logprobs.len());
        for (i, here) in row.iter().enumerate() {
            worst = worst.max((here - window.logprobs[i]).abs());
            disagreed += usize::from(window.lead[i] > CLEAR_LEAD && best[i] != window.argmax[i]);
            positions += 1;
        }
    }
    println!(
        "{}: max |Δlogprob| {worst:.2e} nats over {positions} positions",
        model.identity().source
    );
    assert_eq!(positions, 2048);
    assert!(worst <= TOLERANCE, "largest difference {worst}");
    assert_eq!(disagreed, 0, "positions with another most likely token");
}

/// The most likely token after each of `tokens`, the last one left out.
fn most_likely(model: &LocalModel, tokens: &[u32]) -> Vec<u32> {
    let decoder = model.decoder();
    let hidden = decoder
        .hidden(&[tokens], None, &[])
        .expect("the window fits the model");
    let mut best = Vec::new();
    for start in (0..tokens.len() - 1).step_by(128) {
        let rows = 128.min(tokens.len() - 1 - start);
        let states = hidden
            .states
            .narrow(0, start, rows)
            .expect("inside the window");
        let logits = decoder.logits(&states).expect("states of this model");
        let most = logits.argmax(1).and_then(|ids| ids.to_vec1::<u32>());
        best.extend(most.expect("a matrix"));
    }
    best
}

fn tokens_agree(model: &LocalModel, oracle: &Oracle) {
    let scored = score(model, Prompt::Text(String::new()), &oracle.text);
    // The first token has nothing before it and no score: the text's, or the one that begins texts.
    let ids: Vec<u32> = scored.tokens.iter().map(|t| t.id).collect();
    assert_eq!(ids, oracle.ids[1..]);
    let covered: u32 = scored.tokens.iter().map(|t| t.end - t.start).sum();
    assert_eq!(covered, scored.bytes);
}

fn greedy_agrees(model: &LocalModel, oracle: &Oracle) {
    let answer = ask(
        model,
        Want::Generate {
            prompt: Prompt::Text(oracle.prompt.clone()),
            max_tokens: oracle.greedy.len() as u32,
            sampling: Sampling::GREEDY,
        },
    );
    let Answer::Completion(completion) = answer else {
        panic!("generate answered by {answer:?}");
    };
    assert_eq!(completion.tokens, oracle.greedy);
}

fn agree(model: &str, with: &str) {
    let oracle = oracle(with);
    let model = open(model);
    tokens_agree(&model, &oracle);
    log_probabilities_agree(&model, &oracle);
    greedy_agrees(&model, &oracle);
}

#[test]
fn smollm2_agrees_with_transformers() {
    agree("smollm2", "smollm2");
}

#[test]
fn fp8_with_scales_agrees_with_transformers() {
    agree("smollm2-fp8", "smollm2-fp8");
}

#[test]
fn four_bits_by_gptq_and_awq_agree_with_transformers() {
    agree("smollm2-gptq", "smollm2-gptq");
    agree("smollm2-awq", "smollm2-awq");
}

#[test]
fn gemma3_agrees_with_transformers() {
    agree("gemma3", "gemma3");
}

#[test]
fn smollm2_from_gguf_agrees_with_transformers() {
    agree("smollm2-gguf", "smollm2");
}

#[test]
fn gemma3_from_gguf_agrees_with_transformers() {
    agree("gemma3-gguf", "gemma3");
}

#[test]
fn the_chat_template_renders_as_in_transformers() {
    let oracle = oracle("smollm2");
    let rendered = oracle.chat.expect("SmolLM2 has a chat template");
    let turns = vec![Message {
        role: "user".into(),
        content: "Name three colours.".into(),
    }];
    let answer = "Red, green and blue.";
    for name in ["smollm2", "smollm2-gguf"] {
        let model = open(name);
        let chat = score(&model, Prompt::Chat(turns.clone()), answer);
        assert_eq!(chat, score(&model, Prompt::Text(rendered.clone()), answer));
    }
}
