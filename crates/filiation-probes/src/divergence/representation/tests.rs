use filiation_core::canonical;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::contrast::scripted::{Script, ahead, first, normal};
use crate::contrast::simulated::suite;

const WIDTH: usize = 12;

fn probe(texts: usize) -> Representation {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    Representation::new(&[suite(texts, false)], &options).expect("open prompts")
}

/// What a model makes of every text.
type Meaning = Vec<Vec<f64>>;

fn random(n: usize, rng: &mut ChaCha8Rng) -> Meaning {
    (0..n)
        .map(|_| (0..WIDTH).map(|_| normal(rng)).collect())
        .collect()
}

fn plus(a: &Meaning, b: &Meaning, factor: f64) -> Meaning {
    let row = |(a, b): (&Vec<f64>, &Vec<f64>)| {
        let pairs = a.iter().zip(b);
        pairs.map(|(x, y)| x + factor * y).collect()
    };
    a.iter().zip(b).map(row).collect()
}

struct Case {
    base: Meaning,
    teachers: Vec<Meaning>,
    controls: Vec<Meaning>,
    rng: ChaCha8Rng,
}

impl Case {
    fn new(n: usize, controls: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let base = random(n, &mut rng);
        let family = plus(&base, &random(n, &mut rng), 0.7);
        let teachers = [&family, &family, &base].map(|f| plus(f, &random(n, &mut rng), 0.7));
        let controls = (0..controls).map(|_| plus(&base, &random(n, &mut rng), 0.5));
        Self {
            controls: controls.collect(),
            teachers: teachers.to_vec(),
            base,
            rng,
        }
    }

    fn innocent(&mut self) -> Meaning {
        plus(&self.base, &random(self.base.len(), &mut self.rng), 0.5)
    }

    fn student(&mut self, teacher: usize, share: f64) -> Meaning {
        let own = self.innocent();
        plus(&own, &self.teachers[teacher], share)
    }

    // Every model has axes and scale of its own; depth as told.
    fn script<'a>(&self, probe: &'a Representation, suspect: &Meaning, depth: u32) -> Script<'a> {
        let says = |meaning: &Meaning, turn: usize| {
            let meaning = meaning.clone();
            move |i: usize, request: &Request| {
                let Want::Hidden { layers, .. } = &request.want else {
                    return None;
                };
                let text = &meaning[i / DEPTHS.len()];
                let value = |j: usize| (1.0 + turn as f64) * text[(j + turn) % WIDTH];
                let state: Vec<f32> = (0..WIDTH).map(|j| value(j) as f32 + 3.0).collect();
                let there = layers.iter().all(|l| *l <= depth);
                let layers = layers.iter().map(|_| state.clone()).collect();
                there.then_some(Answer::Hidden(HiddenStates { layers }))
            }
        };
        let mut script = Script::new(probe)
            .with("s", Role::Suspect, says(suspect, 1))
            .with("b", Role::Base, says(&self.base, 1));
        for (k, teacher) in self.teachers.iter().enumerate() {
            script = script.with(&format!("t{}", k + 1), Role::Teacher, says(teacher, k + 2));
        }
        for (c, control) in self.controls.iter().enumerate() {
            script = script.with(&format!("c{c}"), Role::Control, says(control, 1));
        }
        script
    }
}

#[test]
fn a_student_arranges_texts_as_its_teacher_does() {
    let probe = probe(64);
    for seed in 0..6 {
        let mut case = Case::new(64, 4, seed);
        let student = case.student(0, 0.8);
        let found = case.script(&probe, &student, 13).measure();
        let found = found.expect("all answered");
        assert_eq!(first(&found), "t1", "seed {seed}");
        assert_eq!(ahead(&found), Some("t1"), "seed {seed}");
        assert!(found.details["cka/suspect/t1"] > found.details["cka/base/t1"]);
        // The least that four pairs of layers and 999 pairings give.
        let p = found.details["log10-p-of-cka-over-pairings/t1"];
        assert!((p - 0.004_f64.log10()).abs() < 1e-9, "{p}");
    }
}

#[test]
fn an_innocent_comes_nearer_to_nobody() {
    let probe = probe(40);
    let cases = 60;
    let (mut alarms, mut unusual) = (0, 0);
    for seed in 0..cases {
        let mut case = Case::new(40, 5, 300 + seed);
        let innocent = case.innocent();
        let found = case.script(&probe, &innocent, 2).measure();
        let found = found.expect("all answered");
        alarms += u32::from(ahead(&found).is_some());
        let p = |t: &str| found.details[&format!("log10-p-among-controls/{t}")];
        unusual += u32::from(["t1", "t2", "t3"].iter().any(|t| p(t) < -2.0));
    }
    assert!(alarms <= 9, "{alarms} of {cases}");
    assert!(unusual <= 4, "{unusual} of {cases}");
}

#[test]
fn axes_scale_and_depth_of_a_model_do_not_matter() {
    let probe = probe(40);
    let mut case = Case::new(40, 0, 9);
    let student = case.student(2, 0.5);
    let shallow = case
        .script(&probe, &student, 2)
        .measure()
        .expect("all answered");
    let deep = case
        .script(&probe, &student, 30)
        .measure()
        .expect("all answered");
    for (a, b) in shallow.candidates.iter().zip(&deep.candidates) {
        assert!((a.score - b.score).abs() < 1e-5, "{a:?} {b:?}");
    }
    let again = case
        .script(&probe, &student, 2)
        .measure()
        .expect("all answered");
    assert_eq!(canonical::to_bytes(&shallow), canonical::to_bytes(&again));
}

#[test]
fn abstains_where_a_teacher_is_closed_or_texts_are_few() {
    let probe = probe(64);
    let mut case = Case::new(64, 0, 10);
    let suspect = case.innocent();
    let refused = |script: &Script<'_>| script.measure().expect_err("an abstention");
    let mut closed = case.script(&probe, &suspect, 2);
    closed.answers.retain(|(party, _), _| party != "t2");
    let said = refused(&closed);
    assert_eq!(said.reason, Reason::NotSupported);
    assert!(
        said.detail.contains("`t2` gives no hidden states"),
        "{said}"
    );
    let mut few = case.script(&probe, &suspect, 2);
    let mut kept = 0;
    few.answers.retain(|(party, _), _| {
        kept += usize::from(party == "s");
        party != "s" || kept <= 20
    });
    assert_eq!(refused(&few).reason, Reason::TooFewAnswers);
    for (role, wanted) in [
        (Role::Base, Reason::NoBase),
        (Role::Teacher, Reason::TooFewTeachers),
    ] {
        let mut left = case.script(&probe, &suspect, 2);
        left.parties.retain(|p| p.role != role);
        assert_eq!(refused(&left).reason, wanted);
    }
    assert_eq!(
        refused(&case.script(&probe, &case.base.clone(), 2)).reason,
        Reason::Degenerate
    );
}
