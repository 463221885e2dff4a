//! A world small enough to know the truth of: models are Markov chains over a few letters.

use std::collections::BTreeMap;

use filiation_core::{
    Answer, ChoiceAnswer, Completion, Finish, ModelError, Observations, Party, Probe, RequestId,
    Role, ScoredText, ScoredToken, Want,
};
use filiation_stats::normal_quantile;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::scripted::party;
use crate::Suite;

const LETTERS: usize = 16;
const LENGTH: usize = 30;

/// A model: row s holds the probabilities of the letter after s.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chain(Vec<Vec<f64>>);

impl Chain {
    /// Rows of the same shape as English letters would have: some letters are likely.
    pub(crate) fn random(rng: &mut ChaCha8Rng) -> Self {
        let flat = Self(vec![vec![1.0 / LETTERS as f64; LETTERS]; LETTERS]);
        flat.moved(1.0, rng)
    }

    /// Every log-probability moved by a normal draw of standard deviation `by`: what training on
    /// something else does.
    pub(crate) fn moved(&self, by: f64, rng: &mut ChaCha8Rng) -> Self {
        let row = |row: &Vec<f64>, rng: &mut ChaCha8Rng| {
            let weights = row.iter().map(|p| p * (by * normal(rng)).exp());
            normalised(weights.collect())
        };
        Self(self.0.iter().map(|r| row(r, rng)).collect())
    }

    /// (1 − share) of this and `share` of `teacher`: a student of a corpus with that share.
    pub(crate) fn taught(&self, teacher: &Self, share: f64) -> Self {
        let mix = |a: &Vec<f64>, b: &Vec<f64>| {
            let parts = a.iter().zip(b).map(|(p, q)| (1.0 - share) * p + share * q);
            parts.collect()
        };
        Self(
            self.0
                .iter()
                .zip(&teacher.0)
                .map(|(a, b)| mix(a, b))
                .collect(),
        )
    }

    fn write(&self, start: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let mut state = start;
        (0..LENGTH)
            .map(|_| {
                let mut left = rng.random_range(0.0..1.0);
                let found = self.0[state].iter().position(|p| {
                    left -= p;
                    left < 0.0
                });
                state = found.unwrap_or(LETTERS - 1);
                state
            })
            .collect()
    }

    fn score(&self, start: usize, text: &str) -> ScoredText {
        let mut state = start;
        let tokens = text.bytes().enumerate().map(|(i, byte)| {
            let next = usize::from(byte - b'a');
            let logprob = self.0[state][next].ln();
            state = next;
            ScoredToken {
                id: next as u32,
                start: i as u32,
                end: i as u32 + 1,
                logprob,
            }
        });
        ScoredText {
            tokens: tokens.collect(),
            bytes: text.len() as u32,
        }
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    normal_quantile(rng.random_range(1e-12..1.0 - 1e-12)).expect("inside (0, 1)")
}

fn normalised(weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// The answers of a case.
pub(crate) type Answers = BTreeMap<(String, RequestId), Result<Answer, ModelError>>;

/// A case: who takes part, and as which chain.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) parties: Vec<Party>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) seed: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            parties: Vec::new(),
            chains: Vec::new(),
            seed,
        }
    }

    pub(crate) fn with(mut self, name: &str, role: Role, chain: &Chain) -> Self {
        self.parties.push(party(name, role));
        self.chains.push(chain.clone());
        self
    }

    /// The same with the first `most` parties of a role.
    pub(crate) fn keeping(&self, role: Role, most: usize) -> Self {
        let mut left = Self::new(self.seed);
        let mut kept = 0;
        for (party, chain) in self.parties.iter().zip(&self.chains) {
            kept += usize::from(party.role == role);
            if party.role != role || kept <= most {
                left = left.with(&party.name, party.role, chain);
            }
        }
        left
    }

    /// What every party answers to the probe's plan. A teacher's texts depend on its chain, the
    /// request and the seed: not on names or order.
    pub(crate) fn answers(&self, probe: &dyn Probe) -> Answers {
        let mut answers = Answers::new();
        let texts: BTreeMap<&RequestId, usize> = probe
            .plan()
            .iter()
            .enumerate()
            .map(|(i, r)| (&r.id, i))
            .collect();
        for (i, request) in probe.plan().iter().enumerate() {
            for (party, chain) in self.parties.iter().zip(&self.chains) {
                if !request.to.contains(&party.role) {
                    continue;
                }
                match &request.want {
                    Want::Generate { .. } => {
                        let text = self.text(chain, i);
                        put(&mut answers, party, request.id.clone(), completion(text));
                    }
                    Want::ScoreAnswers { of, whose } => {
                        let place = texts[of];
                        for (writer, author) in self.parties.iter().zip(&self.chains) {
                            if !whose.is(writer, party) {
                                continue;
                            }
                            let scored = chain.score(place % LETTERS, &self.text(author, place));
                            let id = request.id.about(&writer.name);
                            put(&mut answers, party, id, Answer::Scored(scored));
                        }
                    }
                    Want::Choice { options, .. } => {
                        let row = &chain.0[i % LETTERS];
                        let logprobs = row[..options.len()].iter().map(|p| p.ln()).collect();
                        let choice = Answer::Choice(ChoiceAnswer { logprobs });
                        put(&mut answers, party, request.id.clone(), choice);
                    }
                    other => panic!("the simulated world has no `{}`", other.kind()),
                }
            }
        }
        answers
    }

    pub(crate) fn measure(
        &self,
        probe: &dyn Probe,
    ) -> Result<filiation_core::Statistic, filiation_core::Abstention> {
        let answers = self.answers(probe);
        probe.measure(&Observations::new(&self.parties, &answers))
    }

    fn text(&self, author: &Chain, place: usize) -> String {
        // The author's own first probability tells authors apart.
        let own = author.0[0][0].to_bits() ^ self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut rng = ChaCha8Rng::seed_from_u64(own);
        rng.set_stream(place as u64);
        let letters = author.write(place % LETTERS, &mut rng);
        letters
            .iter()
            .map(|l| char::from(b'a' + *l as u8))
            .collect()
    }
}

fn put(answers: &mut Answers, party: &Party, id: RequestId, answer: Answer) {
    answers.insert((party.name.clone(), id), Ok(answer));
}

fn completion(text: String) -> Answer {
    Answer::Completion(Completion {
        text,
        tokens: Vec::new(),
        finish: Finish::Length,
    })
}

/// A suite of `n` openings, or of `n` choice cells of 15 letters.
pub(crate) fn suite(n: usize, choices: bool) -> Suite {
    let letters: Vec<String> = (0..LETTERS - 1)
        .map(|i| format!("\"{}\"", char::from(b'a' + i as u8)))
        .collect();
    let rest = if choices {
        format!(
            r#""domain":"choice-opening","options":[{}]"#,
            letters.join(",")
        )
    } else {
        r#""domain":"opening""#.to_owned()
    };
    let lines: Vec<String> = (0..n)
        .map(|i| {
            format!(r#"{{"id":"i-{i}","text":"x","language":"en","licence":"Apache-2.0",{rest}}}"#)
        })
        .collect();
    Suite::parse("simulated", lines.join("\n").as_bytes()).expect("a suite of good lines")
}

/// One base, two sibling teachers and an unlike one, and what an innocent suspect learned.
pub(crate) struct Truth {
    pub(crate) base: Chain,
    pub(crate) teachers: [Chain; 3],
    pub(crate) innocent: Chain,
    pub(crate) rng: ChaCha8Rng,
}

impl Truth {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let base = Chain::random(&mut rng);
        let family = base.moved(0.5, &mut rng);
        let teachers = [
            family.moved(0.35, &mut rng),
            family.moved(0.35, &mut rng),
            base.moved(0.6, &mut rng),
        ];
        let innocent = base.moved(0.2, &mut rng);
        Self {
            base,
            teachers,
            innocent,
            rng,
        }
    }

    /// The case of `suspect`: teachers `t1` and `t2` are siblings, `t3` is unlike them.
    pub(crate) fn world(&self, suspect: &Chain, controls: &[Chain]) -> World {
        let mut world = World::new(7)
            .with("s", Role::Suspect, suspect)
            .with("b", Role::Base, &self.base)
            .with("t1", Role::Teacher, &self.teachers[0])
            .with("t2", Role::Teacher, &self.teachers[1])
            .with("t3", Role::Teacher, &self.teachers[2]);
        for (i, control) in controls.iter().enumerate() {
            world = world.with(&format!("c{i}"), Role::Control, control);
        }
        world
    }

    /// `n` more innocents, trained as the suspect was but for the teacher.
    pub(crate) fn controls(&mut self, n: usize) -> Vec<Chain> {
        (0..n)
            .map(|_| self.base.moved(0.2, &mut self.rng))
            .collect()
    }
}
