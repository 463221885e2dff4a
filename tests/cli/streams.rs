//! What goes where, and with which exit code.

use serde_json::Value;

use crate::tiny::{Bench, stderr};

#[test]
fn an_audit_ranks_the_teachers_on_standard_output() {
    let bench = Bench::new(30);
    let output = bench.run(&["audit", "case.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("Audit of `suspect`\n"), "{text}");
    for said in [
        "Candidate teachers",
        "t1",
        "t2",
        "no likelihood ratio can be stated",
        "Ha:",
    ] {
        assert!(
            text.to_lowercase().contains(&said.to_lowercase()),
            "{said} is not in\n{text}"
        );
    }
    assert!(!text.contains('\u{1b}'), "colour on standard output");
    let told = stderr(&output);
    assert!(told.contains("teacher t1: answers"), "{told}");
    assert!(told.contains("run directory: runs/tiny"), "{told}");
    assert!(bench.path("runs/tiny/report.json").is_file());
}

#[test]
fn a_finished_run_prints_its_report_again_and_asks_nothing() {
    let bench = Bench::new(20);
    let first = bench.run(&["audit", "case.toml"]);
    let second = bench.run(&["audit", "case.toml"]);
    assert_eq!(first.stdout, second.stdout);
    assert!(!stderr(&second).contains("answers"), "{}", stderr(&second));
}

#[test]
fn flags_make_the_same_case_as_a_file() {
    let bench = Bench::new(20);
    let report = bench.stdout(&["audit", "case.toml", "--json"]);
    let flags = [
        "audit",
        "suspect",
        "--base",
        "base",
        "--teacher",
        "t1",
        "--teacher",
        "t2=t2",
        "--probe",
        "weight-lineage",
        "--probe",
        "tlu-did",
        "--probe",
        "choice-priors",
        "--suite",
        "openings.jsonl",
        "--suite",
        "choices.jsonl",
        "--max-tokens",
        "12",
        "--seed",
        "5",
        "--run",
        "flags",
        "--json",
    ];
    let by_flags = bench.stdout(&flags);
    let mut expected: Value = serde_json::from_str(&report).expect("JSON");
    expected["case"]["name"] = "suspect".into();
    assert_eq!(
        serde_json::from_str::<Value>(&by_flags).expect("JSON"),
        expected
    );
}

#[test]
fn a_report_has_three_forms() {
    let bench = Bench::new(20);
    let text = bench.stdout(&["audit", "case.toml", "--run", "run"]);
    assert_eq!(bench.stdout(&["report", "run"]), text);
    let markdown = bench.stdout(&["report", "run", "--format", "markdown"]);
    assert!(markdown.starts_with("# Audit of `suspect`"), "{markdown}");
    let json = bench.stdout(&["report", "run", "--format", "json"]);
    assert_eq!(bench.stdout(&["report", "run", "--json"]), json);
    let stored = std::fs::read_to_string(bench.path("run/report.json")).expect("reads");
    assert_eq!(json, stored);
}

#[test]
fn inspect_lineage_and_schema_speak_json() {
    let bench = Bench::new(1);
    for arguments in [
        &["inspect", "suspect", "--json"][..],
        &["lineage", "suspect", "base", "--json"],
        &["schema"],
    ] {
        let text = bench.stdout(arguments);
        assert!(
            serde_json::from_str::<Value>(&text).is_ok(),
            "{arguments:?}: {text}"
        );
    }
    let text = bench.stdout(&["inspect", "suspect"]);
    assert!(
        text.contains("LlamaForCausalLM") && text.contains("model.safetensors"),
        "{text}"
    );
}

#[test]
fn usage_is_exit_code_two() {
    let bench = Bench::new(1);
    for arguments in [
        &["audit"][..],
        &["audit", "suspect"],
        &["audit", "case.toml", "--teacher", "t1"],
        &["audit", "case.toml", "--device", "abacus"],
        &["audit", "case.toml", "--max-memory", "much"],
        &["verdict"],
    ] {
        let output = bench.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(
            stderr(&output).starts_with("error: "),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}
