use filiation_core::{Answer, Observations, Reason, Role, Statistic, canonical};

use super::*;
use crate::contrast::simulated::{Chain, Truth, World, suite};

fn probe(prompts: usize) -> TluDid {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    TluDid::new(&[suite(prompts, false)], &options).expect("a suite of openings")
}

fn first(statistic: &Statistic) -> &str {
    let best = statistic
        .candidates
        .iter()
        .max_by(|a, b| a.score.total_cmp(&b.score));
    &best.expect("three candidates").candidate
}

fn lower(statistic: &Statistic, candidate: &str) -> f64 {
    let found = statistic
        .candidates
        .iter()
        .find(|c| c.candidate == candidate);
    let interval = found.and_then(|c| c.interval);
    interval.expect("every candidate has an interval").lower
}

#[test]
fn the_teacher_of_a_student_is_first_and_its_sibling_is_not() {
    for (share, prompts) in [(1.0, 100), (0.3, 200), (0.1, 400)] {
        for seed in 0..5 {
            let truth = Truth::new(seed);
            let student = truth.innocent.taught(&truth.teachers[0], share);
            let found = truth.world(&student, &[]).measure(&probe(prompts));
            let found = found.expect("all answered");
            // A tenth of a teacher is not told from its sibling, but from the unlike one.
            let family: &[&str] = if share < 0.3 { &["t1", "t2"] } else { &["t1"] };
            assert!(
                family.contains(&first(&found)),
                "share {share}, seed {seed}"
            );
            let above = found.candidates.iter().filter(|c| c.score > 0.0).count();
            assert!(above <= 1, "share {share}, seed {seed}");
            assert!(
                share < 0.3 || lower(&found, "t1") > 0.0,
                "share {share}, seed {seed}"
            );
        }
    }
}

#[test]
fn an_innocent_is_not_nearer_to_one_of_equal_teachers_than_the_interval_allows() {
    let worlds = 150;
    let probe = probe(60);
    let mut alarms = 0;
    let mut sum = 0.0;
    for seed in 0..worlds {
        let mut truth = Truth::new(seed);
        // Equal but for a breath, so that their texts are drawn apart.
        let teacher = truth.teachers[0].clone();
        truth.teachers = [1, 2, 3].map(|_| teacher.moved(1e-9, &mut truth.rng));
        let found = truth.world(&truth.innocent, &[]).measure(&probe);
        let found = found.expect("all answered");
        alarms += u32::from(
            found
                .candidates
                .iter()
                .any(|c| lower(&found, &c.candidate) > 0.0),
        );
        sum += found
            .candidates
            .iter()
            .map(|c| c.score)
            .fold(f64::MIN, f64::max);
    }
    // Each of three candidates must beat two others at 2.5 %: at most 7.5 % of worlds.
    assert!(alarms <= 15, "{alarms} of {worlds}");
    assert!(
        (sum / worlds as f64).abs() < 0.03,
        "{}",
        sum / worlds as f64
    );
}

#[test]
fn among_unlike_teachers_prompts_alone_accuse_innocents_and_controls_do_not() {
    let probe = probe(150);
    let worlds = 60;
    let (mut by_prompts, mut by_models) = (0, 0);
    for seed in 100..100 + worlds {
        let mut truth = Truth::new(seed);
        let controls = truth.controls(6);
        let alone = truth.world(&truth.innocent, &[]).measure(&probe);
        let alone = alone.expect("all answered");
        by_prompts += u32::from(lower(&alone, "t3") > 0.0);
        let among = truth.world(&truth.innocent, &controls).measure(&probe);
        let among = among.expect("all answered");
        by_models += u32::from(among.details["log10-p-among-controls/t3"] <= 0.05_f64.log10());
    }
    assert!(by_prompts >= 6, "{by_prompts} of {worlds}");
    assert!(by_models <= 8, "{by_models} of {worlds}");
}

#[test]
fn controls_take_off_what_any_training_does_and_keep_the_teacher() {
    let mut truth = Truth::new(3);
    // All training of the day leans to t3, the student's included.
    let fashion = truth.base.taught(&truth.teachers[2], 0.4);
    let controls: Vec<Chain> = (0..6).map(|_| fashion.moved(0.1, &mut truth.rng)).collect();
    let innocent = fashion.moved(0.1, &mut truth.rng);
    let probe = probe(200);
    let misled = truth
        .world(&innocent, &[])
        .measure(&probe)
        .expect("all answered");
    assert!(lower(&misled, "t3") > 0.0);
    let righted = truth
        .world(&innocent, &controls)
        .measure(&probe)
        .expect("all answered");
    let score = |s: &Statistic| s.candidates[2].score;
    assert!(
        score(&righted) < 0.25 * score(&misled),
        "{} {}",
        score(&righted),
        score(&misled)
    );
    let student = innocent.taught(&truth.teachers[0], 0.3);
    let found = truth
        .world(&student, &controls)
        .measure(&probe)
        .expect("all answered");
    assert_eq!(first(&found), "t1");
    assert!(lower(&found, "t1") > 0.0);
    assert!(found.details["log10-p-among-controls/t1"] < -2.0);
}

#[test]
fn order_and_names_of_the_candidates_do_not_matter() {
    let mut truth = Truth::new(4);
    let controls = truth.controls(2);
    let student = truth.innocent.taught(&truth.teachers[0], 0.5);
    let world = truth.world(&student, &controls);
    let probe = probe(50);
    let plain = world.measure(&probe).expect("all answered");
    let mut turned = world.clone();
    turned.parties.reverse();
    turned.chains.reverse();
    let turned = turned.measure(&probe).expect("all answered");
    for c in &plain.candidates {
        let twin = turned
            .candidates
            .iter()
            .find(|t| t.candidate == c.candidate);
        let twin = twin.expect("the same candidates");
        // The controls are summed in another order.
        assert!((twin.score - c.score).abs() < 1e-12);
    }
    let mut renamed = world;
    for party in &mut renamed.parties {
        party.name = format!("x-{}", party.name);
    }
    let renamed = renamed.measure(&probe).expect("all answered");
    for (a, b) in plain.candidates.iter().zip(&renamed.candidates) {
        assert_eq!(
            (a.score, a.interval, a.effect),
            (b.score, b.interval, b.effect)
        );
    }
}

#[test]
fn the_same_observations_give_the_same_bytes() {
    let truth = Truth::new(5);
    let world = truth.world(&truth.innocent, &[]);
    let bytes = || canonical::to_bytes(&world.measure(&probe(30)).expect("all answered"));
    assert_eq!(bytes(), bytes());
}

#[test]
fn the_matrix_and_the_power_are_told() {
    let mut truth = Truth::new(6);
    let controls = truth.controls(3);
    let found = truth.world(&truth.innocent, &controls).measure(&probe(40));
    let found = found.expect("all answered");
    for model in ["s", "c0", "c1", "c2"] {
        let of = |what: &str, t: &str| found.details[&format!("uplift/{what}/{model}/{t}")];
        let sum: f64 = ["t1", "t2", "t3"]
            .iter()
            .map(|t| of("less-teachers", t))
            .sum();
        assert!(sum.abs() < 1e-12);
        assert!(of("raw", "t1").is_finite() && of("less-models", "t1").is_finite());
    }
    assert_eq!(found.details["controls"], 3.0);
    assert_eq!(found.details["prompts"], 40.0);
    let power = found.power.expect("forty prompts");
    let widths = found.candidates.iter().filter_map(|c| c.interval);
    let widest = widths.map(|i| i.upper - i.lower).fold(0.0, f64::max);
    // 0.9 power at size 0.01 needs about 3.6 standard errors, the interval spans 3.9.
    assert!((0.5..2.5).contains(&(power.smallest_effect / widest)));
    assert!(
        found
            .finding
            .expect("a finding")
            .contains("models give the null")
    );
}

fn reason(world: &World, prompts: usize) -> Reason {
    world
        .measure(&probe(prompts))
        .expect_err("an abstention")
        .reason
}

#[test]
fn abstains_where_parties_or_prompts_are_missing() {
    let truth = Truth::new(8);
    let world = truth.world(&truth.innocent, &[]);
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
}

#[test]
fn abstains_where_suspect_and_base_cut_otherwise() {
    let truth = Truth::new(9);
    let world = truth.world(&truth.innocent, &[]);
    let probe = probe(30);
    let mut answers = world.answers(&probe);
    for ((party, _), answer) in &mut answers {
        if let (true, Ok(Answer::Scored(text))) = (party == "s", answer) {
            // Two letters a token.
            let tokens = text
                .tokens
                .chunks(2)
                .map(|pair| filiation_core::ScoredToken {
                    id: pair[0].id,
                    start: pair[0].start,
                    end: pair[pair.len() - 1].end,
                    logprob: pair.iter().map(|t| t.logprob).sum(),
                });
            text.tokens = tokens.collect();
        }
    }
    let seen = Observations::new(&world.parties, &answers);
    let refused = probe.measure(&seen).expect_err("another tokenizer");
    assert_eq!(refused.reason, Reason::NotComparable);
}

#[test]
fn a_control_that_cannot_be_compared_is_left_out() {
    let mut truth = Truth::new(10);
    let controls = truth.controls(2);
    let world = truth.world(&truth.innocent, &controls);
    let probe = probe(30);
    let mut answers = world.answers(&probe);
    answers.retain(|(party, _), _| party != "c1");
    let seen = Observations::new(&world.parties, &answers);
    let found = probe.measure(&seen).expect("one control is left");
    assert_eq!(found.details["controls"], 1.0);
    assert_eq!(found.controls.len(), 1);
    assert_eq!(found.details["prompts"], 30.0);
}
