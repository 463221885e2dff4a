use super::{Purse, Wealth};
use crate::StatsError;
use crate::error::{require, require_least};

/// The wealth of a gambler who bets that two sources answer differently, when neither is known but by
/// its answers. Null: in each cell (a question with its answers) both draw from one distribution,
/// whatever it is.
///
/// Answers come in blocks, m of the one source and n of the other. With predictions q₁ and q₂ of each
/// source from earlier blocks and q̄ = (m q₁ + n q₂)/(m + n), the factor is Π q₁/q̄ over the m times Π q₂/q̄
/// over the n. Under any common p its expectation is u^m v^n, where u and v, the expectations of
/// q₁/q̄ and q₂/q̄, have the weighted mean 1: so at most 1, at every sample size and without
/// simulation. (Turner, Ly and Grünwald 2024.) A reference that was recorded needs no smoothing and no
/// tolerance then, as it would for [`Categorical`](super::Categorical).
///
/// A source is predicted by its own past, shrunk to the past of both: qₛ(a) = (nₛ(a) + S q(a))/(nₛ + S)
/// with q(a) = (n(a) + ½)/(n + K/2) of both together, K answers, and S = (d + 1)/2 where d answers were
/// seen.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoSample {
    cells: Vec<Cell>,
    purse: Purse,
}

#[derive(Debug, Clone, PartialEq)]
struct Cell {
    /// Of each source, how often each answer was given.
    counts: [Vec<f64>; 2],
}

impl TwoSample {
    /// A gambler with wealth 1, of cells with so many answers each.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] for a cell of fewer than two answers.
    pub fn new(answers: &[usize]) -> Result<Self, StatsError> {
        let cell = |&k: &usize| {
            require_least("answers", k, 2)?;
            let counts = [vec![0.0; k], vec![0.0; k]];
            Ok(Cell { counts })
        };
        Ok(Self {
            cells: answers.iter().map(cell).collect::<Result<_, _>>()?,
            purse: Purse::default(),
        })
    }

    /// Bets on one more block of a cell: answers of the first source and of the second.
    ///
    /// # Errors
    /// [`StatsError`] for a cell or an answer that there is not, or a source without an answer; the bet
    /// is then not made.
    pub fn bet(
        &mut self,
        cell: usize,
        first: &[usize],
        second: &[usize],
    ) -> Result<Wealth, StatsError> {
        let there = cell < self.cells.len();
        require(there, "cell", cell as f64, "a cell there is")?;
        require_least("first", first.len(), 1)?;
        require_least("second", second.len(), 1)?;
        let cell = &mut self.cells[cell];
        let answers = cell.counts[0].len();
        let unknown = first.iter().chain(second).find(|a| **a >= answers);
        if let Some(&answer) = unknown {
            return Err(StatsError::Domain {
                name: "answer",
                got: answer as f64,
                expected: "an answer of the cell",
            });
        }
        let ln_factor = cell.ln_factor([first, second]);
        for (counts, block) in cell.counts.iter_mut().zip([first, second]) {
            block.iter().for_each(|&a| counts[a] += 1.0);
        }
        Ok(self.purse.set(self.purse.ln_wealth + ln_factor))
    }

    /// Where the gambler stands; a step is a block.
    pub fn wealth(&self) -> Wealth {
        self.purse.wealth()
    }
}

impl Cell {
    fn ln_factor(&self, blocks: [&[usize]; 2]) -> f64 {
        let sizes = blocks.map(|b| b.len() as f64);
        let both = |a: usize| self.counts[0][a] + self.counts[1][a];
        let answers = self.counts[0].len();
        let totals = [0, 1].map(|s| self.counts[s].iter().sum::<f64>());
        let seen = (0..answers).filter(|&a| both(a) > 0.0).count() as f64;
        let strength = 0.5 * (seen + 1.0);
        let predicted = |source: usize, a: usize| {
            let joint = (both(a) + 0.5) / (totals[0] + totals[1] + 0.5 * answers as f64);
            (self.counts[source][a] + strength * joint) / (totals[source] + strength)
        };
        let of = |source: usize| {
            let ln = |&a: &usize| {
                let q = [predicted(0, a), predicted(1, a)];
                let mean = (sizes[0] * q[0] + sizes[1] * q[1]) / (sizes[0] + sizes[1]);
                (q[source] / mean).ln()
            };
            blocks[source].iter().map(ln).sum::<f64>()
        };
        of(0) + of(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anytime::expected;

    // Blocks of m and n, the first source's answers first; what is left over is not bet on.
    fn after(m: usize, n: usize, answers: &[usize]) -> Wealth {
        let mut gambler = TwoSample::new(&[3]).expect("three answers");
        for block in answers.chunks_exact(m + n) {
            gambler.bet(0, &block[..m], &block[m..]).expect("answers");
        }
        gambler.wealth()
    }

    #[test]
    fn agrees_with_the_formula_worked_out_elsewhere() {
        let one = after(1, 1, &[0, 2, 0, 1, 0, 2, 1, 2, 0, 2]);
        assert!((one.log10_e - REFERENCE.0).abs() < 1e-12, "{one:?}");
        let two = after(2, 1, &[0, 0, 2, 1, 0, 2, 0, 0, 1, 0, 0, 2]);
        assert!((two.log10_e - REFERENCE.1).abs() < 1e-12, "{two:?}");
        assert_eq!((one.steps, two.steps), (5, 4));
    }

    const REFERENCE: (f64, f64) = (0.807_965_919_854_406_8, 0.905_136_290_776_837_1);

    #[test]
    fn the_expectation_is_at_most_one_whatever_both_draw_from() {
        for p in [[0.2, 0.5, 0.3], [0.05, 0.9, 0.05], [1.0 / 3.0; 3]] {
            for (m, n) in [(1, 1), (2, 1), (1, 3)] {
                let of = |path: &[usize]| 10_f64.powf(after(m, n, path).log10_e);
                let length = 8 / (m + n) * (m + n);
                let e = expected(length, &|_| p.to_vec(), &of);
                assert!(e <= 1.0 + 1e-12, "{p:?} {m} {n}: {e}");
                assert!(e > 0.9, "bets are made: {e}");
            }
        }
    }

    #[test]
    fn the_first_block_is_no_bet_and_a_difference_pays() {
        assert_eq!(after(1, 1, &[0, 2]).log10_e, 0.0);
        assert!(after(1, 1, &[0, 1].repeat(40)).log10_e > 15.0);
        assert!(after(1, 1, &[0, 0].repeat(40)).log10_e.abs() < 0.1);
    }

    #[test]
    fn refuses_what_there_is_not() {
        assert!(TwoSample::new(&[3, 1]).is_err());
        let mut gambler = TwoSample::new(&[2]).expect("a coin");
        assert!(gambler.bet(1, &[0], &[0]).is_err());
        assert!(gambler.bet(0, &[0], &[2]).is_err());
        assert!(gambler.bet(0, &[], &[0]).is_err());
        assert_eq!(gambler.wealth().steps, 0);
    }
}
