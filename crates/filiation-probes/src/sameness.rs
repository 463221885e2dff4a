//! Whether a model is still the one that was recorded: an endpoint against a dated pack.
//!
//! Four tests, each for what a pack may hold:
//!
//! - **texts** of which several were recorded for a prompt: fresh ones beside them, by MMD² with
//!   permutations within prompts ([`filiation_stats::HammingMmd`]);
//! - **lone texts**, one for a prompt: whether it is less like fresh ones than they are like each other, by
//!   its rank among them, sequentially ([`RankBetting`]);
//! - **choices**: fresh one-word answers against the recorded distribution of each cell, sequentially
//!   ([`Categorical`](filiation_stats::anytime::Categorical));
//! - **log-probabilities** of choices, of next tokens and of given texts, where the endpoint gives them: how
//!   far they lie from the recorded ones, sequentially ([`Betting`](filiation_stats::anytime::Betting)).
//!
//! **Null hypothesis** of the first three: fresh answers come from the distribution that the recorded ones came
//! from. Of the last: a question's log-probabilities lie at most `noise` apart on average. All are about one
//! protocol: the same prompts in the same form, the same sampling. Two engines with the
//! same weights differ a little; the choices and the log-probabilities have a tolerance for that, the texts do
//! not. A small difference that is real is found with enough answers, and is then no sign of another model by
//! itself.

mod choices;
mod logprobs;

use std::collections::BTreeMap;

use filiation_core::{
    Answer, Digest, ModelError, Prompt, Request, RequestId, Role, Sampling, Want, canonical,
};
use filiation_stats::anytime::{RankBetting, Wealth};
use filiation_stats::{AnswerPair, HammingMmd, StatsError, code_points};
use serde::Serialize;

use self::choices::Choices;
use self::logprobs::Logprobs;
pub use self::logprobs::LogprobsFound;

/// Characters of a text that are compared.
const CHARACTERS: usize = 1000;

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamenessOptions {
    /// Prompts of texts at most.
    pub prompts: usize,
    /// Fresh texts a prompt.
    pub samples: u32,
    /// Answers to choices at most.
    pub choices: usize,
    /// Questions whose log-probabilities are asked again, at most.
    pub logprobs: usize,
    /// E-value at which the choices, or the log-probabilities, have said enough.
    pub enough: f64,
    /// How far log-probabilities of one model may lie apart between two engines, nats; below 0.9.
    pub noise: f64,
    /// Permutations.
    pub draws: u32,
    /// Seed of what is random.
    pub seed: u64,
}

impl Default for SamenessOptions {
    fn default() -> Self {
        Self {
            prompts: 25,
            samples: 4,
            choices: 400,
            logprobs: 50,
            enough: 1000.0,
            noise: 0.1,
            draws: 9999,
            seed: 0,
        }
    }
}

/// What is compared, and what it takes to compare it.
#[derive(Debug, Clone)]
pub struct Sameness {
    options: SamenessOptions,
    texts: Vec<Texts>,
    choices: Choices,
    logprobs: Logprobs,
}

#[derive(Debug, Clone)]
struct Texts {
    recorded: Vec<String>,
    fresh: Vec<Request>,
}

/// What came of texts of which several were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TextsFound {
    /// Prompts that count.
    pub prompts: usize,
    /// Recorded texts and fresh ones.
    pub recorded: usize,
    /// Fresh texts.
    pub fresh: usize,
    /// MMD², at most 2.
    pub mmd2: f64,
    /// log10 of its p-value.
    pub log10_p: f64,
}

/// What came of a sequence of bets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BetsFound {
    /// Bets.
    pub answers: u32,
    /// log10 of the e-value at the end.
    pub log10_e: f64,
    /// log10 of the greatest on the way: 10^−this bounds the p-value.
    pub log10_best: f64,
}

impl From<Wealth> for BetsFound {
    fn from(wealth: Wealth) -> Self {
        Self {
            answers: wealth.steps,
            log10_e: wealth.log10_e,
            log10_best: wealth.log10_best,
        }
    }
}

/// What was found; nothing of what the recording does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct SamenessFound {
    /// Of texts of which several were recorded.
    pub texts: Option<TextsFound>,
    /// Of lone texts.
    pub lone: Option<BetsFound>,
    /// Of choices.
    pub choices: Option<BetsFound>,
    /// Of log-probabilities.
    pub logprobs: Option<LogprobsFound>,
    /// Fresh questions that failed.
    pub failed: usize,
}

type Outcome = Result<Answer, ModelError>;

/// Puts requests, and gives one outcome each.
type Ask<'a, E> = &'a mut dyn FnMut(&[Request]) -> Result<Vec<Outcome>, E>;

impl Sameness {
    /// What of a recording can be compared: texts that were drawn at random, choices, and log-probabilities.
    ///
    /// # Errors
    /// [`StatsError`] for options out of range.
    pub fn plan(
        recorded: &[(Want, Outcome)],
        options: SamenessOptions,
    ) -> Result<Self, StatsError> {
        RankBetting::new(options.samples)?;
        Ok(Self {
            texts: texts(recorded, &options),
            choices: Choices::plan(recorded, options),
            logprobs: Logprobs::plan(recorded, &options)?,
            options,
        })
    }

    /// Whether there is anything to compare.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.choices.is_empty() && self.logprobs.is_empty()
    }

    /// The fresh texts to draw.
    pub fn requests(&self) -> Vec<Request> {
        self.texts
            .iter()
            .flat_map(|t| t.fresh.iter().cloned())
            .collect()
    }

    /// Asks, by way of `answer`, which gives one outcome a request, and says what was found. The choices
    /// are asked a round of all cells at a time, the log-probabilities ten questions at a time, and no more
    /// once they have said enough.
    ///
    /// # Errors
    /// [`StatsError`] from the tests; `E` where asking was stopped.
    pub fn compare<E: From<StatsError>>(&self, answer: Ask<'_, E>) -> Result<SamenessFound, E> {
        let outcomes = answer(&self.requests())?;
        let mut found = SamenessFound {
            failed: outcomes.iter().filter(|o| o.is_err()).count(),
            ..SamenessFound::default()
        };
        let mut outcomes = outcomes.into_iter();
        let mut fresh = Vec::new();
        for texts in &self.texts {
            let said = outcomes.by_ref().take(texts.fresh.len());
            let said = said.filter_map(|o| match o {
                Ok(Answer::Completion(completion)) => Some(completion.text),
                _ => None,
            });
            fresh.push(said.collect::<Vec<String>>());
        }
        found.texts = self.several(&fresh)?;
        found.lone = self.lone(&fresh)?;
        found.choices = self.choices.compare(answer, &mut found.failed)?;
        found.logprobs = self.logprobs.compare(answer, &mut found.failed)?;
        Ok(found)
    }

    fn several(&self, fresh: &[Vec<String>]) -> Result<Option<TextsFound>, StatsError> {
        let pairs: Vec<AnswerPair> = self
            .texts
            .iter()
            .zip(fresh)
            .map(|(texts, fresh)| AnswerPair {
                a: texts.recorded.iter().map(|t| sequence(t)).collect(),
                b: fresh.iter().map(|t| sequence(t)).collect(),
            })
            .filter(|pair| pair.a.len() >= 2 && pair.b.len() >= 2)
            .collect();
        if pairs.is_empty() {
            return Ok(None);
        }
        let test = HammingMmd::new(&pairs)?.test(self.options.draws, self.options.seed)?;
        Ok(Some(TextsFound {
            prompts: pairs.len(),
            recorded: pairs.iter().map(|p| p.a.len()).sum(),
            fresh: pairs.iter().map(|p| p.b.len()).sum(),
            mmd2: test.statistic,
            log10_p: test.log10_p,
        }))
    }

    fn lone(&self, fresh: &[Vec<String>]) -> Result<Option<BetsFound>, StatsError> {
        let mut gambler = RankBetting::new(self.options.samples)?;
        for (texts, fresh) in self.texts.iter().zip(fresh) {
            let ([recorded], true) = (
                texts.recorded.as_slice(),
                fresh.len() == self.options.samples as usize,
            ) else {
                continue;
            };
            let mut all = vec![sequence(recorded)];
            all.extend(fresh.iter().map(|t| sequence(t)));
            gambler.bet(strangeness(&all))?;
        }
        let wealth = gambler.wealth();
        Ok((wealth.steps > 0).then(|| wealth.into()))
    }
}

// The seed is other than that of any recorded text, which hangs on the name of its item.
fn request(
    id: String,
    prompt: &Prompt,
    max_tokens: u32,
    temperature: f64,
    top_p: f64,
    seed: u64,
) -> Request {
    let digest = Digest::of(format!("{seed}/{id}").as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&digest.as_bytes()[..8]);
    Request {
        id: RequestId::new(id),
        to: vec![Role::Teacher],
        want: Want::Generate {
            prompt: prompt.clone(),
            max_tokens,
            sampling: Sampling {
                temperature,
                top_p,
                seed: u64::from_le_bytes(head) >> 11,
            },
        },
    }
}

fn texts(recorded: &[(Want, Outcome)], options: &SamenessOptions) -> Vec<Texts> {
    // In the order of their questions' digests: the same whatever the order of the recording.
    let mut groups: BTreeMap<Vec<u8>, (Prompt, u32, Sampling, Vec<String>)> = BTreeMap::new();
    for (want, outcome) in recorded {
        let (
            Want::Generate {
                prompt,
                max_tokens,
                sampling,
            },
            Ok(Answer::Completion(said)),
        ) = (want, outcome)
        else {
            continue;
        };
        if sampling.temperature <= 0.0 {
            continue;
        }
        let unseeded = Sampling {
            seed: 0,
            ..*sampling
        };
        let key = canonical::to_bytes(&(prompt, max_tokens, unseeded));
        let group = groups.entry(key);
        let group = group.or_insert_with(|| (prompt.clone(), *max_tokens, unseeded, Vec::new()));
        group.3.push(said.text.clone());
    }
    let all: Vec<_> = groups.into_values().collect();
    let n = all.len().min(options.prompts);
    let chosen = (0..n).map(|i| &all[i * all.len() / n]);
    chosen
        .enumerate()
        .map(|(i, (prompt, max_tokens, how, recorded))| Texts {
            recorded: recorded.clone(),
            fresh: (0..options.samples)
                .map(|k| {
                    let id = format!("sameness/text-{i}/{k}");
                    request(
                        id,
                        prompt,
                        *max_tokens,
                        how.temperature,
                        how.top_p,
                        options.seed,
                    )
                })
                .collect(),
        })
        .collect()
}

fn sequence(text: &str) -> Vec<u32> {
    let mut all = code_points(text);
    all.truncate(CHARACTERS);
    all
}

/// The rank of the first of all by how little it is like the others, 1 for the most alike; halves for ties.
fn strangeness(all: &[Vec<u32>]) -> f64 {
    let length = all.iter().map(Vec::len).max().unwrap_or(0);
    let alike = |x: &[u32], y: &[u32]| {
        let same = x.iter().zip(y).filter(|(a, b)| a == b).count();
        same + length - x.len().max(y.len())
    };
    let likeness: Vec<usize> = (0..all.len())
        .map(|i| {
            let others = (0..all.len()).filter(|j| *j != i);
            others.map(|j| alike(&all[i], &all[j])).sum()
        })
        .collect();
    let more = likeness[1..].iter().filter(|l| **l > likeness[0]).count();
    let same = likeness[1..].iter().filter(|l| **l == likeness[0]).count();
    1.0 + more as f64 + 0.5 * same as f64
}

#[cfg(test)]
mod tests;
