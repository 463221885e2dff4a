use super::{Purse, Wealth};
use crate::StatsError;
use crate::error::require;

/// Largest part of the stake that would ruin.
const MOST_STAKE: f64 = 0.9;
/// The effect (mean over standard deviation) that stakes begin from, and in how many values' worth:
/// the smallest one that a collection is planned for. It costs power elsewhere, never validity.
const PLANNED_EFFECT: f64 = 0.3;
const PLANNED_WEIGHT: f64 = 20.0;
/// Mean square before there is a value.
const FIRST_SQUARE: f64 = 0.1;

/// The wealth of a gambler who bets against "the mean of the next value, given the past, is at
/// most the tolerance". Values are bounded paired differences in [−1, 1].
///
/// The stake on a gain g = x − tolerance is the growth-optimal (Kelly) one, mean over mean square,
/// estimated from the past and shrunk towards that of a planned effect:
/// λ = (Σg + k d s)/(Σg² + k s²(1 + d²)) with d = 0.3, k = 20 and s² = (Σg² + 0.1)/(n + 1), held
/// to [0, 0.9/(1 + tolerance)].
///
/// A stake above 1 could ruin, so that values much smaller than their bound are bet on too timidly:
/// their standard deviation should be a third of the bound or more.
#[derive(Debug, Clone, PartialEq)]
pub struct Betting {
    tolerance: f64,
    sum: f64,
    squares: f64,
    purse: Purse,
}

impl Betting {
    /// A gambler with wealth 1.
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless 0 ≤ tolerance < 1.
    pub fn new(tolerance: f64) -> Result<Self, StatsError> {
        let inner = (0.0..1.0).contains(&tolerance);
        require(inner, "tolerance", tolerance, "at least 0 and below 1")?;
        Ok(Self {
            tolerance,
            sum: 0.0,
            squares: 0.0,
            purse: Purse::default(),
        })
    }

    /// Bets on one more value, and gives the wealth after it.
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless −1 ≤ x ≤ 1; the bet is then not made.
    pub fn bet(&mut self, x: f64) -> Result<Wealth, StatsError> {
        require((-1.0..=1.0).contains(&x), "x", x, "a number in [-1, 1]")?;
        let gain = x - self.tolerance;
        let factor = self.stake().mul_add(gain, 1.0);
        self.sum += gain;
        self.squares += gain * gain;
        Ok(self.purse.multiply(factor))
    }

    /// Where the gambler stands.
    pub fn wealth(&self) -> Wealth {
        self.purse.wealth()
    }

    fn stake(&self) -> f64 {
        let n = f64::from(self.purse.steps);
        let square = (self.squares + FIRST_SQUARE) / (n + 1.0);
        let sum = self.sum + PLANNED_WEIGHT * PLANNED_EFFECT * square.sqrt();
        let squares =
            self.squares + PLANNED_WEIGHT * square * (1.0 + PLANNED_EFFECT * PLANNED_EFFECT);
        (sum / squares).clamp(0.0, MOST_STAKE / (1.0 + self.tolerance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anytime::expected;

    fn after(tolerance: f64, values: impl IntoIterator<Item = f64>) -> Wealth {
        let mut gambler = Betting::new(tolerance).expect("in the domain");
        for x in values {
            gambler.bet(x).expect("in [-1, 1]");
        }
        gambler.wealth()
    }

    #[test]
    fn wealth_grows_on_a_steady_lead_and_not_without_one() {
        assert!(after(0.0, [0.5; 200]).log10_e > 20.0);
        let loser = after(0.0, [-0.5; 200]);
        // It stops betting after the first losses.
        assert!(loser.log10_e < 0.0 && loser.log10_e > -3.0, "{loser:?}");
        assert_eq!(loser.log10_best, 0.0);
    }

    #[test]
    fn agrees_with_the_formula_worked_out_elsewhere() {
        let wealth = after(0.05, [0.3, -0.2, 0.5, 0.1, -0.4, 0.7]);
        assert!((wealth.log10_e - REFERENCE.0).abs() < 1e-12, "{wealth:?}");
        assert!(
            (wealth.log10_best - REFERENCE.1).abs() < 1e-12,
            "{wealth:?}"
        );
    }

    const REFERENCE: (f64, f64) = (0.091_858_396_993_364_55, 0.139_484_049_538_21);

    #[test]
    fn the_expectation_is_one_at_the_edge_of_the_null_and_less_inside() {
        for (values, p, tolerance) in [
            (vec![-1.0, 1.0], vec![0.5, 0.5], 0.0),
            (vec![-1.0, 0.25], vec![0.2, 0.8], 0.0),
            (vec![-0.5, 0.1, 0.9], vec![0.3, 0.55, 0.15], 0.04),
        ] {
            let mean: f64 = values.iter().zip(&p).map(|(v, p)| v * p).sum();
            let of = |path: &[usize]| {
                let w = after(tolerance, path.iter().map(|&i| values[i]));
                10_f64.powf(w.log10_e)
            };
            let e = expected(7, &|_| p.clone(), &of);
            if (mean - tolerance).abs() < 1e-12 {
                assert!((e - 1.0).abs() < 1e-12, "{e}");
            } else {
                assert!(mean < tolerance && e < 1.0, "{mean} {e}");
            }
        }
    }

    #[test]
    fn refuses_what_could_ruin_it() {
        assert!(Betting::new(1.0).is_err());
        assert!(Betting::new(f64::NAN).is_err());
        let mut gambler = Betting::new(0.1).expect("small tolerance");
        assert!(gambler.bet(-1.5).is_err());
        assert_eq!(gambler.wealth().steps, 0);
    }
}
