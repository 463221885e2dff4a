use std::collections::BTreeMap;

use filiation_core::{
    Answer, Basis, Completion, ModelError, Party, Reason, ScoredText, ScoredToken, canonical,
};
use filiation_stats::normal_quantile;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::contrast::scripted::party;

type Answers = BTreeMap<(String, RequestId), Result<Answer, ModelError>>;

/// A case in which every text has scores drawn at will.
#[derive(Clone)]
struct World {
    teachers: Vec<String>,
    pairs: usize,
    accounts: usize,
    /// Nats per byte that a served response of this pair gains under the suspect.
    leak: fn(usize) -> f64,
    /// Nats per byte by which served responses differ from fresh ones under teacher and base.
    drift: f64,
    /// Whether the teacher answers with the served text again in this pair.
    again: fn(usize) -> bool,
    base: bool,
    teacher_scores: bool,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            teachers: vec!["t1".into()],
            pairs: 60,
            accounts: 1,
            leak: |_| 0.0,
            drift: 0.0,
            again: |_| false,
            base: true,
            teacher_scores: true,
            seed,
        }
    }

    fn probe(&self) -> RegenerationRank {
        let served = self.teachers.iter().map(|teacher| {
            let lines: Vec<String> = (0..self.pairs)
                .map(|i| {
                    format!(
                        r#"{{"id":"r{i}","prompt":"p{i}","response":"twelve bytes","account":"a{:02}"}}"#,
                        i % self.accounts
                    )
                })
                .collect();
            ServedLog::parse(teacher, 9, "served.jsonl", lines.join("\n").as_bytes())
                .expect("good lines")
        });
        let options = ProbeOptions {
            draws: 100,
            seed: self.seed,
            served: served.collect(),
            ..ProbeOptions::default()
        };
        RegenerationRank::new(&[], &options).expect("logs")
    }

    fn parties(&self) -> Vec<Party> {
        let mut all = vec![party("s", Role::Suspect)];
        if self.base {
            all.push(party("b", Role::Base));
        }
        all.extend(self.teachers.iter().map(|t| party(t, Role::Teacher)));
        all
    }

    fn answers(&self, probe: &RegenerationRank) -> Answers {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut answers = Answers::new();
        for log in &probe.logs {
            for (i, pair) in log.pairs.iter().enumerate() {
                self.answer(&mut answers, &log.teacher, (i, pair), &mut rng);
            }
        }
        answers
    }

    fn answer(
        &self,
        answers: &mut Answers,
        teacher: &str,
        (i, pair): (usize, &Pair),
        rng: &mut ChaCha8Rng,
    ) {
        let difficulty = -2.0 + 0.5 * normal(rng);
        let mut draw = |moved: f64, leak: f64| {
            let under_base = difficulty + 0.3 * normal(rng) + moved;
            let under_teacher = difficulty + 0.3 * normal(rng) + moved;
            (
                under_base + 0.1 * normal(rng) + leak,
                under_base,
                under_teacher,
            )
        };
        let served = draw(self.drift, (self.leak)(i));
        let mut put = |party: &str, id: RequestId, value: f64| {
            let skipped = party == teacher && !self.teacher_scores;
            if !skipped && (party != "b" || self.base) {
                answers.insert((party.into(), id), Ok(scored(value)));
            }
        };
        put("s", pair.served.clone(), served.0);
        put("b", pair.served.clone(), served.1);
        put(teacher, pair.served_own.clone(), served.2);
        let mut texts = Vec::new();
        for fresh in &pair.fresh {
            let drawn = if (self.again)(i) {
                served
            } else {
                draw(0.0, 0.0)
            };
            put("s", fresh.score.about(teacher), drawn.0);
            put("b", fresh.score.about(teacher), drawn.1);
            put(teacher, fresh.own.about(teacher), drawn.2);
            texts.push((fresh.text.clone(), "another text"));
        }
        for (id, text) in texts {
            let said = Completion {
                text: text.into(),
                tokens: Vec::new(),
                finish: Finish::Stop,
            };
            answers.insert((teacher.into(), id), Ok(Answer::Completion(said)));
        }
    }

    fn measure(&self) -> Result<Statistic, Abstention> {
        let probe = self.probe();
        let answers = self.answers(&probe);
        probe.measure(&Observations::new(&self.parties(), &answers))
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    normal_quantile(rng.random_range(1e-12..1.0 - 1e-12)).expect("inside (0, 1)")
}

fn scored(per_byte: f64) -> Answer {
    Answer::Scored(ScoredText {
        tokens: vec![ScoredToken {
            id: 0,
            start: 0,
            end: 12,
            logprob: 12.0 * per_byte,
        }],
        bytes: 12,
    })
}

#[test]
fn p_is_uniform_and_e_is_one_for_an_innocent_and_few_logs_are_refused() {
    let worlds = 250;
    let mut p = Vec::new();
    let (mut e, mut refused) = (Vec::new(), 0);
    for seed in 0..worlds {
        match World::new(seed).measure() {
            Ok(found) => {
                p.push(10_f64.powf(found.details["whole/t1/log10-p"]));
                e.push(10_f64.powf(found.details["whole/t1/log10-e"]));
            }
            Err(why) => {
                assert_eq!(why.reason, Reason::NotComparable);
                refused += 1;
            }
        }
    }
    // Six checks at one hundredth in all; exact tests of discrete sums stay a little below.
    assert!(refused <= 8, "{refused} of {worlds}");
    for size in [0.5, 0.1, 0.05, 0.01] {
        let below = p.iter().filter(|p| **p <= size).count() as f64;
        let (want, n) = (size * p.len() as f64, p.len() as f64);
        let sd = (n * size * (1.0 - size)).sqrt();
        assert!(
            (below - want).abs() <= 3.5 * sd,
            "{below} at or below {size}"
        );
    }
    // Markov; that the mean is one is shown on all sequences of places in `verdict`.
    for limit in [2.0, 10.0, 100.0] {
        let (n, above) = (
            e.len() as f64,
            e.iter().filter(|e| **e >= limit).count() as f64,
        );
        assert!(
            above <= n / limit + 3.0 * (n / limit).sqrt(),
            "{above} of {n} reach {limit}"
        );
    }
}

#[test]
fn a_leaking_account_is_named_among_twenty() {
    let mut right = 0;
    for seed in 0..6 {
        let world = World {
            pairs: 2000,
            accounts: 20,
            leak: |i| if i % 20 == 7 { 0.1 } else { 0.0 },
            ..World::new(seed)
        };
        let found = world.measure().expect("no drift");
        assert_eq!(found.basis, Basis::Design);
        assert_eq!(found.details["tests"], 21.0);
        let exact = found.candidates[0].exact.expect("an exact test");
        let finding = found.finding.expect("a finding");
        right += u32::from(exact.log10_p < -4.0 && finding.contains("`a07`"));
        assert!(!finding.contains("`a08`"), "{finding}");
    }
    assert!(right >= 5, "{right} of 6");
}

#[test]
fn a_small_gain_of_the_whole_log_is_found_with_and_without_a_base() {
    let world = World {
        pairs: 2000,
        leak: |_| 0.05,
        ..World::new(3)
    };
    let with = world.measure().expect("no drift");
    let without = World {
        base: false,
        ..world
    };
    let without = without.measure().expect("the teacher checks the log");
    let p = |found: &Statistic| found.candidates[0].exact.expect("exact").log10_p;
    assert!(
        p(&with) < -30.0 && p(&without) < -3.0,
        "{} {}",
        p(&with),
        p(&without)
    );
    assert!(p(&with) < p(&without));
    assert_eq!(
        (
            with.details["less-base/t1"],
            without.details["less-base/t1"]
        ),
        (1.0, 0.0)
    );
    let e = with.candidates[0].exact.and_then(|e| e.log10_e);
    assert!(e.expect("bets were made") > 20.0);
    let power = with.power.expect("2,000 pairs");
    assert!((0.03..0.1).contains(&power.smallest_effect), "{power:?}");
}

#[test]
fn every_log_and_account_counts() {
    let world = World {
        teachers: vec!["t1".into(), "t2".into()],
        accounts: 2,
        ..World::new(5)
    };
    let found = world.measure().expect("no drift");
    assert_eq!(found.candidates.len(), 2);
    assert_eq!(found.details["tests"], 6.0);
    for name in ["whole/t1", "account/t2/a01"] {
        let of = |what: &str| found.details[&format!("{name}/{what}")];
        assert!(of("log10-p-counted") >= of("log10-p"));
        assert!((of("log10-e") - of("log10-e-counted") - 6_f64.log10()).abs() < 1e-12);
    }
}

#[test]
fn responses_that_the_teacher_would_not_write_are_refused() {
    for drift in [-0.3, 0.3] {
        for teacher_scores in [true, false] {
            let world = World {
                drift,
                teacher_scores,
                ..World::new(6)
            };
            let refused = world.measure().expect_err("another version wrote them");
            assert_eq!(refused.reason, Reason::NotComparable);
            assert!(refused.detail.contains("needed: the version"), "{refused}");
        }
    }
    // One bad log of two leaves the other.
    let mixed = World {
        teachers: vec!["t1".into(), "t2".into()],
        ..World::new(7)
    };
    let probe = mixed.probe();
    let mut answers = mixed.answers(&probe);
    for pair in &probe.logs[1].pairs {
        answers.insert(("t2".into(), pair.served_own.clone()), Ok(scored(-9.0)));
    }
    let found = probe.measure(&Observations::new(&mixed.parties(), &answers));
    let found = found.expect("one sound log");
    assert_eq!(found.candidates.len(), 1);
    assert!(
        found
            .finding
            .expect("a finding")
            .contains("another log is left out: `t2`")
    );
}

fn reason(world: &World) -> Reason {
    world.measure().expect_err("an abstention").reason
}

#[test]
fn abstains_where_pairs_or_scores_are_missing() {
    let world = World::new(8);
    let few = World {
        pairs: 19,
        ..world.clone()
    };
    assert_eq!(reason(&few), Reason::TooFewAnswers);
    let blind = World {
        base: false,
        teacher_scores: false,
        ..world.clone()
    };
    assert_eq!(reason(&blind), Reason::NotSupported);
    let rigid = World {
        again: |i| i % 3 > 0,
        ..world.clone()
    };
    assert_eq!(reason(&rigid), Reason::Degenerate);
    let probe = world.probe();
    let mut answers = world.answers(&probe);
    for answer in answers.values_mut() {
        if let Ok(Answer::Completion(said)) = answer {
            said.text.clear();
        }
    }
    let refused = probe.measure(&Observations::new(&world.parties(), &answers));
    assert_eq!(
        refused.expect_err("all empty").reason,
        Reason::TooFewAnswers
    );
    let unasked = probe.measure(&Observations::new(&world.parties()[..2], &answers));
    assert_eq!(unasked.expect_err("no t1").reason, Reason::TooFewTeachers);
}

#[test]
fn ties_are_broken_by_lot_and_bytes_repeat() {
    // A third of the pairs tie throughout; their places are uniform still.
    let mut p = Vec::new();
    for seed in 0..120 {
        let world = World {
            again: |i| i % 3 == 0,
            ..World::new(seed)
        };
        if let Ok(found) = world.measure() {
            assert_eq!(found.details["pairs-told-apart/t1"], 40.0);
            p.push(10_f64.powf(found.details["whole/t1/log10-p"]));
        }
    }
    let below = p.iter().filter(|p| **p <= 0.1).count();
    assert!((3..=24).contains(&below), "{below} of {}", p.len());
    let bytes = || canonical::to_bytes(&World::new(9).measure().expect("no drift"));
    assert_eq!(bytes(), bytes());
}

#[test]
fn copies_and_answers_cut_at_an_unknown_limit_are_not_asked_about() {
    let line = |id: &str, prompt: &str, rest: &str| {
        format!(r#"{{"id":"{id}","prompt":"{prompt}","response":"long enough"{rest}}}"#)
    };
    let lines = [
        line("a", "x", r#","account":"one""#),
        line("b", "x", r#","account":"one""#),
        line(
            "c",
            "x",
            r#","account":"two","temperature":0.2,"max_tokens":7"#,
        ),
        line("d", "y", r#","finish":"length""#),
        line("e", "z", r#","finish":"length","max_tokens":5"#),
        r#"{"id":"f","prompt":"v","response":"short"}"#.into(),
    ];
    let log = ServedLog::parse("t1", 2, "served.jsonl", lines.join("\n").as_bytes());
    let options = ProbeOptions {
        served: vec![log.expect("good lines")],
        ..ProbeOptions::default()
    };
    let probe = RegenerationRank::new(&[], &options).expect("a log");
    let log = &probe.logs[0];
    let kept: Vec<_> = log
        .pairs
        .iter()
        .map(|p| (p.id.as_str(), p.first_of_prompt))
        .collect();
    assert_eq!(kept, [("a", true), ("c", false), ("e", true)]);
    assert_eq!((log.unusable, log.repeated), (2, 1));
    let drawn = |id: &RequestId| {
        let request = probe.plan().iter().find(|r| r.id == *id).expect("planned");
        match &request.want {
            Want::Only { party, want } if party == "t1" => match **want {
                Want::Generate {
                    max_tokens,
                    sampling,
                    ..
                } => (max_tokens, sampling),
                _ => panic!("no generation"),
            },
            other => panic!("put to all: {}", other.kind()),
        }
    };
    let (a, c) = (
        drawn(&log.pairs[0].fresh[0].text),
        drawn(&log.pairs[1].fresh[0].text),
    );
    assert_eq!((c.0, c.1.temperature), (7, 0.2));
    assert_eq!((a.0, a.1.temperature), (48, 1.0));
    assert_ne!(a.1.seed, c.1.seed);
    let again = ProbeOptions {
        served: vec![options.served[0].clone(); 2],
        ..options
    };
    assert!(matches!(
        RegenerationRank::new(&[], &again),
        Err(ProbeError::SharedTeacher { .. })
    ));
    assert!(matches!(
        RegenerationRank::new(&[], &ProbeOptions::default()),
        Err(ProbeError::NoServed { .. })
    ));
}
