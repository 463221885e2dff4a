//! Kolmogorov–Smirnov test of uniformity, the check that p-values mean what they say.

use std::f64::consts::LN_10;

use crate::StatsError;
use crate::error::{require, require_least};

/// A Kolmogorov–Smirnov test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KsTest {
    /// Largest distance of the empirical from the uniform distribution function.
    pub statistic: f64,
    /// log10 of the asymptotic two-sided p-value with Stephens' correction for n.
    pub log10_p: f64,
}

/// Whether `values` look drawn uniformly from [0, 1].
///
/// # Errors
/// [`StatsError`] for no values or values outside [0, 1].
pub fn ks_uniform(values: &[f64]) -> Result<KsTest, StatsError> {
    require_least("values", values.len(), 1)?;
    for &v in values {
        require((0.0..=1.0).contains(&v), "values", v, "numbers in [0, 1]")?;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let statistic = sorted
        .iter()
        .enumerate()
        .map(|(i, v)| (v - i as f64 / n).max((i as f64 + 1.0) / n - v))
        .fold(0.0, f64::max);
    let root = n.sqrt();
    Ok(KsTest {
        statistic,
        log10_p: ln_kolmogorov((root + 0.12 + 0.11 / root) * statistic).min(0.0) / LN_10,
    })
}

// ln of 2 Σ (−1)^{j−1} e^{−2 j² x²}; below 0.2 the sum is 1 to the last digit.
fn ln_kolmogorov(x: f64) -> f64 {
    if x < 0.2 {
        return 0.0;
    }
    let square = x * x;
    // The first term is taken out, so that a far tail does not vanish.
    let rest: f64 = (1..=100)
        .map(|j| {
            let j = f64::from(j);
            let sign = if j % 2.0 == 1.0 { 1.0 } else { -1.0 };
            sign * (-2.0 * (j * j - 1.0) * square).exp()
        })
        .sum();
    std::f64::consts::LN_2 - 2.0 * square + rest.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_kolmogorov_distribution() {
        // P(K > 1.358) = 0.05, P(K > 1.628) = 0.01 (Smirnov's table).
        for (x, p) in [(1.358_1, 0.05), (1.627_6, 0.01), (0.5, 0.963_945)] {
            assert!((ln_kolmogorov(x).exp() - p).abs() < 1e-5, "{x}");
        }
    }

    #[test]
    fn sees_what_is_not_uniform() {
        let even: Vec<f64> = (0..100).map(|i| (f64::from(i) + 0.5) / 100.0).collect();
        let fits = ks_uniform(&even).expect("in [0, 1]");
        assert!((fits.statistic - 0.005).abs() < 1e-12);
        assert!(fits.log10_p > -0.01);
        let half: Vec<f64> = even.iter().map(|v| v / 2.0).collect();
        assert!(ks_uniform(&half).expect("in [0, 1]").log10_p < -20.0);
        assert!(ks_uniform(&[1.5]).is_err());
    }
}
