//! One green list for all windows (Zhao et al. 2024, "Provable Robust Watermarking for
//! AI-Generated Text").

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Dedup, Law, Reading, Scheme, derived, singly};
use crate::mark::How;
use crate::rng::Pcg64;
use crate::text::Unit;

/// The fixed list. What a token is does not change along a text, so each distinct token counts once.
#[derive(Debug, Clone)]
pub struct Unigram {
    mask: Arc<Vec<bool>>,
    share: f64,
    fraction: f64,
}

impl Unigram {
    /// The list under `key`, the share `fraction` of `vocabulary` green.
    pub fn new(key: i64, vocabulary: u32, fraction: f64) -> Self {
        Self::seeded(Self::seed(key), vocabulary, fraction)
    }

    /// The seed of the shuffle: the first four bytes, little-endian, of the SHA-256 of the key.
    pub(crate) fn seed(key: i64) -> u32 {
        let hash = Sha256::digest(key.to_le_bytes());
        u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    fn seeded(seed: u32, vocabulary: u32, fraction: f64) -> Self {
        let green = (fraction * f64::from(vocabulary)) as usize;
        let mut mask = vec![false; vocabulary as usize];
        mask[..green].fill(true);
        Pcg64::new(u64::from(seed)).shuffle(&mut mask);
        Self {
            mask: Arc::new(mask),
            share: green as f64 / f64::from(vocabulary),
            fraction,
        }
    }

    fn score(&self, token: u32) -> f64 {
        let green = self.mask.get(token as usize);
        f64::from(green.copied().unwrap_or(false))
    }

    /// Which tokens are green.
    pub fn mask(&self) -> &[bool] {
        &self.mask
    }
}

impl Scheme for Unigram {
    fn reading(&self) -> Reading {
        Reading::after(0, Dedup::Token)
    }

    fn vocabulary(&self) -> Option<u32> {
        Some(self.mask.len() as u32)
    }

    fn law(&self) -> Law {
        Law::Green { share: self.share }
    }

    fn scores(&self, _: &[u32], tokens: &[u32]) -> Vec<f64> {
        tokens.iter().map(|t| self.score(*t)).collect()
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        singly(units, |_, token| self.score(token))
    }

    fn how(&self) -> How {
        How::Green { late: false }
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        let vocabulary = self.mask.len() as u32;
        let key = derived(seed, 0) as i64;
        Box::new(Self::new(key, vocabulary, self.fraction))
    }
}
