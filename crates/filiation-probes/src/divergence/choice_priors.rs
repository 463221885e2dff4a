//! `choice-priors`: what a model picks where any pick is right.
//!
//! Every party gives its distribution over the options of each cell, with "anything else" as one
//! more outcome. With JSD in bits, the approach of suspect S to teacher k in cell c is
//! g_ck = JSD(B, T_k) − JSD(S, T_k): how much nearer S is than base B was. The mean approach over
//! controls is taken off. The score of k is the least, over the other teachers k', of the mean over
//! cells of g_ck − g_ck'.
//!
//! **Null hypothesis**: S learned from none of the candidates; what it did learn moved its choices
//! towards no candidate more than towards another. Then every score is 0 or below up to noise.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, Answer, MethodId, Observations, Party, Probe, Reason, Request, RequestId, Role,
    Statistic, Want,
};
use filiation_stats::{Bootstrap, divergence};

use crate::contrast::{Measured, Row, Seats, Table};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

/// Differences of two approaches lie in [−2, 2] bits: nothing is clipped.
const CLIP: f64 = 2.0;
/// Fewest cells that all parties answered.
const LEAST_CELLS: usize = 10;
/// Probabilities of the options may sum to more than 1 by rounding, not by more than this.
const SLACK: f64 = 1e-3;

/// The probe.
#[derive(Debug)]
pub struct ChoicePriors {
    id: MethodId,
    plan: Vec<Request>,
    bootstrap: Bootstrap,
}

impl ChoicePriors {
    /// Plans the probe over all choice cells of `suites`.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(
            suites,
            "choice-priors",
            "choice cell (an item with `options`)",
            Item::is_choice,
        )?;
        let plan: Vec<Request> = chosen
            .items
            .iter()
            .filter_map(|item| {
                Some(Request {
                    id: RequestId::new(format!("choice-priors/{}", item.id)),
                    to: vec![Role::Suspect, Role::Base, Role::Teacher, Role::Control],
                    want: Want::Choice {
                        prompt: options.prompt(item),
                        options: item.options.clone()?,
                    },
                })
            })
            .collect();
        Ok(Self {
            id: method(options, &chosen.suites),
            plan,
            bootstrap: options.bootstrap(),
        })
    }
}

fn method(options: &ProbeOptions, suites: &str) -> MethodId {
    options.method("choice-priors", 1, suites, &[])
}

impl Probe for ChoicePriors {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let cells = Cells::read(self, seen)?;
        let mut statistic = cells.table()?.statistic(&Measured {
            method: &self.id,
            unit: "bits",
            counted: "cell",
            what: "approach",
            clip: CLIP,
            bootstrap: self.bootstrap,
        })?;
        statistic.details.extend(cells.details());
        Ok(statistic)
    }
}

/// One party's distributions, by cell: the options and, last, anything else.
struct Choices {
    party: String,
    cells: Vec<Vec<f64>>,
}

struct Cells {
    base: Choices,
    suspect: Choices,
    teachers: Vec<Choices>,
    controls: Vec<Choices>,
    left_out: usize,
}

impl Cells {
    fn read(probe: &ChoicePriors, seen: &Observations<'_>) -> Result<Self, Abstention> {
        let seats = Seats::of(seen, "approach is from a base")?;
        let needed = [seats.suspect, seats.base].into_iter();
        let needed = needed.chain(seats.teachers.iter().copied());
        let common = probe.common_cells(seen, needed)?;
        let choices = |party: &Party| Choices {
            party: party.name.clone(),
            cells: common
                .iter()
                .filter_map(|id| distribution(seen, party, id))
                .collect(),
        };
        // A control that misses a cell is left out, rather than the cell.
        let controls = seats.controls.iter().map(|c| choices(c));
        Ok(Self {
            base: choices(seats.base),
            suspect: choices(seats.suspect),
            teachers: seats.teachers.iter().map(|t| choices(t)).collect(),
            controls: controls.filter(|c| c.cells.len() == common.len()).collect(),
            left_out: probe.plan.len() - common.len(),
        })
    }

    fn table(&self) -> Result<Table, Abstention> {
        let row = |model: &Choices| -> Result<Row, Abstention> {
            Ok(Row {
                model: model.party.clone(),
                values: self.approach(model)?,
            })
        };
        let table = Table {
            teachers: self.teachers.iter().map(|t| t.party.clone()).collect(),
            suspect: row(&self.suspect)?,
            controls: self.controls.iter().map(row).collect::<Result<_, _>>()?,
            left_out: self.left_out,
        };
        table.require(LEAST_CELLS, "cell")?;
        Ok(table)
    }

    /// `[cell][teacher]`: how much nearer `model` is to the teacher than the base is, bits.
    fn approach(&self, model: &Choices) -> Result<Vec<Vec<f64>>, Abstention> {
        let distance = |a: &[f64], b: &[f64]| {
            divergence::jsd_bits(a, b)
                .map_err(|e| Abstention::new(Reason::Degenerate, e.to_string()))
        };
        (0..self.base.cells.len())
            .map(|c| {
                let of = |t: &Choices| {
                    let before = distance(&self.base.cells[c], &t.cells[c])?;
                    Ok(before - distance(&model.cells[c], &t.cells[c])?)
                };
                self.teachers.iter().map(of).collect()
            })
            .collect()
    }

    /// Mean JSD of suspect and base to each teacher, and the mean mass that lies on the options.
    fn details(&self) -> BTreeMap<String, f64> {
        let n = self.base.cells.len() as f64;
        let mut all = BTreeMap::new();
        let models = [&self.suspect, &self.base].into_iter();
        for model in models.clone().chain(&self.controls) {
            for teacher in &self.teachers {
                let pairs = model.cells.iter().zip(&teacher.cells);
                let sum: f64 = pairs
                    .filter_map(|(a, b)| divergence::jsd_bits(a, b).ok())
                    .sum();
                all.insert(format!("jsd/{}/{}", model.party, teacher.party), sum / n);
            }
        }
        for model in models.chain(&self.teachers).chain(&self.controls) {
            let other: f64 = model.cells.iter().filter_map(|c| c.last()).sum();
            all.insert(format!("mass-on-options/{}", model.party), 1.0 - other / n);
        }
        all
    }
}

impl ChoicePriors {
    // Cells that all `parties` answered; too few is an abstention that names the worst party.
    fn common_cells<'a>(
        &self,
        seen: &Observations<'_>,
        parties: impl Iterator<Item = &'a Party>,
    ) -> Result<Vec<&RequestId>, Abstention> {
        let parties: Vec<&Party> = parties.collect();
        let answered = |p: &Party| {
            let ids = self.plan.iter().map(|r| &r.id);
            ids.filter(|id| distribution(seen, p, id).is_some()).count()
        };
        let everyone =
            |id: &&RequestId| parties.iter().all(|p| distribution(seen, p, id).is_some());
        let common: Vec<_> = self.plan.iter().map(|r| &r.id).filter(everyone).collect();
        if common.len() >= LEAST_CELLS {
            return Ok(common);
        }
        let worst = parties.iter().min_by_key(|p| answered(p));
        let (name, got) = worst.map_or(("", 0), |p| (p.name.as_str(), answered(p)));
        let detail = format!(
            "{} of {} cells have choices of all parties (`{name}` gave {got}), at least \
             {LEAST_CELLS} are needed",
            common.len(),
            self.plan.len()
        );
        let reason = if got == 0 {
            Reason::NotSupported
        } else {
            Reason::TooFewAnswers
        };
        Err(Abstention::new(reason, detail))
    }
}

/// Probabilities of the options and of anything else; `None` for no or an impossible answer.
pub(super) fn distribution(
    seen: &Observations<'_>,
    party: &Party,
    id: &RequestId,
) -> Option<Vec<f64>> {
    let Answer::Choice(choice) = seen.answer(party, id)? else {
        return None;
    };
    let mut p: Vec<f64> = choice.logprobs.iter().map(|l| l.exp()).collect();
    let sum: f64 = p.iter().sum();
    if p.is_empty() || !sum.is_finite() || sum > 1.0 + SLACK {
        return None;
    }
    p.push((1.0 - sum).max(0.0));
    let total = sum.max(1.0);
    p.iter_mut().for_each(|v| *v /= total);
    Some(p)
}

#[cfg(test)]
mod tests;
