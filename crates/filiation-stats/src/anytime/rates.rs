use super::{Purse, Wealth, ln_mean_exp};
use crate::StatsError;
use crate::error::require;

/// Odds ratios of the mixture.
const ODDS: [f64; 6] = [1.5, 2.0, 4.0, 8.0, 16.0, 32.0];

/// The wealth of a gambler who bets that hits come more often than expected, against "the chance
/// of the next hit, given the past, is at most its own rate". Every item has a rate of its own.
///
/// For odds ratio ψ the hit is given probability q = ψr/(1 − r + ψr); the factor is q/r for a hit
/// and (1 − q)/(1 − r) for a miss, and the wealth is the mean over the ratios. Since q ≥ r, a lower
/// rate than r only lowers the expectation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RateBetting {
    ln_wealth: [f64; ODDS.len()],
    purse: Purse,
}

impl RateBetting {
    /// A gambler with wealth 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bets on one more item.
    ///
    /// # Errors
    /// [`StatsError::Domain`] unless 0 < rate < 1: what never or always happens needs smoothing.
    pub fn bet(&mut self, hit: bool, rate: f64) -> Result<Wealth, StatsError> {
        let inner = rate > 0.0 && rate < 1.0;
        require(inner, "rate", rate, "above 0 and below 1")?;
        for (wealth, odds) in self.ln_wealth.iter_mut().zip(ODDS) {
            // Both factors share the denominator 1 + (ψ − 1) r.
            let scale = ((odds - 1.0) * rate).ln_1p();
            *wealth += if hit { odds.ln() - scale } else { -scale };
        }
        Ok(self.purse.set(ln_mean_exp(&self.ln_wealth)))
    }

    /// Where the gambler stands.
    pub fn wealth(&self) -> Wealth {
        self.purse.wealth()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anytime::expected;

    const RATES: [f64; 8] = [0.1, 0.5, 0.02, 0.3, 0.9, 0.2, 0.05, 0.7];

    fn after(hits: impl IntoIterator<Item = bool>) -> Wealth {
        let mut gambler = RateBetting::new();
        for (hit, rate) in hits.into_iter().zip(RATES) {
            gambler.bet(hit, rate).expect("a rate");
        }
        gambler.wealth()
    }

    #[test]
    fn agrees_with_the_formula_worked_out_elsewhere() {
        let wealth = after([true, false, true, true, true, false]);
        assert!((wealth.log10_e - REFERENCE).abs() < 1e-12, "{wealth:?}");
    }

    const REFERENCE: f64 = 0.732_993_037_561_405_2;

    #[test]
    fn the_expectation_is_one_at_the_rates_and_less_below() {
        let at = |share: f64| {
            let of = |path: &[usize]| 10_f64.powf(after(path.iter().map(|&h| h == 1)).log10_e);
            let p = |i: usize| vec![1.0 - share * RATES[i], share * RATES[i]];
            expected(RATES.len(), &p, &of)
        };
        assert!((at(1.0) - 1.0).abs() < 1e-12, "{}", at(1.0));
        assert!(at(0.5) < 0.9, "{}", at(0.5));
    }

    #[test]
    fn refuses_a_rate_that_cannot_be_wrong() {
        let mut gambler = RateBetting::new();
        for rate in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(gambler.bet(true, rate).is_err());
        }
        assert_eq!(gambler.wealth().steps, 0);
    }
}
