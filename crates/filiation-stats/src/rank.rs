//! Rank correlation.

use std::f64::consts::LN_10;

use crate::StatsError;
use crate::error::{require_finite, require_least};
use crate::gamma::ln_gamma;
use crate::tails::student_t_at_least;

/// Up to here all n! orders are walked through.
const MOST_ENUMERATED: usize = 8;

/// How the p-value of a rank correlation was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankMethod {
    /// All orders were counted, ties included.
    Exact,
    /// Student's t with n − 2 degrees of freedom, never below 2/n! where there are no ties.
    StudentT,
}

/// Spearman's rank correlation with its two-sided p-value under independence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spearman {
    /// Correlation of the average ranks, in [−1, 1].
    pub rho: f64,
    /// log10 of the two-sided p-value.
    pub log10_p: f64,
    /// How the p-value was found.
    pub method: RankMethod,
}

/// Ranks from 1; equal values share the mean of their ranks.
///
/// # Errors
/// [`StatsError::NotFinite`].
pub fn average_ranks(values: &[f64]) -> Result<Vec<f64>, StatsError> {
    require_finite("values", values)?;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        let shared = (start + end + 1) as f64 / 2.0;
        for &i in &order[start..end] {
            ranks[i] = shared;
        }
        start = end;
    }
    Ok(ranks)
}

/// Spearman's rank correlation of paired values.
///
/// # Errors
/// [`StatsError`] for fewer than three pairs, other lengths, values that are not finite, or a
/// constant side.
pub fn spearman(x: &[f64], y: &[f64]) -> Result<Spearman, StatsError> {
    if x.len() != y.len() {
        return Err(StatsError::Length {
            name: "y",
            got: y.len(),
            expected: x.len(),
        });
    }
    require_least("x", x.len(), 3)?;
    let (rx, ry) = (centred_ranks(x, "x")?, centred_ranks(y, "y")?);
    let scale = (squares(&rx) * squares(&ry)).sqrt();
    let rho = (dot(&rx, &ry) / scale).clamp(-1.0, 1.0);
    if x.len() <= MOST_ENUMERATED {
        return Ok(Spearman {
            rho,
            log10_p: exact_log10_p(&rx, &ry),
            method: RankMethod::Exact,
        });
    }
    let degrees = x.len() as f64 - 2.0;
    let t = rho.abs() * (degrees / ((1.0 - rho) * (1.0 + rho))).sqrt();
    let tail = student_t_at_least(t, degrees)? + 2.0_f64.log10();
    // Of n! equally likely orders at least two are as extreme as ±1.
    let least = 2.0_f64.log10() - ln_gamma(x.len() as f64 + 1.0) / LN_10;
    let no_ties = distinct(&rx) && distinct(&ry);
    Ok(Spearman {
        rho,
        log10_p: if no_ties || t.is_infinite() {
            tail.max(least)
        } else {
            tail
        }
        .min(0.0),
        method: RankMethod::StudentT,
    })
}

fn centred_ranks(values: &[f64], name: &'static str) -> Result<Vec<f64>, StatsError> {
    require_finite(name, values)?;
    let mean = (values.len() as f64 + 1.0) / 2.0;
    let ranks: Vec<f64> = average_ranks(values)?.iter().map(|r| r - mean).collect();
    if squares(&ranks) == 0.0 {
        return Err(StatsError::Constant { name });
    }
    Ok(ranks)
}

fn distinct(ranks: &[f64]) -> bool {
    let mut sorted = ranks.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.windows(2).all(|w| w[0] != w[1])
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| a * b).sum()
}

fn squares(x: &[f64]) -> f64 {
    dot(x, x)
}

fn exact_log10_p(x: &[f64], y: &[f64]) -> f64 {
    // Sums of products of half-integers are exact, up to the order of terms: none.
    let observed = dot(x, y).abs();
    let mut tally = Tally {
        observed,
        hits: 0,
        all: 0,
    };
    tally.walk(x, &mut y.to_vec(), 0, 0.0);
    (tally.hits as f64 / tally.all as f64).log10()
}

struct Tally {
    observed: f64,
    hits: u64,
    all: u64,
}

impl Tally {
    fn walk(&mut self, x: &[f64], y: &mut [f64], fixed: usize, sum: f64) {
        if fixed == x.len() {
            self.all += 1;
            self.hits += u64::from(sum.abs() >= self.observed);
            return;
        }
        for i in fixed..y.len() {
            y.swap(fixed, i);
            self.walk(x, y, fixed + 1, sum + x[fixed] * y[fixed]);
            y.swap(fixed, i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scipy_where_there_are_ties() {
        let x = [1.0, 2.5, 3.0, 4.0, 4.0, 6.0, 7.0, 9.0, 9.5, 11.0, 12.0, 2.0];
        let y = [2.0, 1.0, 4.0, 3.0, 6.0, 5.0, 8.0, 8.0, 7.0, 13.0, 11.0, 0.5];
        let s = spearman(&x, &y).expect("both vary");
        assert!((s.rho - 0.926_315_789_473_684_2).abs() < 1e-15);
        assert!((s.log10_p - -4.820_972_553_852_705).abs() < 1e-12);
        assert_eq!(s.method, RankMethod::StudentT);
    }

    #[test]
    fn counts_all_orders_of_small_samples() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let s = spearman(&x, &[2.0, 1.0, 4.0, 3.0, 6.0, 5.0]).expect("both vary");
        assert_eq!(s.method, RankMethod::Exact);
        assert!((10_f64.powf(s.log10_p) - 0.058_333_333_333_333_334).abs() < 1e-15);
    }

    #[test]
    fn a_perfect_order_is_one_of_two_in_all() {
        let x: Vec<f64> = (0..300).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|v| -v * v).collect();
        let s = spearman(&x, &y).expect("both vary");
        assert_eq!(s.rho, -1.0);
        let ln_factorial: f64 = (1..=300).map(|k| f64::from(k).ln()).sum();
        let want = (2.0_f64.ln() - ln_factorial) / LN_10;
        assert!((s.log10_p - want).abs() < 1e-9, "{} {want}", s.log10_p);
    }

    #[test]
    fn refuses_what_has_no_correlation() {
        let x = [1.0, 2.0, 3.0];
        assert_eq!(
            spearman(&x, &[4.0; 3]),
            Err(StatsError::Constant { name: "y" })
        );
        assert!(spearman(&x, &[1.0, f64::NAN, 2.0]).is_err());
        assert!(spearman(&x, &x[..2]).is_err());
        assert!(spearman(&x[..2], &x[..2]).is_err());
    }
}
