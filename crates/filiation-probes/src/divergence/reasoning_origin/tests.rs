use filiation_core::{CandidateScore, canonical};

use super::*;
use crate::contrast::simulated::{Answers, Truth, World, suite};

fn probe(prompts: usize) -> ReasoningOrigin {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    ReasoningOrigin::new(&[suite(prompts, false)], &options).expect("a suite of openings")
}

fn score(found: &Statistic, name: &str) -> f64 {
    let of = found.candidates.iter().find(|c| c.candidate == name);
    of.expect("a candidate").score
}

fn clear(c: &CandidateScore) -> bool {
    c.interval.is_some_and(|i| i.lower > 0.0)
}

fn measure(
    world: &World,
    probe: &ReasoningOrigin,
    keep: impl Fn(&str, &RequestId) -> bool,
) -> Result<Statistic, Abstention> {
    let mut answers: Answers = world.answers(probe);
    answers.retain(|(party, id), _| keep(party, id));
    probe.measure(&Observations::new(&world.parties, &answers))
}

#[test]
fn the_steps_of_a_student_are_its_teachers() {
    let mut first = 0;
    for seed in 0..8 {
        let truth = Truth::new(seed);
        let student = truth.innocent.taught(&truth.teachers[0], 1.0);
        let found = truth.world(&student, &[]).measure(&probe(100));
        let found = found.expect("all answered");
        assert_eq!(found.details["by-teachers-own-scores"], 1.0);
        assert!(found.details["steps-new"] > 20.0);
        first += u32::from(score(&found, "t1") > 0.0);
    }
    assert!(first >= 7, "{first} of 8");
}

#[test]
fn an_innocent_is_not_nearer_to_one_of_equal_teachers() {
    let worlds = 100;
    let probe = probe(60);
    let (mut alarms, mut silent) = (0, 0);
    for seed in 0..worlds {
        let mut truth = Truth::new(seed);
        let family = truth.teachers[0].clone();
        truth.teachers = [1, 2, 3].map(|_| family.moved(0.3, &mut truth.rng));
        match truth.world(&truth.innocent, &[]).measure(&probe) {
            Ok(found) => alarms += u32::from(found.candidates.iter().any(clear)),
            Err(why) => {
                assert_eq!(why.reason, Reason::Degenerate);
                silent += 1;
            }
        }
    }
    assert!(alarms <= 12, "{alarms} of {worlds}");
    assert!(silent < worlds, "some innocents have steps of their own");
}

#[test]
fn byte_models_stand_in_for_all_where_one_teacher_gives_texts_only() {
    let mut first = 0;
    for seed in 0..8 {
        let truth = Truth::new(seed);
        let student = truth.innocent.taught(&truth.teachers[2], 1.0);
        let world = truth.world(&student, &[]);
        let mute = |party: &str, id: &RequestId| party != "t2" || !id.as_str().contains("/score");
        let found = measure(&world, &probe(120), mute).expect("texts of all");
        assert_eq!(found.details["by-teachers-own-scores"], 0.0);
        assert!(
            found
                .finding
                .as_ref()
                .is_some_and(|f| f.contains("byte models"))
        );
        first += u32::from(score(&found, "t3") > 0.0);
    }
    assert!(first >= 6, "{first} of 8");
}

#[test]
fn abstains_where_parties_answers_or_new_steps_are_missing() {
    let truth = Truth::new(8);
    let student = truth.innocent.taught(&truth.teachers[0], 1.0);
    let world = truth.world(&student, &[]);
    let reason = |world: &World, prompts, keep: &dyn Fn(&str, &RequestId) -> bool| {
        measure(world, &probe(prompts), keep)
            .expect_err("an abstention")
            .reason
    };
    let all: &dyn Fn(&str, &RequestId) -> bool = &|_, _| true;
    assert_eq!(
        reason(&world.keeping(Role::Base, 0), 30, all),
        Reason::NoBase
    );
    assert_eq!(
        reason(&world.keeping(Role::Teacher, 1), 30, all),
        Reason::TooFewTeachers
    );
    assert_eq!(reason(&world, 19, all), Reason::NotSupported);
    assert_eq!(
        reason(&world, 30, &|party, _| party != "s"),
        Reason::TooFewAnswers
    );
    assert_eq!(
        reason(&world, 30, &|party, _| party != "t1"),
        Reason::NotSupported
    );
    assert_eq!(
        reason(&truth.world(&truth.base, &[]), 30, all),
        Reason::Degenerate
    );
    // A suspect with steps of its own that no candidate would write is not called its base.
    let mut own = Truth::new(8);
    let apart = own.base.moved(1.0, &mut own.rng);
    own.teachers = [1, 2, 3].map(|_| own.base.moved(0.01, &mut own.rng));
    let refused = own.world(&apart, &[]).measure(&probe(30));
    let refused = refused.expect_err("nobody's steps");
    assert_eq!(refused.reason, Reason::Degenerate);
    assert!(
        refused.detail.contains("are new beside the base"),
        "{refused}"
    );
}

#[test]
fn bytes_repeat() {
    let truth = Truth::new(5);
    let student = truth.innocent.taught(&truth.teachers[0], 1.0);
    let world = truth.world(&student, &[]);
    let bytes = || canonical::to_bytes(&world.measure(&probe(40)).expect("all answered"));
    assert_eq!(bytes(), bytes());
}
