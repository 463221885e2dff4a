//! The noise between two engines with the same weights, as the null of "the same model".

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::peer::{Peer, gguf};

/// An e-value at which two models are told apart, log10.
const ENOUGH: f64 = 3.0;

fn filiation(scratch: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_filiation"));
    let output = command
        .current_dir(scratch)
        .env_remove("FILIATION_STORE")
        .arg("--json")
        .args(arguments)
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

// Choices of SmolLM2, computed here: of half of the suite, to measure by, and of the other half.
fn record(scratch: &Path) -> [&'static str; 2] {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../probes/choices.jsonl");
    let suite = std::fs::read_to_string(suite).expect("a suite");
    let model = gguf("smollm2");
    ["even.pack", "odd.pack"].map(|pack| {
        let odd = usize::from(pack == "odd.pack");
        let lines: Vec<&str> = suite.lines().skip(odd).step_by(2).collect();
        let path = scratch.join(pack).with_extension("jsonl");
        std::fs::write(&path, lines.join("\n")).expect("writes");
        filiation(
            scratch,
            &[
                "collect",
                model.to_str().expect("UTF-8"),
                "--probe",
                "choice-priors",
                "--suite",
                path.to_str().expect("UTF-8"),
                "--out",
                pack,
            ],
        );
        pack
    })
}

fn against(scratch: &Path, name: &str, peer: &Peer, pack: &str, noise: f64) -> Value {
    let noise = noise.to_string();
    let told = filiation(
        scratch,
        &[
            "teacher",
            "doctor",
            &format!("llamacpp:{name}"),
            "--base-url",
            &peer.url,
            "--against",
            pack,
            "--noise",
            &noise,
            "--choices",
            "0",
            "--concurrency",
            "2",
        ],
    );
    let found = told["against"]["found"].clone();
    println!("{name} against {pack}, noise {noise}: {found}");
    found
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn the_noise_between_engines_is_the_null_of_the_same_model() {
    let scratch = tempfile::tempdir().expect("a folder");
    let [even, odd] = record(scratch.path());
    let (own, other) = (Peer::start("smollm2"), Peer::start("gemma3"));
    let measured = against(scratch.path(), "smollm2", &own, even, 0.1);
    let noise = number(&measured["logprobs"]["upper"]);
    let same = against(scratch.path(), "smollm2", &own, odd, noise);
    let another = against(scratch.path(), "gemma3", &other, odd, noise);
    assert!(number(&same["logprobs"]["log10_best"]) < ENOUGH, "{same:#}");
    assert!(
        number(&another["logprobs"]["log10_e"]) >= ENOUGH,
        "{another:#}"
    );
}
