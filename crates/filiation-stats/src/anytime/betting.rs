use super::{Purse, Wealth};
use crate::StatsError;
use crate::error::require;

/// Largest stake of a gambler without a plan; with x ≥ −1 and a tolerance below ⅓ the wealth stays
/// positive.
const MOST_STAKE: f64 = 0.75;
/// Its stake before there is anything to learn from.
const FIRST_STAKE: f64 = 0.1;
const FIRST_BETS: u32 = 5;
/// Largest part of the stake that would ruin, of a gambler with a plan.
const MOST_PLANNED: f64 = 0.9;
/// How many values' worth the plan is.
const PLANNED_WEIGHT: f64 = 20.0;
/// Mean square before there is a value.
const FIRST_SQUARE: f64 = 0.1;

/// The wealth of a gambler who bets against "the mean of the next value, given the past, is at
/// most the tolerance". Values are bounded paired differences in [−1, 1].
///
/// The stake on a gain g = x − tolerance is the growth-optimal (Kelly) one, mean over mean square of
/// the past: λ = Σg/Σg², held to [0, 0.75] and 0.1 for the first five. A gambler who plans for an
/// effect d (mean over standard deviation) begins from its stake and learns away from it:
/// λ = (Σg + k d s)/(Σg² + k s²(1 + d²)) with k = 20 and s² = (Σg² + 0.1)/(n + 1), held to
/// [0, 0.9/(1 + tolerance)]. That finds the effect sooner, and loses more where there is none.
///
/// A stake above 1 could ruin, so that values much smaller than their bound are bet on too timidly:
/// their standard deviation should be a third of the bound or more.
#[derive(Debug, Clone, PartialEq)]
pub struct Betting {
    tolerance: f64,
    planned: Option<f64>,
    sum: f64,
    squares: f64,
    purse: Purse,
}

impl Betting {
    /// A gambler with wealth 1 and no plan.
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless 0 ≤ tolerance < 0.3.
    pub fn new(tolerance: f64) -> Result<Self, StatsError> {
        let inner = (0.0..0.3).contains(&tolerance);
        require(inner, "tolerance", tolerance, "at least 0 and below 0.3")?;
        Ok(Self {
            tolerance,
            planned: None,
            sum: 0.0,
            squares: 0.0,
            purse: Purse::default(),
        })
    }

    /// A gambler with wealth 1 who plans for an effect: mean over standard deviation.
    ///
    /// # Errors
    /// [`StatsError::Domain`] as [`Self::new`], and unless 0 < effect ≤ 1.
    pub fn planned(tolerance: f64, effect: f64) -> Result<Self, StatsError> {
        let sound = effect > 0.0 && effect <= 1.0;
        require(sound, "effect", effect, "above 0 and at most 1")?;
        let gambler = Self::new(tolerance)?;
        Ok(Self {
            planned: Some(effect),
            ..gambler
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

    /// What a bet gains on average, nats, of a gambler who bets right on an effect d (mean over standard
    /// deviation, tolerance taken off): d²/(2(1 + d²)), the Kelly stake's growth to second order.
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless 0 < effect ≤ 1.
    pub fn growth(effect: f64) -> Result<f64, StatsError> {
        let sound = effect > 0.0 && effect <= 1.0;
        require(sound, "effect", effect, "above 0 and at most 1")?;
        let square = effect * effect;
        Ok(0.5 * square / (1.0 + square))
    }

    fn stake(&self) -> f64 {
        let Some(effect) = self.planned else {
            return match self.purse.steps {
                0..FIRST_BETS => FIRST_STAKE,
                _ if self.squares > 0.0 => (self.sum / self.squares).clamp(0.0, MOST_STAKE),
                _ => 0.0,
            };
        };
        let n = f64::from(self.purse.steps);
        let square = (self.squares + FIRST_SQUARE) / (n + 1.0);
        let sum = self.sum + PLANNED_WEIGHT * effect * square.sqrt();
        let squares = self.squares + PLANNED_WEIGHT * square * (1.0 + effect * effect);
        (sum / squares).clamp(0.0, MOST_PLANNED / (1.0 + self.tolerance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anytime::expected;

    fn with(gambler: Result<Betting, StatsError>, values: impl IntoIterator<Item = f64>) -> Wealth {
        let mut gambler = gambler.expect("in the domain");
        for x in values {
            gambler.bet(x).expect("in [-1, 1]");
        }
        gambler.wealth()
    }

    #[test]
    fn wealth_grows_on_a_steady_lead_and_not_without_one() {
        assert!(with(Betting::new(0.0), [0.5; 200]).log10_e > 20.0);
        let loser = with(Betting::new(0.0), [-0.5; 200]);
        // It stops betting after the first losses.
        assert!((loser.log10_e - 5.0 * 0.95_f64.log10()).abs() < 1e-12);
        assert_eq!(loser.log10_best, 0.0);
        assert!(with(Betting::planned(0.0, 0.3), [0.5; 200]).log10_e > 20.0);
        let loser = with(Betting::planned(0.0, 0.3), [-0.5; 200]);
        assert!((-3.0..0.0).contains(&loser.log10_e), "{loser:?}");
    }

    #[test]
    fn a_planned_effect_agrees_with_the_formula_worked_out_elsewhere() {
        let values = [0.3, -0.2, 0.5, 0.1, -0.4, 0.7];
        let wealth = with(Betting::planned(0.05, 0.3), values);
        assert!(
            (wealth.log10_e - 0.091_858_396_993_364_55).abs() < 1e-12,
            "{wealth:?}"
        );
        assert!(
            (wealth.log10_best - 0.139_484_049_538_21).abs() < 1e-12,
            "{wealth:?}"
        );
    }

    #[test]
    fn the_expectation_is_one_at_the_edge_of_the_null_and_less_inside() {
        for (values, p, tolerance) in [
            (vec![-1.0, 1.0], vec![0.5, 0.5], 0.0),
            (vec![-1.0, 0.25], vec![0.2, 0.8], 0.0),
            (vec![-0.5, 0.1, 0.9], vec![0.3, 0.55, 0.15], 0.04),
        ] {
            let mean: f64 = values.iter().zip(&p).map(|(v, p)| v * p).sum();
            for gambler in [Betting::new(tolerance), Betting::planned(tolerance, 0.3)] {
                let of = |path: &[usize]| {
                    let w = with(gambler.clone(), path.iter().map(|&i| values[i]));
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
    }

    #[test]
    fn growth_is_what_a_long_game_earns() {
        use rand::{Rng, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        for effect in [0.2_f64, 0.3, 0.5] {
            // ±0.6 with mean over standard deviation `effect`.
            let lean = effect / effect.hypot(1.0);
            let n = 40_000;
            let values = std::iter::repeat_with(|| {
                if random.random_bool(0.5 * (1.0 + lean)) {
                    0.6
                } else {
                    -0.6
                }
            });
            let earned = with(Betting::planned(0.0, effect), values.take(n)).log10_e;
            let expected = Betting::growth(effect).expect("in range") / std::f64::consts::LN_10;
            let ratio = earned / (n as f64 * expected);
            assert!((0.9..1.1).contains(&ratio), "{effect}: {ratio}");
        }
        assert!(Betting::growth(0.0).is_err() && Betting::growth(1.1).is_err());
    }

    #[test]
    fn refuses_what_could_ruin_it() {
        assert!(Betting::new(0.5).is_err());
        assert!(Betting::planned(0.0, 0.0).is_err());
        assert!(Betting::new(f64::NAN).is_err());
        let mut gambler = Betting::new(0.1).expect("small tolerance");
        assert!(gambler.bet(-1.5).is_err());
        assert_eq!(gambler.wealth().steps, 0);
    }
}
