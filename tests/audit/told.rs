//! What an audit was asked, and what it did not do, is in its report.

use std::fs;

use crate::tiny::{Bench, stderr};

fn give_templates(bench: &Bench, source: &str) {
    for model in ["suspect", "base", "t1", "t2"] {
        fs::write(bench.path(model).join("chat_template.jinja"), source).expect("writes");
    }
}

/// As one line.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn raw_goes_on_past_a_template_that_fails() {
    let bench = Bench::new(20);
    give_templates(&bench, "{{ messages[0].content }}");
    bench.stdout(&["audit", "case.toml", "--run", "chat"]);
    let report =
        |run: &str| fs::read_to_string(bench.path(run).join("report.json")).expect("reads");
    assert!(report("chat").contains(";form=chat;"));

    fs::write(
        bench.path("t1/chat_template.jinja"),
        "{{ raise_exception('no') }}",
    )
    .expect("writes");
    let refused = bench.run(&["audit", "case.toml", "--run", "run"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    let told = bench.stdout(&["audit", "case.toml", "--run", "run", "--raw"]);
    assert!(unwrapped(&told).contains("prompts as plain text"), "{told}");
    assert!(report("run").contains(";form=text;") && report("run").contains("\"raw\": true"));
    let case = fs::read_to_string(bench.path("run/case.toml")).expect("reads");
    assert!(case.contains("raw = true"), "{case}");
    // The steps after collecting plan the same.
    bench.stdout(&["measure", "run"]);
    bench.stdout(&["weigh", "run"]);
    assert_eq!(bench.stdout(&["report", "run"]), told);
}

#[test]
fn a_probe_that_was_not_run_is_told_with_why() {
    let bench = Bench::new(20);
    let case = fs::read_to_string(bench.path("case.toml")).expect("reads");
    let all: Vec<&str> = case.lines().filter(|l| !l.starts_with("probes")).collect();
    let all = all.join("\n").replace(", \"choices.jsonl\"", "");
    fs::write(bench.path("all.toml"), &all).expect("writes");
    let told = bench.stdout(&["audit", "all.toml", "--run", "all"]);
    assert!(
        unwrapped(&told)
            .contains("robe `choice-priors` was not run: the suites hold no choice cell"),
        "{told}"
    );
    // From the run directory alone, the same.
    assert_eq!(bench.stdout(&["report", "all"]), told);
    let told = bench.stdout(&["audit", "case.toml", "--run", "one", "--probe", "tlu-did"]);
    assert!(
        unwrapped(&told).contains("robe `weight-lineage` was not run: the case leaves it out"),
        "{told}"
    );
}
