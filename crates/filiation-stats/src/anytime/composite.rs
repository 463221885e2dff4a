use super::{Purse, Wealth};
use crate::StatsError;
use crate::error::require_finite;

/// Universal inference against several rivals at once: the null is "one of the rivals made all of
/// this", whichever it is.
///
/// The e-value is Π q_t(x_t) / max_k Π p_k(x_t), where q_t is fixed before x_t is seen and the
/// maximum is over rivals on all data so far. Under rival k it is at most Π q_t/p_k, whose
/// expectation is 1, so that no rival need be named. (Wasserman, Ramdas and Balakrishnan 2020.)
#[derive(Debug, Clone, PartialEq)]
pub struct Composite {
    ln_q: f64,
    ln_rivals: Vec<f64>,
    purse: Purse,
}

impl Composite {
    /// Against `rivals` of them.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] without a rival.
    pub fn new(rivals: usize) -> Result<Self, StatsError> {
        crate::error::require_least("rivals", rivals, 1)?;
        Ok(Self {
            ln_q: 0.0,
            ln_rivals: vec![0.0; rivals],
            purse: Purse::default(),
        })
    }

    /// One more observation: ln of its probability as predicted, and under each rival.
    ///
    /// # Errors
    /// [`StatsError`] for another number of rivals, or a value that is not finite; it is then not
    /// counted.
    pub fn observe(&mut self, ln_predicted: f64, ln_rivals: &[f64]) -> Result<Wealth, StatsError> {
        if ln_rivals.len() != self.ln_rivals.len() {
            return Err(StatsError::Length {
                name: "ln_rivals",
                got: ln_rivals.len(),
                expected: self.ln_rivals.len(),
            });
        }
        require_finite("ln_predicted", &[ln_predicted])?;
        require_finite("ln_rivals", ln_rivals)?;
        self.ln_q += ln_predicted;
        let sums = self.ln_rivals.iter_mut().zip(ln_rivals);
        sums.for_each(|(sum, ln_p)| *sum += ln_p);
        let best = self.ln_rivals.iter().copied();
        let best = best.fold(f64::NEG_INFINITY, f64::max);
        Ok(self.purse.set(self.ln_q - best))
    }

    /// Where it stands.
    pub fn wealth(&self) -> Wealth {
        self.purse.wealth()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anytime::expected;

    const RIVALS: [[f64; 3]; 2] = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]];

    // Predicts by the frequencies so far.
    fn after(path: &[usize]) -> Wealth {
        let mut test = Composite::new(2).expect("two rivals");
        for (t, &x) in path.iter().enumerate() {
            let seen = path[..t].iter().filter(|s| **s == x).count() as f64;
            let q = (seen + 0.5) / (t as f64 + 1.5);
            let rivals = RIVALS.map(|p| p[x].ln());
            test.observe(q.ln(), &rivals).expect("finite");
        }
        test.wealth()
    }

    #[test]
    fn agrees_with_the_formula_worked_out_elsewhere() {
        let wealth = after(&[2, 2, 1, 2, 2, 0]);
        assert!((wealth.log10_e - REFERENCE).abs() < 1e-12, "{wealth:?}");
    }

    const REFERENCE: f64 = -0.018_063_565_783_036_254;

    #[test]
    fn the_expectation_is_below_one_under_every_rival() {
        for rival in RIVALS {
            let of = |path: &[usize]| 10_f64.powf(after(path).log10_e);
            let e = expected(7, &|_| rival.to_vec(), &of);
            assert!(e < 1.0, "{e}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_probability() {
        assert!(Composite::new(0).is_err());
        let mut test = Composite::new(2).expect("two rivals");
        assert!(test.observe(-1.0, &[-1.0]).is_err());
        assert!(test.observe(-1.0, &[-1.0, f64::NEG_INFINITY]).is_err());
        assert_eq!(test.wealth().steps, 0);
    }
}
