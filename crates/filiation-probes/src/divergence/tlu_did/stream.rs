//! Buying completions until there is enough evidence, or no hope of it.
//!
//! Prompts come in the order of local disagreement: how much likelier, per byte, the suspect's own
//! text is under the suspect than under its base. That is known before a teacher is asked anything,
//! so that the choice cannot favour a candidate.
//!
//! For every pair of candidates the differences of uplift, controls taken off, are bet on one prompt
//! at a time (`filiation_stats::Betting`), each held to ±c and divided by c, where c is three times
//! the median size of the differences before it. The null of such a bet is that the next difference,
//! held to any bound fixed before it, has no positive mean: so it is where teacher and rival are
//! exchangeable, whose differences are symmetric. The e-value of a candidate is its least over
//! rivals, and that of the stream is the mean over candidates, because each of them was tried.

use filiation_core::{
    Observations, Reason, Request, RequestId, Role, Statistic, Stop, Stream, Want, Watch, Whose,
};
use filiation_stats::anytime::{Betting, MeanSequence, average_log10_e};

use super::{CLIP, LEAST_PROMPTS, TluDid, scored, uplift};
use crate::{Item, ProbeOptions, Stopping};

/// Differences before their own size is the scale of the next.
const FIRST: usize = 5;
/// Sizes of the median difference to which the next is held.
const SIZES: f64 = 3.0;
/// The effect (mean over standard deviation of the differences) that is planned for.
pub const PLANNED_EFFECT: f64 = 0.3;
/// One in so many leads of interest may be given up by mistake.
const MISTAKEN: f64 = 20.0;

/// What buying needs beside the probe.
#[derive(Debug)]
pub(super) struct Buying {
    rule: Stopping,
    /// The requests to teachers, by prompt.
    units: Vec<Vec<RequestId>>,
    /// The scores of the suspect's own text, by prompt.
    own: Vec<RequestId>,
}

/// Where the bets stand.
struct Standing {
    units: usize,
    /// log10 of the e-value of each teacher, against its closest rival.
    log10_e: Vec<f64>,
    futile: bool,
}

impl Buying {
    /// Adds to the plan what the order is made from.
    pub(super) fn plan(
        rule: Stopping,
        items: &[&Item],
        options: &ProbeOptions,
        plan: &mut Vec<Request>,
    ) -> Self {
        let mut this = Self {
            rule,
            units: Vec::new(),
            own: Vec::new(),
        };
        for item in items {
            let name = |what: &str| RequestId::new(format!("tlu-did/{}/{what}", item.id));
            let (own, score) = (name("own"), name("own-score"));
            plan.push(Request {
                id: own.clone(),
                to: vec![Role::Suspect],
                want: options.text_of(item, 0),
            });
            plan.push(Request {
                id: score.clone(),
                to: vec![Role::Suspect, Role::Base],
                want: Want::ScoreAnswers {
                    of: own,
                    whose: Whose::Suspect,
                },
            });
            this.own.push(score);
            let texts = (0..options.samples).map(|sample| name(&format!("{sample}/text")));
            this.units.push(texts.collect());
        }
        this
    }

    /// Adds what was bought, and for what evidence, to the statistic.
    pub(super) fn tell(&self, probe: &TluDid, seen: &Observations<'_>, to: &mut Statistic) {
        let bought = self.units.iter().filter(|unit| {
            let answered = |id| seen.teachers().any(|t| seen.result(t, id).is_some());
            unit.iter().any(answered)
        });
        let (bought, planned) = (bought.count(), self.units.len());
        to.details.insert("prompts-bought".into(), bought as f64);
        let Some(standing) = probe.standing(self, seen) else {
            return;
        };
        let watch = self.watch(&standing);
        for (teacher, e) in seen.teachers().zip(&standing.log10_e) {
            to.details.insert(format!("log10-e/{}", teacher.name), *e);
        }
        to.details.insert("log10-e".into(), watch.log10_e);
        let why = match watch.stop {
            Some(Stop::Evidence) => "the evidence asked for was there",
            Some(Stop::Futility) => "no lead of interest was left to be found",
            None => "the budget was spent",
        };
        let told = format!(
            "completions were bought for {bought} of {planned} prompts, until {why} (over prompts, \
             for these models)"
        );
        let finding = to.finding.take();
        to.finding = Some(finding.map_or(told.clone(), |finding| format!("{finding}; {told}")));
    }

    fn watch(&self, standing: &Standing) -> Watch {
        let log10_e = average_log10_e(&standing.log10_e).unwrap_or(0.0);
        let enough = standing.units >= LEAST_PROMPTS;
        let stop = if enough && log10_e >= self.rule.at_e.log10() {
            Some(Stop::Evidence)
        } else if enough && standing.futile {
            Some(Stop::Futility)
        } else {
            None
        };
        Watch {
            units: standing.units as u32,
            log10_e,
            stop,
        }
    }
}

impl Stream for TluDid {
    fn units(&self) -> &[Vec<RequestId>] {
        self.buying.as_ref().map_or(&[], |buying| &buying.units)
    }

    fn order(&self, seen: &Observations<'_>) -> Vec<usize> {
        let Some(buying) = &self.buying else {
            return Vec::new();
        };
        let disagreement = |id: &RequestId| {
            let (suspect, base) = (seen.suspect()?, seen.base()?);
            let id = id.about(&suspect.name);
            let of = |party| scored(seen, party, &id)?.per_byte();
            Some(of(suspect)? - of(base)?).filter(|d| d.is_finite())
        };
        let sizes: Vec<f64> = buying
            .own
            .iter()
            .map(|id| disagreement(id).unwrap_or(f64::NEG_INFINITY))
            .collect();
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by(|&a, &b| sizes[b].total_cmp(&sizes[a]).then(a.cmp(&b)));
        order
    }

    fn watch(&self, seen: &Observations<'_>) -> Watch {
        let standing = self
            .buying
            .as_ref()
            .and_then(|buying| Some(buying.watch(&self.standing(buying, seen)?)));
        standing.unwrap_or_else(|| {
            // More completions lift only one reason to abstain.
            let hopeless = match uplift::read(self, seen) {
                Err(abstention) => abstention.reason != Reason::TooFewAnswers,
                Ok(_) => false,
            };
            Watch {
                units: 0,
                log10_e: 0.0,
                stop: hopeless.then_some(Stop::Futility),
            }
        })
    }
}

impl TluDid {
    fn standing(&self, buying: &Buying, seen: &Observations<'_>) -> Option<Standing> {
        let (table, prompts) = uplift::read(self, seen).ok()?;
        let values = table.corrected();
        let rows: Vec<&Vec<f64>> = self
            .order(seen)
            .iter()
            .filter_map(|unit| prompts.binary_search(unit).ok())
            .map(|row| &values[row])
            .collect();
        let teachers = table.teachers.len();
        let pairs = |k: usize| (0..teachers).filter(move |rival| *rival != k);
        let bets: Vec<Vec<Bet>> = (0..teachers)
            .map(|k| {
                let of = |rival| Bet::on(rows.iter().map(|row| row[k] - row[rival]), buying.rule);
                pairs(k).filter_map(of).collect()
            })
            .collect();
        Some(Standing {
            units: rows.len(),
            log10_e: bets.iter().map(|b| least(b)).collect(),
            futile: bets.iter().all(|b| b.iter().any(|bet| bet.futile)),
        })
    }
}

fn least(bets: &[Bet]) -> f64 {
    let least = bets
        .iter()
        .map(|bet| bet.log10_e)
        .fold(f64::INFINITY, f64::min);
    if least.is_finite() { least } else { 0.0 }
}

/// A candidate against one rival.
struct Bet {
    log10_e: f64,
    /// Whether a lead of interest is refuted.
    futile: bool,
}

impl Bet {
    fn on(differences: impl Iterator<Item = f64>, rule: Stopping) -> Option<Self> {
        let mut gambler = Betting::planned(0.0, PLANNED_EFFECT).ok()?;
        let mut mean = MeanSequence::new();
        // In order of size.
        let mut sizes: Vec<f64> = Vec::new();
        for x in differences {
            let scale = match sizes.get(sizes.len() / 2) {
                Some(median) if sizes.len() >= FIRST && *median > 0.0 => (SIZES * median).min(CLIP),
                _ => CLIP,
            };
            gambler.bet((x / scale).clamp(-1.0, 1.0)).ok()?;
            mean.push(x.clamp(-CLIP, CLIP)).ok()?;
            let place = sizes.partition_point(|size| *size < x.abs());
            sizes.insert(place, x.abs());
        }
        let against = |below| mean.log10_e_against_at_least(below).ok();
        let refuted = rule.below.and_then(against);
        Some(Self {
            log10_e: gambler.wealth().log10_e,
            futile: refuted.is_some_and(|e| e >= MISTAKEN.log10()),
        })
    }
}

#[cfg(test)]
mod tests;
