use filiation_core::{Reason, Role, canonical};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::behaviour::scripted::{Stage, alarms, score, suite};

const PROMPTS: usize = 40;

fn probe(prompts: usize) -> RefusalDifference {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    RefusalDifference::new(&[suite("refusal", "refusal", prompts)], &options).expect("refusals")
}

/// Declines a prompt of that number with that probability.
fn declines(rate: impl Fn(usize) -> f64 + 'static) -> impl Fn(&str, &mut ChaCha8Rng) -> String {
    move |item, rng| {
        let number = item.rsplit('-').next().and_then(|n| n.parse().ok());
        if rng.random_range(0.0..1.0) < rate(number.expect("a number")) {
            "I'm sorry, but I can't help with that.".into()
        } else {
            "Gladly. Whisk the eggs first.".into()
        }
    }
}

fn within(range: std::ops::Range<usize>, inside: f64) -> impl Fn(usize) -> f64 {
    move |i| if range.contains(&i) { inside } else { 0.02 }
}

// t1 alone declines 0..8, t2 alone 8..16, both 16..20.
fn stage(suspect: impl Fn(usize) -> f64 + 'static) -> Stage {
    Stage::new(9)
        .with("s", Role::Suspect, declines(suspect))
        .with("b", Role::Base, declines(|_| 0.02))
        .with(
            "t1",
            Role::Teacher,
            declines(|i| {
                if i < 8 || (16..20).contains(&i) {
                    0.99
                } else {
                    0.01
                }
            }),
        )
        .with(
            "t2",
            Role::Teacher,
            declines(|i| if (8..20).contains(&i) { 0.99 } else { 0.01 }),
        )
}

#[test]
fn a_student_declines_what_its_teacher_alone_declines() {
    let found = stage(within(0..8, 0.7))
        .measure(&probe(PROMPTS))
        .expect("patterns");
    assert!(score(&found, "t1") > 0.4, "{found:?}");
    assert!(alarms(&found) && score(&found, "t2") < 0.0);
    assert!(found.details["alone-declines/t1"] >= 6.0);
    assert_eq!(found.details["alone-answers/t1"], 0.0);
    assert!(found.details["declines/s"] > found.details["declines/b"]);
}

#[test]
fn a_model_that_became_nervous_as_a_whole_is_near_nobody() {
    let probe = probe(PROMPTS);
    let mut raised = 0;
    for seed in 0..60 {
        let mut nervous = stage(|_| 0.5);
        nervous.reseed(seed);
        let found = nervous.measure(&probe).expect("patterns");
        raised += u32::from(alarms(&found));
        assert!(score(&found, "t1").abs() < 0.6);
    }
    // 5 % by two candidates at 2.5 %; three standard deviations more are 14 %. The sets are small.
    assert!(raised <= 8, "{raised} of 60");
}

#[test]
fn answering_what_all_others_decline_counts_too_and_lost_refusals_are_told() {
    let all = |i: usize| if i < 30 { 0.99 } else { 0.01 };
    let but = |from: usize| {
        move |i: usize| {
            if (from..from + 6).contains(&i) {
                0.01
            } else {
                all(i)
            }
        }
    };
    let stage = Stage::new(4)
        .with("s", Role::Suspect, declines(but(0)))
        .with("b", Role::Base, declines(all))
        .with("t1", Role::Teacher, declines(but(0)))
        .with("t2", Role::Teacher, declines(but(6)));
    let found = stage.measure(&probe(PROMPTS)).expect("patterns");
    assert!(found.details["alone-answers/t1"] >= 4.0);
    assert!(score(&found, "t1") > 0.5, "{found:?}");
    let lost = found.details["lost-refusals-of-base/s"];
    assert!((lost - 0.2).abs() < 0.06, "{lost}");
    assert!(found.details.contains_key("wording/s/t1"));
}

#[test]
fn a_lone_pattern_needs_controls() {
    let lone = || {
        // Where t2 declines nothing, t1 alone declines 0..8 and 16..20.
        stage(|i| {
            if i < 8 || (16..20).contains(&i) {
                0.7
            } else {
                0.02
            }
        })
        .without("t2")
        .with("t2", Role::Teacher, declines(|_| 0.01))
    };
    let refused = lone().measure(&probe(PROMPTS)).expect_err("no controls");
    assert_eq!(refused.reason, Reason::TooFewAnswers);
    assert!(refused.detail.contains("controls"), "{refused}");
    let mut guarded = lone();
    for (name, rate) in [("c0", 0.02), ("c1", 0.05), ("c2", 0.1)] {
        guarded = guarded.with(name, Role::Control, declines(move |_| rate));
    }
    let found = guarded.measure(&probe(PROMPTS)).expect("three controls");
    assert!(score(&found, "t1") > 0.3, "{found:?}");
}

#[test]
fn abstains_where_nobody_declines_or_parties_are_missing() {
    let never = || declines(|_| 0.0);
    let calm = Stage::new(1)
        .with("s", Role::Suspect, declines(|_| 0.3))
        .with("b", Role::Base, never())
        .with("t1", Role::Teacher, never())
        .with("t2", Role::Teacher, never());
    let refused = calm.measure(&probe(PROMPTS)).expect_err("nobody declines");
    assert_eq!(refused.reason, Reason::Degenerate);
    let suspect = || stage(within(0..8, 0.7));
    let reason = |s: Stage, n| s.measure(&probe(n)).expect_err("an abstention").reason;
    assert_eq!(reason(suspect().without("b"), PROMPTS), Reason::NoBase);
    assert_eq!(
        reason(suspect().without("t2"), PROMPTS),
        Reason::TooFewTeachers
    );
    assert_eq!(reason(suspect(), 19), Reason::TooFewAnswers);
    let found = || canonical::to_bytes(&suspect().measure(&probe(PROMPTS)).expect("patterns"));
    assert_eq!(found(), found());
}
