//! Teachers recorded once, and audits that need no teacher; answers that audits share.

use std::fs;

use crate::tiny::{Bench, stderr};

fn recorded() -> Bench {
    let bench = Bench::new(20);
    let collect = [
        "collect",
        "case.toml",
        "--out",
        "packs",
        "--date",
        "2026-02-03",
    ];
    let told = bench.stdout(&collect);
    assert_eq!(told.lines().count(), 2, "{told}");
    let case = fs::read_to_string(bench.path("case.toml")).expect("reads");
    let case = case.replace(r#"["t1", "t2"]"#, r#"["packs/t1.pack", "packs/t2.pack"]"#);
    fs::write(bench.path("offline.toml"), case).expect("writes");
    bench
}

#[test]
fn an_audit_from_packs_needs_no_teacher_and_finds_the_same() {
    let bench = recorded();
    bench.stdout(&["audit", "case.toml", "--run", "live"]);
    for teacher in ["t1", "t2"] {
        fs::remove_dir_all(bench.path(teacher)).expect("takes the teacher away");
    }
    let told = bench.stdout(&["audit", "offline.toml", "--run", "offline"]);
    assert!(told.contains("recording of 2026-02-03"), "{told}");
    for probe in ["tlu-did", "choice-priors"] {
        let read = |run: &str| fs::read(bench.path(&format!("{run}/evidence/{probe}.json")));
        let (live, offline) = (
            read("live").expect("reads"),
            read("offline").expect("reads"),
        );
        assert!(live == offline, "{probe}");
    }
}

/// The prompts of a log are put to its teacher when it is recorded, and the log is held against the
/// recording.
#[test]
fn a_log_of_served_responses_needs_no_teacher_either() {
    let bench = Bench::new(20);
    let line = |i: usize| {
        let response = format!("answer {} of {i} and more", i * i % 7);
        format!(r#"{{"id":"r{i}","prompt":"opening {i}: the","response":"{response}"}}"#)
    };
    let lines: Vec<String> = (0..25).map(line).collect();
    fs::write(bench.path("served.jsonl"), lines.join("\n")).expect("writes");
    let case = fs::read_to_string(bench.path("case.toml")).expect("reads");
    let case = case.replace(
        "\"choice-priors\"]",
        "\"choice-priors\", \"regeneration-rank\"]",
    );
    let case =
        case + "served = [{ teacher = \"t1\", log = \"served.jsonl\", regenerations = 3 }]\n";
    fs::write(bench.path("case.toml"), &case).expect("writes");
    bench.stdout(&["audit", "case.toml", "--run", "live"]);
    bench.stdout(&["collect", "case.toml", "--out", "packs"]);
    let case = case.replace(r#"["t1", "t2"]"#, r#"["packs/t1.pack", "packs/t2.pack"]"#);
    fs::write(bench.path("offline.toml"), case).expect("writes");
    for teacher in ["t1", "t2"] {
        fs::remove_dir_all(bench.path(teacher)).expect("takes the teacher away");
    }
    bench.stdout(&["audit", "offline.toml", "--run", "offline"]);
    let read = |run: &str| {
        fs::read_to_string(bench.path(&format!("{run}/evidence/regeneration-rank.json")))
            .expect("reads")
    };
    assert!(read("live") == read("offline"));
    // It could not have written these, by its own scores of them: they were asked for.
    assert!(
        read("offline").contains("not-comparable"),
        "{}",
        read("offline")
    );
}

#[test]
fn a_pack_is_shown_and_verified() {
    let bench = recorded();
    let shown = bench.stdout(&["pack", "show", "packs/t1.pack"]);
    for text in [
        "2026-02-03",
        "openings.jsonl",
        "generate: 20 answered",
        "max tokens 12",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let verified = bench.stdout(&["pack", "verify", "packs/t1.pack", "--json"]);
    let verified: serde_json::Value = serde_json::from_str(&verified).expect("JSON");
    let digest = verified["digest"].as_str().expect("a digest");
    assert!(shown.contains(digest));
    bench.stdout(&["pack", "verify", "packs/t1.pack", "--digest", digest]);
    let other = bench.run(&["pack", "verify", "packs/t2.pack", "--digest", digest]);
    assert_eq!(other.status.code(), Some(1));
    assert!(stderr(&other).contains(digest), "{}", stderr(&other));

    let path = bench.path("packs/t1.pack");
    let whole = fs::read(&path).expect("reads");
    fs::write(&path, &whole[..whole.len() - 1]).expect("cuts");
    let cut = bench.run(&["pack", "verify", "packs/t1.pack"]);
    assert_eq!(cut.status.code(), Some(1));
    assert!(
        stderr(&cut).contains("hint: fetch or record it again"),
        "{}",
        stderr(&cut)
    );
}

#[test]
fn a_pack_of_other_options_stops_the_audit_before_it_begins() {
    let bench = recorded();
    let output = bench.run(&[
        "audit",
        "offline.toml",
        "--max-tokens",
        "13",
        "--run",
        "run",
    ]);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    for text in [
        "`max_tokens` is 12 there and 13 here",
        "hint: ask as the recording was asked",
    ] {
        assert!(error.contains(text), "{text}: {error}");
    }
    assert!(!bench.path("run").exists());
    let again = bench.run(&["collect", "case.toml", "--out", "packs"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("is there already"),
        "{}",
        stderr(&again)
    );
    let day = bench.run(&["collect", "t1", "--out", "x.pack", "--date", "2026-02-30"]);
    assert_eq!(day.status.code(), Some(2));
}

#[test]
fn shared_answers_change_nothing() {
    let bench = Bench::new(20);
    let run = |run: &str| {
        bench.stdout(&["audit", "case.toml", "--run", run, "--answers", "answers"]);
        fs::read(bench.path(run).join("manifest.json")).expect("reads")
    };
    bench.stdout(&["audit", "case.toml", "--run", "alone"]);
    let alone = fs::read(bench.path("alone/manifest.json")).expect("reads");
    // The manifest holds the digest of every file.
    assert!(alone == run("first") && alone == run("second"));
}
