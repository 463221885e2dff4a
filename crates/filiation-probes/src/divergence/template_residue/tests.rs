use std::collections::BTreeMap;

use filiation_core::{Completion, Finish, ModelError, ScoredText, ScoredToken, canonical};
use filiation_stats::normal_quantile;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::contrast::scripted::party;
use crate::contrast::simulated;

type Answers = BTreeMap<(String, RequestId), Result<Answer, ModelError>>;

/// Models that differ in how likely each mark is, and by nothing else.
struct World {
    parties: Vec<Party>,
    /// Nats per byte of each mark, by party.
    taste: Vec<Vec<f64>>,
    /// Teachers give texts only.
    mute: bool,
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    normal_quantile(rng.random_range(1e-12..1.0 - 1e-12)).expect("inside (0, 1)")
}

impl World {
    /// A suspect that went `share` of the way from the base to `t1`, and `noise` elsewhere.
    fn new(share: f64, noise: f64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |from: &[f64], by: f64| -> Vec<f64> {
            from.iter().map(|v| v + by * normal(&mut rng)).collect()
        };
        let base = draw(&[-2.0; MARKS.len()], 0.3);
        let family = draw(&base, 0.3);
        let teachers = [draw(&family, 0.3), draw(&family, 0.3), draw(&base, 0.4)];
        let toward = |from: &[f64]| -> Vec<f64> {
            let pairs = from.iter().zip(&teachers[0]);
            pairs.map(|(b, t)| b + share * (t - b)).collect()
        };
        let suspect = draw(&toward(&base), noise);
        let mut world = Self {
            parties: Vec::new(),
            taste: Vec::new(),
            mute: false,
        };
        world.put("s", Role::Suspect, suspect);
        world.put("b", Role::Base, base.clone());
        for (i, teacher) in teachers.into_iter().enumerate() {
            world.put(&format!("t{}", i + 1), Role::Teacher, teacher);
        }
        for i in 0..3 {
            world.put(&format!("c{i}"), Role::Control, draw(&base, noise));
        }
        world
    }

    fn put(&mut self, name: &str, role: Role, taste: Vec<f64>) {
        self.parties.push(party(name, role));
        self.taste.push(taste);
    }

    fn answers(&self, probe: &TemplateResidue) -> Answers {
        let mut answers = Answers::new();
        for (party, taste) in self.parties.iter().zip(&self.taste) {
            let teacher = party.role == Role::Teacher;
            for (j, ids) in probe.scoring.iter().enumerate() {
                for id in ids.iter().filter(|_| !(teacher && self.mute)) {
                    let answer = Ok(scored(taste[j]));
                    answers.insert((party.name.clone(), id.clone()), answer);
                }
            }
            for (i, id) in probe.texts.iter().enumerate().filter(|_| teacher) {
                // A mark stands in an answer as often as the teacher likes it.
                let stands = |j: &usize| (i as f64 + 0.5) / 300.0 < (taste[*j] + 2.0).max(0.0);
                let text: String = (0..MARKS.len())
                    .filter(stands)
                    .map(|j| format!("so {} it is. ", MARKS[j].text))
                    .collect();
                let said = Completion {
                    text,
                    tokens: Vec::new(),
                    finish: Finish::Stop,
                };
                let answer = Ok(Answer::Completion(said));
                answers.insert((party.name.clone(), id.clone()), answer);
            }
        }
        answers
    }

    fn measure(&self) -> Result<Statistic, Abstention> {
        let probe = probe();
        let answers = self.answers(&probe);
        probe.measure(&Observations::new(&self.parties, &answers))
    }
}

fn scored(per_byte: f64) -> Answer {
    Answer::Scored(ScoredText {
        tokens: vec![ScoredToken {
            id: 0,
            start: 0,
            end: 1,
            logprob: per_byte,
        }],
        bytes: 1,
    })
}

fn probe() -> TemplateResidue {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    TemplateResidue::new(&[simulated::suite(300, false)], &options).expect("openings")
}

fn score(found: &Statistic, name: &str) -> f64 {
    let of = found.candidates.iter().find(|c| c.candidate == name);
    of.expect("a candidate").score
}

#[test]
fn marks_are_distinct_and_none_stands_twice() {
    for (i, a) in MARKS.iter().enumerate() {
        assert!(!a.text.trim().is_empty());
        for b in &MARKS[i + 1..] {
            assert!(a.name != b.name && a.text != b.text, "{}", a.name);
        }
    }
}

#[test]
fn a_student_keeps_the_marks_of_its_teacher() {
    for seed in 0..10 {
        let found = World::new(0.4, 0.1, seed).measure().expect("all scored");
        assert!(score(&found, "t1") > 0.0, "seed {seed}");
        assert_eq!(found.details["belonging-by-scores"], 1.0);
        assert_eq!(found.details["marks"], MARKS.len() as f64);
    }
}

#[test]
fn an_innocent_is_led_to_none_more_often_than_the_interval_says() {
    let worlds = 150;
    let mut alarms = 0;
    for seed in 0..worlds {
        let found = World::new(0.0, 0.2, seed).measure().expect("all scored");
        let clear = |c: &filiation_core::CandidateScore| c.interval.is_some_and(|i| i.lower > 0.0);
        alarms += u32::from(found.candidates.iter().any(clear));
    }
    // Three candidates at 2.5 %, and 56 marks make a percentile interval a little short.
    assert!(alarms <= 20, "{alarms} of {worlds}");
}

#[test]
fn teachers_that_give_texts_only_are_told_apart_by_them() {
    let mut first = 0;
    for seed in 0..10 {
        let mut world = World::new(0.5, 0.1, seed);
        world.mute = true;
        let found = world.measure().expect("texts are searched");
        assert_eq!(found.details["belonging-by-scores"], 0.0);
        first += u32::from(score(&found, "t1") > 0.0);
    }
    assert!(first >= 7, "{first} of 10");
}

#[test]
fn abstains_where_nothing_tells_the_teachers_apart_or_parties_are_missing() {
    let reason = |world: &World| world.measure().expect_err("an abstention").reason;
    let mut alike = World::new(0.3, 0.1, 1);
    alike.taste[3] = alike.taste[2].clone();
    alike.taste[4] = alike.taste[2].clone();
    assert_eq!(reason(&alike), Reason::Degenerate);
    let mut still = World::new(0.3, 0.1, 1);
    still.taste[0] = still.taste[1].clone();
    assert_eq!(reason(&still), Reason::Degenerate);
    let without = |name: &str| {
        let mut world = World::new(0.3, 0.1, 1);
        let at = world.parties.iter().position(|p| p.name == name);
        let at = at.expect("a party");
        world.parties.remove(at);
        world.taste.remove(at);
        world
    };
    assert_eq!(reason(&without("b")), Reason::NoBase);
    let mut lone = without("t3");
    lone.parties.remove(3);
    lone.taste.remove(3);
    assert_eq!(reason(&lone), Reason::TooFewTeachers);
    let world = World::new(0.3, 0.1, 1);
    let probe = probe();
    let mut answers = world.answers(&probe);
    answers.retain(|(party, _), _| party != "t2");
    let refused = probe.measure(&Observations::new(&world.parties, &answers));
    let refused = refused.expect_err("t2 is silent");
    assert_eq!(refused.reason, Reason::NotSupported);
    assert!(refused.detail.contains("`t2`"));
    let mut answers_of_all = world.answers(&probe);
    answers_of_all.retain(|(party, id), _| party != "s" || id.as_str().ends_with("mark-3"));
    let refused = probe.measure(&Observations::new(&world.parties, &answers_of_all));
    assert_eq!(refused.expect_err("one mark").reason, Reason::TooFewAnswers);
}

#[test]
fn a_control_that_misses_a_mark_is_left_out_and_bytes_repeat() {
    let world = World::new(0.3, 0.1, 2);
    let probe = probe();
    let mut answers = world.answers(&probe);
    answers.retain(|(party, id), _| party != "c1" || !id.as_str().ends_with("mark-3"));
    let found = probe.measure(&Observations::new(&world.parties, &answers));
    assert_eq!(found.expect("two controls").controls, ["c0", "c2"]);
    let bytes = || canonical::to_bytes(&world.measure().expect("all scored"));
    assert_eq!(bytes(), bytes());
}
