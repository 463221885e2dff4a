//! Two samples of scores, apart by how much.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{require, require_finite, require_least};
use crate::{Bootstrap, Estimate, StatsError, moments};
use filiation_core::Interval;

/// Hedges' g: the difference of the means of `a` and `b` over the pooled standard deviation, with
/// the correction for small samples 1 − 3/(4(n − 2) − 1).
///
/// # Errors
/// [`StatsError`] for fewer than two values in a sample, values that are not finite, or two constant
/// samples.
pub fn hedges_g(a: &[f64], b: &[f64]) -> Result<f64, StatsError> {
    require_least("a", a.len(), 2)?;
    require_least("b", b.len(), 2)?;
    let (one, two) = (moments(a)?, moments(b)?);
    let degrees = (a.len() + b.len() - 2) as f64;
    let squares = |sd: f64, n: usize| sd * sd * (n as f64 - 1.0);
    let pooled = ((squares(one.sd, a.len()) + squares(two.sd, b.len())) / degrees).sqrt();
    if pooled == 0.0 {
        return Err(StatsError::Constant { name: "a and b" });
    }
    Ok((one.mean - two.mean) / pooled * (1.0 - 3.0 / (4.0 * degrees - 1.0)))
}

/// Probability that a value of `a` lies above one of `b`, ties half: the area under the ROC curve.
///
/// # Errors
/// [`StatsError`] for an empty sample or values that are not finite.
pub fn auc(a: &[f64], b: &[f64]) -> Result<f64, StatsError> {
    require_least("a", a.len(), 1)?;
    require_least("b", b.len(), 1)?;
    require_finite("a", a)?;
    require_finite("b", b)?;
    let mut sorted = b.to_vec();
    sorted.sort_by(f64::total_cmp);
    let twice: usize = a
        .iter()
        .map(|x| sorted.partition_point(|y| y < x) + sorted.partition_point(|y| y <= x))
        .sum();
    Ok(twice as f64 / (2.0 * a.len() as f64 * b.len() as f64))
}

impl Bootstrap {
    /// Percentile interval of a statistic of two samples, each drawn from with replacement by
    /// itself. A resample for which the statistic is not defined (all values equal) is left out.
    ///
    /// # Errors
    /// The statistic's own on the samples; [`StatsError`] for fewer than two draws, a level outside
    /// (0, 1), or when it is defined for fewer than half of the resamples.
    pub fn two_samples(
        &self,
        a: &[f64],
        b: &[f64],
        statistic: impl Fn(&[f64], &[f64]) -> Result<f64, StatsError>,
    ) -> Result<Estimate, StatsError> {
        require(
            self.draws >= 2,
            "draws",
            f64::from(self.draws),
            "at least 2",
        )?;
        let inside = self.level > 0.0 && self.level < 1.0;
        require(inside, "level", self.level, "a number in (0, 1)")?;
        let value = statistic(a, b)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut drawn = Vec::with_capacity(self.draws as usize);
        for draw in 0..self.draws {
            rng.set_stream(u64::from(draw));
            rng.set_word_pos(0);
            let (one, two) = (resample(a, &mut rng), resample(b, &mut rng));
            drawn.extend(statistic(&one, &two).ok().filter(|v| v.is_finite()));
        }
        require_least("resamples", drawn.len(), (self.draws as usize).div_ceil(2))?;
        drawn.sort_by(f64::total_cmp);
        let tail = 0.5 * (1.0 - self.level);
        Ok(Estimate {
            value,
            interval: Interval {
                lower: quantile(&drawn, tail),
                upper: quantile(&drawn, 1.0 - tail),
                level: self.level,
            },
            standard_error: moments(&drawn)?.sd,
        })
    }
}

fn resample(values: &[f64], rng: &mut ChaCha8Rng) -> Vec<f64> {
    let n = values.len();
    let mut pick = || {
        let uniform = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        values[((uniform * n as f64) as usize).min(n - 1)]
    };
    (0..n).map(|_| pick()).collect()
}

// Linear between order statistics.
fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let at = probability * (sorted.len() - 1) as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normal_quantile;

    const PLAN: Bootstrap = Bootstrap {
        draws: 400,
        level: 0.95,
        seed: 1,
    };

    #[test]
    fn agrees_with_hand_and_with_scipy() {
        // Means 3 and 2, pooled variance 2.5, 8 degrees: 1/√2.5 · (1 − 3/31).
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 1.0, 2.0, 3.0, 4.0]);
        let want = (1.0 - 3.0 / 31.0) / 2.5_f64.sqrt();
        assert!((hedges_g(&a, &b).expect("they vary") - want).abs() < 1e-15);
        assert!((hedges_g(&b, &a).expect("they vary") + want).abs() < 1e-15);
        // scipy.stats.mannwhitneyu(a, b).statistic / 25 = 17 / 25.
        assert!((auc(&a, &b).expect("values") - 0.68).abs() < 1e-15);
        assert!((auc(&b, &a).expect("values") - 0.32).abs() < 1e-15);
        assert_eq!(auc(&[1.0; 3], &[1.0; 4]), Ok(0.5));
    }

    #[test]
    fn what_does_not_vary_has_no_effect() {
        let constant = StatsError::Constant { name: "a and b" };
        assert_eq!(hedges_g(&[1.0; 3], &[0.0; 3]), Err(constant));
        assert!(hedges_g(&[1.0], &[0.0; 3]).is_err());
        assert!(auc(&[], &[0.0]).is_err());
        assert!(auc(&[f64::NAN], &[0.0]).is_err());
    }

    #[test]
    fn the_interval_covers_the_true_effect_as_often_as_it_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut normal = |mean: f64| {
            let u = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            mean + normal_quantile(u.clamp(1e-12, 1.0 - 1e-12)).expect("inner")
        };
        let (mut covers, trials) = (0, 300);
        for _ in 0..trials {
            let a: Vec<f64> = (0..30).map(|_| normal(0.8)).collect();
            let b: Vec<f64> = (0..20).map(|_| normal(0.0)).collect();
            let e = PLAN.two_samples(&a, &b, hedges_g).expect("they vary");
            covers += u32::from(e.interval.lower <= 0.8 && 0.8 <= e.interval.upper);
        }
        let share = f64::from(covers) / f64::from(trials);
        assert!((0.90..=0.98).contains(&share), "{share}");
    }

    #[test]
    fn same_seed_same_interval() {
        let (a, b) = ([1.0, 2.0, 5.0, 3.0], [0.0, 1.5, 2.0]);
        let one = PLAN.two_samples(&a, &b, auc).expect("values");
        assert_eq!(one, PLAN.two_samples(&a, &b, auc).expect("values"));
        assert!(PLAN.two_samples(&[1.0; 3], &[1.0; 3], hedges_g).is_err());
        let none = Bootstrap { draws: 1, ..PLAN };
        assert!(none.two_samples(&a, &b, auc).is_err());
    }
}
