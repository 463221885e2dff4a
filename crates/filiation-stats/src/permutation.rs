//! Tests by re-randomisation.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::StatsError;
use crate::error::{require, require_finite, require_least};

/// Up to here all sign patterns are walked through.
const MOST_ENUMERATED: usize = 16;

/// A test that compares the observed statistic with re-randomised ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PermutationTest {
    /// The observed statistic.
    pub statistic: f64,
    /// Re-randomisations at least as large, the observed one left out.
    pub at_least: u64,
    /// Re-randomisations, the observed one left out.
    pub draws: u64,
    /// log10 of the one-sided p-value.
    pub log10_p: f64,
}

/// log10 of (1 + `at_least`)/(`draws` + 1): the p-value when `at_least` of `draws` exchangeable
/// null values reach the observed one. Valid at any number of draws, and never 0.
///
/// # Errors
/// [`StatsError::Domain`] when more reach it than were drawn.
pub fn log10_p_of_count(at_least: u64, draws: u64) -> Result<f64, StatsError> {
    require(
        at_least <= draws,
        "at_least",
        at_least as f64,
        "at most `draws`",
    )?;
    Ok((at_least as f64 + 1.0).log10() - (draws as f64 + 1.0).log10())
}

/// Tests that the mean of `values` is above zero, against their signs being exchangeable
/// (symmetry about zero): one-sided. Up to 16 values every sign pattern is counted; with more,
/// `draws` patterns are drawn under `seed`.
///
/// # Errors
/// [`StatsError`] for no values, values that are not finite, or no draws.
pub fn sign_flip(values: &[f64], draws: u32, seed: u64) -> Result<PermutationTest, StatsError> {
    require_least("values", values.len(), 1)?;
    require_finite("values", values)?;
    require(draws > 0, "draws", f64::from(draws), "at least 1")?;
    let n = values.len();
    let sum: f64 = values.iter().sum();
    // Sums in another order differ in the last bits; a tie must not be lost to that.
    let slack = 1e-12 * values.iter().map(|v| v.abs()).sum::<f64>();
    let flipped = |bits: &dyn Fn(usize) -> bool| {
        let total: f64 = values
            .iter()
            .enumerate()
            .map(|(i, v)| if bits(i) { -v } else { *v })
            .sum();
        u64::from(total >= sum - slack)
    };
    let (at_least, draws) = if n <= MOST_ENUMERATED {
        let patterns = 1_u64 << n;
        let hits = (1..patterns).map(|p| flipped(&|i| p >> i & 1 == 1)).sum();
        (hits, patterns - 1)
    } else {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut words = vec![0_u64; n.div_ceil(64)];
        let hits = (0..draws)
            .map(|_| {
                words.fill_with(|| rng.next_u64());
                flipped(&|i| words[i / 64] >> (i % 64) & 1 == 1)
            })
            .sum();
        (hits, u64::from(draws))
    };
    Ok(PermutationTest {
        statistic: sum / n as f64,
        at_least,
        draws,
        log10_p: log10_p_of_count(at_least, draws)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_pattern_of_a_small_sample() {
        // Of the 8 patterns of (1, 2, 4) only the observed sum reaches 7.
        let test = sign_flip(&[1.0, 2.0, 4.0], 1, 0).expect("three values");
        assert_eq!((test.at_least, test.draws), (0, 7));
        assert!((10_f64.powf(test.log10_p) - 0.125).abs() < 1e-15);
        // A zero has two signs: it doubles every count.
        let test = sign_flip(&[0.0, 2.0], 1, 0).expect("two values");
        assert!((10_f64.powf(test.log10_p) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn p_is_never_zero_and_depends_on_the_seed_alone() {
        let values: Vec<f64> = (0..40).map(|i| 1.0 + f64::from(i % 3)).collect();
        let test = sign_flip(&values, 999, 5).expect("forty values");
        assert!((test.log10_p - -3.0).abs() < 1e-12);
        assert_eq!(sign_flip(&values, 999, 5), Ok(test));
        assert!(sign_flip(&[], 9, 0).is_err());
        assert!(log10_p_of_count(4, 3).is_err());
    }
}
