//! The variants of MarkLLM (at commit 112fa74 where they differ from the published package).

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Dedup, Draw, Law, Reading, Scheme, derived, green, listed, of_list};
use crate::mark::{How, Memory};
use crate::rng::{First, Mersenne, randperm};
use crate::text::Unit;

/// Green lists seeded through a permutation of the vocabulary, so that there are at most as many
/// lists as tokens.
#[derive(Debug, Clone)]
pub struct MarkLlmKgw {
    key: u64,
    width: usize,
    vocabulary: u32,
    first: First,
    permutation: Arc<Vec<u32>>,
}

impl MarkLlmKgw {
    /// Windows enter by their product (`f_scheme = "time"`).
    pub fn new(key: u64, width: usize, vocabulary: u32, gamma: f64) -> Self {
        Self {
            key,
            width,
            vocabulary,
            first: First::new(vocabulary, (f64::from(vocabulary) * gamma) as u32),
            permutation: Arc::new(randperm(key, vocabulary, vocabulary)),
        }
    }
}

impl MarkLlmKgw {
    fn seed(&self, window: &[u32]) -> u64 {
        let through = self.permutation[product_modulo(window, self.vocabulary) as usize];
        let seed = u128::from(self.key) * u128::from(through) % u128::from(self.vocabulary);
        seed as u64
    }
}

// The product wraps at 64 bits, and its remainder is not negative.
fn product_modulo(window: &[u32], modulus: u32) -> u64 {
    let product = window
        .iter()
        .fold(1_i64, |p, t| p.wrapping_mul(i64::from(*t)));
    product.rem_euclid(i64::from(modulus)) as u64
}

impl Scheme for MarkLlmKgw {
    fn reading(&self) -> Reading {
        Reading::after(self.width, Dedup::WindowToken)
    }

    fn vocabulary(&self) -> Option<u32> {
        Some(self.vocabulary)
    }

    fn law(&self) -> Law {
        Law::of_list(self.first.take(), self.vocabulary)
    }

    fn draw(&self, window: &[u32], _: u32) -> Draw {
        Draw::Shared(self.seed(window))
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        green(self.first.of(self.seed(window), tokens))
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        green(listed(&self.first, units, |window, _| self.seed(window)))
    }

    fn all(&self, window: &[u32], vocabulary: u32) -> Vec<f64> {
        let list = randperm(self.seed(window), self.vocabulary, self.first.take());
        of_list(&list, vocabulary)
    }

    fn how(&self) -> How {
        How::Green { late: false }
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        let key = derived(seed, 0) >> 33 | 1;
        let permutation = Arc::new(randperm(key, self.vocabulary, self.vocabulary));
        Box::new(Self {
            key,
            permutation,
            ..self.clone()
        })
    }
}

/// Exponential scores, seeded by the product of the window.
#[derive(Debug, Clone)]
pub struct MarkLlmExp {
    key: u64,
    width: usize,
    vocabulary: u32,
}

impl MarkLlmExp {
    /// Under `key`, windows of `width` tokens (4 in the package).
    pub const fn new(key: u64, width: usize, vocabulary: u32) -> Self {
        Self {
            key,
            width,
            vocabulary,
        }
    }
}

impl Scheme for MarkLlmExp {
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
        match product_modulo(window, self.vocabulary) {
            // The key times 0.
            0 => Draw::Keyless,
            product => Draw::Shared(product),
        }
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        let seed = self
            .key
            .wrapping_mul(product_modulo(window, self.vocabulary));
        let of = |token: &u32| {
            let mut rng = Mersenne::new(seed);
            rng.skip(u64::from(*token));
            f64::from((1.0 / (1.0 - rng.next_f32())).ln())
        };
        tokens.iter().map(of).collect()
    }

    fn all(&self, window: &[u32], vocabulary: u32) -> Vec<f64> {
        let product = product_modulo(window, self.vocabulary);
        let mut rng = Mersenne::new(self.key.wrapping_mul(product));
        let score = |id: u32| match id < self.vocabulary {
            true => f64::from((1.0 / (1.0 - rng.next_f32())).ln()),
            false => 0.0,
        };
        (0..vocabulary).map(score).collect()
    }

    fn how(&self) -> How {
        How::Gumbel
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        Box::new(Self {
            key: derived(seed, 0) >> 33 | 1,
            ..self.clone()
        })
    }
}

/// DiPmark (Wu et al. 2023): a token is green in the upper part of a keyed permutation.
#[derive(Debug, Clone)]
pub struct MarkLlmDip {
    key: Arc<Vec<u8>>,
    width: usize,
    vocabulary: u32,
    red: First,
}

impl MarkLlmDip {
    /// Under the bytes of `key`, windows of at most `width` tokens (shorter at the beginning), the
    /// lower share `gamma` of the permutation red.
    pub fn new(key: Vec<u8>, width: usize, vocabulary: u32, gamma: f64) -> Self {
        let quantile = |place: u32| f64::from(place + 1) / f64::from(vocabulary);
        let red = (0..vocabulary).take_while(|place| quantile(*place) < gamma);
        Self {
            key: Arc::new(key),
            width,
            vocabulary,
            red: First::new(vocabulary, red.count() as u32),
        }
    }

    fn seed(&self, window: &[u32]) -> u64 {
        let mut hash = Sha256::new();
        window
            .iter()
            .for_each(|t| hash.update(i64::from(*t).to_le_bytes()));
        hash.update(&*self.key);
        let bytes = hash.finalize();
        let modulus = u64::from(u32::MAX);
        bytes
            .iter()
            .fold(0, |rest, b| (rest * 256 + u64::from(*b)) % modulus)
    }
}

impl Scheme for MarkLlmDip {
    fn reading(&self) -> Reading {
        Reading {
            first: 1,
            ..Reading::after(self.width, Dedup::Window)
        }
    }

    fn vocabulary(&self) -> Option<u32> {
        Some(self.vocabulary)
    }

    fn law(&self) -> Law {
        Law::Green {
            share: 1.0 - f64::from(self.red.take()) / f64::from(self.vocabulary),
        }
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        let red = self.red.of(self.seed(window), tokens);
        green(red.into_iter().map(|red| !red).collect())
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        let red = listed(&self.red, units, |window, _| self.seed(window));
        green(red.into_iter().map(|red| !red).collect())
    }

    fn how(&self) -> How {
        How::Reweight
    }

    fn memory(&self) -> Memory {
        Memory::First(usize::MAX)
    }

    fn permutation(&self, window: &[u32]) -> Vec<u32> {
        randperm(self.seed(window), self.vocabulary, self.vocabulary)
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        let words = (0..16).flat_map(|i| derived(seed, i).to_be_bytes());
        Box::new(Self {
            key: Arc::new(words.collect()),
            ..self.clone()
        })
    }
}
