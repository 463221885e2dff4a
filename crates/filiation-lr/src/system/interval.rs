use std::collections::BTreeMap;

use filiation_core::Interval;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::fit::{Settings, System};
use super::known::Known;
use super::training::{Training, Weighted};
use crate::LrError;

/// Fewer lineages than this in a class are weighed and not drawn.
const FEW: usize = 20;

/// Draws of lineages, to see how a likelihood ratio hangs on which of them the population holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draws {
    /// How many.
    pub count: u32,
    /// Nominal coverage of the interval.
    pub level: f64,
    /// Seed: draw i is stream i of ChaCha8 under it.
    pub seed: u64,
}

impl Default for Draws {
    fn default() -> Self {
        Self {
            count: 500,
            level: 0.9,
            seed: 1,
        }
    }
}

/// Percentile intervals over lineages of what `read` reads off a system, such as the bounded log10
/// likelihood ratios of some candidates; `None` of those that some system has not. Lineages are
/// drawn with replacement, those of each teacher and those of none by themselves, and everything is
/// fitted anew; where a class has fewer than 20, all stay with weights drawn from Dirichlet(1, …, 1)
/// (Rubin 1981), so that no draw loses a class.
///
/// # Errors
/// [`LrError`] of the fits; [`LrError::Setting`] for fewer than two draws or a level outside (0, 1).
pub fn intervals(
    known: &[Known],
    settings: &Settings,
    read: impl Fn(&System) -> Vec<Option<f64>> + Sync,
    draws: Draws,
) -> Result<Vec<Option<Interval>>, LrError> {
    let settings_fit = draws.count >= 2 && draws.level > 0.0 && draws.level < 1.0;
    if !settings_fit {
        return Err(LrError::Setting {
            name: "draws",
            got: f64::from(draws.count),
            expected: "at least 2, at a level above 0 and below 1",
        });
    }
    let strata = strata(known);
    let class = |taught: bool| -> usize {
        let of = strata
            .iter()
            .filter(|(teacher, _)| teacher.is_some() == taught);
        of.map(|(_, lineages)| lineages.len()).sum()
    };
    let weigh = class(true).min(class(false)) < FEW;
    let one = |draw: u32| -> Result<Vec<Option<f64>>, LrError> {
        let weights = weights(&strata, weigh, draws.seed, draw);
        let mut drawn: Weighted<'_> = Vec::new();
        for k in known {
            drawn.extend(weights.get(k.lineage.as_str()).map(|weight| (k, *weight)));
        }
        let training = Training {
            known: &drawn,
            without: None,
        };
        Ok(read(&System::of(training, settings)?))
    };
    let found: Vec<Vec<Option<f64>>> = (0..draws.count)
        .into_par_iter()
        .map(one)
        .collect::<Result<_, _>>()?;
    let width = found.first().map_or(0, Vec::len);
    let of = |at: usize| {
        found
            .iter()
            .map(|row| row[at])
            .collect::<Option<Vec<f64>>>()
    };
    let interval = |values: Vec<f64>| percentile(values, draws.level);
    Ok((0..width).map(|at| of(at).map(interval)).collect())
}

fn percentile(mut values: Vec<f64>, level: f64) -> Interval {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        let (low, way) = (place.floor() as usize, place.fract());
        let high = (low + 1).min(values.len() - 1);
        values[low] + way * (values[high] - values[low])
    };
    let tail = 0.5 * (1.0 - level);
    Interval {
        lower: at(tail),
        upper: at(1.0 - tail),
        level,
    }
}

/// Lineages by the teacher of their students; of none where they have no student.
fn strata(known: &[Known]) -> BTreeMap<Option<&str>, Vec<&str>> {
    let mut of: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for k in known {
        let teacher = of.entry(&k.lineage).or_default();
        *teacher = teacher.or(k.teacher());
    }
    let mut strata: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    for (lineage, teacher) in of {
        strata.entry(teacher).or_default().push(lineage);
    }
    strata
}

fn weights<'a>(
    strata: &BTreeMap<Option<&str>, Vec<&'a str>>,
    weigh: bool,
    seed: u64,
    draw: u32,
) -> BTreeMap<&'a str, f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from(draw));
    let mut weights = BTreeMap::new();
    for lineages in strata.values() {
        let n = lineages.len();
        if weigh {
            let shares: Vec<f64> = (0..n)
                .map(|_| -rng.random::<f64>().max(f64::MIN_POSITIVE).ln())
                .collect();
            let total: f64 = shares.iter().sum();
            for (lineage, share) in lineages.iter().zip(shares) {
                weights.insert(*lineage, (share / total * n as f64).max(1e-9));
            }
        } else {
            for _ in 0..n {
                *weights.entry(lineages[rng.random_range(0..n)]).or_default() += 1.0;
            }
        }
    }
    weights
}
