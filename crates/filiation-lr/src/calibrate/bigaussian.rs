use std::f64::consts::{LN_2, LN_10, PI};

use filiation_stats::tails::normal_at_least;

use super::metrics::softplus;
use super::{Linear, Sample, ShrunkLogistic, cllr};
use crate::LrError;

/// Cllr, bits, of a calibrated system whose ln LR are N(σ²/2, σ²) under H1 and N(−σ²/2, σ²) under H2.
pub fn bigaussian_cllr(variance: f64) -> f64 {
    // The trapezoid rule, for an integrand that is smooth and vanishes at both ends.
    const STEPS: i32 = 4800;
    const REACH: f64 = 12.0;
    let sigma = variance.sqrt();
    let width = 2.0 * REACH / f64::from(STEPS);
    let at = |i: i32| {
        let z = f64::from(i).mul_add(width, -REACH);
        (-0.5 * z * z).exp() * softplus(-0.5 * variance - sigma * z)
    };
    (0..=STEPS).map(at).sum::<f64>() * width / ((2.0 * PI).sqrt() * LN_2)
}

/// Its equal error rate, Φ(−σ/2).
pub fn bigaussian_eer(variance: f64) -> f64 {
    normal_at_least(0.5 * variance.sqrt()).map_or(f64::NAN, |log10| 10_f64.powf(log10))
}

/// The σ² at which [`bigaussian_cllr`] is `cllr`: 0 for 1 or more, and held at 10⁴ for what is as
/// good as 0.
pub fn bigaussian_variance(cllr: f64) -> f64 {
    const MOST: f64 = 1e4;
    let (mut low, mut high) = (0.0, MOST);
    if cllr >= 1.0 {
        return 0.0;
    }
    // Falls with σ².
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if bigaussian_cllr(middle) > cllr {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Bi-Gaussianised calibration (Morrison 2024): likelihood ratios whose own likelihood ratio is
/// themselves. Shrunk logistic regression gives quasi-LRs, their Cllr the variance, and each is then
/// moved to the same quantile of the two Gaussians.
#[derive(Debug, Clone, PartialEq)]
pub struct BiGaussian {
    quasi: Linear,
    variance: f64,
    /// Quasi log10 LRs, rising, with the share of the mixture below the middle of each.
    knots: Vec<[f64; 2]>,
}

impl BiGaussian {
    /// Fits.
    ///
    /// # Errors
    /// As [`ShrunkLogistic::fit`].
    pub fn fit(sample: &Sample, how: &ShrunkLogistic) -> Result<Self, LrError> {
        let quasi = how.fit_one(sample)?;
        let llrs = sample.map(|value| quasi.llr(&[value]))?;
        let totals = [llrs.lineages(false), llrs.lineages(true)];
        let mut items = llrs.items().to_vec();
        items.sort_by(|a, b| a.value.total_cmp(&b.value));
        let (mut below, mut knots) = (0.0, Vec::<[f64; 2]>::new());
        for tied in items.chunk_by(|a, b| a.value == b.value) {
            let share = |i: &super::Labelled| 0.5 * i.weight / totals[usize::from(i.distilled)];
            let here: f64 = tied.iter().map(share).sum();
            knots.push([tied[0].value, below + 0.5 * here]);
            below += here;
        }
        Ok(Self {
            quasi,
            variance: bigaussian_variance(cllr(&llrs)),
            knots,
        })
    }

    /// σ², nats².
    pub const fn variance(&self) -> f64 {
        self.variance
    }

    /// The log10 likelihood ratio at a score. Between scores of the sample it is interpolated, beyond them
    /// it stays.
    pub fn llr(&self, score: f64) -> f64 {
        let quasi = self.quasi.llr(&[score]);
        let after = self.knots.partition_point(|k| k[0] < quasi);
        let last = self.knots.len() - 1;
        let share = match (after.checked_sub(1), self.knots.get(after)) {
            (Some(before), Some(next)) => {
                let before = self.knots[before];
                let way = (quasi - before[0]) / (next[0] - before[0]);
                before[1] + way * (next[1] - before[1])
            }
            (None, Some(next)) => next[1],
            (_, None) => self.knots[last][1],
        };
        self.quantile(share) / LN_10
    }

    /// The quantile of ½N(−σ²/2, σ²) + ½N(σ²/2, σ²), nats.
    fn quantile(&self, share: f64) -> f64 {
        let sigma = self.variance.sqrt();
        if sigma == 0.0 {
            return 0.0;
        }
        let half = 0.5 * self.variance;
        let below = |x: f64| {
            let of = |mean: f64| {
                normal_at_least((mean - x) / sigma).map_or(f64::NAN, |log10| 10_f64.powf(log10))
            };
            0.5 * (of(-half) + of(half))
        };
        let (mut low, mut high) = (-half - 40.0 * sigma, half + 40.0 * sigma);
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if below(middle) < share {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }
}
