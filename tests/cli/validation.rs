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
                also: None,
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

/// `population show` on these lines, refused; what it says.
fn refused(lines: &[u8], args: &[&str]) -> String {
    let folder = tempfile::TempDir::new().expect("a folder");
    let scores = folder.path().join("scores.jsonl");
    std::fs::write(&scores, lines).expect("writes");
    let out = filiation()
        .args(["population", "show", "--stream", "tlu-did"])
        .arg(&scores)
        .args(args)
        .output()
        .expect("runs");
    let told = stderr(&out);
    assert_eq!(out.status.code(), Some(1), "{told}");
    assert!(out.stdout.is_empty(), "{told}");
    told
}

fn lines(records: &[Record]) -> Vec<u8> {
    let line = |r: &Record| [filiation_core::canonical::to_bytes(r), b"\n".to_vec()].concat();
    records.iter().flat_map(line).collect()
}

/// 20 students and 40 fine-tunes.
fn sound() -> Vec<Record> {
    (0..60)
        .map(|at| record(at, (at < 20).then_some(at % 4)))
        .collect()
}

#[test]
fn an_empty_population_is_refused() {
    let told = refused(b"", &[]);
    assert!(told.contains("no score by probe `tlu-did`"), "{told}");
}

#[test]
fn a_population_of_one_class_is_refused() {
    let students = lines(&sound()[..20]);
    let told = refused(&students, &[]);
    assert!(told.contains("0 lineages with distilled = false"), "{told}");
    let clean = lines(&sound()[20..]);
    let told = refused(&clean, &[]);
    assert!(told.contains("0 lineages with distilled = true"), "{told}");
}

#[test]
fn a_score_that_is_no_number_is_refused_with_its_line() {
    let text = String::from_utf8(lines(&sound())).expect("UTF-8");
    for spoiled in ["null", "NaN", "1e999", "\"high\""] {
        let start = text.find("\"leads\":[").expect("leads") + "\"leads\":[".len();
        let end = start + text[start..].find(',').expect("several");
        let broken = format!("{}{spoiled}{}", &text[..start], &text[end..]);
        let told = refused(broken.as_bytes(), &[]);
        assert!(
            told.contains("scores.jsonl` line 1 is damaged"),
            "{spoiled}: {told}"
        );
    }
}

#[test]
fn one_lineage_a_hundred_times_is_one() {
    let mut records = sound();
    for at in 60..160 {
        records.push(record(at, None));
    }
    for clean in &mut records[20..] {
        clean.lineage = "clean".into();
    }
    let told = refused(&lines(&records), &[]);
    assert!(told.contains("1 lineages with distilled = false"), "{told}");
}

#[test]
fn labels_that_contradict_are_refused() {
    let with = |change: fn(&mut Record)| {
        let mut records = sound();
        let mut again = records[30].clone();
        again.method = MethodId::new("choice-priors", 1, &[]);
        change(&mut again);
        records.push(again);
        refused(&lines(&records), &[])
    };
    let told = with(|r| r.history = record(0, Some(1)).history);
    assert!(
        told.contains("`m030` is both distilled from `t1` and not"),
        "{told}"
    );
    let told = with(|r| r.history = History::Independent);
    assert!(
        told.contains("`m030` has history `fine-tune` in one record and `independent` in another"),
        "{told}"
    );
    let told = with(|r| r.lineage = "elsewhere".into());
    assert!(
        told.contains("lineage `l030` in one record and `elsewhere`"),
        "{told}"
    );
    let told = with(|r| r.model = Digest::of(b"other files"));
    assert!(told.contains("`m030` has digest `"), "{told}");
    // The same files under another name, with another history.
    let told = with(|r| {
        r.suspect = "renamed".into();
        r.history = record(0, Some(1)).history;
    });
    assert!(
        told.contains("`m030` and `renamed` are the same model, and their histories differ"),
        "{told}"
    );
    let told = with(|r| r.method = MethodId::new("tlu-did", 1, &[]));
    assert!(
        told.contains("`m030` has two records by probe `tlu-did`"),
        "{told}"
    );
}

#[test]
fn scores_of_another_budget_are_not_judged() {
    let other = MethodId::new("tlu-did", 1, &[("samples", &4)]);
    let mut mixed = sound();
    mixed[59].method = other.clone();
    let told = refused(&lines(&mixed), &[]);
    let two = "one probe was run in two ways: `tlu-did/1` and `tlu-did/1;samples=4`";
    assert!(told.contains(two), "{told}");
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut others = sound();
    others.iter_mut().for_each(|r| r.method = other.clone());
    write(folder.path(), &others);
    let place = folder.path().join("scores.jsonl");
    let judge = ["--judge", place.to_str().expect("UTF-8")];
    let told = refused(&lines(&sound()), &judge);
    assert!(told.contains(two), "{told}");
    // Another seed picks among draws of one kind.
    let seeded = |seed: u64| MethodId::new("tlu-did", 1, &[("seed", &seed)]);
    let [mut here, mut there] = [sound(), sound()];
    here.iter_mut().for_each(|r| r.method = seeded(1));
    there.iter_mut().for_each(|r| r.method = seeded(2));
    filiation_lr::run_alike(&[&here, &there], &["tlu-did".into()]).expect("alike");
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
