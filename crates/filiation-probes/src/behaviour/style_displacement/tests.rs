use filiation_core::{Observations, Reason, Role, canonical};

use super::*;
use crate::behaviour::scripted::{Stage, alarms, draw, score};
use crate::contrast::simulated::{Truth, suite};

fn probe(prompts: usize, of_teachers: u32) -> StyleDisplacement {
    let options = ProbeOptions {
        draws: 200,
        samples: of_teachers,
        ..ProbeOptions::default()
    };
    StyleDisplacement::new(&[suite(prompts, false)], &options).expect("a suite of openings")
}

#[test]
fn a_student_is_displaced_towards_its_teacher_and_not_its_sibling() {
    let probe = probe(120, 4);
    for seed in 0..3 {
        let truth = Truth::new(seed);
        let student = truth.innocent.taught(&truth.teachers[0], 1.0);
        let found = truth.world(&student, &[]).measure(&probe);
        let found = found.expect("all answered");
        assert!(score(&found, "t1") > 0.0, "seed {seed}: {found:?}");
        assert!(alarms(&found), "seed {seed}");
        assert!(found.details["accuracy"] > 0.5, "seed {seed}");
        assert!(found.details["called/s/t1"] > found.details["called/b/t1"]);
    }
}

#[test]
fn an_innocent_is_not_nearer_to_one_of_three_siblings() {
    let probe = probe(30, 2);
    let (mut raised, mut told, mut sum) = (0, 0, 0.0);
    for seed in 0..40 {
        let mut truth = Truth::new(seed);
        let family = truth.teachers[0].clone();
        truth.teachers = [1, 2, 3].map(|_| family.moved(0.6, &mut truth.rng));
        let controls = truth.controls(4);
        let found = truth.world(&truth.innocent, &controls).measure(&probe);
        match found {
            Ok(found) => {
                told += 1;
                raised += u32::from(alarms(&found));
                sum += found.candidates.iter().map(|c| c.score).sum::<f64>();
            }
            Err(refused) => assert_eq!(refused.reason, Reason::Degenerate, "{refused}"),
        }
    }
    assert!(told > 20, "{told} of 40 worlds were told apart");
    // Three candidates at 2.5 % each are 7.5 %; 20 % is three standard deviations above in 40 worlds.
    assert!(raised <= 8, "{raised} of {told}");
    assert!(sum < 0.0, "{sum}");
}

// Everyone writes the same words; the teachers differ in how they set them.
fn stage(suspect: &'static str) -> Stage {
    let set = |how: &'static str| {
        move |_: &str, rng: &mut rand_chacha::ChaCha8Rng| {
            let noun = draw(
                rng,
                &["kettle", "bridge", "candle", "garden", "letter", "wheel"],
            );
            let verb = draw(rng, &["stands", "waits", "turns", "burns", "shines"]);
            match how {
                "bold" => format!("**The {noun}** {verb} — as it must."),
                "list" => format!("- the {noun}\n- it {verb}\n- as it must"),
                _ => format!("The {noun} {verb}, as it must"),
            }
        }
    };
    Stage::new(5)
        .with("s", Role::Suspect, set(suspect))
        .with("b", Role::Base, set("plain"))
        .with("bold", Role::Teacher, set("bold"))
        .with("list", Role::Teacher, set("list"))
}

#[test]
fn form_alone_is_style_and_the_common_form_is_none() {
    let probe = probe(40, 1);
    let bold = stage("bold").measure(&probe).expect("all answered");
    assert!(score(&bold, "bold") > 1.0 && score(&bold, "list") < -1.0);
    assert!(bold.details["accuracy"] > 0.99);
    let plain = stage("plain").measure(&probe).expect("all answered");
    assert!(!alarms(&plain), "{plain:?}");
    assert!(score(&plain, "bold").abs() < 0.1 && score(&plain, "list").abs() < 0.1);
}

#[test]
fn teachers_of_one_style_are_no_contrast() {
    let truth = Truth::new(3);
    let mut world = truth.world(&truth.innocent, &[]);
    // The three teachers differ in nothing but the draws.
    for i in 2..5 {
        let mut twin = truth.teachers[0].clone();
        twin = twin.moved(1e-6 * i as f64, &mut truth.rng.clone());
        world.chains[i] = twin;
    }
    let refused = world.measure(&probe(40, 1)).expect_err("one style");
    assert_eq!(refused.reason, Reason::Degenerate);
    assert!(refused.detail.contains("not told apart"), "{refused}");
}

#[test]
fn abstains_without_base_sibling_texts_or_movement() {
    let truth = Truth::new(8);
    let world = truth.world(&truth.innocent, &[]);
    let probe = probe(30, 2);
    let reason = |stage: &Stage| stage.measure(&probe).expect_err("an abstention").reason;
    assert_eq!(reason(&stage("bold").without("b")), Reason::NoBase);
    assert_eq!(
        reason(&stage("bold").without("list")),
        Reason::TooFewTeachers
    );
    let few = world.measure(&self::probe(19, 2)).expect_err("19 prompts");
    assert_eq!(few.reason, Reason::TooFewAnswers);
    let mut answers = world.answers(&probe);
    for ((party, _), answer) in &mut answers {
        if let (true, Ok(filiation_core::Answer::Completion(c))) = (party == "t2", answer) {
            c.text = "  \n".into();
        }
    }
    let silent = probe.measure(&Observations::new(&world.parties, &answers));
    let silent = silent.expect_err("t2 says nothing");
    assert_eq!(silent.reason, Reason::TooFewAnswers);
    assert!(silent.detail.contains("`t2` gave 0"), "{silent}");
    let same = truth.world(&truth.base, &[]).measure(&self::probe(120, 4));
    assert_eq!(
        same.expect_err("the base itself").reason,
        Reason::Degenerate
    );
}

#[test]
fn a_control_that_is_silent_is_left_out_and_bytes_repeat() {
    let mut truth = Truth::new(10);
    let controls = truth.controls(2);
    let world = truth.world(&truth.innocent, &controls);
    let probe = probe(60, 4);
    let mut answers = world.answers(&probe);
    answers.retain(|(party, _), _| party != "c1");
    let seen = Observations::new(&world.parties, &answers);
    let found = probe.measure(&seen).expect("one control is left");
    assert_eq!(found.details["controls"], 1.0);
    assert_eq!(found.details["prompts"], 60.0);
    let again = probe.measure(&seen).expect("the same");
    assert_eq!(canonical::to_bytes(&found), canonical::to_bytes(&again));
}
