//! Means that no single value can carry.

use crate::StatsError;
use crate::error::{require, require_finite, require_least};

/// Mean and spread of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Number of values.
    pub n: usize,
    /// Mean.
    pub mean: f64,
    /// Standard deviation with n − 1; 0 for a single value.
    pub sd: f64,
}

impl Moments {
    /// Mean over standard deviation; `None` where all values are equal.
    pub fn effect(&self) -> Option<f64> {
        (self.sd > 0.0).then(|| self.mean / self.sd)
    }

    /// Standard deviation of the mean.
    pub fn standard_error(&self) -> f64 {
        self.sd / (self.n as f64).sqrt()
    }
}

/// Mean and standard deviation, by two passes.
///
/// # Errors
/// [`StatsError`] for no values or values that are not finite.
pub fn moments(values: &[f64]) -> Result<Moments, StatsError> {
    require_least("values", values.len(), 1)?;
    require_finite("values", values)?;
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    let sd = if n > 1 {
        (squares / (n - 1) as f64).sqrt()
    } else {
        0.0
    };
    Ok(Moments { n, mean, sd })
}

/// Mean of the values held to [−limit, limit]: one value moves it by at most 2·limit/n.
///
/// # Errors
/// [`StatsError`] as [`moments`], and for a limit that is not positive.
pub fn clipped_mean(values: &[f64], limit: f64) -> Result<f64, StatsError> {
    require(limit > 0.0, "limit", limit, "a positive number")?;
    let held: Vec<f64> = values.iter().map(|v| v.clamp(-limit, limit)).collect();
    require_finite("values", values)?;
    Ok(moments(&held)?.mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_value_is_held() {
        let mut values = vec![0.1; 9];
        values.push(1e9);
        let mean = clipped_mean(&values, 1.0).expect("finite values");
        assert!((mean - 0.19).abs() < 1e-12);
        assert!(clipped_mean(&[f64::INFINITY], 1.0).is_err());
        assert!(clipped_mean(&[1.0], 0.0).is_err());
    }

    #[test]
    fn moments_of_few_values() {
        let m = moments(&[1.0, 2.0, 3.0, 6.0]).expect("finite values");
        assert_eq!(m.mean, 3.0);
        assert!((m.sd - (14.0_f64 / 3.0).sqrt()).abs() < 1e-15);
        let one = moments(&[5.0]).expect("finite values");
        assert_eq!((one.sd, one.effect()), (0.0, None));
        assert!(moments(&[]).is_err());
    }
}
