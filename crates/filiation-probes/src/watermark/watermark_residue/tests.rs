use filiation_core::{ModelError, ReadText, ReadToken};
use filiation_watermark::{KeyFile, Scheme};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::*;
use crate::contrast::scripted::party;
use crate::{MarkFiles, marks};

type Answers = BTreeMap<(String, RequestId), Result<Answer, ModelError>>;

const WORDS: u32 = 200;

/// A tokenizer of words.
fn tokenizer() -> Vec<u8> {
    let vocabulary: BTreeMap<String, u32> = (0..WORDS).map(|i| (format!("w{i}"), i)).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "w0" }
    })
    .to_string()
    .into_bytes()
}

fn key(number: u64) -> String {
    format!(
        "scheme = \"kgw@three-bricks\"\nkey = {number}\nwidth = 1\ngamma = 0.25\nvocabulary = {WORDS}\n\
         device = \"cpu\"\n"
    )
}

fn texts() -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let line = |_| {
        let words: Vec<String> = (0..40)
            .map(|_| format!("w{}", rng.random_range(1..WORDS)))
            .collect();
        json!({ "text": words.join(" ") }).to_string()
    };
    (0..40).map(line).collect::<Vec<_>>().join("\n")
}

fn log(teacher: &str, number: u64) -> MarkLog {
    let (key, texts, tokenizer) = (key(number), texts(), tokenizer());
    let files = MarkFiles {
        key: ("key.toml", key.as_bytes()),
        texts: ("texts.jsonl", texts.as_bytes()),
        tokenizer: ("tokenizer.json", &tokenizer),
    };
    MarkLog::parse(teacher, files, true, None).expect("sound files")
}

/// Who leans to green tokens, and by how much.
struct World {
    logs: Vec<MarkLog>,
    lean: BTreeMap<&'static str, f64>,
    parties: Vec<Party>,
}

impl World {
    fn new(lean: &[(&'static str, f64)]) -> Self {
        Self {
            logs: vec![log("t1", 11)],
            lean: lean.iter().copied().collect(),
            parties: vec![
                party("s", Role::Suspect),
                party("b", Role::Base),
                party("t1", Role::Teacher),
                party("c", Role::Control),
            ],
        }
    }

    fn measure(&self) -> Result<Statistic, Abstention> {
        let options = ProbeOptions {
            marks: self.logs.clone(),
            ..ProbeOptions::default()
        };
        let probe = WatermarkResidue::new(&[], &options).expect("marks");
        let key = self.logs[0].open.as_ref().expect("a key");
        let scheme = key.scheme().expect("a scheme");
        let mut answers = Answers::new();
        for party in self.parties.iter().filter(|p| p.role != Role::Teacher) {
            let mut noise = ChaCha8Rng::seed_from_u64(party.name.bytes().map(u64::from).sum());
            let lean = self.lean.get(party.name.as_str()).copied().unwrap_or(0.0);
            for request in probe.plan() {
                let Want::Read { continuation, .. } = &request.want else {
                    panic!("this probe reads");
                };
                let read = read(&*scheme, continuation, lean, &mut noise);
                let id = (party.name.clone(), request.id.clone());
                answers.insert(id, Ok(Answer::Read(read)));
            }
        }
        probe.measure(&Observations::new(&self.parties, &answers))
    }
}

/// What a model finds likely after each word: a few that the word suggests, and noise.
fn read(scheme: &dyn Scheme, text: &str, lean: f64, noise: &mut ChaCha8Rng) -> ReadText {
    let mut at = 0_u32;
    let mut before = 0;
    let mut tokens = Vec::new();
    for word in text.split(' ') {
        let mut own = ChaCha8Rng::seed_from_u64(u64::from(before));
        let mut ids: Vec<u32> = (0..6).map(|_| own.random_range(1..WORDS)).collect();
        ids.sort_unstable();
        ids.dedup();
        let green = scheme.scores(&[before], &ids);
        let weights: Vec<f64> = green
            .iter()
            .map(|g| (own.random::<f64>() + 0.2 + 0.1 * noise.random::<f64>()) * (1.0 + lean * g))
            .collect();
        let total: f64 = weights.iter().sum();
        let mut likely: Vec<(u32, f64)> = ids
            .into_iter()
            .zip(weights.iter().map(|w| (w / total).ln()))
            .collect();
        likely.sort_by(|a, b| b.1.total_cmp(&a.1));
        // A word begins with the space before it.
        let start = at.saturating_sub(1);
        tokens.push(ReadToken { start, likely });
        at += word.len() as u32 + 1;
        before = word[1..].parse().expect("a number");
    }
    let texts = (0..WORDS).map(|i| (i, format!("w{i}"))).collect();
    ReadText { tokens, texts }
}

#[test]
fn a_student_is_found() {
    let found = World::new(&[("s", 0.3)]).measure().expect("a statistic");
    assert_eq!(found.basis, Basis::Design);
    let candidate = &found.candidates[0];
    let exact = candidate.exact.expect("an exact test");
    assert!(
        exact.log10_p < -10.0 && exact.log10_e.expect("one") > 5.0,
        "{found:?}"
    );
    assert_eq!(candidate.candidate, "t1");
    let said = found.finding.as_ref().expect("a finding");
    assert!(
        said.contains("exposed to text that bears the mark of `t1`"),
        "{said}"
    );
    assert!(
        said.contains("beyond `b`'s") && said.contains("1 key tried"),
        "{said}"
    );
    assert!(candidate.score > found.power.expect("power").smallest_effect);
}

#[test]
fn an_innocent_is_not_named_and_is_told_the_power() {
    let found = World::new(&[]).measure().expect("a statistic");
    let exact = found.candidates[0].exact.expect("an exact test");
    assert!(exact.log10_p > -3.0, "{found:?}");
    let said = found.finding.expect("a finding");
    assert!(
        said.starts_with("no residue") && said.contains("would have been seen"),
        "{said}"
    );
}

#[test]
fn a_sealed_key_plans_alike_and_says_what_is_missing() {
    let log = log("t1", 11);
    let open = log.open.clone().expect("a key");
    let sealed = log.key.to_toml();
    assert!(!sealed.contains("\nkey"), "{sealed}");
    let (texts, tokenizer) = (texts(), tokenizer());
    let files = MarkFiles {
        key: ("key.toml", sealed.as_bytes()),
        texts: ("texts.jsonl", texts.as_bytes()),
        tokenizer: ("tokenizer.json", &tokenizer),
    };
    let closed = MarkLog::parse("t1", files, true, None).expect("sound files");
    let probe = |log: &MarkLog| {
        let options = ProbeOptions {
            marks: vec![log.clone()],
            ..ProbeOptions::default()
        };
        WatermarkResidue::new(&[], &options).expect("marks")
    };
    let (a, b) = (probe(&log), probe(&closed));
    assert_eq!((a.id(), a.plan()), (b.id(), b.plan()));
    assert_eq!(a.withheld(), None);
    let missing = b.withheld().expect("no key");
    assert!(missing.contains(&open.commitment()), "{missing}");
    // Another key does not open it.
    let other = KeyFile::parse(&key(12)).expect("a key file");
    assert_eq!(closed.clone().opened(&other).open, None);
    assert_eq!(closed.opened(&open), log);
}

#[test]
fn keys_are_counted() {
    let one = World::new(&[("s", 0.15)]);
    let mut many = World::new(&[("s", 0.15)]);
    many.logs.extend((20..29).map(|number| log("t1", number)));
    let p = |world: &World| {
        let found = world.measure().expect("a statistic");
        found.candidates[0].exact.expect("exact").log10_p
    };
    let (p, counted) = (p(&one), p(&many));
    assert!((counted - p - 1.0).abs() < 0.01, "{p} {counted}");
}

#[test]
fn it_abstains_without_answers_windows_or_a_fit() {
    let mut world = World::new(&[]);
    world.parties.remove(0);
    let why = world.measure().expect_err("no suspect");
    assert_eq!(why.reason, Reason::TooFewAnswers);
    let mut world = World::new(&[]);
    world.logs[0].texts.truncate(1);
    let why = world.measure().expect_err("one text");
    assert!(
        why.detail.contains("windows can be scored"),
        "{}",
        why.detail
    );
    let mut world = World::new(&[]);
    world.logs[0].vocabulary = WORDS + 1;
    let why = world.measure().expect_err("another vocabulary");
    assert_eq!(why.reason, Reason::NotComparable);
}

#[test]
fn files_are_refused_without_being_quoted() {
    let (good, texts, tokenizer) = (key(5), texts(), tokenizer());
    let said = |key: &str, texts: &str| {
        let files = MarkFiles {
            key: ("key.toml", key.as_bytes()),
            texts: ("texts.jsonl", texts.as_bytes()),
            tokenizer: ("tokenizer.json", &tokenizer),
        };
        let refused = MarkLog::parse("t", files, true, None).expect_err("refused");
        refused.to_string()
    };
    let broken = said(&good, "{\"text\": \"a secret\", }");
    assert!(
        broken.contains("`texts.jsonl`, line 1") && !broken.contains("secret"),
        "{broken}"
    );
    assert!(said(&good, "").contains("no text"));
    assert!(said(&good.replace("cpu", "cuda"), &texts).contains("cuda"));
    let other = format!("{good}tokenizer = \"{}\"\n", "0".repeat(64));
    assert!(said(&other, &texts).contains("the key is for tokenizer"));
    assert!(marks::MOST_BYTES > texts.len());
}

#[test]
fn the_same_key_on_a_control_voids_it() {
    // What base and suspect share is a habit of the language, or a base that learned itself. A control is read alone, without
    // another to be held against, so that only a strong lean is seen in it.
    let why = World::new(&[("s", 2.0), ("b", 2.0), ("c", 2.0)])
        .measure()
        .expect_err("void");
    assert_eq!(why.reason, Reason::NotComparable);
    assert!(
        why.detail.contains("shows the residue too"),
        "{}",
        why.detail
    );
}
