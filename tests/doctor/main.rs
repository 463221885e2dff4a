//! `filiation teacher doctor`: every fault that servers were seen to have is found and named, and a sound
//! server has none.

mod toy;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use toy::{Fault, Toy};

fn doctor(folder: &Path, provider: &str, url: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_filiation"))
        .current_dir(folder)
        .env_remove("FILIATION_STORE")
        .args([
            "--json",
            "teacher",
            "doctor",
            &format!("{provider}:toy"),
            "--base-url",
            url,
        ])
        .args(more)
        .output()
        .expect("runs")
}

fn parsed(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn examined(fault: Fault, provider: &str) -> (String, Vec<String>, Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let toy = Toy::serve(fault, 1);
    let told = parsed(&doctor(folder.path(), provider, &toy.url(), &[]));
    let finding = &told["examination"]["finding"];
    let faults = finding["faults"].as_array().expect("a list");
    let names = faults
        .iter()
        .map(|f| f["name"].as_str().expect("text").to_owned());
    let tier = finding["tier"].as_str().expect("text").to_owned();
    (tier, names.collect(), told)
}

#[test]
fn a_sound_server_has_no_fault_and_proves_its_tier() {
    for (provider, tier) in [("together", "teacher-forced"), ("openai", "top-of-output")] {
        let (found, faults, told) = examined(Fault::None, provider);
        assert_eq!((found.as_str(), faults), (tier, Vec::new()), "{told:#}");
        let checks = told["examination"]["checks"].as_array().expect("a list");
        assert!(checks.iter().all(|c| c["verdict"] == "sound"), "{told:#}");
    }
}

#[test]
fn every_fault_is_named_and_takes_the_tier_that_it_spoils() {
    const T0: &str = "samples";
    const T1: &str = "top-of-output";
    const T2: &str = "teacher-forced";
    for (fault, name, tier) in [
        (Fault::OffByOne, "prompt-logprobs-off-by-one", T1),
        (Fault::OffByMinusOne, "prompt-logprobs-off-by-minus-one", T1),
        (Fault::EchoIgnored, "echo-silently-ignored", T1),
        (Fault::OtherTemperature, "prompt-logprobs-differ", T1),
        (Fault::NoLogprobs, "logprobs-silently-ignored", T0),
        (Fault::AboveOne, "probabilities-above-one", T0),
        (Fault::SecondBest, "greedy-is-not-likeliest", T0),
        (Fault::OtherTokens, "tokens-do-not-spell-text", T0),
        (Fault::NotFinite, "logprobs-refused", T0),
        (Fault::SeedIgnored, "seed-ignored", T2),
        (Fault::Kept, "answers-do-not-vary", T2),
        (Fault::GreedyVaries, "greedy-varies", T2),
        (Fault::OtherModel, "other-model", T2),
        (Fault::ModelSwitches, "model-switches", T0),
        (Fault::FingerprintDrifts, "fingerprint-drifts", T2),
        (Fault::TooLong, "max-tokens-ignored", T2),
    ] {
        let (found, faults, told) = examined(fault, "together");
        assert_eq!(faults, [name], "{fault:?}: {told:#}");
        assert_eq!(found, tier, "{fault:?}: {told:#}");
    }
}

#[test]
fn a_page_for_people_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let toy = Toy::serve(Fault::Html, 1);
    let output = doctor(folder.path(), "together", &toy.url(), &["--attempts", "2"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && told.contains("HTML came instead of JSON"),
        "{told}"
    );
}

#[test]
fn what_changed_since_the_last_time_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let before = Toy::serve(Fault::None, 1);
    let told = parsed(&doctor(folder.path(), "together", &before.url(), &[]));
    assert!(!told.to_string().contains("\"drift\""), "{told:#}");
    before.become_another(Fault::OtherModel, 1);
    let told = parsed(&doctor(folder.path(), "together", &before.url(), &[]));
    let faults = told["examination"]["finding"]["faults"].to_string();
    assert!(faults.contains("model-changed"), "{told:#}");
}

/// A pack of the toy, and the toy again: the same one, and one with other weights.
#[test]
fn another_model_behind_the_name_is_told_from_the_one_that_was_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |i: usize| {
        format!(
            r#"{{"id":"o-{i:02}","text":"The {i}th","domain":"opening","language":"en","licence":"Apache-2.0"}}"#
        )
    };
    let lines: Vec<String> = (0..40).map(line).collect();
    std::fs::write(folder.path().join("suite.jsonl"), lines.join("\n")).expect("writes");
    let toy = Toy::serve(Fault::None, 1);
    let output = Command::new(env!("CARGO_BIN_EXE_filiation"))
        .current_dir(folder.path())
        .env_remove("FILIATION_STORE")
        .args([
            "collect",
            "together:toy",
            "--base-url",
            &toy.url(),
            "--suite",
            "suite.jsonl",
        ])
        .args([
            "--probe",
            "tlu-did",
            "--samples",
            "12",
            "--max-tokens",
            "12",
            "--out",
            "toy.pack",
        ])
        .args([
            "--basis",
            "a server of this test",
            "--authorised-by",
            "the test",
        ])
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("toy: T2 (teacher-forced log-probabilities) by test"),
        "{told}"
    );
    let against = || {
        let more = ["--against", "toy.pack", "--samples", "12"];
        let told = parsed(&doctor(folder.path(), "together", &toy.url(), &more));
        let texts = &told["against"]["found"]["texts"];
        assert_eq!(texts["prompts"], 25, "{told:#}");
        texts["log10_p"].as_f64().expect("a number")
    };
    let same = against();
    toy.become_another(Fault::None, 2);
    let other = against();
    // By chance the first is below 0.001 once in a thousand; weights and seeds are fixed.
    assert!(same > -3.0, "the same model: log10 p {same}");
    assert!(other <= -3.0, "another: log10 p {other}");
}
