//! `lineage` with packs, on the demonstration models.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../corpora/demo")
        .join(name)
}

fn run(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_filiation"))
        .arg("lineage")
        .args(arguments.iter().map(|a| a.as_ref()))
        .output()
        .expect("the binary was built")
}

fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The rows of the table, by the last part of the base's path.
fn rows(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter(|line| line.matches('|').count() == 5 && !line.contains("finding"))
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let base = cells[0].rsplit('/').next().unwrap_or_default();
            (base.to_owned(), cells[1].to_owned())
        })
        .collect()
}

#[test]
fn a_suspect_is_held_against_packs_and_folders() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    for base in ["base-a", "teacher-1"] {
        let out = scratch.path().join(format!("{base}.flnpack"));
        let written = said(&run(&[&"pack", &demo(base), &"--out", &out]));
        assert!(written.contains("bytes"), "{written}");
        assert!(out.is_file());
    }
    let suspect = demo("student-text-30");
    let against = [scratch.path().to_owned(), demo("base-b")];
    let found = run(&[&suspect, &"--against", &against[0], &against[1]]);
    let text = said(&found);
    let row = |base: &str, finding: &str| (base.to_owned(), finding.to_owned());
    let expected = [
        row("base-a", "derived"),
        row("teacher-1", "unrelated"),
        row("base-b", "unrelated"),
    ];
    let mut rows = rows(&text);
    assert_eq!(rows[0], expected[0], "{text}");
    rows.sort();
    let mut all = expected.to_vec();
    all.sort();
    assert_eq!(rows, all, "{text}");
    assert!(text.contains("Innocent explanations"), "{text}");

    let json = said(&run(&[
        &"--json",
        &suspect,
        &"--against",
        &against[0],
        &against[1],
    ]));
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let bases = json["bases"].as_array().expect("a list");
    assert_eq!(bases.len(), 3);
    assert_eq!(bases[0]["finding"], "derived");
    assert_eq!(bases[0]["layers"][1]["inherited"], true);
    // The same again, byte for byte.
    assert_eq!(
        found.stdout,
        run(&[&suspect, &"--against", &against[0], &against[1]]).stdout
    );
}

#[test]
fn what_is_no_pack_is_refused() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("a.flnpack");
    said(&run(&[&"pack", &demo("base-a"), &"--out", &out]));
    let mut bytes = std::fs::read(&out).expect("it was written");
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    std::fs::write(&out, bytes).expect("it can be written");
    let refused = run(&[&demo("base-b"), &"--against", &out]);
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        error.contains("a.flnpack") && error.contains("digest"),
        "{error}"
    );
}

#[test]
fn one_model_alone_is_a_usage_error() {
    let refused = run(&[&demo("base-a")]);
    assert_eq!(refused.status.code(), Some(2));
    let both = run(&[
        &demo("base-a"),
        &demo("base-b"),
        &"--against",
        &demo("base-b"),
    ]);
    assert_eq!(both.status.code(), Some(2));
}
