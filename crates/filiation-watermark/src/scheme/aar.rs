//! The table of "On the Learnability of Watermarks" (Gu et al. 2024): one uniform for each pair of
//! a sum of tokens and a token.

use super::{Dedup, Draw, Law, Reading, Scheme, derived};
use crate::mark::How;
use crate::rng::Mersenne;

/// Exponential scores from one long stream of `torch.rand`, read row by row.
#[derive(Debug, Clone)]
pub struct Aar {
    seed: u64,
    width: usize,
    vocabulary: u32,
}

impl Aar {
    /// The table of `seed` (42 in the study), windows of `width` tokens.
    pub const fn new(seed: u64, width: usize, vocabulary: u32) -> Self {
        Self {
            seed,
            width,
            vocabulary,
        }
    }
}

impl Scheme for Aar {
    fn reading(&self) -> Reading {
        Reading::after(self.width, Dedup::Window)
    }

    fn vocabulary(&self) -> Option<u32> {
        Some(self.vocabulary)
    }

    fn law(&self) -> Law {
        Law::Exponential
    }

    fn draw(&self, window: &[u32], _: u32) -> Draw {
        Draw::Shared(window.iter().map(|t| u64::from(*t)).sum())
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        let row: u64 = window.iter().map(|t| u64::from(*t)).sum();
        let mut order: Vec<usize> = (0..tokens.len()).collect();
        order.sort_by_key(|&i| tokens[i]);
        let mut scores = vec![0.0; tokens.len()];
        let mut rng = Mersenne::new(self.seed);
        rng.skip(row * u64::from(self.vocabulary));
        let (mut at, mut last) = (0, 0.0);
        for i in order {
            let token = u64::from(tokens[i]);
            if token >= at {
                rng.skip(token - at);
                last = score(rng.next_f32());
                at = token + 1;
            }
            scores[i] = last;
        }
        scores
    }

    fn how(&self) -> How {
        How::Gumbel
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        Box::new(Self {
            seed: derived(seed, 0) >> 32,
            ..self.clone()
        })
    }
}

// The reference holds u to at least 1e-20 before the logarithm of 1 − u, which is then 0.
fn score(u: f32) -> f64 {
    f64::from(-(1.0 - u).ln())
}
