//! One exact p-value of all places, and an e-value.

use filiation_core::Abstention;
use filiation_stats::uniform_sum_at_least;

use super::places::Place;
use crate::contrast::undefined;

/// Weights are whole numbers of so many parts of a natural logarithm.
pub(super) const SCALE: u32 = 8;

/// Tilts of the e-value: from ranks a little better than chance to nearly always the first.
const TILTS: [f64; 6] = [0.125, 0.25, 0.5, 0.75, 1.0, 1.5];

/// What a rank of `decoys` + 1 weighs: ln of the p-value of one canary, negative, in whole parts.
/// Rounded, the weight is a statistic of its own with an exact law.
fn weight(rank: u32, decoys: u32) -> u32 {
    let ln = (f64::from(decoys) + 1.0).ln() - f64::from(rank).ln();
    (f64::from(SCALE) * ln).round() as u32
}

fn lists(places: &[Place]) -> Vec<Vec<u32>> {
    let list = |p: &Place| (1..=p.decoys + 1).map(|r| weight(r, p.decoys)).collect();
    places.iter().map(list).collect()
}

/// log10 of the probability that ranks as good as these, or better, come by lot: the sum of the
/// logarithms of (1 + #)/(R + 1) (Fisher 1932) against the same sum of independent ranks uniform on
/// 1 … R + 1, by convolution. A tie counts against the text, so that p is not too small.
pub(super) fn log10_p(places: &[Place]) -> Result<f64, Abstention> {
    let sum = places
        .iter()
        .map(|p| u64::from(weight(p.rank, p.decoys)))
        .sum();
    uniform_sum_at_least(&lists(places), sum).map_err(undefined)
}

/// log10 of a mixture of products of (R + 1) r^−θ / Σ s^−θ: of expectation 1 under the null, after
/// every canary.
pub(super) fn log10_e(places: &[Place]) -> f64 {
    let of = |tilt: f64| -> f64 {
        let factor = |p: &Place| {
            let all: f64 = (1..=p.decoys + 1).map(|s| f64::from(s).powf(-tilt)).sum();
            (f64::from(p.decoys + 1) / all).log10() - tilt * f64::from(p.rank).log10()
        };
        places.iter().map(factor).sum()
    };
    let all = TILTS.map(of);
    let top = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mean = all.iter().map(|l| 10_f64.powf(l - top)).sum::<f64>() / TILTS.len() as f64;
    top + mean.log10()
}

/// Smallest share of canaries that, first among their decoys while the others are placed by lot, a
/// test of `size` finds with probability `power`; `None` where not even all would do.
pub(super) fn smallest_share(places: &[Place], size: f64, power: f64) -> Option<f64> {
    let laws: Vec<Vec<f64>> = places.iter().map(law).collect();
    let null = Sum::of(&laws, 0.0);
    let critical = null.least_with(size)?;
    let found = |share: f64| Sum::of(&laws, share).at_least(critical) >= power;
    if !found(1.0) {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while high - low > 1e-3 {
        let middle = 0.5 * (low + high);
        if found(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

/// Probability of each weight of a canary placed by lot.
fn law(place: &Place) -> Vec<f64> {
    let mut law = vec![0.0; weight(1, place.decoys) as usize + 1];
    let each = 1.0 / f64::from(place.decoys + 1);
    for rank in 1..=place.decoys + 1 {
        law[weight(rank, place.decoys) as usize] += each;
    }
    law
}

/// The law of a sum of weights: masses from `first` on.
struct Sum {
    first: usize,
    masses: Vec<f64>,
}

impl Sum {
    /// Where each canary is first with probability `share`, and else placed by lot.
    fn of(laws: &[Vec<f64>], share: f64) -> Self {
        let (mut first, mut masses) = (0, vec![1.0]);
        for law in laws {
            let mut next = vec![0.0; masses.len() + law.len() - 1];
            let top = law.len() - 1;
            for (j, mass) in law.iter().enumerate() {
                let step = (1.0 - share) * mass + if j == top { share } else { 0.0 };
                for (to, mass) in next[j..].iter_mut().zip(&masses) {
                    *to += step * mass;
                }
            }
            // Far below what the sizes of tests can tell.
            let kept = |m: &f64| *m > 1e-18;
            next.truncate(next.iter().rposition(kept).map_or(0, |i| i + 1));
            let front = next.iter().position(kept).unwrap_or(0);
            first += front;
            masses = next.split_off(front);
        }
        Self { first, masses }
    }

    fn at_least(&self, sum: usize) -> f64 {
        let from = sum.saturating_sub(self.first).min(self.masses.len());
        self.masses[from..].iter().rev().sum()
    }

    /// The least sum that this probability or less lies at and beyond.
    fn least_with(&self, size: f64) -> Option<usize> {
        let end = self.first + self.masses.len();
        (self.first..end).find(|sum| self.at_least(*sum) <= size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(rank: u32, decoys: u32) -> Place {
        Place {
            rank,
            below: decoys + 1 - rank,
            decoys,
            repeats: 1,
        }
    }

    #[test]
    fn one_canary_has_the_p_of_its_rank() {
        for rank in [1, 2, 7, 50, 100] {
            let p = log10_p(&[place(rank, 99)]).expect("a rank");
            let own = (f64::from(rank) / 100.0).log10();
            // Neighbouring late ranks weigh the same: p is then that of the last of them.
            assert!(p >= own - 1e-12 && p < own + 0.08, "{rank}: {p}, {own}");
        }
        let all = log10_p(&[place(1, 999); 7]).expect("ranks");
        assert!((all + 21.0).abs() < 1e-9, "{all}");
    }

    #[test]
    fn the_p_of_two_canaries_is_counted() {
        // All 100 pairs of ranks among ten: as many as weigh at least as much.
        for a in 1..=10 {
            for b in 1..=10 {
                let sum = weight(a, 9) + weight(b, 9);
                let pairs = (1..=10).flat_map(|x| (1..=10).map(move |y| (x, y)));
                let count = pairs.filter(|(x, y)| weight(*x, 9) + weight(*y, 9) >= sum);
                let want = (count.count() as f64 / 100.0).log10();
                let got = log10_p(&[place(a, 9), place(b, 9)]).expect("ranks");
                assert!((got - want).abs() < 1e-12, "{a} {b}: {got}, {want}");
            }
        }
    }

    #[test]
    fn the_e_value_has_mean_one() {
        let mut sum = 0.0;
        for a in 1..=10 {
            for b in 1..=5 {
                sum += 10_f64.powf(log10_e(&[place(a, 9), place(b, 4)]));
            }
        }
        assert!((sum / 50.0 - 1.0).abs() < 1e-12, "{sum}");
        assert!(log10_e(&[place(1, 99); 20]) > 20.0);
    }

    #[test]
    fn the_smallest_share_shrinks_with_the_number_of_canaries() {
        let share = |n: usize| smallest_share(&vec![place(1, 99); n], 0.001, 0.9);
        // The best of one canary among 99 decoys comes once in a hundred.
        assert_eq!(share(1), None);
        let few = share(8).expect("a share");
        let many = share(64).expect("a share");
        assert!(few > many && many > 0.05 && many < 0.5, "{few} {many}");
    }

    #[test]
    fn the_law_of_the_sum_is_that_of_the_test() {
        let places: Vec<Place> = (1..30).map(|i| place(i % 7 + 1, 9 + i % 3)).collect();
        let laws: Vec<Vec<f64>> = places.iter().map(law).collect();
        let sum = places.iter().map(|p| weight(p.rank, p.decoys)).sum::<u32>();
        let tail = Sum::of(&laws, 0.0).at_least(sum as usize).log10();
        let exact = log10_p(&places).expect("ranks");
        assert!((tail - exact).abs() < 1e-9, "{tail} {exact}");
    }
}
