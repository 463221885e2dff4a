//! Several keys held against one text: what is left of each when all are counted.

use std::f64::consts::LOG10_E;

use filiation_stats::anytime::average_log10_e;
use filiation_stats::holm;

use crate::WatermarkError;

/// The p- and e-values of the keys that were tried, counted together.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// Keys that are counted: those shown, and others that were tried before.
    pub keys: u32,
    /// Each log10 p adjusted by Holm, in the order given; `None` where a test abstains. Whatever the
    /// tests depend on, the chance that any innocent key gets below α is at most α.
    pub log10_p: Vec<Option<f64>>,
    /// log10 of the mean of the e-values, those that are not known taken as 0: an e-value against "none
    /// of the keys", under any dependence. `None` where none is known.
    pub log10_e: Option<f64>,
}

impl Tried {
    /// Counts the keys whose log10 p and e are given together with `others` that showed nothing or
    /// are not shown.
    ///
    /// # Errors
    /// [`WatermarkError::Stats`] for values that are no p- or e-values.
    pub fn count(
        log10_p: &[Option<f64>],
        log10_e: &[Option<f64>],
        others: u32,
    ) -> Result<Self, WatermarkError> {
        let keys = log10_p.len() as u32 + others;
        // Those that abstain, and those that are not shown, count as p = 1.
        let mut all: Vec<f64> = log10_p.iter().map(|p| p.unwrap_or(0.0)).collect();
        all.resize(keys as usize, 0.0);
        let adjusted = holm(&all);
        let known: Vec<f64> = log10_e.iter().copied().flatten().collect();
        let mean = match known.is_empty() {
            true => None,
            false => {
                let share = known.len() as f64 / f64::from(keys);
                Some(average_log10_e(&known)? + share.ln() * LOG10_E)
            }
        };
        let shown = log10_p.iter().zip(adjusted);
        Ok(Self {
            keys,
            log10_p: shown.map(|(p, adjusted)| p.map(|_| adjusted)).collect(),
            log10_e: mean,
        })
    }

    /// The least adjusted log10 p.
    pub fn least(&self) -> Option<f64> {
        self.log10_p.iter().copied().flatten().reduce(f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_keeps_its_values_and_others_cost() {
        let one = Tried::count(&[Some(-4.0)], &[Some(3.0)], 0).expect("values");
        assert_eq!(
            (one.least(), one.log10_e, one.keys),
            (Some(-4.0), Some(3.0), 1)
        );
        // Nine more tried before: ten times p, a tenth of e.
        let ten = Tried::count(&[Some(-4.0)], &[Some(3.0)], 9).expect("values");
        assert!((ten.least().expect("a p") + 3.0).abs() < 1e-12);
        assert!((ten.log10_e.expect("an e") - 2.0).abs() < 1e-12);
    }

    #[test]
    fn several_keys_are_stepped_down_and_averaged() {
        let p = [Some(-6.0), None, Some(-2.0), Some(-0.3)];
        let e = [Some(4.0), None, Some(-1.0), None];
        let tried = Tried::count(&p, &e, 0).expect("values");
        let got: Vec<f64> = tried.log10_p.iter().flatten().copied().collect();
        // 4 · 10⁻⁶, 3 · 10⁻², then at least what came before: min(1, 2 · 10⁻⁰·³).
        let want = [4.0_f64.log10() - 6.0, 3.0_f64.log10() - 2.0, 0.0];
        assert!(
            got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9),
            "{got:?}"
        );
        assert_eq!(tried.log10_p[1], None);
        let mean = ((1e4 + 0.1) / 4.0_f64).log10();
        assert!((tried.log10_e.expect("an e") - mean).abs() < 1e-12);
        assert_eq!(
            Tried::count(&[None], &[None], 0).expect("values").least(),
            None
        );
    }
}
