//! The exponential scheme of "Robust Distortion-free Watermarks for Language Models"
//! (Kuditipudi et al. 2024) without edits: a key sequence laid along the text at an unknown offset.

use filiation_stats::tails;

use crate::WatermarkError;
use crate::rng::Mersenne;

/// A key sequence of `length` uniforms for each token of the vocabulary.
#[derive(Debug, Clone)]
pub struct ExpShift {
    seed: u64,
    length: usize,
    vocabulary: u32,
}

/// What the best offset shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shifted {
    /// The offset.
    pub offset: usize,
    /// Sum of −ln(1 − ξ) along the text at that offset.
    pub sum: f64,
    /// Tokens scored.
    pub scored: u64,
    /// log10 of the bound on p: the tail at the best offset times the offsets tried.
    pub log10_p: f64,
}

impl ExpShift {
    /// The sequence of `torch.rand((length, vocabulary))` seeded by `seed`.
    pub const fn new(seed: u64, length: usize, vocabulary: u32) -> Self {
        Self {
            seed,
            length,
            vocabulary,
        }
    }

    /// The best offset for `tokens`, the sequence taken cyclically.
    ///
    /// At each offset the sum is Gamma(n, 1) under the null if no place of the sequence meets the
    /// same token twice; so of each (place, token) only the first counts. By the union bound
    /// p ≤ offsets · Q(n, sum), far below what any number of permutations could show.
    ///
    /// # Errors
    /// [`WatermarkError::Token`] for an id outside the vocabulary, [`WatermarkError::TooShort`] for
    /// no token.
    pub fn detect(&self, tokens: &[u32]) -> Result<Shifted, WatermarkError> {
        crate::text::check_vocabulary(tokens, Some(self.vocabulary))?;
        if tokens.is_empty() {
            return Err(WatermarkError::TooShort { found: 0, least: 1 });
        }
        let columns = self.columns(tokens);
        let mut distinct = tokens.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let place_of: Vec<usize> = tokens
            .iter()
            .map(|t| distinct.partition_point(|d| d < t))
            .collect();
        let at = |offset: usize| {
            let mut met = vec![false; self.length * distinct.len()];
            let mut sum = 0.0;
            let mut scored = 0_u64;
            for (i, column) in place_of.iter().enumerate() {
                let row = (i + offset) % self.length;
                let cell = row * distinct.len() + column;
                if !std::mem::replace(&mut met[cell], true) {
                    sum += columns[cell];
                    scored += 1;
                }
            }
            (sum, scored)
        };
        let offsets = (self.length as f64).log10();
        let tails = (0..self.length).map(|offset| {
            let (sum, scored) = at(offset);
            let tail = tails::gamma_at_least(sum, scored as f64)?;
            Ok(Shifted {
                offset,
                sum,
                scored,
                log10_p: (tail + offsets).min(0.0),
            })
        });
        let all = tails.collect::<Result<Vec<_>, WatermarkError>>()?;
        let best = all.into_iter().min_by(|a, b| {
            a.log10_p
                .total_cmp(&b.log10_p)
                .then(a.offset.cmp(&b.offset))
        });
        best.ok_or(WatermarkError::TooShort { found: 0, least: 1 })
    }

    // The scores of the tokens that occur, row by row, in the order of their ids.
    fn columns(&self, tokens: &[u32]) -> Vec<f64> {
        let mut distinct = tokens.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let mut rng = Mersenne::new(self.seed);
        let mut columns = Vec::with_capacity(self.length * distinct.len());
        for _ in 0..self.length {
            let mut at = 0;
            for token in &distinct {
                rng.skip(u64::from(token - at));
                columns.push(f64::from(-(1.0 - rng.next_f32()).ln()));
                at = token + 1;
            }
            rng.skip(u64::from(self.vocabulary - at));
        }
        columns
    }
}
