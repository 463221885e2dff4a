use std::fs;
use std::sync::atomic::Ordering;

use crate::birds::Bench;

#[test]
fn a_second_run_asks_nobody_and_reports_the_same() {
    let bench = Bench::new();
    let alone = bench.run("alone").expect("runs");
    let asked = bench.birds.asked.swap(0, Ordering::SeqCst);
    let first = bench.run_sharing("first", "answers").expect("runs");
    assert_eq!(bench.birds.asked.swap(0, Ordering::SeqCst), asked);
    bench.birds.opened.borrow_mut().clear();
    let second = bench.run_sharing("second", "answers").expect("runs");
    assert_eq!(bench.birds.asked.load(Ordering::SeqCst), 0);
    // Of what a model does not answer only the model can tell.
    assert!(bench.birds.opened.borrow().is_empty());
    assert!(alone == first && first == second, "reports differ");
    for party in ["s", "b", "t1", "t2", "t3", "c"] {
        let read = |run: &str| {
            let path = format!("{run}/transcripts/{party}/answers.jsonl");
            fs::read(bench.path().join(path)).expect("reads")
        };
        assert!(read("alone") == read("second"), "{party}");
    }
}

#[test]
fn another_suspect_asks_only_of_itself() {
    let bench = Bench::new();
    bench.run_sharing("first", "answers").expect("runs");
    bench.birds.opened.borrow_mut().clear();
    bench.edit_case(|case| case.replace("suspect = \"s\"", "suspect = \"s2\""));
    let shared = bench.run_sharing("second", "answers").expect("runs");
    assert_eq!(*bench.birds.opened.borrow(), ["s2"]);
    assert!(shared == bench.run("alone").expect("runs"));
}

#[test]
fn answers_of_another_engine_or_model_are_not_taken() {
    let bench = Bench::new();
    let cpu = bench.run_sharing("cpu", "answers").expect("runs");
    bench.birds.engine.set("cuda:0");
    let cuda = bench.run_sharing("cuda", "answers").expect("runs");
    assert!(cpu != cuda);
    bench.birds.engine.set("");
    assert!(bench.run_sharing("cpu-again", "answers").expect("runs") == cpu);
    bench.birds.other.set(true);
    let asked = bench.birds.asked.swap(0, Ordering::SeqCst);
    bench.run_sharing("other", "answers").expect("runs");
    assert!(asked > 0 && bench.birds.asked.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_damaged_store_is_told_by_file_and_line() {
    let bench = Bench::new();
    bench.run_sharing("first", "answers").expect("runs");
    let shelves = fs::read_dir(bench.path().join("answers")).expect("lists");
    for shelf in shelves.flatten() {
        let path = shelf.path().join("answers.jsonl");
        let text = fs::read_to_string(&path).expect("reads");
        fs::write(&path, text.replacen("-1", "-2", 1)).expect("forges");
    }
    let error = bench.run_sharing("second", "answers").expect_err("forged");
    assert!(error.to_string().contains("is damaged"), "{error}");
}
