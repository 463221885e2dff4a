//! The schemes of "Three Bricks to Consolidate Watermarks for LLMs" (Fernandez et al. 2023) and of
//! the studies of radioactivity built on it: one hash, green lists or exponential scores.

use super::{Dedup, Law, Reading, Scheme, derived, green, grouped, listed};
use crate::mark::How;
use crate::rng::{First, Mersenne, randperm};
use crate::text::Unit;

const MODULUS: u128 = (1 << 64) - 1;

/// Seeded by s ← (s · salt + t) mod 2⁶⁴ − 1 over the window, oldest first.
#[derive(Debug, Clone)]
pub struct ThreeBricks {
    seed: u64,
    salt: u64,
    width: usize,
    vocabulary: u32,
    /// Green tokens (Maryland); `None` for exponential scores (OpenAI).
    green: Option<First>,
    /// The list of user m is the base list shifted by m.
    shift: u32,
}

impl ThreeBricks {
    /// The salt that the implementation uses everywhere.
    pub const SALT: u64 = 35_317;

    /// Green lists, the share `gamma` green.
    pub fn maryland(seed: u64, width: usize, vocabulary: u32, gamma: f64) -> Self {
        Self {
            green: Some(First::new(
                vocabulary,
                (f64::from(vocabulary) * gamma) as u32,
            )),
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

    fn shifted(&self, token: u32) -> u32 {
        let shifted = u64::from(token) + u64::from(self.shift);
        (shifted % u64::from(self.vocabulary)) as u32
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
        match &self.green {
            Some(first) => Law::of_list(first.take(), self.vocabulary),
            None => Law::Exponential,
        }
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        let seed = self.window_seed(window);
        let tokens: Vec<u32> = tokens.iter().map(|t| self.shifted(*t)).collect();
        if let Some(first) = &self.green {
            return green(first.of(seed, &tokens));
        }
        let of = |token: &u32| {
            let mut rng = Mersenne::new(seed);
            rng.skip(u64::from(*token));
            f64::from(-(1.0 - rng.next_f32()).ln())
        };
        tokens.iter().map(of).collect()
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        let Some(first) = &self.green else {
            return grouped(units, |window, tokens| self.scores(window, tokens));
        };
        if self.shift == 0 {
            return green(listed(first, units, |window, _| self.window_seed(window)));
        }
        let seeds: Vec<u64> = units.iter().map(|u| self.window_seed(&u.window)).collect();
        let tokens: Vec<u32> = units.iter().map(|u| self.shifted(u.token)).collect();
        green(first.each(&seeds, &tokens))
    }

    fn all(&self, window: &[u32], vocabulary: u32) -> Vec<f64> {
        let seed = self.window_seed(window);
        let mut base = vec![0.0; self.vocabulary as usize];
        if let Some(first) = &self.green {
            for token in randperm(seed, self.vocabulary, first.take()) {
                base[token as usize] = 1.0;
            }
        } else {
            let mut rng = Mersenne::new(seed);
            base.fill_with(|| f64::from(-(1.0 - rng.next_f32()).ln()));
        }
        // Token t has the place t + shift. Beyond the key's vocabulary nothing is marked.
        base.rotate_left((self.shift % self.vocabulary) as usize);
        base.resize(vocabulary as usize, 0.0);
        base
    }

    fn how(&self) -> How {
        match &self.green {
            Some(_) => How::Green { late: false },
            None => How::Gumbel,
        }
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        Box::new(Self {
            seed: derived(seed, 0) >> 1,
            ..self.clone()
        })
    }
}
