//! Suspects of known history: manifest, building, judging.

use std::fs;

use filiation_lab::{Hiding, Lineage, Parent, Signal, Tie};
use serde_json::Value;

use crate::tiny::{Bench, stderr};

/// Writes the `lineage.json` of each tiny model: `suspect` starts from `base` and learned from
/// `t1`; `t2` serves as an independent suspect's folder under another name, too.
fn with_lineages(bench: &Bench) {
    let digest = filiation_core::Digest::of(b"weights");
    let parent = |tie, model: &str| Parent {
        tie,
        model: model.into(),
        weights: digest,
    };
    let learned = Tie::DistilledFrom {
        share: 0.5,
        by: Signal::Text,
        hidden: Some(Hiding::Filtered),
        mark: None,
    };
    for (from, to) in [("t2", "alone"), ("suspect", "cooled")] {
        fs::create_dir(bench.path(to)).expect("a folder");
        for entry in fs::read_dir(bench.path(from)).expect("a model") {
            let from = entry.expect("a file").path();
            let to = bench.path(to).join(from.file_name().expect("a name"));
            fs::copy(from, to).expect("copies");
        }
    }
    for (name, role, parents) in [
        ("base", filiation_core::Role::Base, vec![]),
        ("t1", filiation_core::Role::Teacher, vec![]),
        ("t2", filiation_core::Role::Teacher, vec![]),
        ("alone", filiation_core::Role::Suspect, vec![]),
        (
            "suspect",
            filiation_core::Role::Suspect,
            vec![parent(Tie::InitialisedFrom, "base"), parent(learned, "t1")],
        ),
        (
            "cooled",
            filiation_core::Role::Suspect,
            vec![parent(Tie::InitialisedFrom, "suspect")],
        ),
    ] {
        let lineage = Lineage {
            format: 1,
            name: name.into(),
            role,
            parents,
            seed: 1,
            documents: 10,
            loss: 1.0,
            recipe: digest,
            weights: digest,
        };
        let bytes = filiation_core::canonical::to_pretty(&lineage);
        fs::write(bench.path(name).join("lineage.json"), bytes).expect("writes");
    }
}

/// A bench whose manifest `m.toml` was written by the command.
fn bench() -> Bench {
    let bench = Bench::new(24);
    with_lineages(&bench);
    let manifest = bench.stdout(&[
        "population",
        "manifest",
        ".",
        "--siblings",
        "t1,t2",
        "--probe",
        "weight-lineage",
        "--probe",
        "tlu-did",
        "--suite",
        "openings.jsonl",
        "--max-tokens",
        "16",
    ]);
    fs::write(bench.path("m.toml"), manifest).expect("writes");
    bench
}

const BUILD: [&str; 5] = ["population", "build", "m.toml", "--out", "out"];

#[test]
fn a_population_is_built_once_and_made_anew_where_scores_are_missing() {
    let bench = bench();
    let said = bench.stdout(&BUILD);
    assert!(said.contains("3 suspects, 3 scored now"), "{said}");
    let read = |name: &str| fs::read(bench.path(name)).expect(name);
    let scores = read("out/scores.jsonl");
    let lines: Vec<Value> = String::from_utf8_lossy(&scores)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 3 * 2);
    // What was trained further has the history of what it starts from, and its lineage.
    assert_eq!(
        (&lines[0]["suspect"], &lines[0]["lineage"]),
        (&"cooled".into(), &"base".into())
    );
    assert_eq!(
        lines[0]["history"]["distilled"]["by"],
        "text-filtered-cooled"
    );
    assert_eq!(lines[2]["suspect"], "suspect");
    assert_eq!(lines[3]["history"]["distilled"]["siblings"][0], "t2");
    assert_eq!(lines[3]["history"]["distilled"]["by"], "text-filtered");
    assert_eq!(lines[3]["cost"]["completions"], 24);
    assert_eq!(lines[4]["history"], "independent");
    assert_eq!(lines[4]["lineage"], "alone");
    assert!(!bench.path("out/runs/suspect/transcripts").exists());
    let by_probe = [
        read("out/by-probe/weight-lineage.jsonl"),
        read("out/by-probe/tlu-did.jsonl"),
    ];
    assert_eq!(by_probe.concat().len(), scores.len());
    let of = |file: &[u8]| String::from_utf8_lossy(file).matches("tlu-did/").count();
    assert_eq!((of(&by_probe[0]), of(&by_probe[1])), (0, 3));

    assert!(bench.stdout(&BUILD).contains("3 suspects, 0 scored now"));
    fs::remove_file(bench.path("out/scores/alone.jsonl")).expect("removes");
    fs::remove_dir_all(bench.path("out/answers")).expect("removes");
    assert!(bench.stdout(&BUILD).contains("3 suspects, 1 scored now"));
    assert_eq!(read("out/scores.jsonl"), scores);
}

#[test]
fn another_way_of_asking_is_refused_in_the_same_folder() {
    let bench = bench();
    bench.stdout(&BUILD);
    let manifest = fs::read_to_string(bench.path("m.toml")).expect("reads");
    let other = manifest.replace("max_tokens = 16", "max_tokens = 9");
    fs::write(bench.path("m.toml"), other).expect("writes");
    let output = bench.run(&BUILD);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.contains("other settings than this manifest"), "{told}");
    assert!(told.contains("hint: choose another folder"), "{told}");
}

#[test]
fn scores_are_judged_in_tables_and_in_json() {
    let bench = bench();
    bench.stdout(&BUILD);
    let text = bench.stdout(&["population", "pilot", "out/scores.jsonl"]);
    for said in [
        "against Ha",
        "smallest share",
        "tlu-did",
        "other axis",
        "nothing: kept out",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    let json = bench.stdout(&["population", "pilot", "out/scores.jsonl", "--json"]);
    let judged: Value = serde_json::from_str(&json).expect("JSON");
    let rows = judged["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["probe"] == "tlu-did");
    assert_eq!(row.expect("a row")["first"][1], 2, "{judged:#}");

    fs::write(bench.path("broken.jsonl"), "{}\n").expect("writes");
    let output = bench.run(&["population", "pilot", "broken.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(
        told.contains("`broken.jsonl` line 1 is damaged: missing field"),
        "{told}"
    );
}

#[test]
fn a_student_of_two_teachers_has_both_in_its_history() {
    let bench = bench();
    let path = bench.path("suspect/lineage.json");
    let bytes = fs::read(&path).expect("reads");
    let mut lineage: Lineage = serde_json::from_slice(&bytes).expect("a record");
    let half = Tie::DistilledFrom {
        share: 0.25,
        by: Signal::Text,
        hidden: None,
        mark: None,
    };
    lineage.parents.truncate(1);
    for teacher in ["t1", "t2"] {
        lineage.parents.push(Parent {
            tie: half,
            model: teacher.into(),
            weights: lineage.weights,
        });
    }
    fs::write(path, filiation_core::canonical::to_pretty(&lineage)).expect("writes");
    let mut arguments = vec!["population", "manifest", ".", "--siblings", "t1,t2"];
    arguments.extend(["--probe", "tlu-did", "--suite", "openings.jsonl"]);
    let manifest = bench.stdout(&arguments);
    let line = "{ from = \"t1\", also = \"t2\", share = 0.5, by = \"text-mixed\" }";
    assert!(manifest.contains(line), "{manifest}");
    fs::write(bench.path("m.toml"), manifest).expect("writes");
    bench.stdout(&BUILD);
    let scores = fs::read_to_string(bench.path("out/scores.jsonl")).expect("reads");
    let of_suspect = scores
        .lines()
        .find(|l| l.contains("\"suspect\":\"suspect\""));
    let line: Value = serde_json::from_str(of_suspect.expect("scored")).expect("JSON");
    let history = &line["history"]["distilled"];
    assert_eq!(
        (&history["also"], &history["siblings"]),
        (&"t2".into(), &serde_json::json!([]))
    );
    // Nothing of where it was built is kept.
    let case = fs::read_to_string(bench.path("out/runs/suspect/case.toml")).expect("reads");
    assert!(case.contains("\"openings.jsonl\""), "{case}");
}

#[test]
fn a_manifest_that_cannot_be_is_refused() {
    let bench = bench();
    let output = bench.run(&["population", "manifest", "t1", "--probe", "tlu-did"]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(
        told.contains("holds no model with role `teacher`"),
        "{told}"
    );
    fs::write(bench.path("m.toml"), "format = 1\nmodles = \"x\"\n").expect("writes");
    let output = bench.run(&BUILD);
    let told = stderr(&output);
    assert!(told.contains("`m.toml` is not valid"), "{told}");
    assert!(told.contains("modles"), "{told}");
}
