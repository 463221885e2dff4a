//! Intervals of a proportion.

use filiation_core::Interval;

use crate::StatsError;
use crate::error::require;
use crate::tails::{binomial_at_least, binomial_at_most};

/// The interval of Clopper and Pearson (1934) for `k` of `n`: its coverage is never less than
/// `level`, whatever the true proportion.
///
/// # Errors
/// [`StatsError`] for `n` = 0, `k` > `n` or a level outside (0, 1).
pub fn clopper_pearson(k: u64, n: u64, level: f64) -> Result<Interval, StatsError> {
    require(n > 0, "n", n as f64, "at least 1")?;
    require(k <= n, "k", k as f64, "at most n")?;
    let inside = level > 0.0 && level < 1.0;
    require(inside, "level", level, "a number in (0, 1)")?;
    let tail = (0.5 * (1.0 - level)).log10();
    // P(X ≥ k) rises with p and P(X ≤ k) falls.
    let lower = match k {
        0 => 0.0,
        _ => root(|p| Ok(binomial_at_least(k, n, p)? < tail))?,
    };
    let upper = if k == n {
        1.0
    } else {
        root(|p| Ok(binomial_at_most(k, n, p)? > tail))?
    };
    Ok(Interval {
        lower,
        upper,
        level,
    })
}

// Where `below` turns from true to false in (0, 1).
fn root(below: impl Fn(f64) -> Result<bool, StatsError>) -> Result<f64, StatsError> {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if below(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(0.5 * (low + high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_closed_forms_and_scipy() {
        let of = |k, n| clopper_pearson(k, n, 0.95).expect("k of n");
        // None of n: 1 − (α/2)^(1/n).
        let none = of(0, 110);
        assert_eq!(none.lower, 0.0);
        assert!((none.upper - (1.0 - 0.025_f64.powf(1.0 / 110.0))).abs() < 1e-12);
        let all = of(7, 7);
        assert_eq!(all.upper, 1.0);
        assert!((all.lower - 0.025_f64.powf(1.0 / 7.0)).abs() < 1e-12);
        // scipy.stats.binomtest(2, 100).proportion_ci(0.95, method="exact").
        let two = of(2, 100);
        assert!(
            (two.lower - 0.002_431_337_118).abs() < 1e-9,
            "{}",
            two.lower
        );
        assert!(
            (two.upper - 0.070_383_932_471_070_05).abs() < 1e-13,
            "{}",
            two.upper
        );
    }

    #[test]
    fn covers_at_least_as_often_as_it_says() {
        for p in [0.01, 0.05, 0.3] {
            let n = 40;
            let covered: f64 = (0..=n)
                .filter(|&k| {
                    let i = clopper_pearson(k, n, 0.9).expect("k of n");
                    i.lower <= p && p <= i.upper
                })
                .map(|k| {
                    let at_least = 10_f64.powf(binomial_at_least(k, n, p).expect("k of n"));
                    let more = match k == n {
                        true => 0.0,
                        false => 10_f64.powf(binomial_at_least(k + 1, n, p).expect("k of n")),
                    };
                    at_least - more
                })
                .sum();
            assert!(covered >= 0.9 - 1e-9, "{p}: {covered}");
        }
    }

    #[test]
    fn refuses_what_is_no_proportion() {
        assert!(clopper_pearson(0, 0, 0.95).is_err());
        assert!(clopper_pearson(3, 2, 0.95).is_err());
        assert!(clopper_pearson(1, 2, 1.0).is_err());
    }
}
