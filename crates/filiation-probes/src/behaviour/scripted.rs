//! Parties that say what a test writes for them.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, Answer, Completion, Digest, Finish, Observations, Party, Probe, Role, Statistic,
    Want,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Suite;
use crate::contrast::scripted::party;

/// What a party says to the item of that id.
type Voice = Box<dyn Fn(&str, &mut ChaCha8Rng) -> String>;

/// The parties of a case.
pub(super) struct Stage {
    parties: Vec<Party>,
    voices: Vec<Voice>,
    seed: u64,
}

impl Stage {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            parties: Vec::new(),
            voices: Vec::new(),
            seed,
        }
    }

    pub(super) fn with(
        mut self,
        name: &str,
        role: Role,
        voice: impl Fn(&str, &mut ChaCha8Rng) -> String + 'static,
    ) -> Self {
        self.parties.push(party(name, role));
        self.voices.push(Box::new(voice));
        self
    }

    pub(super) const fn reseed(&mut self, seed: u64) {
        self.seed = seed;
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        if let Some(place) = self.parties.iter().position(|p| p.name == name) {
            self.parties.remove(place);
            drop(self.voices.remove(place));
        }
        self
    }

    /// The statistic of what they say. A draw depends on party, request and seed.
    pub(super) fn measure(&self, probe: &dyn Probe) -> Result<Statistic, Abstention> {
        let mut answers = BTreeMap::new();
        for request in probe.plan() {
            assert!(matches!(request.want, Want::Generate { .. }));
            for (party, voice) in self.parties.iter().zip(&self.voices) {
                if !request.to.contains(&party.role) {
                    continue;
                }
                let draw = format!("{} {} {}", self.seed, party.name, request.id);
                let mut seed = [0; 32];
                seed.copy_from_slice(Digest::of(draw.as_bytes()).as_bytes());
                let item = request.id.as_str().split('/').nth(1);
                let text = voice(item.expect("an item"), &mut ChaCha8Rng::from_seed(seed));
                let said = Answer::Completion(Completion {
                    text,
                    tokens: Vec::new(),
                    finish: Finish::Stop,
                });
                answers.insert((party.name.clone(), request.id.clone()), Ok(said));
            }
        }
        probe.measure(&Observations::new(&self.parties, &answers))
    }
}

/// A suite of `n` items of one domain, called `<prefix>-en-<i>`.
pub(super) fn suite(domain: &str, prefix: &str, n: usize) -> Suite {
    let line = |i| {
        format!(
            r#"{{"id":"{prefix}-en-{i}","text":"Question {i}?","domain":"{domain}","language":"en","licence":"Apache-2.0"}}"#
        )
    };
    let lines: Vec<String> = (0..n).map(line).collect();
    Suite::parse("scripted", lines.join("\n").as_bytes()).expect("good lines")
}

/// The score of a candidate.
pub(super) fn score(statistic: &Statistic, candidate: &str) -> f64 {
    let mut all = statistic.candidates.iter();
    let found = all.find(|c| c.candidate == candidate);
    found.expect("a candidate").score
}

/// Whether the interval of any candidate lies above zero.
pub(super) fn alarms(statistic: &Statistic) -> bool {
    let mut all = statistic.candidates.iter();
    all.any(|c| c.interval.is_some_and(|i| i.lower > 0.0))
}

/// One of `words`.
pub(super) fn draw<'a>(rng: &mut ChaCha8Rng, words: &[&'a str]) -> &'a str {
    words[rng.random_range(0..words.len())]
}
