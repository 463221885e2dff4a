//! Power of the one-sided, one-sample t test.

use crate::StatsError;
use crate::error::{require, require_least};
use crate::gamma::ln_gamma;
use crate::quantile::student_t_quantile;
use crate::tails::ln_normal_at_least;

/// Probability that a one-sided t test of `size` rejects with `n` values whose mean over standard
/// deviation is `effect`.
///
/// # Errors
/// [`StatsError`] for fewer than two values, a size outside (0, 1), or an effect not finite.
pub fn power_of_t(n: usize, effect: f64, size: f64) -> Result<f64, StatsError> {
    require(effect.is_finite(), "effect", effect, "a finite number")?;
    let test = Test::new(n, size)?;
    Ok(test.power(effect))
}

/// Smallest mean that a one-sided t test of `size` finds with probability `power`, among `n`
/// values of standard deviation `sd`. In the unit of `sd`.
///
/// # Errors
/// [`StatsError`] as [`power_of_t`], for `sd` below 0 or not finite, or a power outside (size, 1).
pub fn smallest_effect(n: usize, sd: f64, size: f64, power: f64) -> Result<f64, StatsError> {
    require(
        sd >= 0.0 && sd.is_finite(),
        "sd",
        sd,
        "at least 0 and finite",
    )?;
    require(
        power > size && power < 1.0,
        "power",
        power,
        "above `size` and below 1",
    )?;
    let test = Test::new(n, size)?;
    let mut high = 1.0;
    while test.power(high) < power && high < 1e12 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..48 {
        let middle = 0.5 * (low + high);
        if test.power(middle) < power {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(0.5 * (low + high) * sd)
}

/// A test whose critical value is known.
struct Test {
    n: f64,
    critical: f64,
}

impl Test {
    fn new(n: usize, size: f64) -> Result<Self, StatsError> {
        require_least("values", n, 2)?;
        require(
            size > 0.0 && size < 1.0,
            "size",
            size,
            "above 0 and below 1",
        )?;
        let n = n as f64;
        Ok(Self {
            n,
            critical: student_t_quantile(1.0 - size, n - 1.0)?,
        })
    }

    fn power(&self, effect: f64) -> f64 {
        noncentral_at_least(self.critical, self.n - 1.0, effect * self.n.sqrt())
    }
}

// P(T ≥ t) for noncentral t: E over s = χ/√ν of P(Z ≥ t s − δ), by Simpson's rule.
fn noncentral_at_least(t: f64, degrees: f64, shift: f64) -> f64 {
    let half = 0.5 * degrees;
    let ln_constant = std::f64::consts::LN_2 + half * half.ln() - ln_gamma(half);
    let density = |s: f64| {
        if s <= 0.0 {
            return 0.0;
        }
        (ln_constant + (degrees - 1.0) * s.ln() - half * s * s).exp()
    };
    // The density of s lies about 1 with standard deviation 1/√(2ν).
    let spread = 12.0 / (2.0 * degrees).sqrt();
    let (low, high) = ((1.0 - spread).max(0.0), 1.0 + spread);
    let steps = 400;
    let width = (high - low) / f64::from(steps);
    let sum: f64 = (0..=steps)
        .map(|i| {
            let s = low + width * f64::from(i);
            let weight = match i {
                0 => 1.0,
                i if i == steps => 1.0,
                i if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            weight * density(s) * ln_normal_at_least(t * s - shift).exp()
        })
        .sum();
    (sum * width / 3.0).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        for (n, effect, size, want) in [
            (10, 1.0, 0.05, 0.897_516_994_34),
            (300, 0.2, 0.01, 0.869_080_414_48),
            (50, 0.0, 0.01, 0.01),
            (5, 3.0, 0.001, 0.516_861_237_463),
        ] {
            let got = power_of_t(n, effect, size).expect("in the domain");
            assert!((got - want).abs() < 1e-8, "{n} {effect} {size}: {got}");
        }
    }

    #[test]
    fn smallest_effect_is_where_the_power_is() {
        let effect = smallest_effect(120, 2.5, 0.01, 0.9).expect("in the domain");
        let power = power_of_t(120, effect / 2.5, 0.01).expect("in the domain");
        assert!((power - 0.9).abs() < 1e-9, "{power}");
        assert!(smallest_effect(1, 1.0, 0.01, 0.9).is_err());
        assert!(smallest_effect(9, -1.0, 0.01, 0.9).is_err());
    }
}
