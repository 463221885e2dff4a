//! Exact tails of sums of small uniform draws: what ranks add up to.

use std::collections::BTreeMap;
use std::f64::consts::LN_10;

use crate::StatsError;
use crate::error::require_least;
use crate::tails::ln_complement;

/// Tilted masses below this part of the largest are let go: far less than rounding.
const NEGLIGIBLE: f64 = 1e-40;

/// log10 P(Σ X ≥ `at_least`) for independent X, one a list, each uniform over the entries of its
/// list (an entry that stands twice counts twice). Rank sums, with as many ranks a unit as it has.
///
/// The distribution is convolved under exponential tilting, so that the masses around `at_least`
/// are of ordinary size and all terms are positive: exact to rounding far below the smallest
/// double.
///
/// # Errors
/// [`StatsError::TooFew`] for a list without entries.
pub fn uniform_sum_at_least(lists: &[Vec<u32>], at_least: u64) -> Result<f64, StatsError> {
    for list in lists {
        require_least("lists", list.len(), 1)?;
    }
    let total = |of: fn(&Vec<u32>) -> u32| lists.iter().map(|l| u64::from(of(l))).sum::<u64>();
    let most = total(|l| l.iter().copied().max().unwrap_or(0));
    let least = total(|l| l.iter().copied().min().unwrap_or(0));
    if at_least <= least {
        return Ok(0.0);
    }
    if at_least > most {
        return Ok(f64::NEG_INFINITY);
    }
    let mean: f64 = lists.iter().map(|l| Tilted::of(l, 0.0).mean).sum();
    if at_least as f64 > mean {
        return Ok(ln_tail(lists, at_least) / LN_10);
    }
    // Fewer than `at_least`: a tail of what is missing to the greatest.
    let turned: Vec<Vec<u32>> = lists
        .iter()
        .map(|list| {
            let top = list.iter().copied().max().unwrap_or(0);
            list.iter().map(|x| top - x).collect()
        })
        .collect();
    Ok(ln_complement(ln_tail(&turned, most - at_least + 1)) / LN_10)
}

/// A list under weights e^{θx}.
struct Tilted {
    /// ln of the mean weight.
    ln_scale: f64,
    mean: f64,
}

impl Tilted {
    fn of(list: &[u32], theta: f64) -> Self {
        let top = list
            .iter()
            .map(|x| theta * f64::from(*x))
            .fold(f64::NEG_INFINITY, f64::max);
        let weight = |x: &u32| (theta * f64::from(*x) - top).exp();
        let sum: f64 = list.iter().map(weight).sum();
        let first: f64 = list.iter().map(|x| weight(x) * f64::from(*x)).sum();
        Self {
            ln_scale: top + (sum / list.len() as f64).ln(),
            mean: first / sum,
        }
    }
}

// `at_least` lies above the mean and at most at the greatest sum.
fn ln_tail(lists: &[Vec<u32>], at_least: u64) -> f64 {
    let mut kinds: BTreeMap<&[u32], f64> = BTreeMap::new();
    for list in lists {
        *kinds.entry(list).or_default() += 1.0;
    }
    let theta = tilt(&kinds, at_least as f64);
    let (first, masses) = convolved(lists, theta);
    let scales = kinds.iter().map(|(l, n)| n * Tilted::of(l, theta).ln_scale);
    let ln_scale: f64 = scales.sum();
    let tail: f64 = masses
        .iter()
        .enumerate()
        .map(|(i, mass)| {
            let beyond = (first + i as u64) as f64 - at_least as f64;
            if beyond < 0.0 {
                0.0
            } else {
                mass * (-theta * beyond).exp()
            }
        })
        .sum();
    ln_scale - theta * at_least as f64 + tail.ln()
}

// The tilt that puts the mean at `wanted`; where that is the greatest sum, one close to it.
fn tilt(kinds: &BTreeMap<&[u32], f64>, wanted: f64) -> f64 {
    let mean = |theta: f64| {
        let means = kinds.iter().map(|(l, n)| n * Tilted::of(l, theta).mean);
        means.sum::<f64>()
    };
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if mean(middle) < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The tilted masses of the sum and the sum that the first belongs to.
fn convolved(lists: &[Vec<u32>], theta: f64) -> (u64, Vec<f64>) {
    let (mut first, mut masses) = (0, vec![1.0]);
    for list in lists {
        let low = list.iter().copied().min().unwrap_or(0);
        let high = list.iter().copied().max().unwrap_or(0);
        let scale = Tilted::of(list, theta).ln_scale + (list.len() as f64).ln();
        let mut step = vec![0.0; (high - low) as usize + 1];
        for x in list {
            step[(x - low) as usize] += (theta * f64::from(*x) - scale).exp();
        }
        let mut next = vec![0.0; masses.len() + step.len() - 1];
        for (j, weight) in step.iter().enumerate().filter(|(_, w)| **w > 0.0) {
            for (to, mass) in next[j..].iter_mut().zip(&masses) {
                *to += weight * mass;
            }
        }
        first += u64::from(low) + trim(&mut next);
        masses = next;
    }
    (first, masses)
}

/// Lets go of negligible ends, and gives how many entries went in front.
fn trim(masses: &mut Vec<f64>) -> u64 {
    let floor = NEGLIGIBLE * masses.iter().copied().fold(0.0, f64::max);
    let kept = |m: &f64| *m > floor;
    masses.truncate(masses.iter().rposition(kept).map_or(0, |i| i + 1));
    let front = masses.iter().position(kept).unwrap_or(0);
    masses.drain(..front);
    front as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ways to each sum, counted in whole numbers.
    fn counted(lists: &[Vec<u32>]) -> Vec<u128> {
        lists.iter().fold(vec![1], |ways, list| {
            let top = *list.iter().max().expect("entries") as usize;
            let mut next = vec![0; ways.len() + top];
            for x in list {
                for (i, n) in ways.iter().enumerate() {
                    next[i + *x as usize] += n;
                }
            }
            next
        })
    }

    #[test]
    fn agrees_with_counting_in_whole_numbers() {
        let dice = vec![(1..=6).collect::<Vec<u32>>(); 20];
        let uneven = vec![vec![0, 0, 3], vec![7], (0..=9).collect(), vec![2, 5, 5, 5]];
        let ranks: Vec<Vec<u32>> = (1..12).map(|m| (0..=m).collect()).collect();
        for lists in [dice, uneven, ranks] {
            let ways = counted(&lists);
            let all: u128 = ways.iter().sum();
            for at_least in 0..=ways.len() {
                let above: u128 = ways.iter().skip(at_least).sum();
                let want = (above as f64 / all as f64).log10();
                let got = uniform_sum_at_least(&lists, at_least as u64).expect("lists");
                let close = (got - want).abs() < 1e-11 * want.abs().max(1.0);
                assert!(close || got == want, "{at_least}: {got}, {want}");
            }
        }
    }

    #[test]
    fn far_tails_keep_their_digits() {
        // 2,000 ranks among 10: references by exact rational arithmetic,
        // scripts/choices_reference.py.
        let lists = vec![(0..=9).collect::<Vec<u32>>(); 2000];
        for (at_least, want) in REFERENCE {
            let got = uniform_sum_at_least(&lists, at_least).expect("lists");
            assert!((got - want).abs() < 1e-9 * want.abs(), "{at_least}: {got}");
        }
        let all = uniform_sum_at_least(&lists, 18_000).expect("lists");
        assert!((all + 2000.0).abs() < 1e-8, "{all}");
    }

    const REFERENCE: [(u64, f64); 4] = [
        (8_000, -1.339_782_807_349_720_8e-15),
        (9_000, -0.299_683_373_719_186_24),
        (9_600, -5.820_808_465_252_006),
        (16_000, -798.639_346_243_424_6),
    ];

    #[test]
    fn an_empty_list_is_refused() {
        assert!(uniform_sum_at_least(&[vec![]], 1).is_err());
        assert_eq!(uniform_sum_at_least(&[], 0), Ok(0.0));
        assert_eq!(uniform_sum_at_least(&[], 1), Ok(f64::NEG_INFINITY));
    }
}
