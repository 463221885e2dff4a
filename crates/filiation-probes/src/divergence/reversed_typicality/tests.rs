use filiation_core::{Reason, canonical};

use super::*;
use crate::contrast::simulated::{Truth, World, suite};

fn probe(prompts: usize) -> ReversedTypicality {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    ReversedTypicality::new(&[suite(prompts, false)], &options).expect("a suite of openings")
}

fn of<'a>(s: &'a Statistic, name: &str) -> &'a filiation_core::CandidateScore {
    let found = s.candidates.iter().find(|c| c.candidate == name);
    found.expect("a candidate")
}

#[test]
fn the_distance_is_that_of_cramer_and_von_mises() {
    // n ω² of 0.1, 0.4, 0.8 by the textbook's formula, without the terms of i = j.
    let u = [0.1, 0.4, 0.8];
    let sum = u
        .iter()
        .enumerate()
        .map(|(i, u)| ((2.0 * i as f64 + 1.0) / 6.0 - u).powi(2))
        .sum::<f64>();
    let whole = (1.0 / 36.0 + sum) / 3.0;
    let alike: f64 = u.iter().map(|u| kernel(*u, *u)).sum::<f64>() / 9.0;
    let want = (whole - alike) * 9.0 / 6.0;
    let rows: Vec<_> = u.iter().map(|u| Some(vec![*u])).collect();
    let values = distances(&rows, &[0, 1, 2]);
    let mean = values.iter().map(|v| v[0]).sum::<f64>() / 3.0;
    assert!((mean - want).abs() < 1e-12, "{mean} {want}");
}

#[test]
fn a_whole_student_finds_its_teacher_typical() {
    let mut first = 0;
    for seed in 0..8 {
        let truth = Truth::new(seed);
        let student = truth.innocent.taught(&truth.teachers[0], 1.0);
        let found = truth.world(&student, &[]).measure(&probe(60));
        let found = found.expect("all answered");
        first += u32::from(of(&found, "t1").score > 0.0);
    }
    assert!(first >= 6, "{first} of 8");
}

#[test]
fn an_innocent_is_not_nearer_to_one_of_equal_teachers() {
    let worlds = 80;
    let probe = probe(60);
    let mut alarms = 0;
    for seed in 0..worlds {
        let mut truth = Truth::new(seed);
        let teacher = truth.teachers[0].clone();
        truth.teachers = [1, 2, 3].map(|_| teacher.moved(1e-9, &mut truth.rng));
        let found = truth.world(&truth.innocent, &[]).measure(&probe);
        let found = found.expect("all answered");
        let clear = |c: &filiation_core::CandidateScore| c.interval.is_some_and(|i| i.lower > 0.0);
        alarms += u32::from(found.candidates.iter().any(clear));
    }
    // Each of three must beat two others at 2.5 %.
    assert!(alarms <= 11, "{alarms} of {worlds}");
}

#[test]
fn abstains_where_parties_or_prompts_are_missing() {
    let truth = Truth::new(8);
    let world = truth.world(&truth.innocent, &[]);
    let reason = |world: &World, prompts| {
        let refused = world.measure(&probe(prompts));
        refused.expect_err("an abstention").reason
    };
    assert_eq!(reason(&world.keeping(Role::Base, 0), 30), Reason::NoBase);
    assert_eq!(
        reason(&world.keeping(Role::Teacher, 1), 30),
        Reason::TooFewTeachers
    );
    assert_eq!(reason(&world, 19), Reason::TooFewAnswers);
    assert_eq!(
        reason(&truth.world(&truth.base, &[]), 30),
        Reason::Degenerate
    );
    let mut answers = world.answers(&probe(30));
    for ((party, _), answer) in &mut answers {
        if let (true, Ok(Answer::Completion(said))) = (party == "s", answer) {
            said.text.clear();
        }
    }
    let probe = probe(30);
    let refused = probe.measure(&Observations::new(&world.parties, &answers));
    assert_eq!(
        refused.expect_err("all empty").reason,
        Reason::TooFewAnswers
    );
}

#[test]
fn bytes_repeat_and_controls_enter() {
    let mut truth = Truth::new(5);
    let controls = truth.controls(3);
    let world = truth.world(&truth.innocent, &controls);
    let bytes = || canonical::to_bytes(&world.measure(&probe(30)).expect("all answered"));
    assert_eq!(bytes(), bytes());
    let found = world.measure(&probe(30)).expect("all answered");
    assert_eq!(found.controls.len(), 3);
    assert!(found.details["log10-p-among-controls/t1"] <= 0.0);
}
