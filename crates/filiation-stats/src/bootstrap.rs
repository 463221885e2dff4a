//! Bootstrap intervals.

use filiation_core::Interval;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::StatsError;
use crate::error::{require, require_least};
use crate::quantile::normal_quantile;
use crate::tails::ln_normal_at_least;

/// How to resample. Draw i uses stream i of ChaCha8 under the seed, so that a result depends on
/// nothing else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Resamples.
    pub draws: u32,
    /// Nominal coverage, in (0, 1).
    pub level: f64,
    /// Seed.
    pub seed: u64,
}

/// Units that belong together: cluster c holds the unit numbers `members[c]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    /// Unit numbers of each cluster.
    pub members: Vec<Vec<usize>>,
}

impl Clusters {
    /// Every unit alone.
    pub fn singletons(units: usize) -> Self {
        Self {
            members: (0..units).map(|u| vec![u]).collect(),
        }
    }

    /// Clusters of equal labels, in the order of their first unit.
    pub fn of_labels<T: PartialEq>(labels: &[T]) -> Self {
        let mut seen: Vec<&T> = Vec::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (unit, label) in labels.iter().enumerate() {
            match seen.iter().position(|s| *s == label) {
                Some(c) => members[c].push(unit),
                None => {
                    seen.push(label);
                    members.push(vec![unit]);
                }
            }
        }
        Self { members }
    }
}

/// An estimate and its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The statistic of the sample itself.
    pub value: f64,
    /// Its interval.
    pub interval: Interval,
    /// Standard deviation of the resampled statistics.
    pub standard_error: f64,
}

impl Bootstrap {
    /// Percentile interval of `statistic`, a function of the unit numbers in a resample. Whole
    /// clusters are drawn with replacement; paired values share their unit number.
    ///
    /// # Errors
    /// [`StatsError`] for fewer than two clusters, fewer than two draws, a level outside (0, 1),
    /// or a statistic that is not finite.
    pub fn percentile(
        &self,
        clusters: &Clusters,
        statistic: impl Fn(&[usize]) -> f64,
    ) -> Result<Estimate, StatsError> {
        let value = statistic(&clusters.members.concat());
        let sorted = self.resampled(clusters, value, &statistic)?;
        let tail = 0.5 * (1.0 - self.level);
        Ok(self.estimate(value, &sorted, tail, 1.0 - tail))
    }

    /// Bias-corrected and accelerated interval (Efron 1987); the acceleration comes from leaving
    /// out one cluster at a time. For smooth statistics: a minimum is not one.
    ///
    /// # Errors
    /// As [`Self::percentile`].
    pub fn accelerated(
        &self,
        clusters: &Clusters,
        statistic: impl Fn(&[usize]) -> f64,
    ) -> Result<Estimate, StatsError> {
        let value = statistic(&clusters.members.concat());
        let sorted = self.resampled(clusters, value, &statistic)?;
        let below = sorted.iter().filter(|v| **v < value).count() as f64;
        let equal = sorted.iter().filter(|v| **v == value).count() as f64;
        // Half of the ties count, and no share is quite 0 or 1.
        let share = (below + 0.5 * equal + 0.5) / (sorted.len() as f64 + 1.0);
        let bias = normal_quantile(share)?;
        let acceleration = acceleration(clusters, &statistic);
        let moved = |probability: f64| -> Result<f64, StatsError> {
            let z = bias + normal_quantile(probability)?;
            Ok(ln_normal_at_least(-(bias + z / (1.0 - acceleration * z))).exp())
        };
        let tail = 0.5 * (1.0 - self.level);
        Ok(self.estimate(value, &sorted, moved(tail)?, moved(1.0 - tail)?))
    }

    fn resampled(
        &self,
        clusters: &Clusters,
        value: f64,
        statistic: &impl Fn(&[usize]) -> f64,
    ) -> Result<Vec<f64>, StatsError> {
        require(
            self.level > 0.0 && self.level < 1.0,
            "level",
            self.level,
            "above 0 and below 1",
        )?;
        require_least("clusters", clusters.members.len(), 2)?;
        require_least("draws", self.draws as usize, 2)?;
        let not_finite = |index| StatsError::NotFinite {
            name: "statistic",
            index,
        };
        if !value.is_finite() {
            return Err(not_finite(0));
        }
        let mut units = Vec::new();
        let mut values = Vec::with_capacity(self.draws as usize);
        for draw in 0..self.draws {
            self.draw(clusters, draw, &mut units);
            let v = statistic(&units);
            if !v.is_finite() {
                return Err(not_finite(draw as usize + 1));
            }
            values.push(v);
        }
        values.sort_by(f64::total_cmp);
        Ok(values)
    }

    fn draw(&self, clusters: &Clusters, draw: u32, units: &mut Vec<usize>) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(u64::from(draw));
        units.clear();
        let n = clusters.members.len();
        for _ in 0..n {
            // The high half of a product is uniform below n but for a bias of n / 2^64.
            let pick = (u128::from(rng.next_u64()) * n as u128) >> 64;
            units.extend_from_slice(&clusters.members[pick as usize]);
        }
    }

    fn estimate(&self, value: f64, sorted: &[f64], lower: f64, upper: f64) -> Estimate {
        let n = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / n;
        let squares: f64 = sorted.iter().map(|v| (v - mean) * (v - mean)).sum();
        Estimate {
            value,
            interval: Interval {
                lower: quantile(sorted, lower),
                upper: quantile(sorted, upper),
                level: self.level,
            },
            standard_error: (squares / (n - 1.0)).sqrt(),
        }
    }
}

fn acceleration(clusters: &Clusters, statistic: &impl Fn(&[usize]) -> f64) -> f64 {
    let left_out: Vec<f64> = (0..clusters.members.len())
        .map(|out| {
            let rest = clusters.members.iter().enumerate();
            let kept: Vec<usize> = rest
                .filter(|(c, _)| *c != out)
                .flat_map(|(_, m)| m.iter().copied())
                .collect();
            statistic(&kept)
        })
        .collect();
    let mean = left_out.iter().sum::<f64>() / left_out.len() as f64;
    let sum_of = |power: i32| left_out.iter().map(|v| (mean - v).powi(power)).sum::<f64>();
    let scale = 6.0 * sum_of(2).powf(1.5);
    if scale > 0.0 { sum_of(3) / scale } else { 0.0 }
}

// Linear between order statistics placed at i/(m − 1).
fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let place = probability.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let low = place.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (place - place.floor()) * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Bootstrap = Bootstrap {
        draws: 500,
        level: 0.9,
        seed: 3,
    };

    fn mean_of(values: &[f64]) -> impl Fn(&[usize]) -> f64 {
        move |units| units.iter().map(|&u| values[u]).sum::<f64>() / units.len() as f64
    }

    #[test]
    fn an_interval_depends_on_the_seed_alone() {
        let values: Vec<f64> = (0..30).map(|i| f64::from(i * i % 17)).collect();
        let clusters = Clusters::singletons(30);
        let first = PLAN.percentile(&clusters, mean_of(&values));
        assert_eq!(first, PLAN.percentile(&clusters, mean_of(&values)));
        let other = Bootstrap { seed: 4, ..PLAN };
        assert_ne!(first, other.percentile(&clusters, mean_of(&values)));
        let e = first.expect("thirty units");
        assert!(e.interval.lower < e.value && e.value < e.interval.upper);
    }

    #[test]
    fn copies_in_a_cluster_do_not_narrow_the_interval() {
        let values: Vec<f64> = (0..20).map(|i| f64::from(i * 7 % 11)).collect();
        let copied: Vec<f64> = values.iter().flat_map(|v| [*v; 10]).collect();
        let labels: Vec<usize> = (0..200).map(|i| i / 10).collect();
        let alone = PLAN.percentile(&Clusters::singletons(20), mean_of(&values));
        let clustered = PLAN.percentile(&Clusters::of_labels(&labels), mean_of(&copied));
        let (a, c) = (alone.expect("20 units"), clustered.expect("20 clusters"));
        assert!((a.standard_error - c.standard_error).abs() < 1e-9);
        let naive = PLAN.percentile(&Clusters::singletons(200), mean_of(&copied));
        assert!(naive.expect("200 units").standard_error < 0.5 * a.standard_error);
    }

    #[test]
    fn too_little_to_resample_is_refused() {
        let one = Clusters::singletons(1);
        assert!(PLAN.percentile(&one, |_| 0.0).is_err());
        let two = Clusters::singletons(2);
        assert!(PLAN.percentile(&two, |_| f64::NAN).is_err());
        assert!(PLAN.accelerated(&two, |u| u.len() as f64).is_ok());
        let bad = Bootstrap { level: 1.0, ..PLAN };
        assert!(bad.percentile(&two, |_| 0.0).is_err());
    }
}
