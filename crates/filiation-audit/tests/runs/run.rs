use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use filiation_audit::{AuditError, Run, measure, report, weigh};
use filiation_core::Role;

use crate::birds::Bench;

#[test]
fn models_come_one_at_a_time_teachers_first() {
    let bench = Bench::new();
    bench.run("run").expect("runs");
    let opened = bench.birds.opened.borrow();
    assert_eq!(opened[..3], ["t1", "t2", "t3"]);
    for (name, role) in [
        ("s", Role::Suspect),
        ("b", Role::Base),
        ("c", Role::Control),
    ] {
        let times = opened.iter().filter(|o| *o == name).count();
        assert_eq!(times, 1, "{} opened {times} times", role.as_str());
    }
}

#[test]
fn nothing_is_asked_twice() {
    let bench = Bench::new();
    let first = bench.run("run").expect("runs");
    let asked = bench.birds.asked.load(Ordering::SeqCst);
    let opened = bench.birds.opened.borrow().len();
    assert!(asked > 0);
    assert_eq!(bench.run("run").expect("runs again"), first);
    assert_eq!(bench.birds.asked.load(Ordering::SeqCst), asked);
    assert_eq!(bench.birds.opened.borrow().len(), opened);
}

#[test]
fn a_model_that_fails_costs_nothing_collected() {
    let bench = Bench::new();
    let whole = bench.run("whole").expect("runs");
    let asked = bench.birds.asked.swap(0, Ordering::SeqCst);

    bench.birds.refuse.set(Some("s"));
    let error = bench.run("broken").expect_err("the suspect fails");
    assert_eq!(error.to_string(), "suspect `s` cannot be used");
    assert!(
        bench.birds.asked.load(Ordering::SeqCst) > 0,
        "teachers were asked"
    );
    bench.birds.refuse.set(None);
    assert_eq!(bench.run("broken").expect("goes on"), whole);
    assert_eq!(bench.birds.asked.load(Ordering::SeqCst), asked);
}

#[test]
fn a_question_that_a_model_does_not_answer_is_data() {
    let bench = Bench::new();
    let report = bench.run("run").expect("runs");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    let choice = &report["probes"][1];
    assert!(
        choice["method"]
            .as_str()
            .expect("a method")
            .starts_with("choice-priors/")
    );
    let failed: BTreeMap<_, _> = choice["inputs"]
        .as_array()
        .expect("inputs")
        .iter()
        .map(|i| (i["party"].as_str().expect("a name"), i["failed"].as_u64()))
        .collect();
    assert_eq!(failed["t2"], Some(40));
    assert_eq!(failed["t1"], Some(0));
}

/// Runs at two temperatures are two cases, and their methods tell them apart.
#[test]
fn another_temperature_is_another_case() {
    let bench = Bench::new();
    let warm = bench.run("run").expect("runs");
    let file = bench.path().join("case.toml");
    let case = std::fs::read_to_string(&file).expect("reads");
    std::fs::write(&file, format!("temperature = 0.5\n{case}")).expect("writes");
    let error = bench.run("run").expect_err("other temperature");
    assert!(matches!(error, AuditError::OtherCase { .. }), "{error}");
    let cool = bench.run("cool").expect("runs");
    let says = |report: &[u8], text: &str| String::from_utf8_lossy(report).contains(text);
    assert!(says(&warm, ";temperature=1;") && !says(&warm, ";temperature=0.5;"));
    assert!(says(&cool, ";temperature=0.5;") && !says(&cool, ";temperature=1;"));
}

#[test]
fn a_model_that_changed_is_refused() {
    let bench = Bench::new();
    bench.run("run").expect("runs");
    bench.birds.other.set(true);
    let error = bench.run("run").expect_err("other digests");
    assert!(matches!(error, AuditError::OtherModel { .. }), "{error}");
}

#[test]
fn a_run_in_use_is_refused() {
    let bench = Bench::new();
    bench.run("run").expect("runs");
    let _held = Run::open(&bench.path().join("run")).expect("opens");
    let error = Run::open(&bench.path().join("run")).err().expect("locked");
    assert!(matches!(error, AuditError::Locked { .. }), "{error}");
}

#[test]
fn a_run_opens_without_its_models() {
    let bench = Bench::new();
    let whole = bench.run("run").expect("runs");
    std::fs::remove_file(bench.path().join("suite.jsonl")).expect("removes");
    let run = Run::open(&bench.path().join("run")).expect("opens");
    measure(&run).expect("measures");
    let error = report(&run).expect_err("not weighed");
    assert_eq!(error.hint().as_deref(), Some("run `filiation weigh` first"));
    weigh(&run).expect("weighs");
    assert_eq!(report(&run).expect("reports").to_json(), whole);
}
