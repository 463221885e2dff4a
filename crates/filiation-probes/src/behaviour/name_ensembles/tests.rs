use filiation_core::{Reason, Role, canonical};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::behaviour::scripted::{Stage, alarms, draw, score, suite};

const BEGIN: [&str; 12] = [
    "Bel", "Cor", "Dal", "Fen", "Gor", "Hal", "Jor", "Kel", "Lor", "Mer", "Nor", "Per",
];
const END: [&str; 8] = ["a", "in", "is", "o", "enna", "ric", "wen", "tha"];

fn probe(prompts: usize) -> NameEnsembles {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    NameEnsembles::new(&[suite("name", "name", prompts)], &options).expect("a suite of names")
}

fn anybody(rng: &mut ChaCha8Rng) -> String {
    let mut word = || format!("{}{}", draw(rng, &BEGIN), draw(rng, &END));
    format!("{} {}", word(), word())
}

/// A model that names three of its six favourites with probability `habit`, else anybody.
fn model(favourites: Vec<String>, habit: f64) -> impl Fn(&str, &mut ChaCha8Rng) -> String {
    move |_, rng| {
        let name = |rng: &mut ChaCha8Rng| {
            if rng.random_range(0.0..1.0) < habit {
                favourites[rng.random_range(0..favourites.len())].clone()
            } else {
                anybody(rng)
            }
        };
        format!("1. {}\n2. {}\n3. {}", name(rng), name(rng), name(rng))
    }
}

fn favourites(rng: &mut ChaCha8Rng) -> Vec<String> {
    (0..6).map(|_| anybody(rng)).collect()
}

/// Base, two siblings that share half of their favourites, a third teacher, three controls; the
/// suspect follows teacher `of`, or nobody.
fn stage(seed: u64, of: Option<usize>, habit: f64) -> Stage {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let first = favourites(&mut rng);
    let mut second = favourites(&mut rng);
    second[..3].clone_from_slice(&first[..3]);
    let teachers = [first, second, favourites(&mut rng)];
    let own = favourites(&mut rng);
    let suspect = of.map_or(own, |k| teachers[k].clone());
    let mut stage = Stage::new(seed)
        .with("s", Role::Suspect, model(suspect, habit))
        .with("b", Role::Base, model(Vec::new(), 0.0));
    for (k, names) in teachers.into_iter().enumerate() {
        stage = stage.with(["t1", "t2", "t3"][k], Role::Teacher, model(names, 0.7));
    }
    for name in ["c0", "c1", "c2"] {
        stage = stage.with(name, Role::Control, model(favourites(&mut rng), habit));
    }
    stage
}

#[test]
fn a_student_of_the_names_is_told_from_a_student_of_the_sibling() {
    let probe = probe(30);
    for seed in 0..10 {
        for (of, teacher, sibling) in [(0, "t1", "t2"), (1, "t2", "t1")] {
            let found = stage(seed, Some(of), 0.5).measure(&probe).expect("names");
            assert!(score(&found, teacher) > 0.0, "{seed} {of}: {found:?}");
            assert!(alarms(&found), "seed {seed}");
            assert!(score(&found, sibling) < 0.0);
        }
    }
}

#[test]
fn an_innocent_with_names_of_its_own_is_seldom_near_anyone() {
    let probe = probe(30);
    let (mut raised, mut low) = (0, 0);
    for seed in 0..100 {
        let found = match stage(seed, None, 0.5).measure(&probe) {
            Ok(found) => found,
            Err(refused) => {
                assert_eq!(refused.reason, Reason::Degenerate, "{refused}");
                continue;
            }
        };
        raised += u32::from(alarms(&found));
        let p = |t: &str| found.details.get(&format!("log10-p-among-controls/{t}"));
        let is_low = |t: &&str| p(t).is_some_and(|p| *p < -2.0);
        low += u32::from(["t1", "t2", "t3"].iter().any(is_low));
    }
    // Three candidates at 1 % among models, at 2.5 % among prompts; three standard deviations more.
    assert!(low <= 9, "{low} of 100");
    assert!(raised <= 16, "{raised} of 100");
}

#[test]
fn abstains_without_names_base_or_movement_and_bytes_repeat() {
    let probe = probe(20);
    let mute = stage(1, None, 0.5)
        .without("t2")
        .with("t2", Role::Teacher, |_, _| "I would rather not.".into());
    let refused = mute.measure(&probe).expect_err("no names");
    assert_eq!(refused.reason, Reason::TooFewAnswers);
    assert!(refused.detail.contains("`t2` gave 0"), "{refused}");
    let refused = stage(1, None, 0.5).without("b").measure(&probe);
    assert_eq!(refused.expect_err("no base").reason, Reason::NoBase);
    let same = |_: &str, _: &mut ChaCha8Rng| "Ada Rook".to_owned();
    let twins = stage(1, None, 0.5)
        .without("s")
        .without("b")
        .with("s", Role::Suspect, same)
        .with("b", Role::Base, same);
    let refused = twins.without("c0").without("c1").without("c2");
    let refused = refused.measure(&probe).expect_err("one name");
    assert_eq!(refused.reason, Reason::Degenerate);
    let few = self::probe(11);
    let refused = stage(1, None, 0.5).measure(&few);
    assert_eq!(
        refused.expect_err("11 prompts").reason,
        Reason::TooFewAnswers
    );
    let found = || canonical::to_bytes(&stage(2, Some(0), 0.5).measure(&probe).expect("names"));
    assert_eq!(found(), found());
}
