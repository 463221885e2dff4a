//! Evidence by betting: valid whenever one stops.

use crate::StatsError;
use crate::error::require;

/// Largest stake; with x ≥ −1 and a tolerance below ⅓ the wealth stays positive.
const MOST_STAKE: f64 = 0.75;
/// Stake before there is anything to learn from.
const FIRST_STAKE: f64 = 0.1;
const FIRST_BETS: u32 = 5;

/// The wealth of a gambler who bets against "the mean of the next value, given the past, is at
/// most the tolerance". Values are bounded paired differences in [−1, 1].
///
/// The wealth is an e-process: under the null its expectation is at most 1 at any stopping time,
/// and it ever reaches 1/α with probability at most α (Ville). The stake is μ̂/(σ̂² + μ̂²) of the
/// past alone, held to [0, 0.75].
#[derive(Debug, Clone, PartialEq)]
pub struct Betting {
    tolerance: f64,
    steps: u32,
    sum: f64,
    squares: f64,
    ln_wealth: f64,
    ln_best: f64,
}

/// Where a gambler stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wealth {
    /// Bets made.
    pub steps: u32,
    /// log10 of the wealth: the e-value of stopping now.
    pub log10_e: f64,
    /// log10 of the greatest wealth so far: 10^−this bounds the p-value of the whole path.
    pub log10_best: f64,
}

impl Betting {
    /// A gambler with wealth 1.
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless 0 ≤ tolerance < 0.3.
    pub fn new(tolerance: f64) -> Result<Self, StatsError> {
        let inner = (0.0..0.3).contains(&tolerance);
        require(inner, "tolerance", tolerance, "at least 0 and below 0.3")?;
        Ok(Self {
            tolerance,
            steps: 0,
            sum: 0.0,
            squares: 0.0,
            ln_wealth: 0.0,
            ln_best: 0.0,
        })
    }

    /// Bets on one more value, and gives the wealth after it.
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless −1 ≤ x ≤ 1; the bet is then not made.
    pub fn bet(&mut self, x: f64) -> Result<Wealth, StatsError> {
        require((-1.0..=1.0).contains(&x), "x", x, "a number in [-1, 1]")?;
        let gain = x - self.tolerance;
        self.ln_wealth += (self.stake() * gain).ln_1p();
        self.ln_best = self.ln_best.max(self.ln_wealth);
        self.sum += gain;
        self.squares += gain * gain;
        self.steps += 1;
        Ok(self.wealth())
    }

    /// Where the gambler stands.
    pub fn wealth(&self) -> Wealth {
        Wealth {
            steps: self.steps,
            log10_e: self.ln_wealth / std::f64::consts::LN_10,
            log10_best: self.ln_best / std::f64::consts::LN_10,
        }
    }

    fn stake(&self) -> f64 {
        if self.steps < FIRST_BETS {
            return FIRST_STAKE;
        }
        // σ̂² + μ̂² is the mean square.
        if self.squares > 0.0 {
            (self.sum / self.squares).clamp(0.0, MOST_STAKE)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wealth_grows_on_a_steady_lead_and_not_without_one() {
        let mut gambler = Betting::new(0.0).expect("no tolerance");
        let mut loser = gambler.clone();
        for _ in 0..200 {
            gambler.bet(0.5).expect("in range");
            loser.bet(-0.5).expect("in range");
        }
        assert!(gambler.wealth().log10_e > 20.0);
        // It stops betting after the first losses.
        assert!((loser.wealth().log10_e - 5.0 * 0.95_f64.log10()).abs() < 1e-12);
        assert_eq!(loser.wealth().log10_best, 0.0);
    }

    #[test]
    fn refuses_what_could_ruin_it() {
        assert!(Betting::new(0.5).is_err());
        assert!(Betting::new(f64::NAN).is_err());
        let mut gambler = Betting::new(0.1).expect("small tolerance");
        assert!(gambler.bet(-1.5).is_err());
        assert_eq!(gambler.wealth().steps, 0);
    }
}
