//! What tier 0 says, and what it must not say.

use filiation_core::{
    Axis, Basis, CandidateScore, Digest, Exact, Interval, MethodId, ModelIdentity, Party,
    Proposition, Role, Statistic,
};
use filiation_lr::{Opinion, Population, Setting, Tier, weigh};

fn party(name: &str, role: Role, tokenizer: &str) -> Party {
    Party {
        name: name.into(),
        role,
        identity: ModelIdentity {
            source: name.into(),
            digest: Digest::of(name.as_bytes()),
            architecture: "A".into(),
            parameters: 1,
            tokenizer: Some(Digest::of(tokenizer.as_bytes())),
        },
    }
}

fn setting(controls: &[(&str, &str)], teachers: &[&str]) -> Setting {
    let mut parties = vec![party("s", Role::Suspect, "x"), party("b", Role::Base, "x")];
    parties.extend(teachers.iter().map(|t| party(t, Role::Teacher, "y")));
    parties.extend(controls.iter().map(|(c, tok)| party(c, Role::Control, tok)));
    Setting::of(&parties)
}

fn statistic(name: &str, axis: Axis, scores: &[(&str, f64)]) -> Statistic {
    let candidate = |(name, score): &(&str, f64)| CandidateScore {
        candidate: (*name).to_owned(),
        score: *score,
        interval: Some(Interval {
            lower: score - 0.1,
            upper: score + 0.1,
            level: 0.95,
        }),
        effect: None,
        units: 9,
        exact: None,
    };
    Statistic {
        method: MethodId::new(name, 1, &[]),
        axis,
        basis: Basis::Population,
        unit: "bits".into(),
        candidates: scores.iter().map(candidate).collect(),
        controls: vec!["c".into()],
        finding: None,
        power: None,
        details: Default::default(),
    }
}

#[test]
fn ranks_are_by_score_with_ties_shared_and_nan_last() {
    let scores = [("a", -1.0), ("b", f64::NAN), ("c", 0.5), ("d", 0.5)];
    let found = statistic("p", Axis::TeacherIdentity, &scores);
    let evidence = weigh(
        &found,
        &setting(&[], &["a", "b", "c", "d"]),
        &Population::NONE,
    );
    let ranks: Vec<_> = evidence
        .ranked
        .iter()
        .map(|r| (r.candidate.as_str(), r.rank))
        .collect();
    assert_eq!(ranks, [("c", 1), ("d", 1), ("a", 3), ("b", 4)]);
    assert_eq!(evidence.first().count(), 2);
}

#[test]
fn no_likelihood_ratio_is_stated_and_what_it_would_take_is() {
    let found = statistic("p", Axis::TeacherIdentity, &[("a", 1.0)]);
    let evidence = weigh(&found, &setting(&[], &["a"]), &Population::NONE);
    assert_eq!(evidence.tier, Tier::Tier0);
    assert!(
        evidence
            .limit
            .starts_with("no likelihood ratio can be stated")
    );
    let short = evidence.missing.expect("nothing is there");
    assert_eq!((short.distilled, short.other), (5, 20));
    assert!(
        evidence.limit.contains("at least 5 and 20"),
        "{}",
        evidence.limit
    );
}

#[test]
fn exact_tests_have_a_ratio_apart_that_the_error_rate_bounds() {
    let mut found = statistic(
        "p",
        Axis::TeacherIdentity,
        &[("a", 2.0), ("b", 1.0), ("c", 0.0)],
    );
    found.basis = Basis::Design;
    for (candidate, log10_e) in found.candidates.iter_mut().zip([40.0, 1.0, -3.0]) {
        candidate.exact = Some(Exact {
            log10_p: -log10_e,
            log10_e: Some(log10_e),
        });
    }
    let setting = setting(&[], &["a", "b", "c"]);
    let evidence = weigh(&found, &setting, &Population::NONE).held_to(0.001);
    let ratios: Vec<f64> = evidence.design.iter().map(|d| d.log10).collect();
    // 1/((1 − ε)/e + ε): at most 1/ε, and 10 is nearly 10.
    assert!((ratios[0] - 3.0).abs() < 1e-12, "{ratios:?}");
    assert!((ratios[1] - (1.0 / (0.0999 + 0.001_f64)).log10()).abs() < 1e-12);
    assert_eq!(ratios[2], 0.0);
    assert!(evidence.limit.contains("stands apart"));
    let opinion = Opinion::new(setting, vec![evidence], None);
    let said = opinion.statements.join("\n");
    assert!(
        said.contains("likelihood ratio of exact test `p`"),
        "{said}"
    );
    assert!(
        said.contains("`a` put out over that it was not: about 1000"),
        "{said}"
    );
    assert!(
        !said.contains("no likelihood ratio can be stated"),
        "{said}"
    );
    // Scores of a population have none.
    let other = statistic("q", Axis::TeacherIdentity, &[("a", 2.0)]);
    let none = weigh(&other, &opinion.setting, &Population::NONE).held_to(0.001);
    assert!(none.design.is_empty());
}

#[test]
fn a_contrast_is_present_where_its_models_are() {
    let found = statistic("p", Axis::TeacherIdentity, &[("a", 1.0), ("d", 0.5)]);
    let present = |setting: &Setting| -> Vec<bool> {
        let evidence = weigh(&found, setting, &Population::NONE);
        assert!(
            evidence
                .contrasts
                .iter()
                .map(|c| c.alternative)
                .eq(Proposition::ALTERNATIVES)
        );
        evidence.contrasts.iter().map(|c| c.present).collect()
    };
    assert_eq!(present(&setting(&[], &["a"])), [false, false, false]);
    assert_eq!(
        present(&setting(&[("c", "x")], &["a"])),
        [true, false, false]
    );
    assert_eq!(
        present(&setting(&[("c", "z")], &["a", "d"])),
        [false, true, true]
    );
    let weights = statistic("w", Axis::WeightLineage, &[("b", 1.0)]);
    let evidence = weigh(
        &weights,
        &setting(&[("c", "x")], &["a", "d"]),
        &Population::NONE,
    );
    assert!(evidence.contrasts.iter().all(|c| !c.present));
}

/// A control whose answers could not be used, and a candidate without a score, contrast nothing,
/// though the case names them.
#[test]
fn a_contrast_is_absent_where_its_models_did_not_enter_the_scores() {
    let mut found = statistic("p", Axis::TeacherIdentity, &[("a", 1.0)]);
    found.controls.clear();
    let setting = setting(&[("c", "x"), ("o", "z")], &["a", "d"]);
    let evidence = weigh(&found, &setting, &Population::NONE);
    assert!(evidence.contrasts.iter().all(|c| !c.present));
    let said: Vec<_> = evidence.contrasts.iter().map(|c| &c.because).collect();
    assert!(
        said[0].contains("too few answers of control `c`"),
        "{}",
        said[0]
    );
    assert!(
        said[1].contains("too few answers of control `o`"),
        "{}",
        said[1]
    );
    found.controls = vec!["o".into()];
    let evidence = weigh(&found, &setting, &Population::NONE);
    let present: Vec<_> = evidence.contrasts.iter().map(|c| c.present).collect();
    assert_eq!(present, [false, true, false]);
}

#[test]
fn two_candidates_are_scored_against_each_other() {
    let found = statistic("p", Axis::TeacherIdentity, &[("a", 1.0), ("d", 0.5)]);
    let evidence = weigh(&found, &setting(&[], &["a", "d"]), &Population::NONE);
    let said = &evidence.contrasts[2].because;
    assert!(said.contains("against the other one"), "{said}");
}

#[test]
fn probes_are_set_side_by_side() {
    let setting = setting(&[("c", "x")], &["a", "d"]);
    let weighed = |name: &str, axis, scores: &[(&str, f64)]| {
        weigh(&statistic(name, axis, scores), &setting, &Population::NONE)
    };
    let opinion = Opinion::new(
        setting.clone(),
        vec![
            weighed("one", Axis::TeacherIdentity, &[("a", 0.3), ("d", -0.3)]),
            weighed("two", Axis::TeacherIdentity, &[("a", 0.05), ("d", -0.05)]),
            weighed("weights", Axis::WeightLineage, &[("b", 0.9)]),
            // Ahead by far, and no witness for anyone.
            weighed("told", Axis::Description, &[("d", 0.9), ("a", 0.0)]),
        ],
        None,
    );
    assert!(opinion.evidence[3].contrasts.iter().all(|c| !c.present));
    let a = &opinion.agreement[0];
    assert_eq!((a.first, a.clearly_first, a.ranks.len()), (2, 1, 2));
    assert_eq!(opinion.agreement[1].first, 0);
    let text = opinion.to_string();
    for expected in [
        "Hd",
        "Hc",
        "tier 0",
        "`a` (1 of 2)",
        "no likelihood ratio",
        "Hb is not",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    for refused in ["probability that", "identified", "conclusive", "certain"] {
        assert!(!text.contains(refused), "{refused} in {text}");
    }
    let json = serde_json::to_string(&opinion).expect("finite numbers");
    let back: Opinion = serde_json::from_str(&json).expect("its own JSON");
    assert_eq!(back, opinion);
}

#[test]
fn an_innocent_is_said_to_stand_by_no_candidate() {
    let setting = setting(&[], &["a", "d"]);
    let found = statistic("one", Axis::TeacherIdentity, &[("a", 0.05), ("d", -0.05)]);
    let evidence = weigh(&found, &setting, &Population::NONE);
    let opinion = Opinion::new(setting.clone(), vec![evidence], None);
    assert!(opinion.statements[0].starts_with("no candidate stands above the others"));
    let silent = Opinion::new(setting, vec![], None);
    assert!(silent.statements[0].starts_with("no probe could rank"));
}
