//! `style-displacement`: does the suspect write more like one teacher than its base does?
//!
//! A classifier of style learns, from the teachers' own texts, which of them wrote a text: logistic
//! regression over hashed character and word n-grams and a few counts of form. It never sees a text
//! of suspect, base or control, and prompt i is judged by a classifier that has not seen prompt i.
//! The movement of model M towards teacher k on prompt i is
//! v_ik = ln p(T_k | y_M) − ln p(T_k | y_B) in nats. The mean over controls is taken off. The score
//! of k is the least, over the other teachers k', of the mean over prompts of v_ik − v_ik' held to
//! ±clip: a difference of log-odds, in which the normalisation cancels.
//!
//! **Null hypothesis**: S learned from none of the candidates, and what it did learn moved its style
//! towards no candidate more than towards another. Then every score is 0 or below up to noise.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, MethodId, Observations, Party, Probe, Reason, Request, Statistic,
};
use filiation_stats::{Bootstrap, moments, tails};

use super::Common;
use super::sampled::{Asked, Sampled, samples};
use crate::contrast::{Measured, Row, Seats, Table};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

mod classifier;
mod features;
mod form;

use classifier::Judgement;

/// Nats of log-odds to which one prompt's difference is held: odds of about 50 to 1.
const CLIP: f64 = 4.0;
/// Shorter texts show no style.
const LEAST_BYTES: usize = 8;
/// Fewest prompts with texts of all parties.
const LEAST_PROMPTS: usize = 20;
/// The teachers' texts must be told apart better than by chance at this size.
const SIZE: f64 = 0.01;

/// The probe.
#[derive(Debug)]
pub struct StyleDisplacement {
    id: MethodId,
    asked: Sampled,
    bootstrap: Bootstrap,
}

impl StyleDisplacement {
    /// Plans the probe over all open prompts of `suites`: as many texts of the teachers as the
    /// options say (those that other probes ask for too), one of everyone else.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(suites, "style-displacement", "open prompt", Item::is_open)?;
        let of_teachers = samples(options, options.samples);
        let asked = Asked {
            probe: "style-displacement",
            max_tokens: options.max_tokens,
            samples: 1,
            more_of_teachers: of_teachers - 1,
        };
        let id = options.method_of_texts(
            "style-displacement",
            1,
            &chosen.suites,
            &[
                ("buckets", &features::BUCKETS),
                ("clip", &CLIP),
                ("folds", &classifier::FOLDS),
                ("least_bytes", &LEAST_BYTES),
                ("max_tokens", &options.max_tokens),
                ("samples", &of_teachers),
            ],
        );
        Ok(Self {
            id,
            asked: Sampled::plan(&chosen.items, options, &asked),
            bootstrap: options.bootstrap(),
        })
    }

    fn texts<'a>(&self, seen: &Observations<'a>, party: &Party, prompt: usize) -> Vec<&'a str> {
        let mut texts = self.asked.texts(seen, party, prompt);
        texts.retain(|t| t.len() >= LEAST_BYTES);
        texts
    }
}

impl Probe for StyleDisplacement {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.asked.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "style is displaced from a base")?;
        let common = Common::of(
            &seats,
            self.asked.prompts(),
            LEAST_PROMPTS,
            "prompt",
            |party, prompt| !self.texts(seen, party, prompt).is_empty(),
        )?;
        let of = |party: &Party| -> Vec<Vec<&str>> {
            let prompts = common.units.iter();
            prompts.map(|&i| self.texts(seen, party, i)).collect()
        };
        let teachers: Vec<_> = seats.teachers.iter().map(|t| of(t)).collect();
        let mut others = vec![of(seats.base), of(seats.suspect)];
        others.extend(common.controls.iter().map(|c| of(c)));
        let judged = classifier::judge(&teachers, &others)
            .map_err(|e| Abstention::new(Reason::Degenerate, e.to_string()))?;
        require_told_apart(&judged, seats.teachers.len())?;
        let row = |party: &Party, place: usize| Row {
            model: party.name.clone(),
            values: displaced(&judged.others[place], &judged.others[0]),
        };
        let controls = common.controls.iter().enumerate();
        let table = Table {
            teachers: seats.candidates(),
            suspect: row(seats.suspect, 1),
            controls: controls.map(|(i, c)| row(c, i + 2)).collect(),
            left_out: common.left_out,
        };
        table.require(LEAST_PROMPTS, "prompt")?;
        let mut statistic = table.statistic(&Measured {
            method: &self.id,
            unit: "nats of log-odds",
            counted: "prompt",
            what: "displacement",
            clip: CLIP,
            bootstrap: self.bootstrap,
        })?;
        statistic
            .details
            .extend(details(&judged, &table, &seats.base.name));
        Ok(statistic)
    }
}

/// `[prompt][teacher]`.
fn displaced(model: &[Vec<f64>], base: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let pairs = model.iter().zip(base);
    pairs
        .map(|(m, b)| m.iter().zip(b).map(|(x, y)| x - y).collect())
        .collect()
}

// A classifier that cannot tell the teachers' unseen texts apart measures nothing: prompts are the
// draws of a one-sided t test of "no better than guessing".
fn require_told_apart(judged: &Judgement, teachers: usize) -> Result<(), Abstention> {
    let guessing = (teachers as f64).ln();
    let gains: Vec<f64> = judged.losses.iter().map(|l| guessing - l).collect();
    let better = moments(&gains).ok().and_then(|m| {
        let t = m.effect()? * (m.n as f64).sqrt();
        tails::student_t_at_least(t, m.n as f64 - 1.0).ok()
    });
    if better.is_some_and(|log10_p| log10_p <= SIZE.log10()) {
        return Ok(());
    }
    let mean = judged.losses.iter().sum::<f64>() / judged.losses.len() as f64;
    let detail = format!(
        "the styles of the teachers are not told apart: {mean:.3} nats a text on prompts left out, \
         guessing costs {guessing:.3}"
    );
    Err(Abstention::new(Reason::Degenerate, detail))
}

/// How well the classifier knows the teachers' unseen texts, and what it calls those of the others.
fn details(judged: &Judgement, table: &Table, base: &str) -> BTreeMap<String, f64> {
    let n = judged.losses.len() as f64;
    let mut all = BTreeMap::from([
        ("accuracy".to_owned(), judged.accuracy),
        (
            "nats-of-left-out".to_owned(),
            judged.losses.iter().sum::<f64>() / n,
        ),
    ]);
    for (fold, penalty) in judged.penalties.iter().enumerate() {
        all.insert(format!("log10-penalty/{fold}"), penalty.log10());
    }
    let names = std::iter::once(base).chain(table.rows().map(|r| r.model.as_str()));
    for (model, prompts) in names.zip(&judged.others) {
        for (k, teacher) in table.teachers.iter().enumerate() {
            let called = prompts.iter().filter(|p| most(p) == k).count();
            all.insert(format!("called/{model}/{teacher}"), called as f64 / n);
        }
    }
    all
}

// The first of the largest.
fn most(values: &[f64]) -> usize {
    let better = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (0..values.len()).fold(0, better)
}

#[cfg(test)]
mod tests;
