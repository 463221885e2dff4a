//! SynthID-Text (Dathathri et al. 2024, Nature 634): `depth` bits a token, drawn by a keyed hash of
//! the last tokens and the token. Two hashes exist in public; they share nothing.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::{Dedup, Law, Reading, Scheme, derived, singly};
use crate::mark::{How, Memory};
use crate::rng::{Mersenne, lcg};
use crate::text::Unit;

/// Which hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynthIdHash {
    /// `transformers`, and `synthid-text` 0.2.1 as published: a table of 65 536 bits.
    Table,
    /// `synthid-text` at its head since June 2025: twelve steps of a generator.
    Steps,
}

/// The bits under one list of keys.
#[derive(Debug, Clone)]
pub struct SynthId {
    hash: SynthIdHash,
    keys: Arc<Vec<u64>>,
    ngram: usize,
    start: u64,
    vocabulary: Option<u32>,
}

impl SynthId {
    /// The bits of `keys` (one a layer) for n-grams of `ngram` tokens, the scored one counted.
    pub fn new(hash: SynthIdHash, keys: Vec<u64>, ngram: usize) -> Self {
        let start = match hash {
            SynthIdHash::Table => 1,
            SynthIdHash::Steps => start(&keys),
        };
        Self {
            hash,
            keys: Arc::new(keys),
            ngram,
            start,
            vocabulary: None,
        }
    }

    #[cfg(test)]
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    fn ones(&self, window: &[u32], token: u32) -> f64 {
        let hashed = window.iter().chain([&token]);
        let hashed = hashed.fold(self.start, |h, t| lcg(h, u64::from(*t)));
        let after = self.keys.iter().map(|key| lcg(hashed, *key));
        let ones: u32 = match self.hash {
            SynthIdHash::Table => {
                let table = table();
                after.map(|h| u32::from(table[(h & 0xffff) as usize])).sum()
            }
            SynthIdHash::Steps => after.map(|h| u32::from(stepped(h))).sum(),
        };
        f64::from(ones)
    }

    /// The bits of a token after its window, one a layer.
    pub fn bits(&self, window: &[u32], token: u32) -> impl Iterator<Item = bool> {
        let hashed = window
            .iter()
            .chain([&token])
            .fold(self.start, |h, t| lcg(h, u64::from(*t)));
        let hash = self.hash;
        self.keys.iter().map(move |key| {
            let h = lcg(hashed, *key);
            match hash {
                SynthIdHash::Table => table()[(h & 0xffff) as usize],
                SynthIdHash::Steps => stepped(h),
            }
        })
    }
}

/// SHA-256 of the keys, big-endian, modulo 2⁶³ − 1.
fn start(keys: &[u64]) -> u64 {
    let mut hash = Sha256::new();
    keys.iter().for_each(|key| hash.update(key.to_le_bytes()));
    let modulus = u128::from(u64::MAX >> 1);
    let bytes = hash.finalize();
    bytes
        .iter()
        .fold(0_u128, |rest, b| (rest * 256 + u128::from(*b)) % modulus) as u64
}

// Shifts keep the sign: a logical one changes two bits in five.
fn stepped(mut x: u64) -> bool {
    for _ in 0..12 {
        x = (lcg(x, 1) as i64 >> 5) as u64;
    }
    (x as i64 >> 30) & 1 == 1
}

fn table() -> &'static [bool] {
    static TABLE: OnceLock<Vec<bool>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut rng = Mersenne::new(0);
        (0..1 << 16).map(|_| rng.next_u32() % 2 == 1).collect()
    })
}

impl Scheme for SynthId {
    fn reading(&self) -> Reading {
        Reading::after(self.ngram - 1, Dedup::Window)
    }

    fn vocabulary(&self) -> Option<u32> {
        self.vocabulary
    }

    fn law(&self) -> Law {
        Law::Bits {
            depth: self.keys.len() as u32,
            one: match self.hash {
                // Ones in the table.
                SynthIdHash::Table => 32_743.0 / 65_536.0,
                SynthIdHash::Steps => 0.5,
            },
        }
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        tokens.iter().map(|t| self.ones(window, *t)).collect()
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        singly(units, |window, token| self.ones(window, token))
    }

    fn how(&self) -> How {
        How::Tournament
    }

    fn memory(&self) -> Memory {
        Memory::Last(1024)
    }

    fn layers(&self, window: &[u32], tokens: &[u32]) -> Vec<Vec<bool>> {
        let mut layers = vec![Vec::with_capacity(tokens.len()); self.keys.len()];
        for token in tokens {
            for (layer, bit) in layers.iter_mut().zip(self.bits(window, *token)) {
                layer.push(bit);
            }
        }
        layers
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        let keys = (0..self.keys.len() as u64).map(|i| derived(seed, i) >> 32);
        Box::new(Self::new(self.hash, keys.collect(), self.ngram))
    }
}
