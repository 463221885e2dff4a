//! Completions that are planted texts, and how often that comes by chance.

use filiation_core::{Answer, Observations, Party};
use filiation_stats::{clopper_pearson, poisson_binomial_at_least, tails};

use super::{Asked, Set};
use crate::canaries::{Canary, Chance};

/// Probability that the bound on the rate of decoy keys is too low. It is added to p.
const RISK: f64 = 1e-9;

/// How many canaries the model answers with their text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Matches {
    pub(super) asked: u32,
    pub(super) matched: u32,
    /// log10 p of at least as many.
    pub(super) log10_p: f64,
    /// The rate by chance that p is taken at: the upper bound where it comes from decoy keys.
    pub(super) rate: f64,
    /// Where it comes from decoy keys: log10 of the binomial p at that rate, the risk added.
    pub(super) log10_p_binomial: Option<f64>,
}

/// The matches of `party`; decoy keys are asked of `others` too, which only the bound uses.
pub(super) fn matches(
    set: &Set,
    seen: &Observations<'_>,
    party: &Party,
    others: &[&Party],
) -> Option<Matches> {
    let canaries = || set.canaries.iter().zip(&set.of.canaries);
    let rows: Vec<(Vec<bool>, &Canary)> = canaries()
        .filter_map(|(asked, canary)| Some((hits(asked, canary, seen, party)?, canary)))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let chosen = |(hits, canary): &(Vec<bool>, &Canary)| hits.get(canary.chosen) == Some(&true);
    // Where one completion stands for all candidates, it stands alone.
    let matched = |row: &(Vec<bool>, &Canary)| match row.0.len() {
        1 => row.0[0],
        _ => chosen(row),
    };
    let k = rows.iter().filter(|row| matched(row)).count();
    let n = rows.len();
    let of = |log10_p: f64, rate: f64, log10_p_binomial| Matches {
        asked: n as u32,
        matched: k as u32,
        log10_p: log10_p.min(0.0),
        rate,
        log10_p_binomial,
    };
    match set.of.chance {
        Chance::Stated(rate) => {
            let p = tails::binomial_at_least(k as u64, n as u64, rate).ok()?;
            Some(of(p, rate, None))
        }
        Chance::OneOfTexts => {
            let rates: Vec<f64> = rows
                .iter()
                .map(|(_, canary)| 1.0 / canary.candidates.len() as f64)
                .collect();
            let p = poisson_binomial_at_least(k, &rates).ok()?;
            Some(of(p, rates.iter().sum::<f64>() / n as f64, None))
        }
        Chance::Decoys => {
            // Of each key and its decoys any might have been the key: as many as match, each alike.
            let rates: Vec<f64> = rows
                .iter()
                .map(|(hits, _)| hits.iter().filter(|h| **h).count() as f64 / hits.len() as f64)
                .collect();
            let p = poisson_binomial_at_least(k, &rates).ok()?;
            let everyone = std::iter::once(party).chain(others.iter().copied());
            let decoys = everyone.flat_map(|party| {
                canaries().filter_map(move |(a, c)| Some((hits(a, c, seen, party)?, c.chosen)))
            });
            let (mut found, mut tried) = (0_u64, 0_u64);
            for (hits, chosen) in decoys {
                let decoys = hits.iter().enumerate().filter(|(i, _)| *i != chosen);
                found += decoys.clone().filter(|(_, hit)| **hit).count() as u64;
                tried += decoys.count() as u64;
            }
            let rate = clopper_pearson(found, tried, 1.0 - 2.0 * RISK).ok()?.upper;
            let tail = tails::binomial_at_least(k as u64, n as u64, rate).ok()?;
            let binomial = (10_f64.powf(tail) + RISK).log10().min(0.0);
            Some(of(p, rate, Some(binomial)))
        }
    }
}

/// Of every completion that was asked for, whether it is the text; `None` where one is missing.
fn hits(
    asked: &Asked,
    canary: &Canary,
    seen: &Observations<'_>,
    party: &Party,
) -> Option<Vec<bool>> {
    let wanted = canary.candidates[canary.chosen].text.trim();
    let hit = |id| match seen.answer(party, id)? {
        Answer::Completion(said) => Some(begins(said.text.trim_start(), wanted, canary)),
        _ => None,
    };
    asked.said.iter().map(hit).collect()
}

// One completion is one text at most: of those that it begins with, the longest.
fn begins(said: &str, wanted: &str, canary: &Canary) -> bool {
    let texts = canary.candidates.iter().map(|c| c.text.trim());
    let longest = texts
        .filter(|text| said.starts_with(text))
        .map(str::len)
        .max();
    said.starts_with(wanted) && longest == Some(wanted.len())
}
