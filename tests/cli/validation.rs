//! Likelihood ratios of a population, as the command shows them.

use std::path::Path;
use std::process::Command;

use filiation_core::{Axis, Basis, Digest, MethodId};
use filiation_lr::{Candidate, Cost, History, Outcome, Record, Scored};
use serde_json::Value;

use crate::tiny::stderr;

fn filiation() -> Command {
    Command::new(env!("CARGO_BIN_EXE_filiation"))
}

/// Scores in (0, 1) that follow no order, the true teacher's 1.5 more.
fn record(at: usize, teacher: Option<usize>) -> Record {
    let score = |candidate: usize| {
        let spread = (at * 4 + candidate) as f64 * 0.618_033_988_749_895;
        spread.fract() + if teacher == Some(candidate) { 1.5 } else { 0.0 }
    };
    let candidate = |candidate: usize| Candidate {
        name: format!("t{candidate}"),
        score: score(candidate),
        interval: None,
        effect: None,
        units: 10,
        log10_p_among_controls: None,
        log10_p: None,
        log10_e: None,
        weight: None,
    };
    Record {
        suspect: format!("m{at:03}"),
        model: Digest::of(&at.to_le_bytes()),
        lineage: format!("l{at:03}"),
        kind: Some(format!("k{}", at % 3)),
        features: Default::default(),
        history: match teacher {
            None => History::FineTune,
            Some(teacher) => History::Distilled {
                teacher: format!("t{teacher}"),
                siblings: vec![format!("t{}", teacher ^ 1)],
                share: 0.3,
                by: "text".into(),
            },
        },
        method: MethodId::new("tlu-did", 1, &[]),
        cost: Cost::default(),
        outcome: Outcome::Scored(Scored {
            axis: Axis::TeacherIdentity,
            basis: Basis::Population,
            controls: 0,
            candidates: (0..4).map(candidate).collect(),
            leads: (0..4)
                .flat_map(|i| (i + 1..4).map(move |j| score(i) - score(j)))
                .collect(),
        }),
    }
}

fn write(folder: &Path, records: &[Record]) {
    let mut lines = Vec::new();
    for record in records {
        lines.extend(filiation_core::canonical::to_bytes(record));
        lines.push(b'\n');
    }
    std::fs::write(folder.join("scores.jsonl"), lines).expect("writes");
}

#[test]
fn a_population_is_fitted_judged_and_plotted() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let records: Vec<Record> = (0..60)
        .map(|at| record(at, (at < 20).then_some(at % 4)))
        .collect();
    write(folder.path(), &records);
    let run = |args: &[&str]| {
        let out = filiation()
            .args(["population", "show"])
            .arg(folder.path())
            .args(args)
            .output()
            .expect("runs");
        (String::from_utf8_lossy(&out.stdout).into_owned(), out)
    };
    let (_, out) = run(&[]);
    assert!(!out.status.success());
    assert!(stderr(&out).contains("hint: name the probes to use with `--stream`"));
    std::fs::write(
        folder.path().join("calibration.toml"),
        "format = 1\nname = \"small\"\nstreams = [\"tlu-did\"]\n",
    )
    .expect("writes");
    let plots = folder.path().to_str().expect("UTF-8");
    let (json, out) = run(&["--json", "--plots", plots]);
    assert!(out.status.success(), "{}", stderr(&out));
    let shown: Value = serde_json::from_str(&json).expect("JSON");
    let left_out = &shown["validation"]["leave_one_teacher_out"];
    assert!(
        left_out["cllr"].as_f64().expect("a number") < 0.5,
        "{left_out}"
    );
    assert_eq!(left_out["teacher_first"]["of"], 20);
    assert_eq!(left_out["teacher_first"]["rate"], 1.0);
    assert_eq!(shown["validation"]["teacher_first"], 1.0);
    assert_eq!(left_out["misleading_over_10"]["of"], 40);
    assert_eq!(left_out["false_positive_rate"]["of"], 40);
    assert_eq!(shown["population"]["teachers"], 4);
    assert_eq!(shown["tier"], "tier1");
    assert!(shown["validation"]["leave_one_family_out"]["cllr"].is_number());
    for plot in ["tippett.svg", "cross-entropy.svg"] {
        let svg = std::fs::read_to_string(folder.path().join(plot)).expect("a plot");
        assert!(
            svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
    let (text, _) = run(&[]);
    assert!(
        text.contains("60 models: 20 distilled and 40 clean lineages"),
        "{text}"
    );
    let (markdown, _) = run(&["--markdown"]);
    assert!(markdown.contains("| Cllr, bits "), "{markdown}");
    let (_, out) = run(&["--stream", "no-such-probe"]);
    assert!(stderr(&out).contains("no score by probe `no-such-probe`"));
}

#[test]
fn a_population_is_brought_to_another_form_and_judges_another_one() {
    let [here, there] = [0, 60].map(|from| {
        let folder = tempfile::TempDir::new().expect("a folder");
        let records: Vec<Record> = (from..from + 60)
            .map(|at| record(at, (at < from + 20).then_some(at % 4)))
            .collect();
        write(folder.path(), &records);
        folder
    });
    let show = |args: &[&str]| {
        let out = filiation()
            .args(["population", "show", "--stream", "tlu-did"])
            .arg(here.path())
            .args(args)
            .output()
            .expect("runs");
        (
            String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr(&out),
        )
    };
    let json = |args: &[&str]| -> Value {
        let (told, error) = show(&[args, &["--json"]].concat());
        serde_json::from_str(&told).unwrap_or_else(|_| panic!("{error}"))
    };
    let small = json(&["--candidates", "3", "--controls", "5"]);
    assert_eq!(
        (&small["candidates"], &small["controls"]),
        (&3.into(), &5.into())
    );
    assert_eq!(small["against"][0]["alternative"], "shared-base");
    // Every student has a share of 30 %.
    assert_eq!(
        json(&["--least-share", "0.3"])["population"]["distilled"],
        20
    );
    let (_, none) = show(&["--least-share", "0.5"]);
    assert!(none.contains("0 lineages with distilled = true"), "{none}");

    let other = there.path().join("scores.jsonl");
    let other = other.to_str().expect("UTF-8");
    let judged = json(&["--judge", other]);
    assert_eq!(judged["teacher_first"]["of"], 20);
    assert!(judged["cllr"].as_f64().expect("a number") < 0.7, "{judged}");
    let (told, _) = show(&["--judge", other]);
    assert!(told.contains("60 models of another population"), "{told}");
}

#[test]
fn a_population_that_contradicts_itself_or_lacks_a_class_is_refused() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let show = || {
        let out = filiation()
            .args(["population", "show", "--stream", "tlu-did"])
            .arg(folder.path())
            .output()
            .expect("runs");
        assert!(!out.status.success());
        stderr(&out)
    };
    let innocents: Vec<Record> = (0..30).map(|at| record(at, None)).collect();
    write(folder.path(), &innocents);
    assert!(show().contains("0 lineages with distilled = true, expected at least 2"));
    let mut twice = innocents;
    twice.push(Record {
        suspect: "m000".into(),
        ..record(0, Some(1))
    });
    write(folder.path(), &twice);
    assert!(show().contains("`m000` is both distilled from `t1` and not"));
}

#[test]
fn a_plan_inverts_the_ladder() {
    let out = filiation()
        .args(["population", "plan", "--claim", "100", "--json"])
        .output()
        .expect("runs");
    let plan: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(plan["claims"][0]["by_bound"], 99);
    assert_eq!(plan["claims"][0]["with_confidence"], 299);
    let out = filiation()
        .args(["population", "plan", "--claim", "1"])
        .output()
        .expect("runs");
    assert!(stderr(&out).contains("`claim` is 1, expected above 1"));
}
