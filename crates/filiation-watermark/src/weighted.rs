//! The test of a weighted sum Σ wᵢ xᵢ of scores whose weights were fixed without the key.
//!
//! H0: the weights do not depend on the key. The x of distinct draws then follow the law of the
//! scheme. Scores after one window are drawn together: those of a green list without replacement, which
//! for weights of one sign only makes large sums rarer (Joag-Dev and Proschan 1983, negative
//! association), and for weights that sum to 0 raises the variance by V/(V − 1), which is added.

use std::f64::consts::LN_10;

use serde::Serialize;

use crate::Decoys;
use crate::scheme::Law;

/// Points of the mixture: effects from about 1 to 100 standard deviations of the whole sum.
const POINTS: usize = 14;

/// Weights after one window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// Place of the window among the rows.
    pub(crate) row: usize,
    /// Tokens and their weights.
    pub(crate) weights: Vec<(u32, f64)>,
    /// Scale of the window: what the sum is divided by to be an excess.
    pub(crate) scale: f64,
}

/// What a weighted sum shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Weighted {
    /// Windows that count.
    pub windows: u64,
    /// Windows left out since they share a draw with another, or no key moves them.
    pub left_out: u64,
    /// Excess of the mean score over that under the null: of the mass on green tokens, for lists.
    pub excess: f64,
    /// Smallest excess that a test of the stated size would have seen with probability 0.9.
    pub smallest: f64,
    /// The excess in standard deviations of independent scores.
    pub z: f64,
    /// log10 of Chernoff's bound on p: inf over λ of E exp(λ(Σ wx − s)).
    pub log10_p: f64,
    /// The decoys, where there are any.
    pub decoys: Option<Decoys>,
    /// log10 of the e-value of all windows: a mixture over effects.
    pub log10_e: f64,
    /// log10 p that may be read at any point along the windows, most frequent first: one over the
    /// largest e on the way (Ville).
    pub log10_p_anytime: f64,
}

impl Weighted {
    /// The p to report, log10: the bound corrected by the decoys where there are any.
    pub fn reported(&self) -> f64 {
        self.decoys
            .map_or(self.log10_p, |d| d.log10_p_inflated.max(self.log10_p))
    }
}

impl Law {
    // ln E exp(t·(x − mean)) and its derivative in t.
    fn cumulant(&self, t: f64) -> (f64, f64) {
        match *self {
            Self::Green { share } => bernoulli(share, t),
            Self::Bits { depth, one } => {
                let (value, slope) = bernoulli(one, t);
                (f64::from(depth) * value, f64::from(depth) * slope)
            }
            Self::Exponential => exponential(t),
            Self::TwoExponentials { alpha } => {
                let (a, b) = (exponential(t * (1.0 - alpha)), exponential(t * alpha));
                (a.0 + b.0, (1.0 - alpha) * a.1 + alpha * b.1)
            }
        }
    }

    // The t below which the cumulant is finite.
    fn bound(&self) -> f64 {
        match *self {
            Self::Green { .. } | Self::Bits { .. } => f64::INFINITY,
            Self::Exponential => 1.0,
            Self::TwoExponentials { alpha } => 1.0 / alpha.max(1.0 - alpha),
        }
    }
}

fn bernoulli(share: f64, t: f64) -> (f64, f64) {
    let grown = share * t.exp_m1();
    let value = grown.ln_1p() - t * share;
    let tilted = share * t.exp() / (1.0 + grown);
    (value, tilted - share)
}

fn exponential(t: f64) -> (f64, f64) {
    if t >= 1.0 {
        return (f64::INFINITY, f64::INFINITY);
    }
    (-(-t).ln_1p() - t, t / (1.0 - t))
}

/// A sum with all that is known of it before the key.
pub(crate) struct Sum<'a> {
    pub(crate) law: Law,
    pub(crate) groups: &'a [Group],
    /// Vocabulary, where the weights of a window sum to 0 and a list is drawn without replacement.
    pub(crate) without_replacement: Option<u32>,
}

impl Sum<'_> {
    fn weights(&self) -> impl Iterator<Item = f64> + '_ {
        self.groups
            .iter()
            .flat_map(|g| g.weights.iter().map(|w| w.1))
    }

    /// Standard deviation under the null, scores of distinct tokens independent.
    pub(crate) fn deviation(&self) -> f64 {
        let squares: f64 = self.weights().map(|w| w * w).sum();
        (squares * self.law.variance()).sqrt()
    }

    pub(crate) fn scale(&self) -> f64 {
        self.groups.iter().map(|g| g.scale).sum()
    }

    /// Largest factor that the variance has above that of independent scores.
    pub(crate) fn inflation(&self) -> f64 {
        self.without_replacement
            .map_or(1.0, |v| f64::from(v) / f64::from(v.max(2) - 1))
    }

    /// The sum less its mean, window by window, from the scores of each.
    pub(crate) fn centred(&self, scores: &[Vec<f64>]) -> Vec<f64> {
        let mean = self.law.mean();
        let of = |(group, scores): (&Group, &Vec<f64>)| {
            let each = group.weights.iter().zip(scores);
            each.map(|((_, w), x)| w * (x - mean)).sum()
        };
        self.groups.iter().zip(scores).map(of).collect()
    }

    // ln E exp(λ(Σ wx − mean)), and its derivative.
    fn cumulant(&self, lambda: f64) -> (f64, f64) {
        self.weights().fold((0.0, 0.0), |(value, slope), w| {
            let (v, s) = self.law.cumulant(lambda * w);
            (value + v, slope + w * s)
        })
    }

    // The λ from which on the cumulant is infinite.
    fn most(&self) -> f64 {
        let widest = self.weights().fold(0.0, f64::max);
        if widest > 0.0 {
            self.law.bound() / widest
        } else {
            f64::INFINITY
        }
    }

    /// log10 of Chernoff's bound on the probability of a centred sum of at least `s`.
    pub(crate) fn log10_bound(&self, s: f64) -> f64 {
        let deviation = self.deviation();
        if s <= 0.0 || deviation <= 0.0 {
            return 0.0;
        }
        let most = self.most();
        let mut lo = 0.0;
        let mut hi = (s / (deviation * deviation)).min(0.999 * most);
        // The slope rises from 0; where it passes s lies the best λ.
        for _ in 0..60 {
            if self.cumulant(hi).1 >= s || hi > 1e9 / deviation {
                break;
            }
            lo = hi;
            hi = (2.0 * hi).min(0.5 * (hi + most));
        }
        for _ in 0..40 {
            let middle = 0.5 * (lo + hi);
            if self.cumulant(middle).1 < s {
                lo = middle;
            } else {
                hi = middle;
            }
        }
        let at = |lambda: f64| self.cumulant(lambda).0 - lambda * s;
        (at(lo).min(at(hi)) / LN_10).min(0.0)
    }

    /// The e-values after each window: their last, and the largest on the way; log10.
    pub(crate) fn e_process(&self, centred: &[f64]) -> (f64, f64) {
        let deviation = self.deviation() * self.inflation().sqrt();
        if deviation <= 0.0 {
            return (0.0, 0.0);
        }
        let step = 100_f64.powf(1.0 / (POINTS as f64 - 1.0));
        let most = 0.999 * self.most();
        let lambdas: Vec<f64> = (0..POINTS as i32)
            .map(|i| (step.powi(i) / deviation).min(most))
            .collect();
        let mut logs = [0.0; POINTS];
        let (mut last, mut largest) = (0.0, 0.0_f64);
        for (group, s) in self.groups.iter().zip(centred) {
            for (log, lambda) in logs.iter_mut().zip(&lambdas) {
                let cumulant: f64 = group
                    .weights
                    .iter()
                    .map(|(_, w)| self.law.cumulant(lambda * w).0)
                    .sum();
                *log += lambda * s - self.inflation() * cumulant;
            }
            last = mean_of_powers(&logs);
            largest = largest.max(last);
        }
        (last / LN_10, largest / LN_10)
    }
}

fn mean_of_powers(logs: &[f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|l| (l - top).exp()).sum();
    top + (sum / logs.len() as f64).ln()
}

#[cfg(test)]
mod tests;
