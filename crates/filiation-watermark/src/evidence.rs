//! What is said beside the exact tail: decoy keys, an e-value, the smallest excess that would have
//! been seen.

use std::f64::consts::LN_10;

use filiation_stats::tails;
use rayon::prelude::*;
use serde::Serialize;
use statrs::function::{beta::ln_beta, gamma::ln_gamma};

use crate::detect::{scores, sum};
use crate::scheme::{Law, Scheme, derived};
use crate::text::Counted;
use crate::{Detection, Units, WatermarkError};

/// Probability of seeing the smallest effect that is stated.
const POWER: f64 = 0.9;

/// How a text is tested.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// Decoy keys; 0 for none, and then nothing guards against units that depend on each other.
    pub decoys: u32,
    /// Seed that the decoy keys are drawn from.
    pub seed: u64,
    /// Size at which the smallest effect is stated, log10.
    pub log10_size: f64,
}

impl Default for Test {
    fn default() -> Self {
        Self {
            decoys: 999,
            seed: 0,
            log10_size: -6.0,
        }
    }
}

/// What the scores under other keys of the same kind say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Decoys {
    /// How many keys.
    pub keys: u32,
    /// log10 of (1 + #{z ≥ that of the true key})/(keys + 1), with z the sum's distance from its mean
    /// in standard deviations of independent units. Exact if the true key was drawn at random, however
    /// the tokens depend on each other: every key is asked which units count under it.
    pub log10_p: f64,
    /// Mean square of z over the decoys, at least 1.
    pub inflation: f64,
    /// The exact tail of a sum whose variance is larger by that factor.
    pub log10_p_inflated: f64,
}

/// All that a text shows under one key.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Residue {
    /// Units that count.
    pub scored: u64,
    /// Units left out as repetitions.
    pub repeated: u64,
    /// Units left out since every key would score them alike.
    pub keyless: u64,
    /// Mean score.
    pub mean: f64,
    /// Mean score under the null.
    pub expected: f64,
    /// log10 p by the law of the scheme, units taken as independent.
    pub log10_p: f64,
    /// The decoys, where there are any.
    pub decoys: Option<Decoys>,
    /// log10 of an e-value by the law of the scheme: a mixture over effects, valid at any length.
    /// `None` where the law of the sum is not known exactly.
    pub log10_e: Option<f64>,
    /// Smallest mean score that a test of the stated size would have seen with probability 0.9.
    pub smallest: f64,
}

impl Residue {
    /// The p to report, log10: the tail corrected by the decoys where there are any.
    pub fn reported(&self) -> f64 {
        self.decoys
            .map_or(self.log10_p, |d| d.log10_p_inflated.max(self.log10_p))
    }
}

impl Test {
    /// Tests the units under the scheme's key.
    ///
    /// # Errors
    /// [`WatermarkError::TooShort`] where no unit can be scored.
    pub fn of(&self, scheme: &dyn Scheme, units: &Units<'_>) -> Result<Residue, WatermarkError> {
        let counted = units.counted(scheme);
        let found = Detection::of_counted(scheme, units.dedup(), &counted)?;
        let n = found.scored as f64;
        Ok(Residue {
            scored: found.scored,
            repeated: found.repeated,
            keyless: found.keyless,
            mean: found.sum / n,
            expected: found.expected / n,
            log10_p: found.log10_p,
            decoys: self.decoys(scheme, units, &counted, found.sum)?,
            log10_e: log10_e(scheme.law(), n, found.sum),
            smallest: self.smallest(scheme.law(), n),
        })
    }

    fn decoys(
        &self,
        scheme: &dyn Scheme,
        units: &Units<'_>,
        counted: &Counted<'_>,
        observed: f64,
    ) -> Result<Option<Decoys>, WatermarkError> {
        if self.decoys == 0 {
            return Ok(None);
        }
        let law = scheme.law();
        // About the known mean, so that a shift of it counts too. 0 of no units.
        let standard =
            |sum: f64, n: f64| (sum - n * law.mean()) / (n.max(1.0) * law.variance()).sqrt();
        let zs: Vec<f64> = (0..self.decoys)
            .into_par_iter()
            .map(|i| {
                let decoy = scheme.decoy(derived(self.seed, u64::from(i)));
                let counted = units.counted(&*decoy);
                standard(
                    sum(&scores(&*decoy, &counted.units)),
                    counted.units.len() as f64,
                )
            })
            .collect();
        let keys = f64::from(self.decoys);
        let n = counted.units.len() as f64;
        let own = standard(observed, n);
        let at_least = zs.iter().filter(|z| **z >= own).count() as f64;
        let square: f64 = zs.iter().map(|z| z * z).sum();
        let inflation = (square / keys).max(1.0);
        let inflated =
            Detection::of_sum(scheme, units.dedup(), counted, observed, inflation.min(n))?;
        Ok(Some(Decoys {
            keys: self.decoys,
            log10_p: ((1.0 + at_least) / (keys + 1.0)).log10(),
            inflation,
            log10_p_inflated: inflated.log10_p,
        }))
    }

    fn smallest(&self, law: Law, n: f64) -> f64 {
        let (mean, sd) = (law.mean(), (law.variance() / n).sqrt());
        mean + sd * (normal_at(self.log10_size) + normal_at((1.0 - POWER).log10()))
    }
}

// The z beyond which a standard normal lies with this probability.
pub(crate) fn normal_at(log10_p: f64) -> f64 {
    let beyond = |z: f64| tails::normal_at_least(z).unwrap_or(f64::NEG_INFINITY);
    let (mut lo, mut hi) = (0.0, 60.0);
    for _ in 0..80 {
        let middle = 0.5 * (lo + hi);
        if beyond(middle) > log10_p {
            lo = middle;
        } else {
            hi = middle;
        }
    }
    0.5 * (lo + hi)
}

/// log10 of the mixture e-value of a sum over `n` units.
///
/// Green: ∫ (q/γ)ᵏ ((1 − q)/(1 − γ))ⁿ⁻ᵏ over q uniform on (γ, 1), by the tail of a binomial.
/// Exponential: ∫ (1 − λ)ⁿ e^{λS} over λ uniform on (0, 1), by the incomplete gamma function. Both
/// have expectation at most 1 under the null at every n, so one may stop when one likes.
fn log10_e(law: Law, n: f64, sum: f64) -> Option<f64> {
    let ln = match law {
        Law::Green { share } => {
            let rest = 1.0 - share;
            let below = tails::binomial_at_most(sum as u64, n as u64 + 1, share).ok()? * LN_10;
            -sum * share.ln() - (n - sum + 1.0) * rest.ln()
                + ln_beta(sum + 1.0, n - sum + 1.0)
                + below
        }
        Law::Exponential => {
            let beyond = tails::gamma_at_least(sum, n + 1.0).ok()? * LN_10;
            let within = (-beyond.exp_m1()).ln();
            sum + ln_gamma(n + 1.0) - (n + 1.0) * sum.ln() + within
        }
        Law::TwoExponentials { alpha } => {
            const POINTS: u32 = 64;
            let at = |i: u32| {
                let lambda = (f64::from(i) + 0.5) / f64::from(POINTS);
                let left = (-lambda * (1.0 - alpha)).ln_1p() + (-lambda * alpha).ln_1p();
                lambda * sum + n * left
            };
            let all: Vec<f64> = (0..POINTS).map(at).collect();
            let top = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            top + (all.iter().map(|l| (l - top).exp()).sum::<f64>() / f64::from(POINTS)).ln()
        }
        Law::Bits { .. } => return None,
    };
    Some(ln / LN_10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mixture_of_a_binomial_has_its_known_value() {
        // 17 of 40 at a rate of 0.1, by quadrature elsewhere.
        let got = log10_e(Law::Green { share: 0.1 }, 40.0, 17.0).expect("a green law");
        assert!((got - 5.537_313_783_220_001).abs() < 1e-10, "{got}");
    }

    #[test]
    fn e_values_have_expectation_at_most_one() {
        // Green: over all counts. The mixture leaves out effects below the null, so less than 1.
        let (n, share) = (60_u64, 0.25);
        let mass = |k: u64| {
            let at = |k| 10_f64.powf(tails::binomial_at_least(k, n, share).expect("a rate"));
            at(k) - at(k + 1)
        };
        let e = |k: u64| log10_e(Law::Green { share }, n as f64, k as f64).expect("green");
        let mean: f64 = (0..=n).map(|k| mass(k) * 10_f64.powf(e(k))).sum();
        assert!((mean - 1.0).abs() < 1e-9, "{mean}");
        // Exponential: against the density, on a fine grid.
        let n = 20.0;
        let density = |s: f64| ((n - 1.0) * s.ln() - s - ln_gamma(n)).exp();
        let step = 0.005;
        let mean: f64 = (1..40_000)
            .map(|i| f64::from(i) * step)
            .map(|s| density(s) * 10_f64.powf(log10_e(Law::Exponential, n, s).expect("known")))
            .sum::<f64>()
            * step;
        assert!(mean < 1.0 && mean > 0.8, "{mean}");
    }
}
