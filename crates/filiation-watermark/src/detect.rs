//! The test: how far the scores of the units lie above what chance gives.

use std::borrow::Borrow;

use filiation_stats::tails;

use crate::WatermarkError;
use crate::scheme::{Dedup, Law, Scheme};
use crate::text::{Counted, Unit, Units};

/// The scores of the units under one key, in their order.
pub fn scores<U: Borrow<Unit> + Sync>(scheme: &dyn Scheme, units: &[U]) -> Vec<f64> {
    let units: Vec<&Unit> = units.iter().map(Borrow::borrow).collect();
    scheme.each(&units)
}

/// What a text shows under one key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Units that count.
    pub scored: u64,
    /// Units left out as repetitions.
    pub repeated: u64,
    /// Units left out since every key would score them alike.
    pub keyless: u64,
    /// Sum of their scores.
    pub sum: f64,
    /// What the sum is in expectation under the null.
    pub expected: f64,
    /// log10 of the probability, under the null, of a sum at least as large: by the law of the
    /// scores, units taken as independent.
    pub log10_p: f64,
}

impl Detection {
    /// The test of `units` under `scheme`.
    ///
    /// H0: the tokens were chosen without the key. Given H0 and a key drawn at random, the scores of
    /// distinct units follow the scheme's law.
    ///
    /// # Errors
    /// [`WatermarkError::TooShort`] where no unit can be scored.
    pub fn of(scheme: &dyn Scheme, units: &Units<'_>) -> Result<Self, WatermarkError> {
        Self::of_counted(scheme, units.dedup(), &units.counted(scheme))
    }

    pub(crate) fn of_counted(
        scheme: &dyn Scheme,
        dedup: Dedup,
        counted: &Counted<'_>,
    ) -> Result<Self, WatermarkError> {
        let sum = sum(&scores(scheme, &counted.units));
        Self::of_sum(scheme, dedup, counted, sum, 1.0)
    }

    /// The same from the sum of the scores; their variance is `inflation` ≥ 1 times that of the law
    /// with independent units.
    pub(crate) fn of_sum(
        scheme: &dyn Scheme,
        dedup: Dedup,
        counted: &Counted<'_>,
        sum: f64,
        inflation: f64,
    ) -> Result<Self, WatermarkError> {
        let n = counted.units.len();
        if n == 0 {
            return Err(WatermarkError::TooShort { found: 0, least: 1 });
        }
        let law = scheme.law();
        Ok(Self {
            scored: n as u64,
            repeated: counted.repeated,
            keyless: counted.keyless,
            sum,
            expected: n as f64 * law.mean(),
            log10_p: tail(scheme, dedup, n as u64, sum, inflation)?,
        })
    }
}

// A fixed order of adding, whatever the threads.
pub(crate) fn sum(scores: &[f64]) -> f64 {
    scores.iter().sum()
}

fn tail(
    scheme: &dyn Scheme,
    dedup: Dedup,
    n: u64,
    sum: f64,
    inflation: f64,
) -> Result<f64, WatermarkError> {
    // Fewer independent units with the same mean each: never more than there are.
    let fewer = |count: f64| (count / inflation).floor();
    let log10 = match scheme.law() {
        Law::Green { share } => match (dedup, scheme.vocabulary()) {
            (Dedup::Token, Some(vocabulary)) if inflation == 1.0 => {
                let marked = (share * f64::from(vocabulary)).round() as u64;
                tails::hypergeometric_at_least(sum as u64, vocabulary.into(), marked, n)?
            }
            _ => binomial(sum / inflation, fewer(n as f64), share)?,
        },
        Law::Exponential => tails::gamma_at_least(sum / inflation, n as f64 / inflation)?,
        Law::TwoExponentials { alpha } => {
            tails::two_gammas_at_least(sum / inflation, n as f64 / inflation, 1.0 - alpha, alpha)?
        }
        Law::Bits { depth, one } => {
            let bits = n as f64 * f64::from(depth);
            binomial(sum / inflation, fewer(bits), one)?
        }
    };
    Ok(log10.min(0.0))
}

// Of a count that need not be whole after division: the next one below, so that p is not too small.
fn binomial(count: f64, n: f64, p: f64) -> Result<f64, WatermarkError> {
    let k = (count + 1e-9).floor().min(n);
    Ok(tails::binomial_at_least(k as u64, n as u64, p)?)
}
