//! Maximum mean discrepancy: whether two sources answer the same prompts alike.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::{require, require_least};
use crate::{PermutationTest, StatsError, log10_p_of_count};

/// Longest sequence: agreements are 16-bit numbers.
const MOST_LENGTH: usize = u16::MAX as usize;
/// Most answers to a prompt, of both sources: the kernel has the square of it.
const MOST_ANSWERS: usize = 1 << 14;

/// What two sources answered to one prompt, as sequences of tokens or of characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnswerPair {
    /// Of the first source.
    pub a: Vec<Vec<u32>>,
    /// Of the second.
    pub b: Vec<Vec<u32>>,
}

/// The characters of a text as a sequence.
pub fn code_points(text: &str) -> Vec<u32> {
    text.chars().map(u32::from).collect()
}

/// The unbiased MMD² of two sources under the Hamming kernel, with its permutation test.
///
/// k(x, y) is the share of the L places at which x and y agree, where L is the length of the longest
/// sequence and shorter ones are padded, so that k(x, x) = 1. For one prompt with answers x₁ … x_m and
/// y₁ … y_n, MMD² is the mean of k over pairs of different x, plus that over pairs of different y, less
/// twice that over pairs of x and y (Gretton et al. 2012, eq. 3); the statistic is its mean over prompts.
/// Its expectation is 0 where both sources are one, and at least 0 otherwise. It sees each place by
/// itself: two sources that differ only in how places go together are alike to it.
///
/// The kernel is built once. A permutation only sums other entries of it.
#[derive(Debug, Clone)]
pub struct HammingMmd {
    strata: Vec<Stratum>,
    length: f64,
    left_out: usize,
}

/// The answers to one prompt, those of the first source before those of the second.
#[derive(Debug, Clone)]
struct Stratum {
    /// Places at which two answers agree, row by row; 0 on the diagonal.
    kernel: Vec<u16>,
    rows: Vec<u64>,
    total: u64,
    first: usize,
}

impl HammingMmd {
    /// Compares all answers with each other. Prompts with fewer than two answers of either source say
    /// nothing and are left out.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] when no prompt is left, [`StatsError::Domain`] for a sequence of more than
    /// 65,535 places or a prompt with more than 16,384 answers.
    pub fn new(prompts: &[AnswerPair]) -> Result<Self, StatsError> {
        let enough = |p: &&AnswerPair| p.a.len() >= 2 && p.b.len() >= 2;
        let kept: Vec<&AnswerPair> = prompts.iter().filter(enough).collect();
        require_least("prompts", kept.len(), 1)?;
        let all = kept.iter().flat_map(|p| p.a.iter().chain(&p.b));
        let length = all.map(Vec::len).max().unwrap_or(0);
        let short = length <= MOST_LENGTH;
        require(short, "length", length as f64, "at most 65535")?;
        let most = kept.iter().map(|p| p.a.len() + p.b.len()).max();
        let most = most.unwrap_or(0);
        let few = most <= MOST_ANSWERS;
        require(few, "answers to a prompt", most as f64, "at most 16384")?;
        Ok(Self {
            strata: kept.iter().map(|p| Stratum::of(p, length)).collect(),
            // Nothing but empty answers: they agree at every place there is.
            length: length.max(1) as f64,
            left_out: prompts.len() - kept.len(),
        })
    }

    /// MMD², in [−2, 2]: the mean over prompts.
    pub fn value(&self) -> f64 {
        let each = self.strata.iter().map(Stratum::observed);
        each.sum::<f64>() / (self.length * self.strata.len() as f64)
    }

    /// Prompts that count.
    pub fn prompts(&self) -> usize {
        self.strata.len()
    }

    /// Prompts with fewer than two answers of a source.
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Tests that MMD² is above 0: one-sided, by `draws` permutations under `seed`.
    ///
    /// **Null hypothesis**: to each prompt both sources answer from one distribution, independently
    /// each time. Then the answers to a prompt may change sources freely, and only within the prompt: how
    /// many answers each source gave to it stays as it was. p = (1 + #)/(draws + 1) is valid at any number
    /// of draws, and never 0.
    ///
    /// # Errors
    /// [`StatsError::Domain`] without draws.
    pub fn test(&self, draws: u32, seed: u64) -> Result<PermutationTest, StatsError> {
        require(draws > 0, "draws", f64::from(draws), "at least 1")?;
        let observed: f64 = self.strata.iter().map(Stratum::observed).sum();
        // Means in another order differ in the last bits; a tie must not be lost to that.
        let least = observed - 1e-12 * self.length * self.strata.len() as f64;
        let drawn = (0..draws).into_par_iter().map_init(
            || Scratch::for_strata(&self.strata),
            |scratch, draw| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(u64::from(draw));
                let each = self.strata.iter();
                let sum: f64 = each.map(|s| s.permuted(&mut rng, scratch)).sum();
                u64::from(sum >= least)
            },
        );
        let at_least = drawn.sum();
        let draws = u64::from(draws);
        Ok(PermutationTest {
            statistic: self.value(),
            at_least,
            draws,
            log10_p: log10_p_of_count(at_least, draws)?,
        })
    }
}

struct Scratch {
    order: Vec<u32>,
    mask: Vec<u16>,
}

impl Scratch {
    fn for_strata(strata: &[Stratum]) -> Self {
        let most = strata.iter().map(|s| s.rows.len()).max().unwrap_or(0);
        Self {
            order: Vec::with_capacity(most),
            mask: Vec::with_capacity(most),
        }
    }
}

impl Stratum {
    fn of(pair: &AnswerPair, length: usize) -> Self {
        let all: Vec<&[u32]> = pair.a.iter().chain(&pair.b).map(Vec::as_slice).collect();
        let n = all.len();
        let mut kernel = vec![0_u16; n * n];
        kernel.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
            for (j, to) in row.iter_mut().enumerate().filter(|(j, _)| *j != i) {
                *to = agreements(all[i], all[j], length);
            }
        });
        let rows: Vec<u64> = kernel
            .chunks(n)
            .map(|row| row.iter().map(|k| u64::from(*k)).sum())
            .collect();
        Self {
            kernel,
            total: rows.iter().sum(),
            rows,
            first: pair.a.len(),
        }
    }

    fn observed(&self) -> f64 {
        let n = self.rows.len();
        let mask: Vec<u16> = (0..n).map(|i| mask(i < self.first)).collect();
        self.mmd(&mask)
    }

    // Draws who of all is taken for the first source: the head of a shuffle.
    fn permuted(&self, rng: &mut ChaCha8Rng, scratch: &mut Scratch) -> f64 {
        let n = self.rows.len();
        scratch.order.clear();
        scratch.order.extend(0..n as u32);
        scratch.mask.clear();
        scratch.mask.resize(n, mask(false));
        for i in 0..self.first {
            let pick = i + below(rng, (n - i) as u64) as usize;
            scratch.order.swap(i, pick);
            scratch.mask[scratch.order[i] as usize] = mask(true);
        }
        self.mmd(&scratch.mask)
    }

    /// L · MMD² when those in `mask` are the first source.
    fn mmd(&self, mask: &[u16]) -> f64 {
        let n = self.rows.len();
        let (mut within, mut rows) = (0_u64, 0_u64);
        for i in (0..n).filter(|&i| mask[i] != 0) {
            let row = &self.kernel[i * n..i * n + i];
            // At most 16,384 numbers of 16 bits.
            let sum: u32 = row.iter().zip(mask).map(|(k, m)| u32::from(k & m)).sum();
            within += 2 * u64::from(sum);
            rows += self.rows[i];
        }
        let across = rows - within;
        let other = self.total - within - 2 * across;
        let (a, b) = (self.first as f64, (n - self.first) as f64);
        within as f64 / (a * (a - 1.0)) + other as f64 / (b * (b - 1.0))
            - 2.0 * across as f64 / (a * b)
    }
}

const fn mask(taken: bool) -> u16 {
    if taken { u16::MAX } else { 0 }
}

fn agreements(x: &[u32], y: &[u32], length: usize) -> u16 {
    let same: u32 = x.iter().zip(y).map(|(a, b)| u32::from(a == b)).sum();
    (same as usize + length - x.len().max(y.len())) as u16
}

// Uniform below `n`, without bias: what would favour small numbers is drawn again. (Lemire 2019.)
fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    loop {
        let wide = u128::from(rng.next_u64()) * u128::from(n);
        if wide as u64 >= n.wrapping_neg() % n {
            return (wide >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> Vec<Vec<u32>> {
        all.iter().map(|t| code_points(t)).collect()
    }

    // The sample of scripts/mmd_reference.py.
    fn sample() -> Vec<AnswerPair> {
        vec![
            AnswerPair {
                a: texts(&["red", "blue", "red!", "rod"]),
                b: texts(&["green", "grey", "red", "gray"]),
            },
            AnswerPair {
                a: texts(&["one", "two", "", "one"]),
                b: texts(&["two", "twö", "ten", "one"]),
            },
        ]
    }

    fn small() -> Vec<AnswerPair> {
        let of = |a: &[&str], b: &[&str]| AnswerPair {
            a: texts(a),
            b: texts(b),
        };
        vec![
            of(&["abc", "abd", "abc"], &["xyz", "abz", "xbz"]),
            of(&["on", "of"], &["at", "an", "on", "it"]),
        ]
    }

    #[test]
    fn agrees_with_the_published_implementation() {
        // `mmd_hamming` of model-equality-testing 0.0.2, by scripts/mmd_reference.py.
        let mmd = HammingMmd::new(&sample()).expect("two prompts");
        assert!((mmd.value() - REFERENCE).abs() < 1e-14, "{}", mmd.value());
        assert_eq!((mmd.prompts(), mmd.left_out()), (2, 0));
    }

    const REFERENCE: f64 = 0.095_833_333_333_333_34;

    #[test]
    fn agrees_with_counting_every_permutation() {
        // Of 20 · 15 ways to deal the answers out: value and exact p by scripts/mmd_reference.py.
        let mmd = HammingMmd::new(&small()).expect("two prompts");
        assert!((mmd.value() - EXACT.0).abs() < 1e-14, "{}", mmd.value());
        let draws = 40_000;
        let test = mmd.test(draws, 3).expect("draws");
        let p = 10_f64.powf(test.log10_p);
        let noise = (EXACT.1 * (1.0 - EXACT.1) / f64::from(draws)).sqrt();
        assert!((p - EXACT.1).abs() < 4.0 * noise, "{p}");
    }

    const EXACT: (f64, f64) = (0.416_666_666_666_666_7, 0.04);

    #[test]
    fn p_is_never_zero_and_depends_on_the_seed_alone() {
        let far = AnswerPair {
            a: texts(&["aaaa"; 40]),
            b: texts(&["zzzz"; 40]),
        };
        let mmd = HammingMmd::new(std::slice::from_ref(&far)).expect("a prompt");
        assert_eq!(mmd.value(), 2.0);
        let test = mmd.test(99, 7).expect("draws");
        assert_eq!(test.at_least, 0);
        assert!((test.log10_p + 2.0).abs() < 1e-12);
        assert_eq!(mmd.test(99, 7), Ok(test));
        // Nothing to tell apart: every permutation ties.
        let same = AnswerPair {
            a: texts(&["", ""]),
            b: texts(&["", "", ""]),
        };
        let test = HammingMmd::new(&[same]).and_then(|m| m.test(9, 0));
        assert_eq!(test.expect("a prompt").log10_p, 0.0);
    }

    #[test]
    fn one_answer_to_a_prompt_says_nothing() {
        let lone = AnswerPair {
            a: texts(&["x"]),
            b: texts(&["x", "y"]),
        };
        let few = HammingMmd::new(std::slice::from_ref(&lone));
        assert!(matches!(few, Err(StatsError::TooFew { .. })));
        let mut prompts = sample();
        prompts.push(lone);
        let mmd = HammingMmd::new(&prompts).expect("two prompts");
        assert_eq!((mmd.prompts(), mmd.left_out()), (2, 1));
        assert!(mmd.test(0, 0).is_err());
        let long = AnswerPair {
            a: vec![vec![0; MOST_LENGTH + 1]; 2],
            b: vec![vec![0; 1]; 2],
        };
        assert!(HammingMmd::new(&[long]).is_err());
    }
}
