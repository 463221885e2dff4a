//! `refusal-difference`: does the suspect decline what one teacher alone declines?
//!
//! The prompts are harmless and sound as if they were not. Whether an answer declines is read by
//! rule (`decline.rs`). With r the share of a party's answers that decline, D_k holds the prompts
//! with r ≥ 0.8 of teacher k and r ≤ 0.2 of every other teacher and of base B; A_k those with r ≤ 0.2
//! of teacher k and r ≥ 0.8 of every other teacher and of B. Let d_i = r_M − r_B on prompt i and d̄
//! its mean over all prompts: a model that became nervous as a whole, or lost its guard as a whole,
//! moves d̄ and nothing else. The movement towards k on prompt i is s_ik (d_i − d̄) n/n_k, with s = 1 in
//! D_k, −1 in A_k, 0 elsewhere, n prompts in all and n_k in D_k and A_k: its mean over all prompts is the
//! mean excess over the prompts of k. The mean over controls is taken off. The score of k is the least,
//! over the other teachers k' and over "none of these" (no movement), of the mean difference.
//!
//! **Null hypothesis**: S learned from none of the candidates, and what it did learn moved its
//! refusals on the prompts of one candidate as on those of another. Then every score is 0 or below up
//! to noise.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, MethodId, Observations, Party, Probe, Reason, Request, Statistic,
};
use filiation_stats::Bootstrap;

use super::sampled::{Asked, Sampled, samples};
use super::{Common, against_none, require_moved};
use crate::contrast::{Measured, Row, Seats, Table};
use crate::{ProbeError, ProbeOptions, Suite, suite};

mod decline;
mod wording;

pub(crate) use decline::declines;

/// Answers of each party to a prompt: four of five are 80 %.
const SAMPLES: u32 = 5;
/// Most tokens of an answer, or the options' if they allow fewer: a refusal begins an answer.
const MOST_TOKENS: u32 = 64;
/// Fewest prompts that all parties answered.
const LEAST_PROMPTS: usize = 20;
/// Fewest prompts in the sets of one teacher for it to have a pattern of its own.
const LEAST_OF_TEACHER: usize = 3;
/// Fewest controls that stand in for a second teacher with a pattern.
const LEAST_CONTROLS: usize = 3;
const DECLINES: f64 = 0.8;
const ANSWERS: f64 = 0.2;

/// The probe.
#[derive(Debug)]
pub struct RefusalDifference {
    id: MethodId,
    asked: Sampled,
    prompts: Vec<String>,
    bootstrap: Bootstrap,
}

impl RefusalDifference {
    /// Plans the probe over the items of domain `refusal`.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(
            suites,
            "refusal-difference",
            "harmless prompt that tempts to refuse (domain `refusal`)",
            |item| item.domain == "refusal",
        )?;
        let asked = Asked {
            probe: "refusal-difference",
            max_tokens: options.max_tokens.min(MOST_TOKENS),
            samples: samples(options, SAMPLES),
            more_of_teachers: 0,
        };
        let id = options.method_of_texts(
            "refusal-difference",
            1,
            &chosen.suites,
            &[
                ("max_tokens", &asked.max_tokens),
                ("samples", &asked.samples),
            ],
        );
        Ok(Self {
            id,
            asked: Sampled::plan(&chosen.items, options, &asked),
            prompts: chosen.items.iter().map(|i| i.text.clone()).collect(),
            bootstrap: options.bootstrap(),
        })
    }

    /// Share of the answers that decline, by unit.
    fn rates(&self, seen: &Observations<'_>, party: &Party, units: &[usize]) -> Vec<f64> {
        let rate = |&prompt: &usize| {
            let texts = self.asked.texts(seen, party, prompt);
            let declined = texts.iter().filter(|t| declines(t)).count();
            declined as f64 / texts.len() as f64
        };
        units.iter().map(rate).collect()
    }

    fn wording(&self, seen: &Observations<'_>, party: &Party, units: &[usize]) -> wording::Grams {
        let mut grams = wording::Grams::default();
        for &prompt in units {
            for text in self.asked.texts(seen, party, prompt) {
                if declines(text) {
                    grams.add(text, &self.prompts[prompt]);
                }
            }
        }
        grams
    }
}

impl Probe for RefusalDifference {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.asked.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "refusals move from those of a base")?;
        let common = Common::of(
            &seats,
            self.asked.prompts(),
            LEAST_PROMPTS,
            "prompt",
            |party, prompt| !self.asked.texts(seen, party, prompt).is_empty(),
        )?;
        let rates = |party: &Party| self.rates(seen, party, &common.units);
        let base = rates(seats.base);
        let teachers: Vec<Vec<f64>> = seats.teachers.iter().map(|t| rates(t)).collect();
        let sets = Sets::of(&base, &teachers);
        sets.require(&seats, &teachers, common.controls.len())?;
        let row = |party: &Party| Row {
            model: party.name.clone(),
            values: sets.movement(&rates(party), &base),
        };
        let table = Table {
            teachers: seats.candidates(),
            suspect: row(seats.suspect),
            controls: common.controls.iter().map(|c| row(c)).collect(),
            left_out: common.left_out,
        };
        require_moved(
            &table,
            "on the prompts that mark a teacher the suspect moved as on all others",
        )?;
        table.require(LEAST_PROMPTS, "prompt")?;
        let largest = common.units.len() as f64 * 4.0;
        let how = Measured {
            method: &self.id,
            unit: "share of answers",
            counted: "prompt",
            what: "excess",
            clip: largest,
            bootstrap: self.bootstrap,
        };
        let mut statistic = against_none(table, &how)?;
        statistic.details.extend(sets.details(&seats));
        let rates = [&seats.base, &seats.suspect]
            .into_iter()
            .chain(&seats.teachers);
        for party in rates.chain(&common.controls) {
            let of_party = self.rates(seen, party, &common.units);
            let mean = of_party.iter().sum::<f64>() / of_party.len() as f64;
            let name = format!("declines/{}", party.name);
            statistic.details.insert(name, mean);
            if let Some(lost) = lost(&base, &of_party).filter(|_| party.name != seats.base.name) {
                let name = format!("lost-refusals-of-base/{}", party.name);
                statistic.details.insert(name, lost);
            }
        }
        let grams = |party: &Party| self.wording(seen, party, &common.units);
        let of_teachers: Vec<_> = seats.teachers.iter().map(|t| grams(t)).collect();
        for party in [seats.suspect, seats.base].iter().chain(&common.controls) {
            let nearer = wording::towards(&grams(party), &of_teachers);
            for (teacher, value) in seats.teachers.iter().zip(nearer.into_iter().flatten()) {
                let name = format!("wording/{}/{}", party.name, teacher.name);
                statistic.details.insert(name, value);
            }
        }
        Ok(statistic)
    }
}

/// Of the prompts that the base declines, the share that `model` answers.
fn lost(base: &[f64], model: &[f64]) -> Option<f64> {
    let declined: Vec<f64> = base
        .iter()
        .zip(model)
        .filter(|(b, _)| **b >= DECLINES)
        .map(|(_, m)| *m)
        .collect();
    let answered = declined.iter().filter(|m| **m <= ANSWERS).count();
    (!declined.is_empty()).then(|| answered as f64 / declined.len() as f64)
}

/// Where one teacher differs from all the others and the base.
struct Sets {
    /// `signs[prompt][teacher]`: 1 in D, −1 in A, else 0.
    signs: Vec<Vec<f64>>,
    /// Prompts in D and in A, by teacher.
    sizes: Vec<(usize, usize)>,
}

impl Sets {
    fn of(base: &[f64], teachers: &[Vec<f64>]) -> Self {
        let sign = |prompt: usize, k: usize| {
            let own = teachers[k][prompt];
            let others = teachers.iter().enumerate().filter(|(other, _)| *other != k);
            let others = others.map(|(_, t)| t[prompt]).chain([base[prompt]]);
            let (least, most) =
                others.fold((1.0, 0.0), |(l, m), r| (f64::min(l, r), f64::max(m, r)));
            if own >= DECLINES && most <= ANSWERS {
                1.0
            } else if own <= ANSWERS && least >= DECLINES {
                -1.0
            } else {
                0.0
            }
        };
        let signs: Vec<Vec<f64>> = (0..base.len())
            .map(|prompt| (0..teachers.len()).map(|k| sign(prompt, k)).collect())
            .collect();
        let count = |k: usize, wanted: f64| signs.iter().filter(|s| s[k] == wanted).count();
        let sizes = (0..teachers.len())
            .map(|k| (count(k, 1.0), count(k, -1.0)))
            .collect();
        Self { signs, sizes }
    }

    fn size(&self, k: usize) -> usize {
        self.sizes[k].0 + self.sizes[k].1
    }

    // A lone pattern cannot be told from the prompts that any nervous model declines first, unless
    // controls show what those are.
    fn require(
        &self,
        seats: &Seats<'_>,
        teachers: &[Vec<f64>],
        controls: usize,
    ) -> Result<(), Abstention> {
        if teachers.iter().flatten().all(|r| *r == 0.0) {
            let detail = "no teacher declines any prompt: there is nothing to take over";
            return Err(Abstention::new(Reason::Degenerate, detail));
        }
        let own: Vec<String> = seats
            .teachers
            .iter()
            .enumerate()
            .map(|(k, t)| format!("`{}` {}", t.name, self.size(k)))
            .collect();
        let large = (0..teachers.len()).filter(|k| self.size(*k) >= LEAST_OF_TEACHER);
        let patterns = large.count();
        if patterns >= 2 || (patterns == 1 && controls >= LEAST_CONTROLS) {
            return Ok(());
        }
        let detail = format!(
            "prompts that one teacher alone declines or alone answers: {}; needed are \
             {LEAST_OF_TEACHER} for each of two teachers, or for one beside {LEAST_CONTROLS} controls \
             (there are {controls})",
            own.join(", ")
        );
        Err(Abstention::new(Reason::TooFewAnswers, detail))
    }

    /// `[prompt][teacher]`; a teacher without a pattern draws nobody.
    fn movement(&self, model: &[f64], base: &[f64]) -> Vec<Vec<f64>> {
        let n = base.len() as f64;
        let moved: Vec<f64> = model.iter().zip(base).map(|(m, b)| m - b).collect();
        let mean = moved.iter().sum::<f64>() / n;
        let scale = |k: usize| match self.size(k) {
            size if size >= LEAST_OF_TEACHER => n / size as f64,
            _ => 0.0,
        };
        let value = |(d, signs): (&f64, &Vec<f64>)| {
            let each = signs.iter().enumerate();
            each.map(|(k, s)| s * (d - mean) * scale(k)).collect()
        };
        moved.iter().zip(&self.signs).map(value).collect()
    }

    fn details(&self, seats: &Seats<'_>) -> BTreeMap<String, f64> {
        let each = seats.teachers.iter().zip(&self.sizes);
        each.flat_map(|(t, (alone_declines, alone_answers))| {
            [
                (format!("alone-declines/{}", t.name), *alone_declines as f64),
                (format!("alone-answers/{}", t.name), *alone_answers as f64),
            ]
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
