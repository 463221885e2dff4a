//! Everything after the transcripts is done again without the models, to the same bytes.

use std::fs;

use crate::tiny::{Bench, stderr};

#[test]
fn the_steps_after_collecting_need_no_model() {
    let bench = Bench::new(20);
    let told = bench.stdout(&["audit", "case.toml", "--run", "run"]);
    let root = bench.path("run");
    let report = fs::read(root.join("report.json")).expect("reads");
    let manifest = fs::read(root.join("manifest.json")).expect("reads");
    for model in ["suspect", "base", "t1", "t2"] {
        fs::remove_dir_all(bench.path(model)).expect("takes the model away");
    }
    fs::remove_dir_all(root.join("evidence")).expect("takes the evidence away");
    for file in ["report.json", "manifest.json"] {
        fs::remove_file(root.join(file)).expect("takes the report away");
    }
    let early = bench.run(&["report", "run"]);
    assert_eq!(early.status.code(), Some(1));
    assert!(
        stderr(&early).contains("hint: run `filiation measure` first"),
        "{}",
        stderr(&early)
    );

    bench.stdout(&["measure", "run"]);
    bench.stdout(&["weigh", "run"]);
    assert_eq!(bench.stdout(&["report", "run"]), told);
    assert!(fs::read(root.join("report.json")).expect("reads") == report);
    assert!(fs::read(root.join("manifest.json")).expect("reads") == manifest);
}

#[test]
fn two_runs_of_one_case_are_the_same_report_anywhere() {
    let bench = Bench::new(20);
    bench.stdout(&["audit", "case.toml", "--run", "here"]);
    bench
        .command(&["audit", "case.toml", "--run", "there/deep"])
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .expect("filiation starts");
    let read = |run: &str| fs::read_to_string(bench.path(run).join("report.json")).expect("reads");
    assert_eq!(read("here"), read("there/deep"));
    let folder = bench.path("");
    let place = folder.to_string_lossy();
    assert!(
        !read("here").contains(place.trim_end_matches('/')),
        "a path of this machine"
    );
}

#[test]
fn the_plan_holds_every_request_and_the_manifest_every_file() {
    let bench = Bench::new(20);
    bench.stdout(&["audit", "case.toml", "--run", "run"]);
    let root = bench.path("run");
    let plan = fs::read_to_string(root.join("plan.jsonl")).expect("reads");
    for kind in ["generate", "score-answers", "choice", "compare-weights"] {
        assert!(
            plan.contains(&format!("\"{kind}\"")),
            "no {kind} in the plan"
        );
    }
    let manifest = fs::read(root.join("manifest.json")).expect("reads");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let listed: Vec<_> = manifest["files"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|f| f["path"].as_str().expect("a path"))
        .collect();
    for path in [
        "case.toml",
        "evidence/tlu-did.json",
        "plan.jsonl",
        "report.json",
        "suites/1-openings.jsonl",
        "transcripts/t1/answers.jsonl",
        "transcripts/suspect/party.json",
    ] {
        assert!(listed.contains(&path), "{path} is not in {listed:?}");
    }
}

#[test]
fn a_forged_answer_is_found_out() {
    let bench = Bench::new(20);
    bench.stdout(&["audit", "case.toml", "--run", "run"]);
    let path = bench.path("run/transcripts/t1/answers.jsonl");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(
        &path,
        text.replacen("\"finish\":\"length\"", "\"finish\":\"stop\"", 1),
    )
    .expect("forges");
    let output = bench.run(&["measure", "run"]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(
        told.contains("transcripts/t1/answers.jsonl` line"),
        "{told}"
    );
    assert!(told.contains("is damaged"), "{told}");
}
