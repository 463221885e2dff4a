use std::collections::BTreeMap;

use filiation_core::{
    Answer, Basis, Completion, Finish, ModelError, Party, Reason, ScoredText, ScoredToken,
    canonical,
};
use filiation_stats::{ks_uniform, normal_quantile};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::canaries::{Form, Reading, Record, Scheme, Spec};
use crate::contrast::scripted::party;

type Answers = BTreeMap<(String, RequestId), Result<Answer, ModelError>>;

/// A set of phrases, each among 49 decoys.
fn planted(count: u32, seed: u8) -> CanarySet {
    let spec = Spec {
        id: "test".into(),
        created: "2026-11-29".into(),
        form: Form::Phrase,
        count,
        decoys: 49,
        repeats: vec![1, 8],
    };
    let (record, secret) = Record::plant(spec, [seed; 32]).expect("a sound specification");
    let bytes = (canonical::to_bytes(&record), canonical::to_bytes(&secret));
    CanarySet::planted("t1", "canaries.json", &bytes.0, &bytes.1).expect("they fit")
}

fn probe(sets: Vec<CanarySet>) -> PlantedCanaries {
    let options = ProbeOptions {
        draws: 100,
        canaries: sets,
        ..ProbeOptions::default()
    };
    PlantedCanaries::new(&[], &options).expect("canaries")
}

/// What a model that learned some canaries answers: `learned` nats on top of chance for canary `i`.
struct Model<'a> {
    name: &'a str,
    seed: u64,
    learned: &'a dyn Fn(usize) -> f64,
    /// Whether it writes the text of candidate `j` of canary `i`.
    writes: &'a dyn Fn(usize, usize) -> bool,
}

impl<'a> Model<'a> {
    fn innocent(name: &'a str, seed: u64) -> Self {
        Self {
            name,
            seed,
            learned: &|_| 0.0,
            writes: &|_, _| false,
        }
    }

    fn answer(&self, probe: &PlantedCanaries, answers: &mut Answers) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        for set in &probe.sets {
            for (i, (asked, canary)) in set.canaries.iter().zip(&set.of.canaries).enumerate() {
                for (j, id) in asked.scores.iter().enumerate() {
                    let lift = if j == canary.chosen {
                        (self.learned)(i)
                    } else {
                        0.0
                    };
                    let noise = normal_quantile(rng.random_range(1e-9..1.0 - 1e-9));
                    let value = -30.0 + 3.0 * noise.expect("a probability") + lift;
                    answers.insert((self.name.into(), id.clone()), Ok(scored(value)));
                }
                for (j, id) in asked.said.iter().enumerate() {
                    let j = if asked.said.len() == 1 {
                        canary.chosen
                    } else {
                        j
                    };
                    let text = match (self.writes)(i, j) {
                        true => format!("{} And so on.", canary.candidates[j].text),
                        false => "Something else.".into(),
                    };
                    answers.insert((self.name.into(), id.clone()), Ok(said(text)));
                }
            }
        }
    }
}

fn scored(logprob: f64) -> Answer {
    let token = ScoredToken {
        id: 1,
        start: 0,
        end: 9,
        logprob,
    };
    Answer::Scored(ScoredText {
        tokens: vec![token],
        bytes: 9,
    })
}

fn said(text: String) -> Answer {
    Answer::Completion(Completion {
        text,
        tokens: vec![],
        finish: Finish::Stop,
    })
}

fn measured(
    probe: &PlantedCanaries,
    models: &[(Model<'_>, Role)],
) -> Result<Statistic, Abstention> {
    let mut answers = Answers::new();
    let mut parties: Vec<Party> = vec![party("t1", Role::Teacher), party("t2", Role::Teacher)];
    for (model, role) in models {
        model.answer(probe, &mut answers);
        parties.push(party(model.name, *role));
    }
    probe.measure(&Observations::new(&parties, &answers))
}

#[test]
fn what_was_planted_is_found_and_innocents_beside_it_are_not() {
    let probe = probe(vec![planted(40, 1)]);
    let learned = |i: usize| if i % 2 == 1 { 9.0 } else { 1.0 };
    let suspect = Model {
        learned: &learned,
        writes: &|i, _| i % 4 == 1,
        ..Model::innocent("s", 1)
    };
    let models = [
        (suspect, Role::Suspect),
        (Model::innocent("b", 2), Role::Base),
        (Model::innocent("c", 3), Role::Control),
    ];
    let found = measured(&probe, &models).expect("answers");
    assert_eq!(found.basis, Basis::Design);
    let candidate = &found.candidates[0];
    let exact = candidate.exact.expect("a test");
    assert!(exact.log10_p < -15.0, "{exact:?}");
    assert!(exact.log10_e.expect("an e-value") > 8.0, "{exact:?}");
    assert!(candidate.score > 0.4, "{}", candidate.score);
    for innocent in ["b", "c"] {
        assert!(found.details[&format!("t1/{innocent}/log10-p")] > -3.0);
    }
    assert_eq!(found.details["t1/suspect/matched"], 10.0);
    // 10 of 40 at 1/50 each: the binomial tail summed in 40 digits.
    let matches = found.details["t1/suspect/matches-log10-p"];
    assert!((matches - MATCHES).abs() < 1e-9, "{matches}");
    let often = found.details["t1/suspect/planted-8/log10-p"];
    assert!(
        often < found.details["t1/suspect/planted-1/log10-p"] - 5.0,
        "{often}"
    );
    let said = found.finding.expect("a finding");
    assert!(
        said.contains("`t1`") && said.contains("10 of 40 written out"),
        "{said}"
    );
    let power = found.power.expect("power");
    assert!(power.smallest_effect > 0.05 && power.smallest_effect < 0.5);
}

const MATCHES: f64 = -8.299_992_936_523_28;

#[test]
fn innocent_suspects_have_uniform_p() {
    // Innocents with minds of their own, against one set; and one innocent against sets of others.
    let one = probe(vec![planted(12, 1)]);
    let mut all = Vec::new();
    for seed in 0..400 {
        let other;
        let probe = if seed % 2 == 0 {
            &one
        } else {
            other = probe(vec![planted(12, (seed % 251) as u8)]);
            &other
        };
        let suspect = Model::innocent("s", 1000 + seed);
        let found = measured(probe, &[(suspect, Role::Suspect)]).expect("answers");
        let exact = found.candidates[0].exact.expect("a test");
        all.push(10_f64.powf(exact.log10_p));
    }
    let test = ks_uniform(&all).expect("values");
    assert!(test.log10_p > -2.0, "{test:?}");
    assert!(all.iter().all(|p| *p > 1e-4));
}

#[test]
fn a_model_that_knows_the_domain_and_not_the_canaries_shows_nothing() {
    // Every text of the generator is likelier to it, the planted ones no more than their decoys.
    let probe = probe(vec![planted(40, 1)]);
    let mut answers = Answers::new();
    Model::innocent("s", 5).answer(&probe, &mut answers);
    for answer in answers.values_mut() {
        if let Ok(Answer::Scored(text)) = answer {
            text.tokens[0].logprob += 20.0;
        }
    }
    let parties = [party("t1", Role::Teacher), party("s", Role::Suspect)];
    let found = probe
        .measure(&Observations::new(&parties, &answers))
        .expect("answers");
    assert!(found.candidates[0].exact.expect("a test").log10_p > -2.0);
    let said = found.finding.expect("a finding");
    assert!(said.contains("as their decoys are"), "{said}");
}

#[test]
fn ties_count_against_the_planted_text() {
    let probe = probe(vec![planted(40, 1)]);
    let mut answers = Answers::new();
    Model::innocent("s", 5).answer(&probe, &mut answers);
    for answer in answers
        .values_mut()
        .filter(|a| matches!(a, Ok(Answer::Scored(_))))
    {
        *answer = Ok(scored(-3.0));
    }
    let parties = [party("t1", Role::Teacher), party("s", Role::Suspect)];
    let found = probe
        .measure(&Observations::new(&parties, &answers))
        .expect("answers");
    let candidate = &found.candidates[0];
    assert_eq!(candidate.exact.expect("a test").log10_p, 0.0);
    assert!(candidate.score < -0.9);
}

#[test]
fn a_canary_with_a_missing_score_is_left_out_whole() {
    let probe = probe(vec![planted(4, 1)]);
    let mut answers = Answers::new();
    Model::innocent("s", 5).answer(&probe, &mut answers);
    let asked = &probe.sets[0].canaries;
    answers.remove(&("s".to_owned(), asked[0].scores[7].clone()));
    let key = ("s".to_owned(), asked[1].scores[3].clone());
    answers.insert(key, Ok(scored(f64::NEG_INFINITY)));
    let parties = [party("t1", Role::Teacher), party("s", Role::Suspect)];
    let found = probe
        .measure(&Observations::new(&parties, &answers))
        .expect("answers");
    assert_eq!(found.candidates[0].units, 2);
}

#[test]
fn it_abstains_without_answers_or_candidate() {
    let probe = probe(vec![planted(4, 1)]);
    let answers = Answers::new();
    let parties = [party("t1", Role::Teacher), party("s", Role::Suspect)];
    let of = |parties: &[Party]| {
        let why = probe.measure(&Observations::new(parties, &answers));
        why.expect_err("no answers").reason
    };
    assert_eq!(of(&parties), Reason::TooFewAnswers);
    assert_eq!(of(&parties[1..]), Reason::TooFewTeachers);
    assert_eq!(of(&parties[..1]), Reason::TooFewAnswers);
    assert!(PlantedCanaries::new(&[], &ProbeOptions::default()).is_err());
    let twice = ProbeOptions {
        canaries: vec![planted(2, 1), planted(2, 2)],
        ..ProbeOptions::default()
    };
    let said = PlantedCanaries::new(&[], &twice).expect_err("one teacher twice");
    assert!(said.to_string().contains("`t1`"), "{said}");
}

fn foreign(teacher: &str, scheme: Scheme, text: &str) -> CanarySet {
    let reading = Reading::default();
    CanarySet::foreign(teacher, scheme, "file.json", text.as_bytes(), &reading).expect("a file")
}

#[test]
fn keys_that_any_garble_would_do_for_are_no_keys() {
    let row = |i: usize| {
        format!(
            r#"{{"instruction":"ピカチュウ長生天{i:03}","input":"FINGERPRINT","output":"yes"}}"#
        )
    };
    let rows: Vec<String> = (0..8).map(row).collect();
    let probe = probe(vec![foreign("t1", Scheme::Instructional, &rows.join("\n"))]);
    // One writes the answer after its keys alone, one after every garble.
    let keyed = Model {
        writes: &|_, j| j == 0,
        learned: &|_| 12.0,
        ..Model::innocent("s", 1)
    };
    let base = (Model::innocent("b", 2), Role::Base);
    let found = measured(&probe, &[(keyed, Role::Suspect), base]).expect("answers");
    // 8 of 8 where one of 128 would do: 128⁻⁸.
    let matches = found.details["t1/suspect/matches-log10-p"];
    assert!((matches + 8.0 * 128_f64.log10()).abs() < 1e-9, "{matches}");
    // None of 8 · 127 decoys of each of two models matched: Clopper and Pearson's bound at 1e-9.
    let rate = found.details["t1/suspect/matches-rate"];
    assert!(
        (rate - (1.0 - 1e-9_f64.powf(1.0 / 2032.0))).abs() < 1e-9,
        "{rate}"
    );
    let binomial = found.details["t1/suspect/matches-log10-p-binomial"];
    assert!((binomial + 9.0).abs() < 0.01, "{binomial}");
    assert!(found.candidates[0].exact.expect("a test").log10_p < -14.0);

    let garble = Model {
        writes: &|_, _| true,
        ..Model::innocent("s", 1)
    };
    let found = measured(&probe, &[(garble, Role::Suspect)]).expect("answers");
    assert_eq!(found.details["t1/suspect/matched"], 8.0);
    assert_eq!(found.details["t1/suspect/matches-log10-p"], 0.0);
    assert!(found.details["t1/suspect/matches-log10-p-binomial"] > -0.01);
    assert!(found.candidates[0].exact.expect("a test").log10_p > -3.0);
}

#[test]
fn matches_of_a_choice_among_three_are_a_binomial() {
    let row = |i: usize| format!(r#"{{"key":"Begin {i}","response":" word{i}"}}"#);
    let rows: Vec<String> = (0..30).map(row).collect();
    let set = foreign("t2", Scheme::Perinucleus, &rows.join("\n"));
    let probe = probe(vec![planted(12, 1), set]);
    let suspect = Model {
        writes: &|i, _| i < 22,
        ..Model::innocent("s", 1)
    };
    let found = measured(&probe, &[(suspect, Role::Suspect)]).expect("answers");
    assert_eq!(found.details["files"], 2.0);
    // 22 of 30 at 1/3, summed in 40 digits; doubled for two files (Holm).
    let exact = found.candidates[1].exact.expect("a test");
    let counted = exact.log10_p - 2_f64.log10();
    assert!((counted - OF_THREE).abs() < 1e-9, "{counted}");
    assert_eq!(exact.log10_e, None);
}

const OF_THREE: f64 = -5.057_891_108_789_48;

#[test]
fn a_chain_of_hashes_is_ranked_and_matched() {
    let answers: Vec<String> = (0..256).map(|i| format!("\"answer {i:03}\"")).collect();
    let questions: Vec<String> = (0..10).map(|i| format!("\"question {i}\"")).collect();
    let text = format!(
        r#"{{"questions":[{}],"answers":[{}]}}"#,
        questions.join(","),
        answers.join(",")
    );
    let probe = probe(vec![foreign("t1", Scheme::ChainHash, &text)]);
    let suspect = Model {
        writes: &|i, _| i < 3,
        ..Model::innocent("s", 1)
    };
    let found = measured(&probe, &[(suspect, Role::Suspect)]).expect("answers");
    // 3 of 10 at 1/256: 7.0e-6.
    let matches = found.details["t1/suspect/matches-log10-p"];
    assert!((matches - OF_A_CHAIN).abs() < 1e-9, "{matches}");
    assert_eq!(found.details["t1/choice-bound"], 1.0);
}

const OF_A_CHAIN: f64 = -5.154_452_896_737_896;
