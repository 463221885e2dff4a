use std::f64::consts::LN_10;

use super::ln_mean_exp;
use crate::StatsError;
use crate::error::{require, require_finite, require_least};

/// log10 of κ p^(κ − 1): an e-value from a p-value. (Shafer 2021; Vovk and Wang 2021.)
///
/// # Errors
/// [`StatsError::Domain`] unless log10 p ≤ 0 and 0 < κ < 1.
pub fn log10_e_of_p_power(log10_p: f64, kappa: f64) -> Result<f64, StatsError> {
    require_p(log10_p)?;
    require(
        kappa > 0.0 && kappa < 1.0,
        "kappa",
        kappa,
        "above 0 and below 1",
    )?;
    Ok(kappa.log10() + (kappa - 1.0) * log10_p)
}

/// log10 of (1 − p + p ln p)/(p ln² p): the mean of κ p^(κ − 1) over all κ, for when none is
/// preferred.
///
/// # Errors
/// [`StatsError::Domain`] unless log10 p ≤ 0.
pub fn log10_e_of_p(log10_p: f64) -> Result<f64, StatsError> {
    require_p(log10_p)?;
    // In t = −ln p: e^t (1 − e^−t (1 + t))/t².
    let t = -log10_p * LN_10;
    let ln_e = if t < 1e-3 {
        t + (0.5 - t / 3.0 + t * t / 8.0).ln()
    } else {
        t + (-(-t).exp() * (1.0 + t)).ln_1p() - 2.0 * t.ln()
    };
    Ok(ln_e / LN_10)
}

fn require_p(log10_p: f64) -> Result<(), StatsError> {
    let sound = log10_p <= 0.0 && log10_p.is_finite();
    require(sound, "log10_p", log10_p, "a finite number of at most 0")
}

/// log10 of the mean of e-values: an e-value whatever their dependence.
///
/// # Errors
/// [`StatsError`] for none, or one that is not finite.
pub fn average_log10_e(log10_e: &[f64]) -> Result<f64, StatsError> {
    require_least("log10_e", log10_e.len(), 1)?;
    require_finite("log10_e", log10_e)?;
    let ln: Vec<f64> = log10_e.iter().map(|e| e * LN_10).collect();
    Ok(ln_mean_exp(&ln) / LN_10)
}

/// The hypotheses that e-BH rejects, in order of index: with n of them, the k largest where k is
/// the greatest number for which the k-th largest e-value is at least n/(k α). Whatever the
/// dependence, of those rejected a share of at most α is expected to be true. (Wang and Ramdas 2022.)
///
/// # Errors
/// [`StatsError`] unless 0 < α < 1 and all are finite.
pub fn e_bh(log10_e: &[f64], alpha: f64) -> Result<Vec<usize>, StatsError> {
    require(
        alpha > 0.0 && alpha < 1.0,
        "alpha",
        alpha,
        "above 0 and below 1",
    )?;
    require_finite("log10_e", log10_e)?;
    let mut order: Vec<usize> = (0..log10_e.len()).collect();
    order.sort_by(|&a, &b| log10_e[b].total_cmp(&log10_e[a]).then(a.cmp(&b)));
    let n = log10_e.len() as f64;
    let reaches = |k: usize| log10_e[order[k - 1]] >= (n / (k as f64 * alpha)).log10();
    let rejected = (1..=order.len()).rev().find(|&k| reaches(k)).unwrap_or(0);
    let mut found = order[..rejected].to_vec();
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The integral over p of an e-value must be at most 1. In t = −ln p, by Simpson's rule.
    fn integral(e: impl Fn(f64) -> f64) -> f64 {
        let (n, end) = (400_000, 400.0);
        let h = end / f64::from(n);
        let f = |i: i32| {
            let t = f64::from(i) * h;
            10_f64.powf(e(-t / LN_10)) * (-t).exp()
        };
        let inner: f64 = (1..n)
            .map(|i| f(i) * if i % 2 == 1 { 4.0 } else { 2.0 })
            .sum();
        (f(0) + inner + f(n)) * h / 3.0
    }

    #[test]
    fn calibrators_integrate_to_one() {
        for kappa in [0.25, 0.5, 0.9] {
            let e = integral(|p| log10_e_of_p_power(p, kappa).expect("a p-value"));
            assert!((e - 1.0).abs() < 1e-6, "{kappa}: {e}");
        }
        // Its tail is heavy: beyond t = 400 lies 1/400 of it.
        let e = integral(|p| log10_e_of_p(p).expect("a p-value"));
        assert!((e - (1.0 - 1.0 / 400.0)).abs() < 1e-5, "{e}");
    }

    #[test]
    fn calibrators_agree_with_values_worked_out_elsewhere() {
        let e = |p: f64| 10_f64.powf(log10_e_of_p(p.log10()).expect("a p-value"));
        assert!((e(0.01) / REFERENCE.0 - 1.0).abs() < 1e-12, "{}", e(0.01));
        assert!((e(0.5) / REFERENCE.1 - 1.0).abs() < 1e-12, "{}", e(0.5));
        assert!((e(1.0) - 0.5).abs() < 1e-15);
        assert!(
            (e(0.9991) / e(0.9990) - 1.0).abs() < 1e-3,
            "the two forms meet"
        );
        assert_eq!(log10_e_of_p_power(-300.0, 0.5), Ok(0.5_f64.log10() + 150.0));
        assert!(log10_e_of_p(-3000.0).expect("tiny") > 2990.0);
        assert!(log10_e_of_p(0.1).is_err() && log10_e_of_p(f64::NAN).is_err());
    }

    const REFERENCE: (f64, f64) = (4.450_992_260_085_82, 0.638_673_940_116_644_5);

    #[test]
    fn the_average_is_of_values_and_not_of_logs() {
        let mean = average_log10_e(&[2.0, 0.0]).expect("two");
        assert!((mean - 50.5_f64.log10()).abs() < 1e-12);
        assert!(
            (average_log10_e(&[4000.0, 0.0]).expect("two") - (4000.0 - 2.0_f64.log10())).abs()
                < 1e-9
        );
        assert!(average_log10_e(&[]).is_err());
    }

    #[test]
    fn e_bh_rejects_the_most_that_reach_their_bound() {
        let log10 = |e: [f64; 5]| e.map(f64::log10);
        // Bounds at α = 0.05: 100, 50, 33.3, 25, 20.
        assert_eq!(
            e_bh(&log10([30.0, 60.0, 1.0, 55.0, 40.0]), 0.05),
            Ok(vec![0, 1, 3, 4])
        );
        assert_eq!(e_bh(&log10([99.0, 1.0, 1.0, 1.0, 1.0]), 0.05), Ok(vec![]));
        assert_eq!(e_bh(&log10([100.0, 1.0, 1.0, 1.0, 1.0]), 0.05), Ok(vec![0]));
        assert_eq!(e_bh(&[], 0.05), Ok(vec![]));
        assert!(e_bh(&[0.0], 1.0).is_err());
    }
}
