use std::f64::consts::LN_10;

use super::ln_mean_exp;
use crate::StatsError;
use crate::error::require;

/// Shares of the ruinous stake that are bet side by side.
const SHARES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Halvings of [−1, 1]: below the rounding of a mean.
const HALVINGS: u32 = 50;

/// Bounds on the mean of values in [−1, 1] that hold at all times at once.
///
/// Against "the mean is at least m" the wealth Σ_f Π(1 + f (m − x)/(1 − m))/9 over shares f of the
/// stake that would ruin is an e-process and grows with m; the upper bound at level α is the least m
/// for which it reaches 1/α. The lower bound is that of −x. (Waudby-Smith and Ramdas 2024.)
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MeanSequence {
    values: Vec<f64>,
}

impl MeanSequence {
    /// Nothing seen: bounds are ±1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one more value.
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless −1 ≤ x ≤ 1.
    pub fn push(&mut self, x: f64) -> Result<(), StatsError> {
        require((-1.0..=1.0).contains(&x), "x", x, "a number in [-1, 1]")?;
        self.values.push(x);
        Ok(())
    }

    /// log10 of the e-value against "the mean is at least `mean`".
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless −1 < mean < 1.
    pub fn log10_e_against_at_least(&self, mean: f64) -> Result<f64, StatsError> {
        require(
            mean > -1.0 && mean < 1.0,
            "mean",
            mean,
            "above -1 and below 1",
        )?;
        Ok(self.ln_wealth(mean, 1.0) / LN_10)
    }

    /// The mean is below this at all times, but with probability α.
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless 0 < α < 1.
    pub fn upper(&self, alpha: f64) -> Result<f64, StatsError> {
        self.bound(alpha, 1.0)
    }

    /// The mean is above this at all times, but with probability α.
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless 0 < α < 1.
    pub fn lower(&self, alpha: f64) -> Result<f64, StatsError> {
        Ok(-self.bound(alpha, -1.0)?)
    }

    // Of sign · x.
    fn bound(&self, alpha: f64, sign: f64) -> Result<f64, StatsError> {
        require(
            alpha > 0.0 && alpha < 1.0,
            "alpha",
            alpha,
            "above 0 and below 1",
        )?;
        let goal = -alpha.ln();
        let (mut low, mut high) = (-1.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if middle < 1.0 && self.ln_wealth(middle, sign) < goal {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(high)
    }

    fn ln_wealth(&self, mean: f64, sign: f64) -> f64 {
        let wealth = SHARES.map(|share| {
            let stake = share / (1.0 - mean);
            let gains = self
                .values
                .iter()
                .map(|x| (stake * (mean - sign * x)).ln_1p());
            gains.sum::<f64>()
        });
        ln_mean_exp(&wealth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anytime::expected;

    fn of(values: impl IntoIterator<Item = f64>) -> MeanSequence {
        let mut sequence = MeanSequence::new();
        for x in values {
            sequence.push(x).expect("in [-1, 1]");
        }
        sequence
    }

    #[test]
    fn bounds_close_in_on_the_mean_from_both_sides() {
        let nothing = MeanSequence::new();
        assert_eq!(nothing.upper(0.05), Ok(1.0));
        assert_eq!(nothing.lower(0.05), Ok(-1.0));
        let mut last = 2.0;
        for n in [20, 200, 2000] {
            let s = of((0..n).map(|i| if i % 2 == 0 { 0.5 } else { -0.3 }));
            let (lower, upper) = (s.lower(0.05).expect("α"), s.upper(0.05).expect("α"));
            assert!(
                lower < 0.1 && 0.1 < upper && upper - lower < last,
                "{lower} {upper}"
            );
            last = upper - lower;
        }
        assert!(last < 0.1, "{last}");
    }

    #[test]
    fn agrees_with_the_formula_worked_out_elsewhere() {
        let s = of([0.3, -0.2, 0.5, 0.1, -0.4, 0.7, -0.6, -0.5]);
        let e = s.log10_e_against_at_least(0.4).expect("inner");
        assert!((e - REFERENCE.0).abs() < 1e-12, "{e}");
        let upper = s.upper(0.2).expect("α");
        assert!((upper - REFERENCE.1).abs() < 1e-9, "{upper}");
    }

    const REFERENCE: (f64, f64) = (0.940_439_052_433_462_9, 0.337_512_505_890_630_9);

    #[test]
    fn the_expectation_is_one_at_the_mean() {
        let values = [-1.0, 0.25, 0.75];
        let p = vec![0.2, 0.5, 0.3];
        let mean = 0.15;
        let wealth = |path: &[usize]| {
            let s = of(path.iter().map(|&i| values[i]));
            10_f64.powf(s.log10_e_against_at_least(mean).expect("inner"))
        };
        let e = expected(7, &|_| p.clone(), &wealth);
        assert!((e - 1.0).abs() < 1e-12, "{e}");
    }

    #[test]
    fn refuses_what_is_out_of_bounds() {
        let mut s = MeanSequence::new();
        assert!(s.push(1.5).is_err());
        assert!(s.upper(0.0).is_err());
        assert!(s.log10_e_against_at_least(1.0).is_err());
    }
}
