use filiation_core::{ModelError, ScoredText, ScoredToken, canonical};
use filiation_stats::normal_quantile;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::contrast::scripted::party;

type Answers = BTreeMap<(String, RequestId), Result<Answer, ModelError>>;

fn line(id: &str, twin: Option<String>) -> String {
    let twin = twin.map_or(String::new(), |t| format!(r#","twin":"{t}""#));
    format!(
        r#"{{"id":"{id}","text":"Why {id}?","domain":"seen","language":"en","licence":"Apache-2.0"{twin}}}"#
    )
}

fn probe_of(lines: &[String]) -> SeenQuestions {
    let suite = Suite::parse("seen.jsonl", lines.join("\n").as_bytes()).expect("good lines");
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    SeenQuestions::new(&[suite], &options).expect("questions")
}

fn probe(pairs: usize) -> SeenQuestions {
    let lines = (0..pairs).flat_map(|i| {
        let twin = format!("u-{i}");
        [
            line(&format!("s-{i}"), Some(twin.clone())),
            line(&twin, None),
        ]
    });
    probe_of(&lines.collect::<Vec<_>>())
}

/// Models that are sure of an answer up to its difficulty.
struct World {
    parties: Vec<Party>,
    /// Nats a token that the suspect gained on alleged questions.
    seen: f64,
    /// Nats a token by which twins are harder for everyone.
    harder: f64,
    seed: u64,
}

impl World {
    fn new(seen: f64, harder: f64, controls: usize, seed: u64) -> Self {
        let mut world = Self {
            parties: Vec::new(),
            seen,
            harder,
            seed,
        };
        world.put("s", Role::Suspect);
        world.put("b", Role::Base);
        (0..controls).for_each(|i| world.put(&format!("c{i}"), Role::Control));
        world
    }

    fn put(&mut self, name: &str, role: Role) {
        self.parties.push(party(name, role));
    }

    fn answers(&self, probe: &SeenQuestions) -> Answers {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut normal =
            || normal_quantile(rng.random_range(1e-12..1.0 - 1e-12)).expect("inside (0, 1)");
        let mut answers = Answers::new();
        for pair in &probe.pairs {
            let hard = pair.each_ref().map(|_| 0.3 * normal());
            for party in &self.parties {
                for (twin, id) in pair.iter().enumerate() {
                    let tokens = (0..20).map(|t| {
                        let more = if twin == 1 { self.harder } else { 0.0 };
                        let known = party.role == Role::Suspect && twin == 0;
                        let gain = if known { self.seen } else { 0.0 };
                        let loss = 0.8 + hard[twin] + more + 0.2 * normal() - gain;
                        ScoredToken {
                            id: t,
                            start: t,
                            end: t + 1,
                            logprob: -loss.max(0.001),
                        }
                    });
                    let text = ScoredText {
                        tokens: tokens.collect(),
                        bytes: 20,
                    };
                    let key = (party.name.clone(), id.about(&party.name));
                    answers.insert(key, Ok(Answer::Scored(text)));
                }
            }
        }
        answers
    }

    fn measure(&self, probe: &SeenQuestions) -> Result<Statistic, Abstention> {
        let answers = self.answers(probe);
        probe.measure(&Observations::new(&self.parties, &answers))
    }
}

fn lower(found: &Statistic) -> f64 {
    found.candidates[0].interval.expect("an interval").lower
}

#[test]
fn a_suspect_that_saw_the_questions_is_surer_of_them() {
    for seed in 0..10 {
        let found = World::new(0.3, 0.0, 4, seed)
            .measure(&probe(60))
            .expect("all answered");
        assert!(lower(&found) > 0.0, "seed {seed}");
        assert!(found.details["log10-p-if-twins-were-drawn-by-lot"] < -4.0);
        assert!(found.details["log10-p-among-controls"] < -1.5);
        assert_eq!(found.candidates[0].candidate, "s");
        assert!(found.details["deviation/alleged"] < found.details["deviation/twins"]);
    }
}

#[test]
fn p_is_uniform_for_an_innocent_even_where_twins_are_harder_for_all() {
    let probe = probe(40);
    for harder in [0.0, 0.5] {
        let p: Vec<f64> = (0..25)
            .map(|seed| {
                let found = World::new(0.0, harder, 4, seed).measure(&probe);
                10_f64.powf(
                    found.expect("all answered").details["log10-p-if-twins-were-drawn-by-lot"],
                )
            })
            .collect();
        let fits = filiation_stats::ks_uniform(&p).expect("probabilities");
        assert!(fits.log10_p > -3.0, "harder {harder}: {fits:?}");
    }
}

#[test]
fn abstains_without_twins_base_pairs_or_information() {
    let world = World::new(0.3, 0.0, 0, 1);
    let lines: Vec<String> = (0..30).map(|i| line(&format!("s-{i}"), None)).collect();
    let refused = world.measure(&probe_of(&lines)).expect_err("no twins");
    assert_eq!(refused.reason, Reason::NotComparable);
    assert!(refused.detail.contains("no unseen twin"), "{refused}");
    let reason = |found: Result<Statistic, Abstention>| found.expect_err("an abstention").reason;
    assert_eq!(reason(world.measure(&probe(19))), Reason::TooFewAnswers);
    let mut baseless = World::new(0.3, 0.0, 0, 1);
    baseless.parties.truncate(1);
    assert_eq!(reason(baseless.measure(&probe(30))), Reason::NoBase);
    let probe = probe(30);
    let mut answers = world.answers(&probe);
    for answer in answers.values_mut() {
        if let Ok(Answer::Scored(text)) = answer {
            text.tokens.iter_mut().for_each(|t| t.logprob = 0.0);
        }
    }
    let certain = probe.measure(&Observations::new(&world.parties, &answers));
    assert_eq!(reason(certain), Reason::Degenerate);
    answers.retain(|(party, _), _| party != "b");
    let silent = probe.measure(&Observations::new(&world.parties, &answers));
    assert_eq!(reason(silent), Reason::TooFewAnswers);
    assert!(matches!(
        SeenQuestions::new(&[], &ProbeOptions::default()),
        Err(ProbeError::NoItems { .. })
    ));
}

#[test]
fn a_twin_serves_once_and_no_pair_names_itself_both_ways() {
    let lines = [
        line("a", Some("x".into())),
        line("b", Some("x".into())),
        line("x", None),
        line("c", Some("d".into())),
        line("d", Some("c".into())),
    ];
    let probe = probe_of(&lines);
    assert_eq!(probe.pairs.len(), 1);
    assert_eq!(probe.alleged, 4);
    assert_eq!(probe.plan.len(), 4);
}

#[test]
fn a_control_that_misses_many_pairs_is_left_out_and_one_that_misses_few_is_not() {
    let world = World::new(0.3, 0.0, 2, 3);
    let probe = probe(40);
    let mut answers = world.answers(&probe);
    for (i, [alleged, _]) in probe.pairs.iter().enumerate() {
        for (name, missing) in [("c0", i < 3), ("c1", i < 5)] {
            if missing {
                answers.remove(&(name.to_owned(), alleged.about(name)));
            }
        }
    }
    let found = probe.measure(&Observations::new(&world.parties, &answers));
    let found = found.expect("37 pairs");
    assert_eq!(found.controls, ["c0"]);
    assert_eq!(found.details["pairs"], 37.0);
}

#[test]
fn bytes_repeat() {
    let world = World::new(0.1, 0.0, 3, 4);
    let bytes = || canonical::to_bytes(&world.measure(&probe(30)).expect("all answered"));
    assert_eq!(bytes(), bytes());
}
