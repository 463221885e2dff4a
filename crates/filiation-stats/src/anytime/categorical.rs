use super::{Purse, Wealth};
use crate::StatsError;
use crate::error::{require, require_finite, require_least};

/// Share of the wealth that is bet; the rest stays in the pocket.
const SHARE: f64 = 0.5;

/// A reference distribution from counts of each answer: ½ is added to each, and to "any other
/// answer", which comes last and has at least the mass that Good and Turing give what was never
/// seen (the share of answers seen once).
///
/// # Errors
/// [`StatsError::TooFew`] without an answer.
pub fn smoothed(counts: &[u64]) -> Result<Vec<f64>, StatsError> {
    let n: u64 = counts.iter().sum();
    require_least("counts", n as usize, 1)?;
    let once = counts.iter().filter(|c| **c == 1).count() as f64;
    let total = n as f64 + 0.5 * (counts.len() as f64 + 1.0);
    // All seen once: something must be left for what was seen.
    let other = (0.5 / total).max(once / n as f64).min(0.5);
    let seen = total - 0.5;
    let mut p: Vec<f64> = counts
        .iter()
        .map(|c| (1.0 - other) * (*c as f64 + 0.5) / seen)
        .collect();
    p.push(other);
    Ok(p)
}

/// The wealth of a gambler who bets that answers do not come from the reference of their cell.
///
/// Each cell (a question with its answers) has a reference p and is predicted from its own past:
/// q(a) = (n_a + K p(a)/2)/(n + K/2) for K answers. The factor is (½ + ½ q(a)/p(a)) e^−tolerance.
/// With tolerance 0 the null is the reference itself. A reference that was estimated, or an endpoint
/// that drifts, needs a tolerance, found by simulation of what is still innocent.
#[derive(Debug, Clone, PartialEq)]
pub struct Categorical {
    cells: Vec<Cell>,
    tolerance: f64,
    purse: Purse,
}

#[derive(Debug, Clone, PartialEq)]
struct Cell {
    reference: Vec<f64>,
    counts: Vec<f64>,
    total: f64,
}

impl Categorical {
    /// A gambler with wealth 1.
    ///
    /// # Errors
    /// [`StatsError`] unless every reference has two answers or more of positive probability that
    /// sum to 1, and the tolerance is 0 or more.
    pub fn new(references: &[Vec<f64>], tolerance: f64) -> Result<Self, StatsError> {
        let sound = tolerance >= 0.0 && tolerance.is_finite();
        require(sound, "tolerance", tolerance, "at least 0")?;
        let cell = |p: &Vec<f64>| {
            require_finite("reference", p)?;
            require_least("reference", p.len(), 2)?;
            let least = p.iter().copied().fold(f64::INFINITY, f64::min);
            require(least > 0.0, "reference", least, "positive probabilities")?;
            let sum: f64 = p.iter().sum();
            if (sum - 1.0).abs() > 1e-9 {
                return Err(StatsError::Sum {
                    name: "reference",
                    sum,
                });
            }
            Ok(Cell {
                reference: p.clone(),
                counts: vec![0.0; p.len()],
                total: 0.0,
            })
        };
        Ok(Self {
            cells: references.iter().map(cell).collect::<Result<_, _>>()?,
            tolerance,
            purse: Purse::default(),
        })
    }

    /// Bets on one more answer in a cell.
    ///
    /// # Errors
    /// [`StatsError::Domain`] for a cell or an answer that there is not; the bet is then not made.
    pub fn bet(&mut self, cell: usize, answer: usize) -> Result<Wealth, StatsError> {
        let cells = self.cells.len() as f64;
        let Some(cell) = self.cells.get_mut(cell) else {
            return Err(StatsError::Domain {
                name: "cell",
                got: cells,
                expected: "a cell with a reference",
            });
        };
        let Some(p) = cell.reference.get(answer) else {
            return Err(StatsError::Domain {
                name: "answer",
                got: answer as f64,
                expected: "an answer of the cell",
            });
        };
        let strength = 0.5 * cell.reference.len() as f64;
        let predicted = (cell.counts[answer] + strength * p) / (cell.total + strength);
        let factor = (1.0 - SHARE) + SHARE * predicted / p;
        cell.counts[answer] += 1.0;
        cell.total += 1.0;
        Ok(self.purse.multiply(factor * (-self.tolerance).exp()))
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

    const P: [f64; 3] = [0.5, 0.3, 0.2];
    const Q: [f64; 2] = [0.9, 0.1];

    fn after(tolerance: f64, answers: impl IntoIterator<Item = usize>) -> Wealth {
        let mut gambler =
            Categorical::new(&[P.to_vec(), Q.to_vec()], tolerance).expect("distributions");
        for (i, answer) in answers.into_iter().enumerate() {
            gambler.bet(i % 2, answer).expect("an answer");
        }
        gambler.wealth()
    }

    #[test]
    fn agrees_with_the_formula_worked_out_elsewhere() {
        let wealth = after(0.01, [2, 1, 2, 1, 0, 1, 2]);
        assert!((wealth.log10_e - REFERENCE).abs() < 1e-12, "{wealth:?}");
    }

    const REFERENCE: f64 = 1.442_564_681_215_276_8;

    #[test]
    fn the_expectation_is_what_the_tolerance_leaves() {
        let p = |i: usize| {
            if i.is_multiple_of(2) {
                P.to_vec()
            } else {
                Q.to_vec()
            }
        };
        for tolerance in [0.0, 0.02] {
            let of = |path: &[usize]| 10_f64.powf(after(tolerance, path.iter().copied()).log10_e);
            let e = expected(7, &p, &of);
            assert!((e - (-7.0 * tolerance).exp()).abs() < 1e-12, "{e}");
        }
    }

    #[test]
    fn smoothing_leaves_room_for_what_was_never_seen() {
        let p = smoothed(&[7, 1, 1, 1]).expect("answers");
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // Three of ten were seen once.
        assert!((p[4] - 0.3).abs() < 1e-12, "{p:?}");
        assert!((p[0] - 0.7 * 7.5 / 12.0).abs() < 1e-12, "{p:?}");
        let p = smoothed(&[100, 50]).expect("answers");
        assert!((p[2] - 0.5 / 151.5).abs() < 1e-12, "{p:?}");
        assert!(smoothed(&[1, 1]).expect("answers")[2] <= 0.5);
        assert!(smoothed(&[0, 0]).is_err());
    }

    #[test]
    fn refuses_what_has_no_reference() {
        assert!(Categorical::new(&[vec![1.0]], 0.0).is_err());
        assert!(Categorical::new(&[vec![1.0, 0.0]], 0.0).is_err());
        assert!(Categorical::new(&[vec![0.5, 0.4]], 0.0).is_err());
        assert!(Categorical::new(&[vec![0.5, 0.5]], -0.1).is_err());
        let mut gambler = Categorical::new(&[vec![0.5, 0.5]], 0.0).expect("a coin");
        assert!(gambler.bet(1, 0).is_err());
        assert!(gambler.bet(0, 2).is_err());
    }
}
