//! `seen-questions`: is the suspect surer of its answers to questions that it is said to have
//! trained on than to matched ones that it cannot have seen?
//!
//! A model answers greedily. With p_t the probability of its t-th token, the deviation of an answer
//! is the mean over its first tokens of max(0, τ − p_t)^α: how far it falls short of being sure. The
//! value of a pair is the deviation on the unseen twin less that on the alleged question, for
//! suspect S less the same for base B, controls' mean taken off. Above zero, S is surer of what it is
//! said to have seen.
//!
//! **Null hypothesis**: S trained on neither, and beside B and the controls it finds the alleged
//! questions no easier than their twins.

use std::collections::{BTreeMap, BTreeSet};

use filiation_core::{
    Abstention, Answer, Axis, Basis, CandidateScore, MethodId, Observations, Party, Power, Probe,
    Reason, Request, RequestId, Role, Sampling, Statistic, Want, Whose,
};
use filiation_stats::{Bootstrap, Clusters, moments, sign_flip, smallest_effect};

use crate::contrast::{Common, Given, given, log10_p, undefined};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

/// Probability below which a token deviates.
const TAU: f64 = 0.99;
/// Power of a deviation.
const ALPHA: f64 = 1.0;
/// First tokens of an answer that count.
const FIRST: usize = 32;
const LEAST_PAIRS: usize = 20;
const SIZE: f64 = 0.01;
const POWER: f64 = 0.9;
/// Sign patterns that are drawn.
const FLIPS: u32 = 99_999;

/// The probe.
#[derive(Debug)]
pub struct SeenQuestions {
    id: MethodId,
    plan: Vec<Request>,
    /// Scoring request ids of each alleged question and of its twin.
    pairs: Vec<[RequestId; 2]>,
    alleged: usize,
    bootstrap: Bootstrap,
}

impl SeenQuestions {
    /// Plans the probe over the items of domain `seen` in `suites`. An alleged question names its
    /// unseen twin, which names none; a twin serves once.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when no item is of that domain.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(
            suites,
            "seen-questions",
            "question of domain `seen` with its unseen twin",
            |item: &Item| item.domain == "seen",
        )?;
        let by_id: BTreeMap<&str, &Item> =
            chosen.items.iter().map(|i| (i.id.as_str(), *i)).collect();
        let mut plan = Vec::new();
        let mut pairs = Vec::new();
        let mut used = BTreeSet::new();
        for item in &chosen.items {
            let twin = item.twin.as_ref().and_then(|id| by_id.get(id.as_str()));
            if let Some(twin) = twin.filter(|t| t.twin.is_none() && used.insert(&t.id)) {
                pairs.push([item, twin].map(|i| ask(i, options, &mut plan)));
            }
        }
        let twins = used.len();
        Ok(Self {
            id: method(options, &chosen.suites),
            plan,
            pairs,
            alleged: chosen.items.len() - twins,
            bootstrap: options.bootstrap(),
        })
    }
}

fn ask(item: &Item, options: &ProbeOptions, plan: &mut Vec<Request>) -> RequestId {
    let models = || vec![Role::Suspect, Role::Base, Role::Control];
    let answer = RequestId::new(format!("seen-questions/{}/answer", item.id));
    let score = RequestId::new(format!("seen-questions/{}/score", item.id));
    plan.push(Request {
        id: answer.clone(),
        to: models(),
        want: Want::Generate {
            prompt: options.prompt(item),
            max_tokens: options.max_tokens,
            sampling: Sampling::GREEDY,
        },
    });
    plan.push(Request {
        id: score.clone(),
        to: models(),
        want: Want::ScoreAnswers {
            of: answer,
            whose: Whose::Own,
        },
    });
    score
}

fn method(options: &ProbeOptions, suites: &str) -> MethodId {
    options.method(
        "seen-questions",
        1,
        suites,
        &[
            ("alpha", &ALPHA),
            ("first", &FIRST),
            ("flips", &FLIPS),
            ("max_tokens", &options.max_tokens),
            ("tau", &TAU),
        ],
    )
}

impl Probe for SeenQuestions {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        if self.pairs.is_empty() {
            let detail = format!(
                "{} alleged questions and no unseen twin: how hard they are cannot be told from \
                 whether they were seen; needed: `twin`, matched for subject, length and \
                 difficulty, written after the suspect was",
                self.alleged
            );
            return Err(Abstention::new(Reason::NotComparable, detail));
        }
        let base = seen.base().ok_or_else(|| {
            let detail = "no base is named, and whether alleged questions are easier than their \
                          twins is held against a base";
            Abstention::new(Reason::NoBase, detail)
        })?;
        let suspect = seen
            .suspect()
            .ok_or_else(|| Abstention::new(Reason::TooFewAnswers, "the case has no suspect"))?;
        let values = Values::read(self, seen, (suspect, base))?;
        values.statistic(self, &suspect.name)
    }
}

/// Value of each pair that all could answer.
struct Values {
    suspect: Vec<f64>,
    controls: Vec<(String, Vec<f64>)>,
    /// Mean deviation of the suspect: on alleged questions, on twins.
    deviations: [f64; 2],
}

impl Values {
    fn read(
        probe: &SeenQuestions,
        seen: &Observations<'_>,
        (suspect, base): (&Party, &Party),
    ) -> Result<Self, Abstention> {
        let all = |party: &Party| -> Vec<Option<[f64; 2]>> {
            let of = |pair: &[RequestId; 2]| {
                let [alleged, twin] = pair.each_ref().map(|id| deviation(seen, party, id));
                Some([alleged?, twin?])
            };
            probe.pairs.iter().map(of).collect()
        };
        let (own, of_base) = (all(suspect), all(base));
        let controls: Vec<_> = seen.controls().map(|c| (c.name.clone(), all(c))).collect();
        let of_controls: Vec<Given> = controls.iter().map(|(_, c)| given(c)).collect();
        let common = Common::of(&[given(&own), given(&of_base)], &of_controls);
        let both = &common.units;
        if both.len() < LEAST_PAIRS {
            let detail = format!(
                "{} of {} pairs of question and twin have answers of suspect and base, at least \
                 {LEAST_PAIRS} are needed",
                both.len(),
                probe.pairs.len()
            );
            return Err(Abstention::new(Reason::TooFewAnswers, detail));
        }
        let gap =
            |d: &[Option<[f64; 2]>], i: usize| d[i].map_or(0.0, |[alleged, twin]| twin - alleged);
        let value = |d: &[Option<[f64; 2]>]| -> Vec<f64> {
            both.iter().map(|&i| gap(d, i) - gap(&of_base, i)).collect()
        };
        let mean = |which: usize| {
            let sum: f64 = both.iter().filter_map(|&i| own[i]).map(|d| d[which]).sum();
            sum / both.len() as f64
        };
        Ok(Self {
            suspect: value(&own),
            controls: common
                .controls
                .iter()
                .map(|&c| (controls[c].0.clone(), value(&controls[c].1)))
                .collect(),
            deviations: [mean(0), mean(1)],
        })
    }

    fn corrected(&self) -> Vec<f64> {
        let n = self.controls.len() as f64;
        let mean = |i: usize| self.controls.iter().map(|(_, c)| c[i]).sum::<f64>() / n.max(1.0);
        let pairs = self.suspect.iter().enumerate();
        pairs.map(|(i, v)| v - mean(i)).collect()
    }

    fn statistic(&self, probe: &SeenQuestions, suspect: &str) -> Result<Statistic, Abstention> {
        let values = self.corrected();
        let spread = moments(&values).map_err(undefined)?;
        if self.suspect.iter().all(|v| *v == 0.0) || spread.sd == 0.0 {
            let detail = "the suspect is as sure as its base in every pair: they are one model, or \
                          every answer is certain";
            return Err(Abstention::new(Reason::Degenerate, detail));
        }
        let mean =
            |units: &[usize]| units.iter().map(|&u| values[u]).sum::<f64>() / units.len() as f64;
        let clusters = Clusters::singletons(values.len());
        let estimate = probe
            .bootstrap
            .percentile(&clusters, mean)
            .map_err(undefined)?;
        let n = values.len();
        Ok(Statistic {
            method: probe.id.clone(),
            axis: Axis::Description,
            basis: Basis::Population,
            unit: "probability a token".into(),
            candidates: vec![CandidateScore {
                candidate: suspect.to_owned(),
                score: estimate.value,
                interval: Some(estimate.interval),
                effect: spread.effect(),
                units: n as u32,
                exact: None,
            }],
            controls: self.controls.iter().map(|(name, _)| name.clone()).collect(),
            finding: Some(finding(estimate.interval.lower > 0.0, self.controls.len())),
            power: smallest_effect(n, spread.sd, SIZE, POWER)
                .ok()
                .map(|smallest_effect| Power {
                    smallest_effect,
                    size: SIZE,
                    power: POWER,
                }),
            details: self.details(probe, &values)?,
        })
    }

    fn details(
        &self,
        probe: &SeenQuestions,
        values: &[f64],
    ) -> Result<BTreeMap<String, f64>, Abstention> {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let flipped = sign_flip(values, FLIPS, probe.bootstrap.seed).map_err(undefined)?;
        let mut all = BTreeMap::from([
            ("pairs".to_owned(), values.len() as f64),
            (
                "pairs-left-out".into(),
                (probe.pairs.len() - values.len()) as f64,
            ),
            ("controls".into(), self.controls.len() as f64),
            ("deviation/alleged".into(), self.deviations[0]),
            ("deviation/twins".into(), self.deviations[1]),
            ("log10-p-if-twins-were-drawn-by-lot".into(), flipped.log10_p),
        ]);
        let controls: Vec<f64> = self.controls.iter().map(|(_, c)| mean(c)).collect();
        let own = moments(&self.suspect).map_err(undefined)?;
        if let Some(p) = log10_p(own.mean, &controls, own.standard_error()) {
            all.insert("log10-p-among-controls".into(), p);
        }
        for ((name, _), value) in self.controls.iter().zip(controls) {
            all.insert(format!("control/{name}"), value);
        }
        Ok(all)
    }
}

fn finding(surer: bool, controls: usize) -> String {
    let lead = if surer {
        "the suspect is surer of the alleged questions than of their twins, beside its base"
    } else {
        "the suspect is not surer of the alleged questions than of their twins by more than the \
         interval"
    };
    let plural = if controls == 1 { "" } else { "s" };
    format!(
        "{lead}; it names no teacher, and twins that are harder give the same ({controls} \
         control{plural} show whether they are)"
    )
}

/// `None` for an empty answer.
fn deviation(seen: &Observations<'_>, party: &Party, id: &RequestId) -> Option<f64> {
    let Answer::Scored(text) = seen.answer(party, &id.about(&party.name))? else {
        return None;
    };
    let first = &text.tokens[..text.tokens.len().min(FIRST)];
    let short = |logprob: f64| (TAU - logprob.exp()).max(0.0).powf(ALPHA);
    let sum: f64 = first.iter().map(|t| short(t.logprob)).sum();
    (!first.is_empty() && sum.is_finite()).then(|| sum / first.len() as f64)
}

#[cfg(test)]
mod tests;
