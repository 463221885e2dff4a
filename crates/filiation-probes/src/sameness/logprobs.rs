//! Log-probabilities that were recorded, asked again.

use std::collections::BTreeMap;

use filiation_core::{Answer, Digest, ModelError, Request, RequestId, Role, Want};
use filiation_stats::anytime::Betting;
use filiation_stats::{StatsError, moments, student_t_quantile};
use serde::Serialize;

use super::{Ask, Outcome, SamenessOptions};

/// Nats; what lies further apart counts as this.
const FURTHEST: f64 = 3.0;
/// Nats; with more the bets would be too timid to say anything.
const MOST_NOISE: f64 = 0.9;
/// Mean over standard deviation that another model is expected to have: between two small models of different
/// makers it is about 1.
const EFFECT: f64 = 1.0;
/// Level of the bound on the mean.
const CONFIDENCE: f64 = 0.95;
/// Questions between two looks at the evidence.
const ROUND: usize = 10;

/// What came of log-probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LogprobsFound {
    /// Questions that both answered.
    pub questions: u32,
    /// Mean absolute difference, nats an answer (a token, of a scored text).
    pub mean: f64,
    /// The mean is below this with confidence 95 % (Student's t over questions). Of an endpoint known to serve
    /// the recorded weights it is what `noise` should be. `None` for one question.
    pub upper: Option<f64>,
    /// log10 of the e-value against "the same, up to the noise".
    pub log10_e: f64,
    /// log10 of the greatest on the way: 10^−this bounds the p-value.
    pub log10_best: f64,
}

/// Questions to ask again, and what was answered.
#[derive(Debug, Clone)]
pub(super) struct Logprobs {
    questions: Vec<(Want, Answer)>,
    noise: f64,
    enough: f64,
}

impl Logprobs {
    pub(super) fn plan(
        recorded: &[(Want, Outcome)],
        options: &SamenessOptions,
    ) -> Result<Self, StatsError> {
        gambler(options.noise)?;
        // In the order of their digests with the seed: at random, and whatever the order of the recording.
        let mut questions = BTreeMap::new();
        for (want, outcome) in recorded {
            let kind = matches!(
                want,
                Want::Choice { .. } | Want::TopK { .. } | Want::Score { .. }
            );
            if let (true, Ok(answer)) = (kind, outcome) {
                let key = format!("{}/{}", options.seed, want.key());
                questions.insert(Digest::of(key.as_bytes()), (want.clone(), answer.clone()));
            }
        }
        Ok(Self {
            questions: questions.into_values().take(options.logprobs).collect(),
            noise: options.noise,
            enough: options.enough,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// Asks until all are asked or the evidence is enough. What the endpoint does not give is left out;
    /// what failed otherwise is counted in `failed`.
    pub(super) fn compare<E: From<StatsError>>(
        &self,
        answer: Ask<'_, E>,
        failed: &mut usize,
    ) -> Result<Option<LogprobsFound>, E> {
        let mut gambler = gambler(self.noise)?;
        let mut all = Vec::new();
        for (round, questions) in self.questions.chunks(ROUND).enumerate() {
            let requests: Vec<Request> = questions
                .iter()
                .enumerate()
                .map(|(i, (want, _))| Request {
                    id: RequestId::new(format!("sameness/logprobs-{}", round * ROUND + i)),
                    to: vec![Role::Teacher],
                    want: want.clone(),
                })
                .collect();
            for (outcome, (_, recorded)) in answer(&requests)?.into_iter().zip(questions) {
                match outcome {
                    Ok(fresh) => {
                        if let Some(apart) = apart(recorded, &fresh) {
                            let apart = apart.min(FURTHEST);
                            gambler.bet(apart / FURTHEST)?;
                            all.push(apart);
                        }
                    }
                    Err(ModelError::Unsupported { .. }) => {}
                    Err(_) => *failed += 1,
                }
            }
            if gambler.wealth().log10_e >= self.enough.log10() {
                break;
            }
        }
        let wealth = gambler.wealth();
        if all.is_empty() {
            return Ok(None);
        }
        let apart = moments(&all)?;
        let upper = match apart.n {
            1 => None,
            n => {
                let t = student_t_quantile(CONFIDENCE, n as f64 - 1.0)?;
                Some(t.mul_add(apart.standard_error(), apart.mean))
            }
        };
        Ok(Some(LogprobsFound {
            questions: wealth.steps,
            mean: apart.mean,
            upper,
            log10_e: wealth.log10_e,
            log10_best: wealth.log10_best,
        }))
    }
}

fn gambler(noise: f64) -> Result<Betting, StatsError> {
    if !(0.0..MOST_NOISE).contains(&noise) {
        return Err(StatsError::Domain {
            name: "noise",
            got: noise,
            expected: "at least 0 and below 0.9 nats",
        });
    }
    Betting::planned(noise / FURTHEST, EFFECT)
}

/// How far two answers to one question lie apart, nats; `None` where they cannot be compared. Of several
/// answers of which each has a probability it is the mean by recorded probability: what hardly ever
/// happens is not what models are told apart by, and engines differ most there.
fn apart(recorded: &Answer, fresh: &Answer) -> Option<f64> {
    let apart = match (recorded, fresh) {
        (Answer::Choice(a), Answer::Choice(b)) if a.logprobs.len() == b.logprobs.len() => {
            weighted(a.logprobs.iter().copied().zip(b.logprobs.iter().copied()))
        }
        (Answer::TopK(a), Answer::TopK(b)) => {
            // What is not among the likeliest is less likely than all of them.
            let least = b.tokens.iter().map(|t| t.logprob).reduce(f64::min)?;
            weighted(a.tokens.iter().map(|token| {
                let there = b.tokens.iter().find(|t| t.text == token.text);
                let there = there.map_or(token.logprob.min(least), |t| t.logprob);
                (token.logprob, there)
            }))
        }
        (Answer::Scored(a), Answer::Scored(b)) => {
            (a.total() - b.total()).abs() / a.tokens.len() as f64
        }
        _ => return None,
    };
    apart.is_finite().then_some(apart)
}

fn weighted(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let highest = pairs
        .clone()
        .map(|(a, _)| a)
        .fold(f64::NEG_INFINITY, f64::max);
    let (sum, total) = pairs.fold((0.0, 0.0), |(sum, total), (a, b)| {
        let weight = (a - highest).exp();
        (sum + weight * (a - b).abs(), total + weight)
    });
    sum / total
}

#[cfg(test)]
mod tests {
    use filiation_core::{ChoiceAnswer, ScoredText, ScoredToken, TokenProb, TopK};

    use super::*;

    fn top(tokens: &[(&str, f64)]) -> Answer {
        let token = |(id, (text, p)): (usize, &(&str, f64))| TokenProb {
            id: id as u32,
            text: (*text).into(),
            logprob: p.ln(),
        };
        Answer::TopK(TopK {
            tokens: tokens.iter().enumerate().map(token).collect(),
        })
    }

    fn choice(p: &[f64]) -> Answer {
        Answer::Choice(ChoiceAnswer {
            logprobs: p.iter().map(|p| p.ln()).collect(),
        })
    }

    fn scored(logprobs: &[f64]) -> Answer {
        let token = |(i, l): (usize, &f64)| ScoredToken {
            id: 1,
            logprob: *l,
            start: i as u32,
            end: i as u32 + 1,
        };
        Answer::Scored(ScoredText {
            tokens: logprobs.iter().enumerate().map(token).collect(),
            bytes: logprobs.len() as u32,
        })
    }

    #[test]
    fn answers_lie_apart_by_what_is_likely() {
        let near = |a: &Answer, b: &Answer, expected: f64| {
            let found = apart(a, b).expect("compared");
            assert!((found - expected).abs() < 1e-12, "{found}");
        };
        let two = 2_f64.ln();
        // By hand: (0.6 · 0 + 0.2 · ln 2)/0.8.
        near(&choice(&[0.6, 0.2]), &choice(&[0.6, 0.1]), two / 4.0);
        near(
            &top(&[("a", 0.6), ("b", 0.2)]),
            &top(&[("b", 0.1), ("a", 0.6)]),
            two / 4.0,
        );
        // `b` is not there: at most as likely as the least, 0.05.
        near(
            &top(&[("a", 0.6), ("b", 0.2)]),
            &top(&[("a", 0.6), ("c", 0.05)]),
            0.25 * 4_f64.ln(),
        );
        // A token in place of two: the text is compared, by tokens recorded.
        near(&scored(&[-1.0, -2.0]), &scored(&[-3.5]), 0.25);
        assert_eq!(apart(&choice(&[0.6, 0.2]), &choice(&[0.6])), None);
        assert_eq!(apart(&choice(&[0.6, 0.2]), &scored(&[-1.0])), None);
        assert_eq!(apart(&scored(&[]), &scored(&[-1.0])), None);
        assert_eq!(apart(&top(&[("a", 0.6)]), &top(&[])), None);
    }
}
