//! Likelihood ratios in whole audits: stated where the population may speak of the case, withheld with the
//! reason where not, and the same again from the run directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use filiation_core::{Axis, Basis, Digest, MethodId, canonical};
use filiation_lr::{Candidate, Cost, History, Outcome, Record, Scored};
use filiation_report::Report;

use crate::tiny::{Bench, stderr};

/// A population of two candidates scored as `method` says: 40 students, 60 fine-tunes. Numbers follow no
/// order; a student leads to its teacher by 1 more.
fn population(folder: &Path, method: &MethodId, features: &BTreeMap<String, f64>, stream: &str) {
    fs::create_dir_all(folder).expect("a folder");
    let mut lines = Vec::new();
    for at in 0..100_usize {
        let spread = (at as f64 * 0.618_033_988_749_895).fract() - 0.5;
        let teacher = (at < 40).then_some(at % 2);
        let lead = 0.2 * spread + teacher.map_or(0.0, |t| 1.0 - 2.0 * t as f64);
        let candidate = |k: usize| Candidate {
            name: format!("p{k}"),
            score: if k == 0 { lead } else { -lead },
            interval: None,
            effect: None,
            units: 20,
            log10_p_among_controls: None,
            log10_p: None,
            log10_e: None,
            weight: None,
        };
        let record = Record {
            suspect: format!("m{at:03}"),
            model: Digest::of(&at.to_le_bytes()),
            lineage: format!("l{at:03}"),
            kind: None,
            features: features.clone(),
            history: teacher.map_or(History::FineTune, |t| History::Distilled {
                teacher: format!("p{t}"),
                also: None,
                siblings: vec![format!("p{}", 1 - t)],
                share: 1.0,
                by: "text".into(),
            }),
            method: method.clone(),
            cost: Cost::default(),
            outcome: Outcome::Scored(Scored {
                axis: Axis::TeacherIdentity,
                basis: Basis::Population,
                controls: 0,
                candidates: (0..2).map(candidate).collect(),
                leads: vec![lead],
            }),
        };
        lines.extend(canonical::to_bytes(&record));
        lines.push(b'\n');
    }
    fs::write(folder.join("scores.jsonl"), lines).expect("writes");
    let decided = format!("format = 1\nname = \"made-up\"\nstreams = [\"{stream}\"]\n");
    fs::write(folder.join("calibration.toml"), decided).expect("writes");
}

fn read(bench: &Bench, run: &str) -> Report {
    let bytes = fs::read(bench.path(run).join("report.json")).expect("reads");
    Report::from_json(&bytes).expect("a report")
}

/// The method by which `tlu-did` is run in the bench's case, and what the case is like.
fn measured(bench: &Bench) -> (MethodId, BTreeMap<String, f64>) {
    bench.stdout(&["audit", "case.toml", "--probe", "tlu-did", "--run", "first"]);
    let report = read(bench, "first");
    assert!(report.opinion.likelihood.is_none());
    let method = report.opinion.evidence[0].method.clone();
    assert_eq!(method.name(), "tlu-did");
    (method, filiation_lr::features(&report.parties))
}

const AUDIT: [&str; 6] = [
    "audit",
    "case.toml",
    "--probe",
    "tlu-did",
    "--population",
    "known",
];

#[test]
fn a_case_within_the_domain_has_ratios_and_the_same_again_offline() {
    let bench = Bench::new(40);
    let (method, features) = measured(&bench);
    population(&bench.path("known"), &method, &features, "tlu-did");
    let siblings = ["--siblings", "t1,t2", "--prior", "0.5", "--run", "run"];
    let told = bench.stdout(&[&AUDIT[..], &siblings].concat());
    let report = read(&bench, "run");
    let likelihood = report.opinion.likelihood.expect("a population is named");
    assert_eq!(likelihood.withheld, None);
    assert_eq!(likelihood.behind.name, "made-up");
    assert_eq!(likelihood.candidates.len(), 2);
    for candidate in &likelihood.candidates {
        // Untaught models: a lead of thousandths, where students have 1.
        assert!(candidate.headline.log10 < 0.5, "{candidate:?}");
        assert!(candidate.headline.upper <= 60_f64.log10());
        assert!(candidate.posterior.is_some() && candidate.versus.len() == 2);
    }
    assert!(told.contains("Likelihood ratios, log10"), "{told}");
    assert!(
        told.contains("population `made-up` (40 distilled and 60 clean lineages"),
        "{told}"
    );

    // The population may go: the run has what it needs.
    fs::remove_dir_all(bench.path("known")).expect("takes it away");
    let root = bench.path("run");
    let whole = fs::read(root.join("report.json")).expect("reads");
    for file in ["report.json", "likelihood.json"] {
        fs::remove_file(root.join(file)).expect("takes it away");
    }
    let early = bench.run(&["report", "run"]);
    assert!(
        stderr(&early).contains("likelihood.json"),
        "{}",
        stderr(&early)
    );
    bench.stdout(&["weigh", "run"]);
    assert_eq!(bench.stdout(&["report", "run"]), told);
    assert!(fs::read(root.join("report.json")).expect("reads") == whole);
}

#[test]
fn a_case_outside_the_domain_has_none_and_the_reason() {
    let bench = Bench::new(40);
    let (method, features) = measured(&bench);
    let withheld = |run: &str, flags: &[&str]| {
        bench.stdout(&[&AUDIT[..], &["--run", run], flags].concat());
        let likelihood = read(&bench, run).opinion.likelihood.expect("a population");
        assert!(likelihood.candidates.is_empty());
        likelihood.withheld.expect("a reason")
    };
    population(&bench.path("known"), &method, &features, "tlu-did");
    let budget = withheld("budget", &["--samples", "2"]);
    assert!(budget.contains("samples=2"), "{budget}");
    let large = features
        .iter()
        .map(|(name, size)| (name.clone(), size + 2.0))
        .collect();
    population(&bench.path("known"), &method, &large, "tlu-did");
    let size = withheld("size", &[]);
    assert!(
        size.contains("unlike the models of the population"),
        "{size}"
    );
}

#[test]
fn what_flags_name_is_kept_as_the_case_finds_it() {
    let bench = Bench::new(40);
    let (method, features) = measured(&bench);
    population(&bench.path("known"), &method, &features, "tlu-did");
    fs::create_dir(bench.path("cases")).expect("a folder");
    let case = fs::read_to_string(bench.path("case.toml")).expect("reads");
    let case = case
        .replace("\"suspect\"", "\"../suspect\"")
        .replace("\"base\"", "\"../base\"");
    let case = case.replace("[\"t1\", \"t2\"]", "[\"../t1\", \"../t2\"]");
    fs::write(bench.path("cases/case.toml"), case).expect("writes");
    let run = |population: &str, suite: &str| {
        let flags = [
            "--probe",
            "tlu-did",
            "--suite",
            suite,
            "--population",
            population,
        ];
        bench.stdout(&[&["audit", "cases/case.toml", "--run", "run"], &flags[..]].concat());
        fs::read_to_string(bench.path("run/case.toml")).expect("reads")
    };
    // From where the user stands, whole or not.
    let whole = |name: &str| bench.path(name).to_str().expect("UTF-8").to_owned();
    let kept = run("known", "openings.jsonl");
    assert_eq!(run(&whole("known"), &whole("openings.jsonl")), kept);
    assert!(kept.contains("population = \"../known\""), "{kept}");
    assert!(kept.contains("\"../openings.jsonl\""), "{kept}");
    assert!(!kept.contains(&whole("")), "{kept}");
    let gone = bench.run(&["audit", "cases/case.toml", "--population", "nowhere"]);
    assert!(
        stderr(&gone).contains("cannot read `nowhere`"),
        "{}",
        stderr(&gone)
    );
}

#[test]
fn what_is_no_population_is_refused_before_anything_is_asked() {
    let bench = Bench::new(40);
    let (method, features) = measured(&bench);
    let refused = || {
        let out = bench.run(&[&AUDIT[..], &["--run", "run"]].concat());
        assert_eq!(out.status.code(), Some(1));
        assert!(!bench.path("run").exists());
        stderr(&out)
    };
    let none = refused();
    assert!(none.contains("calibration.toml"), "{none}");
    let folder = bench.path("known");
    population(&folder, &method, &features, "choice-priors");
    let stream = refused();
    assert!(
        stream.contains("no model of the population has leads by probe `choice-priors`"),
        "{stream}"
    );
    population(&folder, &method, &features, "tlu-did");
    let scores = folder.join("scores.jsonl");
    // A file for each probe serves as well as one for all.
    fs::create_dir(folder.join("by-probe")).expect("a folder");
    fs::rename(&scores, folder.join("by-probe/tlu-did.jsonl")).expect("moves");
    bench.stdout(&[&AUDIT[..], &["--run", "split"]].concat());
    fs::rename(folder.join("by-probe/tlu-did.jsonl"), &scores).expect("moves back");
    let text = fs::read_to_string(&scores).expect("reads");
    fs::write(&scores, text.replacen("\"history\":", "\"histories\":", 1)).expect("writes");
    let line = refused();
    assert!(line.contains("scores.jsonl` line 1"), "{line}");
    let decided = folder.join("calibration.toml");
    fs::write(
        &decided,
        "format = 2\nname = \"x\"\nstreams = [\"tlu-did\"]\n",
    )
    .expect("writes");
    assert!(refused().contains("`format` is 2, expected 1"));
}
