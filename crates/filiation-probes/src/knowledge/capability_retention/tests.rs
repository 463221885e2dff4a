use filiation_core::{Role, canonical};

use super::*;
use crate::contrast::scripted::Script;
use crate::knowledge::questions::tests::{certain, suite_of_questions};

fn probe(questions: usize) -> CapabilityRetention {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    CapabilityRetention::new(&[suite_of_questions(questions)], &options).expect("questions")
}

/// A model that has the first `right` questions right.
fn right(right: usize) -> impl Fn(usize, &Request) -> Option<filiation_core::Answer> {
    move |i, _| Some(certain(usize::from(i >= right), 4))
}

fn case(probe: &CapabilityRetention, suspect: usize, teachers: [usize; 2]) -> Script<'_> {
    Script::new(probe)
        .with("s", Role::Suspect, right(suspect))
        .with("b", Role::Base, right(20))
        .with("t1", Role::Teacher, right(teachers[0]))
        .with("t2", Role::Teacher, right(teachers[1]))
        .with("c", Role::Control, right(30))
}

#[test]
fn shares_are_of_the_teachers_gain() {
    let probe = probe(100);
    let found = case(&probe, 50, [80, 60]).measure().expect("all answered");
    let scores: Vec<f64> = found.candidates.iter().map(|c| c.score).collect();
    assert!((scores[0] - 0.5).abs() < 1e-12 && (scores[1] - 0.75).abs() < 1e-12);
    assert!(found.candidates.iter().all(|c| c.interval.is_none()));
    assert_eq!(found.details["accuracy/s"], 0.5);
    assert!((found.details["share/c/t1"] - 1.0 / 6.0).abs() < 1e-12);
    assert!(found.details["share-lower/t1"] > 0.3 && found.details["share-upper/t1"] < 0.7);
    let said = found.finding.clone().expect("a finding");
    assert!(
        said.starts_with("descriptive: `s` 50 %, `b` 20 %"),
        "{said}"
    );
    let again = case(&probe, 50, [80, 60]).measure().expect("all answered");
    assert_eq!(canonical::to_bytes(&found), canonical::to_bytes(&again));
}

#[test]
fn a_suspect_that_gained_nothing_has_a_share_of_zero() {
    let probe = probe(100);
    let found = case(&probe, 20, [80, 60]).measure().expect("all answered");
    assert!(found.candidates.iter().all(|c| c.score == 0.0));
    let worse = case(&probe, 10, [80, 60]).measure().expect("all answered");
    assert!(worse.candidates.iter().all(|c| c.score < 0.0));
}

#[test]
fn a_teacher_no_better_than_the_base_has_no_share() {
    let probe = probe(100);
    let found = case(&probe, 50, [80, 21]).measure().expect("all answered");
    assert_eq!(found.candidates.len(), 1);
    assert_eq!(found.candidates[0].candidate, "t1");
    let refused = case(&probe, 50, [20, 21]).measure();
    assert_eq!(refused.expect_err("no gain").reason, Reason::Degenerate);
}

#[test]
fn abstains_where_parties_or_answers_are_missing() {
    let probe = probe(40);
    let refused = |script: &Script<'_>| script.measure().expect_err("an abstention");
    for (role, wanted) in [
        (Role::Base, Reason::NoBase),
        (Role::Teacher, Reason::TooFewTeachers),
    ] {
        let mut left = case(&probe, 30, [35, 30]);
        left.parties.retain(|p| p.role != role);
        assert_eq!(refused(&left).reason, wanted);
    }
    let mut silent = case(&probe, 30, [35, 30]);
    silent.answers.retain(|(party, _), _| party != "t2");
    assert!(refused(&silent).detail.contains("`t2` gave 0"));
}
