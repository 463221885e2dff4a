//! How often a p-value accuses, and whom.

use filiation_core::Interval;
use filiation_stats::{clopper_pearson, ks_uniform};
use serde::Serialize;

use super::pools::{Pools, Taught};
use super::{LEVEL, SIZE};
use crate::record::{Candidate, Scored};

/// How often p among controls is at most 1 % for a candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Errors {
    /// Suspects of clean lineages, any candidate accused.
    pub clean: Option<Rate>,
    /// Fine-tunes of the students' bases, any candidate accused.
    pub fine_tunes: Option<Rate>,
    /// Independent models held beside fine-tunes of a base that is not theirs, any candidate accused.
    pub independents: Option<Rate>,
    /// Distilled suspects, a candidate accused that was not the teacher.
    pub wrong_teacher: Option<Rate>,
    /// Distilled suspects, the teacher accused: the power.
    pub teacher: Option<Rate>,
    /// Exact tests on innocents: their p-values against the uniform distribution.
    pub exact: Option<Uniform>,
    /// Exact tests on innocents: any candidate with p of at most 1 %.
    pub exact_clean: Option<Rate>,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Those.
    pub hits: u32,
    /// All.
    pub of: u32,
    /// Clopper-Pearson interval of the share.
    pub interval: Interval,
}

/// A Kolmogorov-Smirnov test of uniformity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Uniform {
    /// p-values.
    pub values: u32,
    /// Largest distance between the distribution functions.
    pub statistic: f64,
    /// log10 of its p-value.
    pub log10_p: f64,
}

type Tail = fn(&Candidate) -> Option<f64>;

const AMONG_CONTROLS: Tail = |c| c.log10_p_among_controls;
const EXACT: Tail = |c| c.log10_p;

impl Errors {
    pub(super) fn of(pools: &Pools<'_>) -> Self {
        let any = |pool: &[&Scored], tail: Tail| {
            rate(pool.iter().filter_map(|s| least(s.candidates.iter(), tail)))
        };
        let wrong = |t: &Taught<'_>| {
            let others = t.scored.candidates.iter();
            least(others.filter(|c| !t.is_by(c)), AMONG_CONTROLS)
        };
        let right = |t: &Taught<'_>| {
            let teacher = t.scored.candidate(t.teacher)?;
            teacher.log10_p_among_controls
        };
        let innocents = pools.clean.iter().chain(&pools.fine_tunes);
        let innocents = innocents.chain(&pools.independents);
        let exact: Vec<f64> = innocents
            .flat_map(|s| s.candidates.iter().filter_map(EXACT))
            .map(|log10_p| 10_f64.powf(log10_p).min(1.0))
            .collect();
        Self {
            clean: any(&pools.clean, AMONG_CONTROLS),
            fine_tunes: any(&pools.fine_tunes, AMONG_CONTROLS),
            independents: any(&pools.independents, AMONG_CONTROLS),
            wrong_teacher: rate(pools.distilled.iter().filter_map(wrong)),
            teacher: rate(pools.distilled.iter().filter_map(right)),
            exact: ks_uniform(&exact).ok().map(|ks| Uniform {
                values: exact.len() as u32,
                statistic: ks.statistic,
                log10_p: ks.log10_p,
            }),
            exact_clean: any(&pools.clean, EXACT),
        }
    }
}

fn least<'a>(candidates: impl Iterator<Item = &'a Candidate>, tail: Tail) -> Option<f64> {
    candidates.filter_map(tail).min_by(f64::total_cmp)
}

fn rate(log10_p: impl Iterator<Item = f64>) -> Option<Rate> {
    let (mut hits, mut of) = (0, 0);
    for p in log10_p {
        of += 1;
        hits += u32::from(p <= SIZE.log10());
    }
    let interval = clopper_pearson(u64::from(hits), u64::from(of), LEVEL).ok()?;
    Some(Rate { hits, of, interval })
}
