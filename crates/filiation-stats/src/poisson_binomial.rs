//! How many of independent events of unequal probability happen.

use std::f64::consts::LN_10;

use crate::StatsError;
use crate::error::require;

/// log10 P(X ≥ k) for the number X of successes among independent trials of probabilities `p`:
/// exact, by the recursion over trials in log space.
///
/// # Errors
/// [`StatsError::Domain`] unless all are probabilities.
pub fn poisson_binomial_at_least(k: usize, p: &[f64]) -> Result<f64, StatsError> {
    for &p in p {
        require((0.0..=1.0).contains(&p), "p", p, "a probability")?;
    }
    if k == 0 {
        return Ok(0.0);
    }
    if k > p.len() {
        return Ok(f64::NEG_INFINITY);
    }
    // ln P(X = j) for j < k, and last ln P(X ≥ k): what reaches k stays there.
    let mut ln = vec![f64::NEG_INFINITY; k + 1];
    ln[0] = 0.0;
    for &p in p {
        let (yes, no) = (p.ln(), (-p).ln_1p());
        ln[k] = sum(ln[k], ln[k - 1] + yes);
        for j in (1..k).rev() {
            ln[j] = sum(ln[j] + no, ln[j - 1] + yes);
        }
        ln[0] += no;
    }
    // Near 1 the complement keeps the digits.
    let below = ln[..k].iter().copied().fold(f64::NEG_INFINITY, sum);
    let tail = if below < -1.0 {
        (-below.exp()).ln_1p()
    } else {
        ln[k]
    };
    Ok((tail / LN_10).min(0.0))
}

// ln(e^a + e^b)
fn sum(a: f64, b: f64) -> f64 {
    let (most, least) = if a > b { (a, b) } else { (b, a) };
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + (least - most).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tails::binomial_at_least;

    #[test]
    fn agrees_with_sixty_digits() {
        let few = [0.1, 0.2, 0.05, 0.4, 0.25];
        let many: Vec<f64> = (1..=40).map(|i| 0.01 * f64::from(i)).collect();
        let cases: [(usize, &[f64], f64); 5] = [
            (3, &few, -1.328_827_157_284_916_7),
            (1, &few, -0.159_768_405_041_891_09),
            (2, &[0.999, 0.99, 0.9], -0.000_481_465_066_879_606_04),
            (30, &many, -14.428_285_767_238_408),
            (200, &[1e-4; 300], -718.385_410_803_590_2),
        ];
        for (k, p, want) in cases {
            let got = poisson_binomial_at_least(k, p).expect("probabilities");
            assert!(
                (got - want).abs() < 1e-13 * want.abs().max(1e-2),
                "{got} {want}"
            );
        }
    }

    #[test]
    fn equal_probabilities_are_binomial() {
        for k in 0..=25 {
            let got = poisson_binomial_at_least(k, &[0.3; 25]).expect("probabilities");
            let want = binomial_at_least(k as u64, 25, 0.3).expect("a probability");
            assert!((got - want).abs() < 1e-12, "{k}: {got} {want}");
        }
    }

    #[test]
    fn the_certain_and_the_impossible() {
        assert_eq!(poisson_binomial_at_least(0, &[]), Ok(0.0));
        assert_eq!(poisson_binomial_at_least(1, &[]), Ok(f64::NEG_INFINITY));
        assert_eq!(poisson_binomial_at_least(2, &[1.0, 1.0]), Ok(0.0));
        assert_eq!(
            poisson_binomial_at_least(1, &[0.0, 0.0]),
            Ok(f64::NEG_INFINITY)
        );
        assert!(poisson_binomial_at_least(1, &[1.1]).is_err());
    }
}
