//! What a CUDA card computes against what the processor computes. Needs a card, and fails without one.
//!
//! ```text
//! tests/cuda/setup.sh && . target/cuda/env     # where no toolkit of CUDA 13.0 is installed
//! FILIATION_REAL=FOLDER cargo test --release -p filiation-cli --features cuda --test cuda
//! ```
//! `FOLDER` is what `tests/real/setup.py` makes; `-- --skip whole` leaves those models out.

mod pair;

use std::path::{Path, PathBuf};

use filiation_checkpoint::Limits;
use filiation_core::{Answer, Model, Prompt, Request, RequestId, Sampling, Want};
use filiation_model::{DeviceChoice, LocalModel};
use serde_json::Value;

use pair::{Pair, TOLERANCE};

const CARD: DeviceChoice = DeviceChoice::Cuda(0);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder that `tests/real/setup.py` made.
fn whole(name: &str) -> PathBuf {
    let made = std::env::var_os("FILIATION_REAL")
        .expect("FILIATION_REAL names the folder that tests/real/setup.py made");
    PathBuf::from(made).join(name)
}

fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).expect("a file that is there");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("token ids")
}

#[test]
fn every_architecture_computes_the_same() {
    let folder = root().join("crates/filiation-model/tests/parity");
    let entries = std::fs::read_dir(folder).expect("the folder of goldens");
    let mut cases: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    cases.retain(|case| case.join("golden.json").exists());
    cases.sort();
    assert!(cases.len() >= 14, "a case was lost");
    for case in cases {
        let tokens = ids(&json(&case.join("golden.json"))["tokens"]);
        let (pair, half) = (Pair::open(&case), tokens.len() / 2);
        pair.agree(&[&tokens, &tokens[half..], &tokens[..1]]);
        pair.steps_agree(&tokens);
    }
}

#[test]
fn a_demonstration_model_in_bf16_computes_the_same() {
    let pair = Pair::open(&root().join("corpora/demo/base-a"));
    let long: Vec<u32> = (0..90).map(|i| i * 11 % 1024).collect();
    pair.agree(&[&long, &long[40..], &long[7..8]]);
    pair.steps_agree(&long);
}

#[test]
fn whole_models_compute_the_same() {
    for (model, oracle) in [
        ("smollm2", "smollm2"),
        ("smollm2-bf16", "smollm2"),
        ("gemma3", "gemma3"),
    ] {
        let oracle = json(&whole(oracle).join("oracle.json"));
        // Longer than Gemma's window of 512.
        let tokens = ids(&oracle["windows"][0]["tokens"]);
        let pair = Pair::open(&whole(model));
        pair.agree(&[&tokens[..700], &tokens[700..]]);
        pair.steps_agree(&tokens[..64]);
    }
}

/// Scores, choices and completions of one model: what an audit asks.
fn answers(model: &LocalModel, prompts: &[&str]) -> Vec<Answer> {
    let wants = prompts.iter().flat_map(|prompt| {
        let prompt = || Prompt::Text((*prompt).to_owned());
        [
            Want::Score {
                prompt: prompt(),
                continuation: " and what follows it".into(),
            },
            Want::TopK {
                prompt: prompt(),
                k: 1,
            },
            Want::Generate {
                prompt: prompt(),
                max_tokens: 8,
                sampling: Sampling::GREEDY,
            },
        ]
    });
    let requests: Vec<Request> = wants
        .enumerate()
        .map(|(i, want)| Request {
            id: RequestId::new(i.to_string()),
            to: vec![],
            want,
        })
        .collect();
    let answers = model.answer(&requests).into_iter();
    answers.map(|answer| answer.expect("an answer")).collect()
}

#[test]
fn an_audit_gets_the_same_answers() {
    let folder = root().join("corpora/demo/teacher-1");
    let open = |choice| {
        let model = LocalModel::open(&folder, choice, &Limits::default());
        model.expect("this test needs a CUDA card")
    };
    let prompts = ["a small bird", "the act of", "of the north", "any of"];
    let (here, there) = (
        answers(&open(DeviceChoice::Cpu), &prompts),
        answers(&open(CARD), &prompts),
    );
    for pair in here.iter().zip(&there) {
        match pair {
            (Answer::Scored(here), Answer::Scored(there)) => {
                let off = (here.total() - there.total()).abs();
                assert_eq!(here.bytes, there.bytes);
                assert!(
                    off <= TOLERANCE * here.tokens.len() as f64,
                    "off by {off:e}"
                );
            }
            (Answer::TopK(here), Answer::TopK(there)) => {
                assert_eq!(here.tokens[0].id, there.tokens[0].id);
            }
            (here, there) => assert_eq!(here, there),
        }
    }
}
