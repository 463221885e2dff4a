//! Quantiles by bisection of the exact tails.

use crate::StatsError;
use crate::error::require;
use crate::tails::{ln_normal_at_least, ln_student_t_at_least};

/// The z with P(Z ≤ z) = `probability`, Z standard normal.
///
/// # Errors
/// [`StatsError::Domain`] unless 0 < probability < 1.
pub fn normal_quantile(probability: f64) -> Result<f64, StatsError> {
    require_inner(probability)?;
    Ok(symmetric(probability, ln_normal_at_least))
}

/// The t with P(T ≤ t) = `probability`, T Student with `degrees` degrees of freedom.
///
/// # Errors
/// [`StatsError::Domain`] unless 0 < probability < 1 and degrees > 0.
pub fn student_t_quantile(probability: f64, degrees: f64) -> Result<f64, StatsError> {
    require_inner(probability)?;
    require(
        degrees > 0.0 && degrees.is_finite(),
        "degrees",
        degrees,
        "a positive number",
    )?;
    Ok(symmetric(probability, |t| {
        ln_student_t_at_least(t, degrees)
    }))
}

fn require_inner(probability: f64) -> Result<(), StatsError> {
    let inner = probability > 0.0 && probability < 1.0;
    require(inner, "probability", probability, "above 0 and below 1")
}

// The quantile of a distribution symmetric about 0, from ln of its upper tail.
fn symmetric(probability: f64, ln_at_least: impl Fn(f64) -> f64) -> f64 {
    if probability == 0.5 {
        return 0.0;
    }
    let tail = probability.min(1.0 - probability).ln();
    let mut high = 1.0;
    while ln_at_least(high) > tail && high < 1e300 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle == low || middle == high {
            break;
        }
        if ln_at_least(middle) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    let size = 0.5 * (low + high);
    if probability < 0.5 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        for (p, want) in [
            (1e-10, -6.361_340_902_404_056),
            (0.025, -1.959_963_984_540_054_5),
            (0.5, 0.0),
            (0.9999, 3.719_016_485_455_709),
        ] {
            let got = normal_quantile(p).expect("inner");
            assert!((got - want).abs() < 1e-12, "{p}: {got}");
        }
        for (p, degrees, want) in [
            (0.99, 9.0, 2.821_437_925_025_809),
            (0.9, 299.0, 1.284_389_348_133_342_4),
            (0.975, 2.0, 4.302_652_729_749_462),
            (0.5, 4.0, 0.0),
        ] {
            let got = student_t_quantile(p, degrees).expect("inner");
            assert!((got - want).abs() < 1e-12, "{p} {degrees}: {got}");
        }
        assert!(normal_quantile(0.0).is_err());
        assert!(student_t_quantile(1.0, 3.0).is_err());
    }
}
