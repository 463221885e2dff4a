//! Green tokens by a hash of window and token, without a permutation.

use super::{Dedup, Law, Reading, Scheme, derived, singly};
use crate::mark::How;
use crate::text::Unit;

/// The hash of the ADFP watermark over the last two tokens: a token is green where it falls below γ.
#[derive(Debug, Clone)]
pub struct Adfp {
    seed: i64,
    vocabulary: u32,
    gamma: f64,
}

impl Adfp {
    /// Under `seed`.
    pub const fn new(seed: i64, vocabulary: u32, gamma: f64) -> Self {
        Self {
            seed,
            vocabulary,
            gamma,
        }
    }

    fn uniform(&self, older: u32, newer: u32, token: u32) -> f64 {
        let times = |v: u32, by: i64| i64::from(v).wrapping_mul(by);
        let x = times(token, 6_364_136_223_846_793_005)
            ^ times(older, 1_442_695_040_888_963_407)
            ^ times(newer, 22_695_477)
            ^ self.seed;
        let x = (x ^ (x >> 30)).wrapping_mul(1_442_695_040_888_963_407);
        let x = (x ^ (x >> 27)).wrapping_mul(22_695_477);
        let x = (x ^ (x >> 31)) & i64::MAX;
        x as f64 / (1_u64 << 63) as f64
    }

    fn score(&self, window: &[u32], token: u32) -> f64 {
        f64::from(self.uniform(window[0], window[1], token) < self.gamma)
    }
}

impl Scheme for Adfp {
    fn reading(&self) -> Reading {
        Reading::after(2, Dedup::Window)
    }

    fn vocabulary(&self) -> Option<u32> {
        Some(self.vocabulary)
    }

    fn law(&self) -> Law {
        Law::Green { share: self.gamma }
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        tokens.iter().map(|t| self.score(window, *t)).collect()
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        singly(units, |window, token| self.score(window, token))
    }

    fn how(&self) -> How {
        How::Green { late: false }
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        Box::new(Self {
            seed: (derived(seed, 0) >> 1) as i64,
            ..self.clone()
        })
    }
}

/// The hash of `textseal` 0.0.5.
#[derive(Debug, Clone)]
pub struct TextSeal {
    key: i64,
    width: usize,
    vocabulary: u32,
    /// Share that is green; `None` for exponential scores.
    gamma: Option<f64>,
}

/// One factor a place of the window, oldest first.
const FACTORS: [i64; 10] = [
    10_000_019, 10_000_247, 10_000_439, 10_000_643, 10_000_747, 10_000_867, 10_000_993, 10_001_213,
    10_001_357, 10_001_501,
];
const BUCKETS: i64 = 8191;

impl TextSeal {
    /// Widest window that the hash has factors for.
    pub const WIDEST: usize = FACTORS.len();

    /// Green tokens under `key`, windows of `width` ≤ [`Self::WIDEST`] tokens.
    pub fn greenlist(key: i64, width: usize, vocabulary: u32, gamma: f64) -> Self {
        Self {
            gamma: Some(gamma),
            ..Self::gumbel(key, width, vocabulary)
        }
    }

    /// Exponential scores under `key`.
    pub fn gumbel(key: i64, width: usize, vocabulary: u32) -> Self {
        Self {
            key,
            width: width.min(Self::WIDEST),
            vocabulary,
            gamma: None,
        }
    }

    /// The hash, in 0..8191.
    pub(crate) fn hash(&self, window: &[u32], token: u32) -> u16 {
        let windowed = window
            .iter()
            .zip(FACTORS)
            .map(|(w, p)| i64::from(*w).wrapping_mul(p))
            .fold(0, i64::wrapping_add);
        let sum = windowed
            .wrapping_add(100_000_007_i64.wrapping_mul(i64::from(token)))
            .wrapping_add(500_001_713_i64.wrapping_mul(self.key));
        let h = sum.wrapping_mul(15_485_863).wrapping_mul(40_499);
        (h ^ (h >> 13)).rem_euclid(BUCKETS) as u16
    }

    fn score(&self, window: &[u32], token: u32) -> f64 {
        let u = f64::from(f32::from(self.hash(window, token)) / BUCKETS as f32);
        match self.gamma {
            Some(gamma) => f64::from(u < gamma),
            None => -(-u).ln_1p(),
        }
    }
}

impl Scheme for TextSeal {
    fn reading(&self) -> Reading {
        Reading {
            first: self.width + 1,
            ..Reading::after(
                self.width,
                if self.gamma.is_some() {
                    Dedup::WindowToken
                } else {
                    Dedup::Window
                },
            )
        }
    }

    fn vocabulary(&self) -> Option<u32> {
        Some(self.vocabulary)
    }

    fn law(&self) -> Law {
        // Of 8191 buckets, those with h/8191 < γ are green.
        let share = |gamma: f64| (gamma * BUCKETS as f64).ceil() / BUCKETS as f64;
        self.gamma.map_or(Law::Exponential, |gamma| Law::Green {
            share: share(gamma),
        })
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        tokens.iter().map(|t| self.score(window, *t)).collect()
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        singly(units, |window, token| self.score(window, token))
    }

    fn how(&self) -> How {
        match self.gamma {
            Some(_) => How::Green { late: false },
            None => How::Gumbel,
        }
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        // Neighbouring keys give lists that go together: decoys lie far apart.
        Box::new(Self {
            key: (derived(seed, 0) >> 33) as i64,
            ..self.clone()
        })
    }
}
