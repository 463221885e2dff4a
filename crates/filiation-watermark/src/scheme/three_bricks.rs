//! The schemes of "Three Bricks to Consolidate Watermarks for LLMs" (Fernandez et al. 2023) and of
//! the studies of radioactivity built on it: one hash, green lists or exponential scores.

use super::{Dedup, Law, Reading, Scheme, derived, green};
use crate::rng::{Mersenne, among_first};

const MODULUS: u128 = (1 << 64) - 1;

/// Seeded by s ← (s · salt + t) mod 2⁶⁴ − 1 over the window, oldest first.
#[derive(Debug, Clone)]
pub struct ThreeBricks {
    seed: u64,
    salt: u64,
    width: usize,
    vocabulary: u32,
    /// Green tokens (Maryland); `None` for exponential scores (OpenAI).
    green: Option<u32>,
    /// The list of user m is the base list shifted by m.
    shift: u32,
}

impl ThreeBricks {
    /// The salt that the implementation uses everywhere.
    pub const SALT: u64 = 35_317;

    /// Green lists, the share `gamma` green.
    pub fn maryland(seed: u64, width: usize, vocabulary: u32, gamma: f64) -> Self {
        Self {
            green: Some((f64::from(vocabulary) * gamma) as u32),
            ..Self::openai(seed, width, vocabulary)
        }
    }

    /// Exponential scores (Aaronson and Kirchner).
    pub const fn openai(seed: u64, width: usize, vocabulary: u32) -> Self {
        Self {
            seed,
            salt: Self::SALT,
            width,
            vocabulary,
            green: None,
            shift: 0,
        }
    }

    /// The same for the user with payload `shift`.
    pub fn payload(self, shift: u32) -> Self {
        Self { shift, ..self }
    }

    fn window_seed(&self, window: &[u32]) -> u64 {
        window.iter().fold(u128::from(self.seed), |s, t| {
            (s * u128::from(self.salt) + u128::from(*t)) % MODULUS
        }) as u64
    }
}

impl Scheme for ThreeBricks {
    fn reading(&self) -> Reading {
        Reading {
            // One later than could be: what the implementation scores.
            first: self.width + 1,
            ..Reading::after(
                self.width,
                if self.green.is_some() {
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
        match self.green {
            Some(green) => Law::of_list(green, self.vocabulary),
            None => Law::Exponential,
        }
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        let seed = self.window_seed(window);
        let shifted =
            |t: &u32| ((u64::from(*t) + u64::from(self.shift)) % u64::from(self.vocabulary)) as u32;
        let tokens: Vec<u32> = tokens.iter().map(shifted).collect();
        if let Some(take) = self.green {
            return green(among_first(seed, self.vocabulary, take, &tokens));
        }
        let of = |token: &u32| {
            let mut rng = Mersenne::new(seed);
            rng.skip(u64::from(*token));
            f64::from(-(1.0 - rng.next_f32()).ln())
        };
        tokens.iter().map(of).collect()
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        Box::new(Self {
            seed: derived(seed, 0) >> 1,
            ..self.clone()
        })
    }
}
