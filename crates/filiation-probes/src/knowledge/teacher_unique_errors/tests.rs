use filiation_core::{Answer, ChoiceAnswer, Role, canonical};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::contrast::scripted::{Script, ahead, first};
use crate::knowledge::questions::tests::{certain, suite_of_questions};

const OPTIONS: usize = 4;

fn probe(questions: usize) -> TeacherUniqueErrors {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    TeacherUniqueErrors::new(&[suite_of_questions(questions)], &options).expect("questions")
}

/// The option that a model picks, question by question; the key is 0.
type Sheet = Vec<usize>;

struct Case {
    n: usize,
    base: Sheet,
    /// What is tempting about a question, whoever is asked.
    tempting: Sheet,
    teachers: Vec<Sheet>,
    controls: Vec<Sheet>,
    rng: ChaCha8Rng,
}

impl Case {
    fn new(n: usize, controls: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tempting = (0..n).map(|_| rng.random_range(1..OPTIONS)).collect();
        let mut case = Self {
            n,
            base: Vec::new(),
            tempting,
            teachers: Vec::new(),
            controls: Vec::new(),
            rng,
        };
        case.base = case.independent();
        // t1 and t2 are siblings: half of what they pick is the same.
        let family = case.independent();
        for _ in 0..2 {
            let own = case.independent();
            let sheet = case.mixed(&family, &own, 0.5);
            case.teachers.push(sheet);
        }
        let unlike = case.independent();
        case.teachers.push(unlike);
        case.controls = (0..controls).map(|_| case.innocent()).collect();
        case
    }

    // Half are right, and of the wrong ones half fall for the same.
    fn independent(&mut self) -> Sheet {
        let pick = |i: usize| match self.rng.random_range(0..4) {
            0 | 1 => 0,
            2 => self.tempting[i],
            _ => self.rng.random_range(1..OPTIONS),
        };
        (0..self.n).map(pick).collect()
    }

    fn mixed(&mut self, from: &Sheet, to: &Sheet, share: f64) -> Sheet {
        let pairs = from.iter().zip(to);
        pairs
            .map(|(a, b)| {
                if self.rng.random_range(0.0..1.0) < share {
                    *b
                } else {
                    *a
                }
            })
            .collect()
    }

    fn innocent(&mut self) -> Sheet {
        let own = self.independent();
        let base = self.base.clone();
        self.mixed(&base, &own, 0.5)
    }

    fn student(&mut self, teacher: usize, share: f64) -> Sheet {
        let own = self.innocent();
        let teacher = self.teachers[teacher].clone();
        self.mixed(&own, &teacher, share)
    }

    fn script<'a>(&self, probe: &'a TeacherUniqueErrors, suspect: &Sheet) -> Script<'a> {
        let says = |sheet: &Sheet| {
            let sheet = sheet.clone();
            move |i: usize, _: &Request| Some(certain(sheet[i], OPTIONS))
        };
        let mut script = Script::new(probe)
            .with("s", Role::Suspect, says(suspect))
            .with("b", Role::Base, says(&self.base));
        for (k, teacher) in self.teachers.iter().enumerate() {
            script = script.with(&format!("t{}", k + 1), Role::Teacher, says(teacher));
        }
        for (c, control) in self.controls.iter().enumerate() {
            script = script.with(&format!("c{c}"), Role::Control, says(control));
        }
        script
    }
}

#[test]
fn a_student_makes_its_teachers_mistakes() {
    let probe = probe(300);
    for share in [1.0, 0.4] {
        for seed in 0..6 {
            let mut case = Case::new(300, 5, seed);
            let student = case.student(0, share);
            let found = case.script(&probe, &student).measure();
            let found = found.expect("all answered");
            assert_eq!(first(&found), "t1", "share {share}, seed {seed}");
            assert_eq!(ahead(&found), Some("t1"), "share {share}, seed {seed}");
            assert!(found.details["log10-p-of-hits/t1"] < -2.0);
            assert!(found.details["log10-e-of-hits/t1"] > 0.5);
            assert!(found.details["hits/t1"] > found.details["hits-expected/t1"]);
        }
    }
}

#[test]
fn an_innocent_hits_as_often_as_the_controls() {
    let probe = probe(150);
    let cases = 150;
    let (mut alarms, mut unusual, mut hits, mut expected) = (0, 0, 0.0, 0.0);
    let mut log10_p = 0;
    for seed in 0..cases {
        let mut case = Case::new(150, 6, 700 + seed);
        let innocent = case.innocent();
        let found = case.script(&probe, &innocent).measure();
        let found = found.expect("all answered");
        alarms += u32::from(ahead(&found).is_some());
        for t in ["t1", "t2", "t3"] {
            let of = |what: &str| found.details[&format!("{what}/{t}")];
            unusual += u32::from(of("log10-p-among-controls") < -2.0);
            log10_p += u32::from(of("log10-p-of-hits") < -2.0);
            hits += of("hits");
            expected += of("hits-expected");
        }
    }
    assert!(alarms <= 16, "{alarms} of {cases}");
    assert!(
        unusual <= 9 && log10_p <= 9,
        "{unusual} and {log10_p} of 450"
    );
    // The rates are those of the controls where others did the choosing, or above.
    assert!(
        hits < 1.05 * expected && hits > 0.6 * expected,
        "{hits} {expected}"
    );
}

#[test]
fn own_errors_are_those_that_nobody_else_makes() {
    let mut case = Case::new(60, 5, 1);
    let probe = probe(60);
    // Everyone is right, but: t1 errs at 0..10 (c0 with it at 0, t2 at 1, the base at 2).
    let right = vec![0; 60];
    let with = |places: &[(usize, usize)]| {
        let mut sheet = right.clone();
        places.iter().for_each(|&(i, option)| sheet[i] = option);
        sheet
    };
    let ten: Vec<_> = (0..10).map(|i| (i, 1)).collect();
    let mut second: Vec<_> = (20..30).map(|i| (i, 2)).collect();
    second.push((1, 1));
    case.teachers = vec![
        with(&ten),
        with(&second),
        with(&(40..50).map(|i| (i, 3)).collect::<Vec<_>>()),
    ];
    case.base = with(&[(2, 1)]);
    case.controls = (0..5).map(|_| right.clone()).collect();
    case.controls[0] = with(&[(0, 1)]);
    let suspect = with(&[(3, 1), (4, 1), (5, 2), (20, 2)]);
    let found = case
        .script(&probe, &suspect)
        .measure()
        .expect("all answered");
    assert_eq!(found.details["own-errors/t1"], 7.0);
    assert_eq!(found.details["own-errors/t2"], 10.0);
    assert_eq!(found.details["hits/t1"], 2.0);
    assert_eq!(found.details["hits/t2"], 1.0);
    let rate = 0.25 / 6.0;
    assert!((found.details["hits-expected/t3"] - 10.0 * rate).abs() < 1e-12);
    // Question 0 is nobody's own with all controls, and t1's where c0 is the suspect: a hit of c0,
    // among 8 + 4 · 7 tries.
    let of_t1 = rate.max(1.0 / 36.0);
    assert!((found.details["hits-expected/t1"] - 7.0 * of_t1).abs() < 1e-12);
    let lead = (2.0 / 7.0 - of_t1) - (0.1 - rate);
    assert!(
        (found.candidates[0].score - lead).abs() < 1e-12,
        "{lead} {:?}",
        found.candidates
    );
    let again = case
        .script(&probe, &suspect)
        .measure()
        .expect("all answered");
    assert_eq!(canonical::to_bytes(&found), canonical::to_bytes(&again));
}

#[test]
fn a_suspect_that_hits_nothing_leads_towards_nobody() {
    let probe = probe(150);
    for seed in 0..10 {
        let case = Case::new(150, 4, 50 + seed);
        let found = case.script(&probe, &vec![0; 150]).measure();
        let found = found.expect("all answered");
        assert!(found.candidates.iter().all(|c| c.score == 0.0));
        assert_eq!(ahead(&found), None);
    }
}

#[test]
fn abstains_where_parties_controls_errors_or_answers_are_missing() {
    let probe = probe(60);
    let mut case = Case::new(60, 4, 2);
    let suspect = case.innocent();
    let refused = |script: &Script<'_>| script.measure().expect_err("an abstention");
    for (role, keep, wanted) in [
        (Role::Base, 0, Reason::NoBase),
        (Role::Teacher, 1, Reason::TooFewTeachers),
        (Role::Control, 2, Reason::TooFewAnswers),
    ] {
        let left = case.script(&probe, &suspect).keeping(role, keep);
        assert_eq!(refused(&left).reason, wanted);
    }
    let mut silent = case.script(&probe, &suspect);
    silent.answers.retain(|(party, _), _| party != "t3");
    let said = refused(&silent);
    assert_eq!(said.reason, Reason::NotSupported);
    assert!(said.detail.contains("`t3` gave 0"), "{said}");
    // A teacher that is right throughout, and one that is never sure.
    let mut perfect = Case::new(60, 4, 2);
    perfect.teachers[2] = vec![0; 60];
    let said = refused(&perfect.script(&probe, &suspect));
    assert!(said.detail.contains("`t3` has 0 errors"), "{said}");
    let mut unsure = case.script(&probe, &suspect);
    for ((party, _), answer) in &mut unsure.answers {
        if party == "t1" {
            let logprobs = vec![-1.5, -1.4, -1.5, -1.5];
            *answer = Ok(Answer::Choice(ChoiceAnswer { logprobs }));
        }
    }
    assert!(refused(&unsure).detail.contains("`t1` has 0 errors"));
}
