//! Combination of independent p-values.

use std::f64::consts::LN_10;

use crate::StatsError;
use crate::error::{require, require_least};
use crate::tails::chi_square_at_least;

/// Independent p-values as one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Combined {
    /// −2 Σ ln p.
    pub statistic: f64,
    /// Degrees of freedom: twice the number of p-values.
    pub degrees: f64,
    /// log10 of the combined p-value.
    pub log10_p: f64,
}

/// Fisher's combination of independent p-values, given as log10. Not valid for dependent ones.
///
/// # Errors
/// [`StatsError`] when there are none, or when one is not the log10 of a probability above 0.
pub fn fisher(log10_p: &[f64]) -> Result<Combined, StatsError> {
    require_least("log10_p", log10_p.len(), 1)?;
    for &p in log10_p {
        require(
            p <= 0.0 && p.is_finite(),
            "log10_p",
            p,
            "at most 0 and finite",
        )?;
    }
    let statistic = -2.0 * LN_10 * log10_p.iter().sum::<f64>() + 0.0;
    let degrees = 2.0 * log10_p.len() as f64;
    Ok(Combined {
        statistic,
        degrees,
        log10_p: chi_square_at_least(statistic, degrees)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        let p: [f64; 4] = [0.01, 0.2, 0.5, 1e-9];
        let c = fisher(&p.map(f64::log10)).expect("probabilities");
        assert!((c.statistic - 55.262_042_231_857_095).abs() < 1e-12);
        assert!((c.log10_p - 3.926_292_292_553_495e-9_f64.log10()).abs() < 1e-12);
    }

    #[test]
    fn one_p_value_stays_itself() {
        for p in [-0.3, -17.0, -2000.0, 0.0] {
            let c = fisher(&[p]).expect("a probability");
            assert!(
                (c.log10_p - p).abs() <= 1e-13 * p.abs(),
                "{p} {}",
                c.log10_p
            );
        }
        assert!(fisher(&[]).is_err());
        assert!(fisher(&[0.1]).is_err());
        assert!(fisher(&[f64::NEG_INFINITY]).is_err());
    }
}
