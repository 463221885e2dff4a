use super::{Purse, Wealth, ln_mean_exp};
use crate::StatsError;
use crate::error::require;

/// Tilts of the mixture, in units of the centred rank in [−1, 1]: from a slight shift of ranks to
/// nearly always the highest.
const TILTS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

/// The wealth of a gambler who bets that the ranks of values among fresh draws are high, against
/// "each value is exchangeable with its draws", under which a rank is uniform on 1 … m + 1.
///
/// With u = (2r − m − 2)/m the factor for tilt θ is e^(θu) over its mean under the uniform; the
/// wealth is the mean over the tilts. Values that tie share the mean of their ranks, which only
/// lowers the expectation, since e^(θu) is convex.
#[derive(Debug, Clone, PartialEq)]
pub struct RankBetting {
    draws: u32,
    ln_mean: [f64; TILTS.len()],
    ln_wealth: [f64; TILTS.len()],
    purse: Purse,
}

impl RankBetting {
    /// A gambler with wealth 1 who sees each value among `draws` others.
    ///
    /// # Errors
    /// [`StatsError::Domain`] without a draw.
    pub fn new(draws: u32) -> Result<Self, StatsError> {
        require(draws > 0, "draws", f64::from(draws), "at least 1")?;
        let ln_mean = TILTS.map(|tilt| {
            let all: Vec<f64> = (1..=draws + 1)
                .map(|rank| tilt * centred(f64::from(rank), draws))
                .collect();
            ln_mean_exp(&all)
        });
        Ok(Self {
            draws,
            ln_mean,
            ln_wealth: [0.0; TILTS.len()],
            purse: Purse::default(),
        })
    }

    /// Bets on one more rank, from 1 (the lowest) to m + 1, halves where values tie.
    ///
    /// # Errors
    /// [`StatsError::Domain`] for another rank; the bet is then not made.
    pub fn bet(&mut self, rank: f64) -> Result<Wealth, StatsError> {
        let there = (1.0..=f64::from(self.draws) + 1.0).contains(&rank);
        require(
            there,
            "rank",
            rank,
            "a rank from 1 to one more than there are draws",
        )?;
        let u = centred(rank, self.draws);
        for ((wealth, tilt), mean) in self.ln_wealth.iter_mut().zip(TILTS).zip(self.ln_mean) {
            *wealth += tilt * u - mean;
        }
        Ok(self.purse.set(ln_mean_exp(&self.ln_wealth)))
    }

    /// Where the gambler stands.
    pub fn wealth(&self) -> Wealth {
        self.purse.wealth()
    }
}

fn centred(rank: f64, draws: u32) -> f64 {
    let m = f64::from(draws);
    (2.0 * rank - m - 2.0) / m
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anytime::expected;

    fn after(draws: u32, ranks: impl IntoIterator<Item = f64>) -> Wealth {
        let mut gambler = RankBetting::new(draws).expect("draws");
        for rank in ranks {
            gambler.bet(rank).expect("a rank");
        }
        gambler.wealth()
    }

    #[test]
    fn agrees_with_the_formula_worked_out_elsewhere() {
        let wealth = after(9, [10.0, 7.0, 4.5, 9.0, 10.0]);
        assert!((wealth.log10_e - REFERENCE).abs() < 1e-12, "{wealth:?}");
    }

    const REFERENCE: f64 = 0.658_142_288_644_950_3;

    #[test]
    fn the_expectation_is_one_and_ties_lower_it() {
        let uniform = |_: usize| vec![0.25; 4];
        let of =
            |path: &[usize]| 10_f64.powf(after(3, path.iter().map(|&r| r as f64 + 1.0)).log10_e);
        let e = expected(5, &uniform, &of);
        assert!((e - 1.0).abs() < 1e-12, "{e}");
        // The upper two always tie.
        let tied = |path: &[usize]| {
            let rank = |&r: &usize| if r >= 2 { 3.5 } else { r as f64 + 1.0 };
            10_f64.powf(after(3, path.iter().map(rank)).log10_e)
        };
        let e = expected(5, &uniform, &tied);
        assert!(e < 1.0, "{e}");
    }

    #[test]
    fn refuses_ranks_that_there_are_not() {
        let mut gambler = RankBetting::new(9).expect("draws");
        for rank in [0.5, 10.5, f64::NAN] {
            assert!(gambler.bet(rank).is_err());
        }
        assert!(RankBetting::new(0).is_err());
    }
}
