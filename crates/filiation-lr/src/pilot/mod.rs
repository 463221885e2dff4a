//! What each probe carries, judged on suspects of known history before anything is fused.

mod dependence;
mod errors;
mod pools;

use std::collections::BTreeMap;

use filiation_core::{Axis, Basis, Interval, Reason};
use filiation_stats::{Bootstrap, Clusters, Estimate, StatsError, auc, hedges_g};
use serde::Serialize;

use crate::record::{Cost, Outcome, Record};
pub use dependence::Dependence;
pub use errors::{Errors, Rate, Uniform};
use pools::{Pools, Taught};

/// Nominal coverage of all intervals.
const LEVEL: f64 = 0.95;
const BOOTSTRAP: Bootstrap = Bootstrap {
    draws: 2000,
    level: LEVEL,
    seed: 1,
};
/// Nominal size of the tests among controls.
const SIZE: f64 = 0.01;

/// What the pilot says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pilot {
    /// One row a probe, in the order of the records.
    pub rows: Vec<Row>,
    /// How scores of different probes go together.
    pub dependence: Vec<Dependence>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub probe: String,
    /// What its scores bear on; none where it never scored.
    pub axis: Option<Axis>,
    /// What makes its null.
    pub basis: Option<Basis>,
    /// Suspects that it scored.
    pub scored: u32,
    /// Suspects on which it abstained, by reason.
    pub abstained: BTreeMap<String, u32>,
    /// Most that it asked of a teacher.
    pub cost: Cost,
    /// Distilled suspects against fine-tunes of the same bases.
    pub against_ha: Option<Effect>,
    /// The same for students of teachers without a sibling among the candidates: a sibling is the
    /// closest rival, and holds the score of the true one down.
    pub against_ha_without_siblings: Option<Effect>,
    /// Against independent models.
    pub against_hb: Option<Effect>,
    /// The teacher's score against its sibling's, over students of siblings.
    pub against_hc: Option<Effect>,
    /// Against Ha, by signal and share.
    pub by_share: Vec<AtShare>,
    /// Smallest share seen, by signal: the least for which the interval of the effect against Ha
    /// lies above 0, there and for every larger share.
    pub smallest_share: BTreeMap<String, Option<f64>>,
    /// Distilled suspects whose teacher has the largest score (or weight), of how many.
    pub first: Option<(u32, u32)>,
    /// On the axis of weights: models beside the base that they start from, and beside another.
    pub kin: Option<Kin>,
    /// How often innocents and students have a p among controls of at most 1 %.
    pub errors: Errors,
    /// Alternatives against which it carries something: the interval of the effect lies above 0.
    pub carries_against: Vec<&'static str>,
}

impl Row {
    /// Whether it may enter a fusion on the axis of teachers: it carries something against a
    /// fine-tune of the same base or a sibling's student.
    pub fn is_kept(&self) -> bool {
        self.axis == Some(Axis::TeacherIdentity) && self.carries_against.iter().any(|h| *h != "Hb")
    }
}

/// How far scores of distilled suspects lie from others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Effect {
    /// Hedges' g.
    pub g: f64,
    /// Its interval over models.
    pub interval: Interval,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Distilled suspects.
    pub distilled: u32,
    /// The others.
    pub others: u32,
}

/// How scores on the axis of weights tell models that start from a base from models that do not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Kin {
    /// Students and fine-tunes, each beside the base that it starts from.
    pub related: u32,
    /// Models beside a base that they do not start from.
    pub unrelated: u32,
    /// Least score of the former.
    pub least_related: f64,
    /// Greatest of the latter.
    pub greatest_unrelated: f64,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Share of the former above the score that 1 % of the latter pass at most.
    pub found_at_1_percent: f64,
}

impl Kin {
    fn of(pools: &Pools<'_>) -> Option<Self> {
        let largest = |s: &&crate::Scored| s.largest();
        let related: Vec<f64> = values(pools.distilled.iter())
            .into_iter()
            .chain(pools.related.iter().filter_map(largest))
            .collect();
        let mut unrelated: Vec<f64> = pools.independents.iter().filter_map(largest).collect();
        let auc = auc(&related, &unrelated).ok()?;
        unrelated.sort_by(|a, b| b.total_cmp(a));
        let passed = (SIZE * unrelated.len() as f64).floor() as usize;
        let bar = *unrelated.get(passed)?;
        let found = related.iter().filter(|s| **s > bar).count();
        Some(Self {
            related: related.len() as u32,
            unrelated: unrelated.len() as u32,
            least_related: related.iter().copied().reduce(f64::min)?,
            greatest_unrelated: *unrelated.first()?,
            auc,
            found_at_1_percent: found as f64 / related.len() as f64,
        })
    }
}

/// The effect for one signal and share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtShare {
    /// The signal, such as `text`, `logits` or `text-filtered`.
    pub by: String,
    /// Share of the training rows.
    pub share: f64,
    /// The effect against Ha.
    pub effect: Option<Effect>,
}

/// Judges every probe of the records.
pub fn pilot(records: &[Record]) -> Pilot {
    let mut names: Vec<&str> = Vec::new();
    for record in records {
        if !names.contains(&record.method.name()) {
            names.push(record.method.name());
        }
    }
    let of = |name: &str| -> Vec<&Record> {
        records.iter().filter(|r| r.method.name() == name).collect()
    };
    Pilot {
        rows: names.iter().map(|name| row(name, &of(name))).collect(),
        dependence: dependence::all(records, &names),
    }
}

fn row(probe: &str, records: &[&Record]) -> Row {
    let pools = Pools::of(records);
    let scored = records.iter().filter_map(|r| match &r.outcome {
        Outcome::Scored(scored) => Some(scored),
        Outcome::Abstained(_) => None,
    });
    let first_scored = scored.clone().next();
    let sources = values(pools.distilled.iter());
    let largest =
        |pool: &[&crate::Scored]| -> Vec<f64> { pool.iter().filter_map(|s| s.largest()).collect() };
    let (ha, hb) = (largest(&pools.fine_tunes), largest(&pools.independents));
    let against_hc = match first_scored.map(|s| s.axis) {
        Some(Axis::TeacherIdentity) => against_siblings(&pools.distilled),
        _ => None,
    };
    let by_share = by_share(&pools, &ha);
    let against_ha = effect(&sources, &ha);
    let alone = pools.distilled.iter().filter(|t| t.siblings.is_empty());
    let against_ha_without_siblings = effect(&values(alone), &ha);
    let against_hb = effect(&sources, &hb);
    let carries_against = [
        ("Ha", &against_ha),
        ("Hb", &against_hb),
        ("Hc", &against_hc),
    ]
    .iter()
    .filter(|(_, e)| e.is_some_and(|e| e.interval.lower > 0.0))
    .map(|(name, _)| *name)
    .collect();
    Row {
        probe: probe.to_owned(),
        axis: first_scored.map(|s| s.axis),
        basis: first_scored.map(|s| s.basis),
        scored: scored.count() as u32,
        abstained: abstained(records),
        cost: cost(records),
        smallest_share: smallest_share(&by_share),
        first: first(&pools, first_scored.map(|s| s.axis)),
        errors: Errors::of(&pools),
        kin: match first_scored.map(|s| s.axis) {
            Some(Axis::WeightLineage) => Kin::of(&pools),
            _ => None,
        },
        against_ha,
        against_ha_without_siblings,
        against_hb,
        against_hc,
        by_share,
        carries_against,
    }
}

fn values<'a>(taught: impl Iterator<Item = &'a Taught<'a>>) -> Vec<f64> {
    taught.filter_map(|t| t.source()).map(|c| c.score).collect()
}

/// `None` where either side has too few models or nothing varies.
fn effect(distilled: &[f64], others: &[f64]) -> Option<Effect> {
    let estimate = BOOTSTRAP.two_samples(distilled, others, hedges_g);
    let (
        Estimate {
            value, interval, ..
        },
        auc,
    ) = both(estimate, auc(distilled, others))?;
    Some(Effect {
        g: value,
        interval,
        auc,
        distilled: distilled.len() as u32,
        others: others.len() as u32,
    })
}

/// The teacher's score against its siblings', over students of teachers that have one. Both scores
/// are of one suspect and often mirror each other, so suspects are drawn whole.
fn against_siblings(distilled: &[Taught<'_>]) -> Option<Effect> {
    let pairs: Vec<(f64, Vec<f64>)> = distilled
        .iter()
        .filter_map(|t| Some((t.source()?.score, t.siblings().map(|c| c.score).collect())))
        .filter(|(_, siblings): &(f64, Vec<f64>)| !siblings.is_empty())
        .collect();
    let sides = |units: &[usize]| -> (Vec<f64>, Vec<f64>) {
        let siblings = units.iter().flat_map(|&u| pairs[u].1.iter().copied());
        (
            units.iter().map(|&u| pairs[u].0).collect(),
            siblings.collect(),
        )
    };
    let g = |units: &[usize]| {
        let (teachers, siblings) = sides(units);
        hedges_g(&teachers, &siblings).unwrap_or(f64::NAN)
    };
    let estimate = BOOTSTRAP.percentile(&Clusters::singletons(pairs.len()), g);
    let all: Vec<usize> = (0..pairs.len()).collect();
    let (teachers, siblings) = sides(&all);
    let (estimate, auc) = both(estimate, auc(&teachers, &siblings))?;
    Some(Effect {
        g: estimate.value,
        interval: estimate.interval,
        auc,
        distilled: teachers.len() as u32,
        others: siblings.len() as u32,
    })
}

fn both<A, B>(a: Result<A, StatsError>, b: Result<B, StatsError>) -> Option<(A, B)> {
    Some((a.ok()?, b.ok()?))
}

fn by_share(pools: &Pools<'_>, ha: &[f64]) -> Vec<AtShare> {
    let mut cells: Vec<(&str, f64)> = Vec::new();
    for taught in &pools.distilled {
        if !cells.contains(&(taught.by, taught.share)) {
            cells.push((taught.by, taught.share));
        }
    }
    cells.sort_by(|a, b| b.0.cmp(a.0).then(b.1.total_cmp(&a.1)));
    let of = |by: &str, share: f64| {
        let at = pools.distilled.iter();
        effect(&values(at.filter(|t| t.by == by && t.share == share)), ha)
    };
    cells
        .into_iter()
        .map(|(by, share)| AtShare {
            by: by.to_owned(),
            share,
            effect: of(by, share),
        })
        .collect()
}

/// `by_share` has the larger shares of a signal first.
fn smallest_share(by_share: &[AtShare]) -> BTreeMap<String, Option<f64>> {
    let mut smallest: BTreeMap<String, Option<f64>> = BTreeMap::new();
    let mut over: Vec<&str> = Vec::new();
    for at in by_share {
        let entry = smallest.entry(at.by.clone()).or_default();
        let seen = at.effect.is_some_and(|e| e.interval.lower > 0.0);
        if seen && !over.contains(&at.by.as_str()) {
            *entry = Some(at.share);
        } else {
            over.push(&at.by);
        }
    }
    smallest
}

fn first(pools: &Pools<'_>, axis: Option<Axis>) -> Option<(u32, u32)> {
    let firsts: Vec<bool> = pools
        .distilled
        .iter()
        .filter_map(Taught::is_first)
        .collect();
    let right = firsts.iter().filter(|f| **f).count() as u32;
    let counted = axis == Some(Axis::TeacherIdentity) && !firsts.is_empty();
    counted.then_some((right, firsts.len() as u32))
}

fn abstained(records: &[&Record]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for record in records {
        if let Outcome::Abstained(abstention) = &record.outcome {
            *counts
                .entry(word(abstention.reason).to_owned())
                .or_insert(0) += 1;
        }
    }
    counts
}

const fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::NoBase => "no base",
        Reason::TooFewTeachers => "too few teachers",
        Reason::TooFewAnswers => "too few answers",
        Reason::NotSupported => "not supported",
        Reason::NotComparable => "not comparable",
        Reason::Degenerate => "degenerate",
    }
}

fn cost(records: &[&Record]) -> Cost {
    let most = |f: fn(&Cost) -> u32| records.iter().map(|r| f(&r.cost)).max().unwrap_or(0);
    Cost {
        completions: most(|c| c.completions),
        others: most(|c| c.others),
    }
}

#[cfg(test)]
mod tests;
