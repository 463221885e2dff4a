use std::fs;

use filiation_audit::{AuditError, Run, measure, report, weigh};
use serde_json::Value;

use crate::birds::Bench;

/// A bench whose case stops buying when no lead of 0.5 nats per token can be left: its birds have none.
fn stopping(probes: &str) -> Bench {
    let bench = Bench::new();
    bench.edit_case(|case| {
        let case = case.replace(r#"["tlu-did", "choice-priors"]"#, probes);
        format!("stop_at_e = 1000.0\nstop_below = 0.5\n{case}")
    });
    bench
}

/// How many texts a teacher was asked for.
fn texts(bench: &Bench, run: &str, teacher: &str) -> usize {
    let path = format!("{run}/transcripts/{teacher}/answers.jsonl");
    let text = fs::read_to_string(bench.path().join(path)).expect("reads");
    text.lines().filter(|l| l.contains("\"generate\"")).count()
}

fn json(bench: &Bench, path: &str) -> Value {
    let bytes = fs::read(bench.path().join(path)).expect("reads");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn what_is_not_needed_is_not_bought() {
    let bench = stopping(r#"["tlu-did", "choice-priors"]"#);
    let whole = bench.run("run").expect("runs");
    for teacher in ["t1", "t2", "t3"] {
        assert_eq!(texts(&bench, "run", teacher), 32, "{teacher}");
    }
    let stream = json(&bench, "run/streams/tlu-did.json");
    assert_eq!(stream["order"].as_array().expect("a list").len(), 40);
    let looks = stream["looks"].as_array().expect("a list");
    assert_eq!(looks.len(), 1);
    assert_eq!(looks[0]["watch"]["stop"], "futility");
    let report_of: Value = serde_json::from_slice(&whole).expect("JSON");
    let statistic = &report_of["probes"][0]["outcome"]["statistic"];
    assert_eq!(statistic["details"]["prompts-bought"], 32.0);
    let method = report_of["probes"][0]["method"].as_str().expect("a method");
    assert!(
        method.contains(";stop_at_e=1000;stop_below=0.5;"),
        "{method}"
    );
    let listed = json(&bench, "run/manifest.json").to_string();
    assert!(listed.contains("streams/tlu-did.json"));

    let run = Run::open(&bench.path().join("run")).expect("opens");
    measure(&run).expect("measures");
    weigh(&run).expect("weighs");
    assert!(report(&run).expect("reports").to_json() == whole);
}

#[test]
fn a_run_that_was_stopped_buys_the_same() {
    let bench = stopping(r#"["tlu-did", "choice-priors"]"#);
    let whole = bench.run("whole").expect("runs");
    // The birds are opened anew for what is bought; one of them fails at each place in turn.
    for bird in ["t2", "s", "b", "c"] {
        let name = format!("broken-{bird}");
        bench.birds.fail_at.set(Some((bird, 2)));
        bench
            .run(&name)
            .expect_err("one fails while texts are bought");
        let folder = bench.path().join(&name);
        if folder.join("transcripts/s/answers.jsonl").exists() {
            let run = Run::open(&folder).expect("opens");
            let error = measure(&run).expect_err("not bought");
            assert!(matches!(error, AuditError::Incomplete { .. }), "{error}");
        }
        bench.birds.fail_at.set(None);
        assert!(
            bench.run(&name).is_ok_and(|report| report == whole),
            "{bird}"
        );
    }
}

#[test]
fn what_a_fixed_budget_asks_for_is_bought_whole() {
    let bench = stopping(r#"["tlu-did", "reversed-typicality"]"#);
    bench.run("run").expect("runs");
    assert_eq!(texts(&bench, "run", "t1"), 40);
}

#[test]
fn a_recording_must_hold_all_that_may_be_bought() {
    let bench = Bench::new();
    bench.record().expect("records");
    bench.edit_case(|case| {
        let case = case.replace(r#"["t1", "#, r#"["packs/t1.pack", "#);
        format!("stop_at_e = 1000.0\n{case}")
    });
    bench.run("run").expect("all is there");
    bench.edit_case(|case| format!("max_tokens = 9\n{case}"));
    let error = bench.run("other").expect_err("other questions");
    assert!(
        matches!(error, AuditError::NotRecorded { lacking: 40, .. }),
        "{error}"
    );
}

#[test]
fn a_smallest_lead_without_a_goal_is_refused() {
    let bench = Bench::new();
    bench.edit_case(|case| format!("stop_below = 0.5\n{case}"));
    let error = bench.run("run").expect_err("no goal").to_string();
    assert!(
        error.contains("`stop_below`") && error.contains("`stop_at_e`"),
        "{error}"
    );
    bench.edit_case(|case| format!("stop_at_e = 0.5\n{case}"));
    assert!(bench.run("run").is_err());
}
