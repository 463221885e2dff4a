//! Teachers behind llama.cpp's own server.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use filiation_checkpoint::Limits;
use filiation_core::{Answer, Model, Prompt, Request, RequestId, Role, Sampling, Want};
use filiation_model::{DeviceChoice, LocalModel};
use filiation_teacher::{
    ApiModel, Call, Client, Complete, Completed, Endpoint, Input, Mode, Options, Reply, Store,
};
use serde_json::Value;

use crate::folder;
use crate::peer::{Peer, gguf};

fn complete(client: &Client, complete: Complete) -> Completed {
    match client.ask(&complete.into()).expect("answers").reply {
        Reply::Completed(completed) => completed,
        other => panic!("{other:?}"),
    }
}

fn pieces(client: &Client, text: &str) -> Vec<u32> {
    let tokenize = Call::Tokenize {
        text: text.into(),
        begin: true,
        special: false,
    };
    match client.ask(&tokenize).expect("answers").reply {
        Reply::Pieces(pieces) => pieces.iter().map(|p| p.id).collect(),
        other => panic!("{other:?}"),
    }
}

fn request(n: usize, want: Want) -> Request {
    Request {
        id: RequestId::new(n.to_string()),
        to: vec![Role::Teacher],
        want,
    }
}

const TEXTS: [(&str, &str); 4] = [
    (
        "The capital of France",
        " is Paris, and that of Italy is Rome.",
    ),
    ("Water boils at", " 100 degrees Celsius at sea level."),
    (
        "Once upon a time",
        " there was a small house in the forest — très petite.",
    ),
    ("def add(a, b):", "\n    return a + b\n"),
];

#[test]
fn a_forced_draw_reads_the_distribution_that_it_does_not_change() {
    let peer = Peer::start("smollm2");
    let folder = tempfile::tempdir().expect("a folder");
    let client = peer.client("smollm2", folder.path());
    let ids = pieces(&client, "The capital of France is Paris.");
    assert!(ids.len() >= 6, "{ids:?}");
    for i in 1..ids.len() {
        let prefix = || Input::Tokens(ids[..i].to_vec());
        let full = complete(
            &client,
            Complete {
                top: Some(49_152),
                ..Complete::of(prefix(), 1).greedy()
            },
        );
        let drawn = complete(
            &client,
            Complete {
                top: Some(1),
                draw: Some(ids[i]),
                ..Complete::of(prefix(), 1).greedy()
            },
        );
        let top = &full.tokens[0].top;
        assert_eq!(top.len(), 49_152);
        let sum: f64 = top.iter().map(|a| a.logprob.exp()).sum();
        assert!((sum - 1.0).abs() < 5e-4, "sums to {sum}");
        let there = top
            .iter()
            .find(|a| a.id == Some(ids[i]))
            .expect("every token")
            .logprob;
        let forced = drawn.tokens[0].logprob.expect("scored");
        assert_eq!(drawn.tokens[0].id, Some(ids[i]));
        assert!(
            (there - forced).abs() < 0.05,
            "token {i}: {there} in the distribution, {forced} forced"
        );
    }
}

// Absolute differences of log-probabilities, token by token, between a server and the same file here.
fn differences(name: &str) -> Vec<f64> {
    let peer = Peer::start(name);
    let scratch = tempfile::tempdir().expect("a folder");
    let model = ApiModel::new(peer.client(name, scratch.path()));
    let here = LocalModel::open(&gguf(name), DeviceChoice::Cpu, &Limits::default());
    let here = here.expect("a model");
    let mut requests = Vec::new();
    for (prompt, continuation) in TEXTS {
        // An answer begins no word: a blank before it may become one token with the turn's own newline.
        let (text, answer) = (continuation, continuation.trim_start());
        for (prompt, continuation) in [
            (Prompt::Text(prompt.into()), text),
            (Prompt::user(prompt), answer),
        ] {
            requests.push(request(
                requests.len(),
                Want::Score {
                    prompt,
                    continuation: continuation.into(),
                },
            ));
        }
    }
    let mut differences = Vec::new();
    for (there, here) in model
        .answer(&requests)
        .into_iter()
        .zip(here.answer(&requests))
    {
        let (Ok(Answer::Scored(there)), Ok(Answer::Scored(here))) = (&there, &here) else {
            panic!("{there:?} and {here:?}");
        };
        assert_eq!(there.bytes, here.bytes);
        let spans = |s: &filiation_core::ScoredText| {
            s.tokens
                .iter()
                .map(|t| (t.id, t.start, t.end))
                .collect::<Vec<_>>()
        };
        assert_eq!(spans(there), spans(here), "the same tokens");
        let pairs = there.tokens.iter().zip(&here.tokens);
        differences.extend(pairs.map(|(a, b)| (a.logprob - b.logprob).abs()));
    }
    differences
}

/// The same tokens, and the noise between the engines: of a file in 4 bits llama.cpp rounds activations to
/// 8 bits, and we do not.
#[test]
fn a_text_has_the_same_tokens_over_http_and_here() {
    let all = differences("smollm2");
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let largest = all.iter().copied().fold(0.0, f64::max);
    println!(
        "noise floor between engines, {} tokens: mean {mean:.4}, largest {largest:.4} nats a token",
        all.len()
    );
    assert!(all.len() > 50 && largest.is_finite(), "{all:?}");
}

#[test]
fn every_kind_of_question_is_answered_and_replayed_without_the_server() {
    let peer = Peer::start("smollm2");
    let scratch = tempfile::tempdir().expect("a folder");
    let sampling = |seed| Sampling {
        temperature: 1.0,
        top_p: 1.0,
        seed,
    };
    let generate = |prompt: Prompt, seed| Want::Generate {
        prompt,
        max_tokens: 12,
        sampling: sampling(seed),
    };
    let requests: Vec<Request> = [
        generate(Prompt::user("Name one colour."), 1),
        generate(Prompt::user("Name one colour."), 2),
        generate(Prompt::Text("The sky is".into()), 3),
        Want::TopK {
            prompt: Prompt::user("Name one colour."),
            k: 20,
        },
        Want::TopK {
            prompt: Prompt::Text("The sky is".into()),
            k: 5,
        },
        Want::Choice {
            prompt: Prompt::Text("The sky is".into()),
            options: vec![" blue".into(), " green".into()],
        },
    ]
    .into_iter()
    .enumerate()
    .map(|(n, want)| request(n, want))
    .collect();
    let endpoint = Endpoint::new("llamacpp:smollm2", Some(&peer.url)).expect("an endpoint");
    let answers = {
        let model = ApiModel::new(peer.client("smollm2", scratch.path()));
        assert!(requests.iter().all(|r| model.supports(&r.want)));
        model.answer(&requests)
    };
    let Ok(Answer::Choice(choice)) = &answers[5] else {
        panic!("{:?}", answers[5])
    };
    assert!(choice.logprobs[0] > choice.logprobs[1], "{choice:?}");
    let Ok(Answer::TopK(top)) = &answers[3] else {
        panic!("{:?}", answers[3])
    };
    assert_eq!(top.tokens.len(), 20);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    drop(peer);
    let store = Arc::new(Store::read(scratch.path()).expect("opens"));
    let client = Client::new(endpoint, store, Mode::Replay, Options::default()).expect("starts");
    assert_eq!(ApiModel::new(client).answer(&requests), answers);
}

/// SmolLM2 against itself and against Gemma, both over HTTP.
#[test]
fn an_audit_over_http_ranks_a_model_before_another() {
    let (own, other) = (Peer::start("smollm2"), Peer::start("gemma3"));
    let scratch = tempfile::tempdir().expect("a folder");
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../probes/chat.jsonl");
    let right = r#"authorisation = { basis = "open weights on this machine", by = "the test", date = "2026-02-03" }"#;
    let case = format!(
        "name = \"self\"\nsuspect = {{ name = \"suspect\", path = {:?} }}\nbase = {:?}\nteachers = [\n  {{ name = \"gemma3\", path = \
         \"llamacpp:gemma3\", base_url = {:?}, {right} }},\n  {{ name = \"smollm2\", path = \
         \"llamacpp:smollm2\", base_url = {:?}, {right} }},\n]\nprobes = [\"tlu-did\"]\nsuites = [{:?}]\n\
         max_tokens = 32\nlimit = 60\nseed = 1\n",
        folder("smollm2"),
        folder("smollm2-random"),
        other.url,
        own.url,
        suite
    );
    std::fs::write(scratch.path().join("case.toml"), case).expect("writes");
    let output = Command::new(env!("CARGO_BIN_EXE_filiation"))
        .current_dir(scratch.path())
        .args(["--json", "audit", "case.toml"])
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let ranked = &report["opinion"]["evidence"][0]["ranked"];
    println!("{told}\n{ranked:#}");
    assert_eq!(ranked[0]["candidate"], "smollm2");
    assert_eq!(ranked[1]["candidate"], "gemma3");
    for endpoint in report["endpoints"].as_array().expect("a list") {
        let exchanges = endpoint["exchanges"].as_u64().expect("a number");
        assert!(exchanges <= 300, "{exchanges} exchanges");
    }
}
