use filiation_core::{Completion, canonical};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::contrast::scripted::{Script, ahead, first};
use crate::contrast::simulated::suite;

fn probe(prompts: usize) -> DivergenceAgreement {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    DivergenceAgreement::new(&[suite(prompts, false)], &options).expect("a suite of openings")
}

fn says(text: &str) -> Answer {
    Answer::Completion(Completion {
        text: text.into(),
        tokens: Vec::new(),
        finish: Finish::Length,
    })
}

/// What a model says first, prompt by prompt.
type Words = Vec<String>;

/// Six words a prompt, some likelier than others.
fn word(rng: &mut ChaCha8Rng) -> String {
    let draw: f64 = rng.random_range(0.0..1.0);
    format!(" {} words", (6.0 * draw * draw) as u8)
}

/// `from`, with a share of the prompts answered anew or as `teacher` answers.
fn trained(from: &Words, teacher: Option<&Words>, share: f64, rng: &mut ChaCha8Rng) -> Words {
    let of = |(i, old): (usize, &String)| {
        if rng.random_range(0.0..1.0) >= share {
            return old.clone();
        }
        teacher.map_or_else(|| word(rng), |t| t[i].clone())
    };
    from.iter().enumerate().map(of).collect()
}

struct Case {
    base: Words,
    teachers: Vec<Words>,
    controls: Vec<Words>,
    rng: ChaCha8Rng,
}

impl Case {
    // t1 and t2 are siblings: they share half of their answers.
    fn new(prompts: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let base: Words = (0..prompts).map(|_| word(&mut rng)).collect();
        let family = trained(&base, None, 1.0, &mut rng);
        let teachers = vec![
            trained(&family, None, 0.5, &mut rng),
            trained(&family, None, 0.5, &mut rng),
            trained(&base, None, 1.0, &mut rng),
        ];
        let controls = (0..5).map(|_| trained(&base, None, 0.5, &mut rng));
        let controls = controls.collect();
        Self {
            base,
            teachers,
            controls,
            rng,
        }
    }

    fn innocent(&mut self) -> Words {
        trained(&self.base, None, 0.5, &mut self.rng)
    }

    fn script<'a>(&self, probe: &'a DivergenceAgreement, suspect: &Words) -> Script<'a> {
        let said = |words: &Words| {
            let words = words.clone();
            move |i: usize, _: &Request| Some(says(&words[i]))
        };
        let mut script = Script::new(probe)
            .with("s", Role::Suspect, said(suspect))
            .with("b", Role::Base, said(&self.base));
        for (k, teacher) in self.teachers.iter().enumerate() {
            script = script.with(&format!("t{}", k + 1), Role::Teacher, said(teacher));
        }
        for (c, control) in self.controls.iter().enumerate() {
            script = script.with(&format!("c{c}"), Role::Control, said(control));
        }
        script
    }
}

#[test]
fn the_teacher_of_a_student_is_first_and_its_sibling_is_not() {
    let probe = probe(200);
    for share in [1.0, 0.3] {
        for seed in 0..8 {
            let mut case = Case::new(200, seed);
            let own = case.innocent();
            let teacher = case.teachers[0].clone();
            let student = trained(&own, Some(&teacher), share, &mut case.rng);
            let found = case.script(&probe, &student).measure();
            let found = found.expect("all answered");
            assert_eq!(first(&found), "t1", "share {share}, seed {seed}");
            assert_eq!(ahead(&found), Some("t1"), "share {share}, seed {seed}");
            assert!(found.details["log10-p-among-controls/t1"] < -1.0);
        }
    }
}

#[test]
fn an_innocent_follows_nobody() {
    let probe = probe(120);
    let cases = 150;
    let (mut alarms, mut unusual) = (0, 0);
    for seed in 0..cases {
        let mut case = Case::new(120, 1000 + seed);
        let innocent = case.innocent();
        let found = case.script(&probe, &innocent).measure();
        let found = found.expect("all answered");
        alarms += u32::from(ahead(&found).is_some());
        let p = |t: &str| found.details[&format!("log10-p-among-controls/{t}")];
        unusual += u32::from(["t1", "t2", "t3"].iter().any(|t| p(t) < -2.0));
    }
    // Three candidates at 2.5 % each, and the intervals leave out what the controls vary by.
    assert!(alarms <= 20, "{alarms} of {cases}");
    assert!(unusual <= 8, "{unusual} of {cases}");
}

#[test]
fn a_known_score() {
    // At 20 prompts all part; the suspect follows a at 12, b at 3, and the base at 5.
    let probe = probe(24);
    let answer = |suspect: bool, own: &'static str| {
        move |i: usize, _: &Request| {
            let text = match (i, suspect) {
                (20.., _) => "same",
                (0..12, true) => "aaaa",
                (12..15, true) => "bbbb",
                _ => own,
            };
            Some(says(text))
        }
    };
    let script = Script::new(&probe)
        .with("s", Role::Suspect, answer(true, "base"))
        .with("b", Role::Base, answer(false, "base"))
        .with("a", Role::Teacher, answer(false, "  aaaa and more"))
        .with("t", Role::Teacher, answer(false, "bbbbb"));
    let found = script.measure().expect("all answered");
    assert!((found.candidates[0].score - 0.45).abs() < 1e-12);
    assert!((found.candidates[1].score + 0.45).abs() < 1e-12);
    assert_eq!(found.details["follows/a/t"], 12.0);
    assert_eq!(found.details["follows/t/a"], 3.0);
    assert_eq!(found.details["divergent/a/t"], 20.0);
    assert_eq!(found.details["agreement/base/a"], 4.0 / 24.0);
    let again = script.measure().expect("all answered");
    assert_eq!(canonical::to_bytes(&found), canonical::to_bytes(&again));
}

#[test]
fn what_all_post_trained_models_say_counts_for_nobody() {
    // Suspect and controls all took up what t1 says: the controls take it off.
    let probe = probe(100);
    let mut case = Case::new(100, 5);
    let fashion = case.teachers[0].clone();
    let base = case.base.clone();
    let fashionable: Vec<Words> = (0..6)
        .map(|_| trained(&base, Some(&fashion), 0.6, &mut case.rng))
        .collect();
    case.controls = fashionable[1..].to_vec();
    let found = case.script(&probe, &fashionable[0]).measure();
    let found = found.expect("all answered");
    assert!(found.candidates[0].score < 0.15, "{:?}", found.candidates);
    case.controls = Vec::new();
    let misled = case.script(&probe, &fashionable[0]).measure();
    assert!(misled.expect("all answered").candidates[0].score > 0.4);
}

#[test]
fn abstains_where_parties_answers_or_divergence_are_missing() {
    let probe = probe(80);
    let mut case = Case::new(80, 2);
    let suspect = case.innocent();
    let reason = |script: Script<'_>| script.measure().expect_err("an abstention");
    let whole = case.script(&probe, &suspect);
    for (role, keep, wanted) in [
        (Role::Base, 0, Reason::NoBase),
        (Role::Teacher, 1, Reason::TooFewTeachers),
    ] {
        let left = case.script(&probe, &suspect).keeping(role, keep);
        assert_eq!(reason(left).reason, wanted);
    }
    // Empty, and cut short: no answers.
    for text in ["", "   ", " ab"] {
        let mut mute = case.script(&probe, &suspect);
        for ((party, _), answer) in &mut mute.answers {
            if party == "t2" {
                *answer = Ok(says(text));
            }
        }
        let said = reason(mute);
        assert_eq!(said.reason, Reason::TooFewAnswers);
        assert!(said.detail.contains("`t2` gave 0"), "{said}");
    }
    let mut twins = Case::new(80, 3);
    twins.teachers[1] = twins.teachers[0].clone();
    let said = reason(twins.script(&probe, &suspect));
    assert!(said.detail.contains("`t1` and `t2` part"), "{said}");
    let same = case.script(&probe, &case.base.clone());
    assert!(reason(same).detail.contains("as the base does"));
    assert!(whole.measure().is_ok());
}
