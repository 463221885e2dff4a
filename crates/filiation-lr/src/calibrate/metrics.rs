//! How good log10 likelihood ratios are. In each, a lineage counts once.

use std::f64::consts::{LN_2, LN_10};

use super::isotonic::Isotonic;
use super::{Labelled, Sample};
use crate::LrError;

/// ln(1 + e^z), where e^z may be 0 or beyond all numbers.
pub(super) fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// The mean over one class, a lineage once.
fn mean(sample: &Sample, distilled: bool, of: impl Fn(f64) -> f64) -> f64 {
    let sum: f64 = sample
        .class(distilled)
        .map(|i| i.weight * of(i.value))
        .sum();
    sum / sample.lineages(distilled)
}

/// Cllr, bits: the cost of the log10 likelihood ratios (Brümmer and du Preez 2006). 0 is perfect,
/// 1 is what saying nothing costs, more is harm.
pub fn cllr(llrs: &Sample) -> f64 {
    ece(llrs, 0.0)
}

/// Empirical cross-entropy, bits, at log10 prior odds (Ramos et al. 2013): P·mean over H1 of
/// log2(1 + 1/(o·LR)) + (1 − P)·mean over H2 of log2(1 + o·LR).
pub fn ece(llrs: &Sample, log10_prior_odds: f64) -> f64 {
    let [h1, h2] = priors(log10_prior_odds);
    let cost = |sign: f64| move |llr: f64| softplus(sign * (llr + log10_prior_odds) * LN_10) / LN_2;
    h1 * mean(llrs, true, cost(-1.0)) + h2 * mean(llrs, false, cost(1.0))
}

/// The same of saying LR = 1 to everything.
pub fn ece_without(log10_prior_odds: f64) -> f64 {
    let odds = log10_prior_odds * LN_10;
    let [h1, h2] = priors(log10_prior_odds);
    (h1 * softplus(-odds) + h2 * softplus(odds)) / LN_2
}

/// Probabilities of H1 and H2.
fn priors(log10_odds: f64) -> [f64; 2] {
    [log10_odds, -log10_odds].map(|odds| (-softplus(-odds * LN_10)).exp())
}

/// Cllr, bits, of the same order of values with the best likelihood ratios that it allows: what the
/// scores fail to tell apart.
pub fn cllr_min(llrs: &Sample) -> Result<f64, LrError> {
    let best = Isotonic::fit(llrs);
    Ok(cllr(&llrs.map(|value| best.llr(value))?))
}

/// The least Cllr, bits, that any system can have where a share of H1 scores as H2 does, even if it tells the
/// rest without fail: the ratio of the common scores is then that share, and of the others without bound, so
/// ½·(s·log2(1 + 1/s) + log2(1 + s)).
pub fn cllr_with_unseen(share: f64) -> f64 {
    let cost = |odds: f64| odds.ln_1p() / LN_2;
    let missed = if share > 0.0 {
        share * cost(share.recip())
    } else {
        0.0
    };
    0.5 * (missed + cost(share))
}

/// Cllr less [`cllr_min`]: what is lost by calibration alone, bits.
pub fn cllr_calibration(llrs: &Sample) -> Result<f64, LrError> {
    Ok(cllr(llrs) - cllr_min(llrs)?)
}

/// Mean distance, log10, between likelihood ratios and the best ones of their order, over the range
/// where both are finite (Vergeer et al. 2021). None where there is no such range, as where the
/// classes do not overlap.
pub fn dev_pav(llrs: &Sample) -> Option<f64> {
    let best = Isotonic::fit(llrs);
    let mut points: Vec<[f64; 2]> = llrs
        .items()
        .iter()
        .map(|i| [i.value, best.llr(i.value)])
        .filter(|[x, y]| x.is_finite() && y.is_finite())
        .collect();
    points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    points.dedup_by(|a, b| a[0] == b[0]);
    let (first, last) = (points.first()?, points.last()?);
    if first[0] == last[0] {
        return Some((first[1] - first[0]).abs());
    }
    let area = |pair: &[[f64; 2]]| {
        let [from, to] = [pair[0], pair[1]].map(|[x, y]| y - x);
        let width = pair[1][0] - pair[0][0];
        if from * to >= 0.0 {
            width * (from + to).abs() / 2.0
        } else {
            width * (from * from + to * to) / (2.0 * (from.abs() + to.abs()))
        }
    };
    let area: f64 = points.windows(2).map(area).sum();
    Some(area / (last[0] - first[0]))
}

/// Share of a class at or above `threshold`: the Tippett plot.
pub fn share_at_least(llrs: &Sample, distilled: bool, threshold: f64) -> f64 {
    mean(llrs, distilled, |v| f64::from(u8::from(v >= threshold)))
}

/// Share of a class above `threshold`; with H2 and 0 the rate of misleading evidence.
pub fn share_above(llrs: &Sample, distilled: bool, threshold: f64) -> f64 {
    mean(llrs, distilled, |v| f64::from(u8::from(v > threshold)))
}

/// Mean likelihood ratio (not its logarithm) over H2, with the standard error of that mean over
/// lineages. Of calibrated ones it is at most 1 (Good 1950, after Turing).
pub fn mean_lr(llrs: &Sample) -> (f64, f64) {
    let lr = |i: &Labelled| 10_f64.powf(i.value);
    let mean = mean(llrs, false, |v| 10_f64.powf(v));
    let n = llrs.lineages(false);
    // The mean of squares within a lineage is at least the square of its mean: never too small.
    let squares: f64 = llrs
        .class(false)
        .map(|i| i.weight * (lr(i) - mean) * (lr(i) - mean))
        .sum();
    let error = if n > 1.0 {
        (squares / (n - 1.0) / n).sqrt()
    } else {
        f64::INFINITY
    };
    (mean, error)
}

/// The rate at which misses and false alarms are equal, on the convex hull of the ROC curve.
pub fn equal_error_rate(llrs: &Sample) -> f64 {
    let hull = Isotonic::fit(llrs).hull();
    for pair in hull.windows(2) {
        let [[from_alarm, from_miss], [to_alarm, to_miss]] = [pair[0], pair[1]];
        let (before, after) = (from_alarm - from_miss, to_alarm - to_miss);
        if after <= 0.0 {
            let share = before / (before - after);
            return from_alarm + share * (to_alarm - from_alarm);
        }
    }
    0.0
}
