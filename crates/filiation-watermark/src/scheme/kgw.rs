//! Green lists by `torch.randperm` (Kirchenbauer et al. 2023, "A Watermark for Large Language
//! Models"; 2024, "On the Reliability of Watermarks"), as `lm-watermarking` and `transformers`
//! seed them.

use std::sync::{Arc, OnceLock};

use super::{Dedup, Draw, Law, Reading, Scheme, derived, green, listed, of_list};
use crate::mark::How;
use crate::rng::{First, randperm};
use crate::text::Unit;

const TABLE: u32 = 1_000_003;
/// The seed of the table in `lm-watermarking`.
const TABLE_SEED: u64 = 2_971_215_073;
const MODULUS: i128 = (1 << 64) - 1;

/// How a window becomes the seed of a list. Products and sums of tensors wrap at 64 bits; what the
/// reference multiplies as a Python number does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prf {
    /// key · Σ window.
    Additive,
    /// key · Π window.
    Multiplicative,
    /// key · min window.
    Minimum,
    /// Π hash(key · t) over every second t, from the oldest.
    SimpleSkip,
    /// hash(key · oldest).
    Skipgram,
    /// hash(key · oldest) · hash(key · newest).
    AnchoredSkipgram,
    /// min hash(key · t).
    MinHash,
    /// min key · hash(t) · hash(newest).
    AnchoredMinHash,
    /// min over pairs of hash(key · t) · hash(key · t′).
    MinSkipgram,
    /// key ← key · hash(key · t) mod 2³², token by token.
    NonCommutative,
    /// Σ key · t · place, places from 1.
    Position,
    /// key · newest, whatever the width: the left hash of `transformers`.
    Newest,
}

/// A green list drawn anew for every window.
#[derive(Debug, Clone)]
pub struct Kgw {
    prf: Prf,
    key: i64,
    width: usize,
    self_salt: bool,
    vocabulary: u32,
    first: First,
    table: Arc<Vec<u32>>,
    // The table of `transformers` is drawn from the key.
    own_table: bool,
    // `transformers` adds after temperature and nucleus.
    late: bool,
}

impl Kgw {
    /// A list of `lm-watermarking` over `vocabulary` tokens, of which the share `gamma` is green.
    /// With `self_salt` the token itself is the newest of its window of `width`.
    pub fn lm_watermarking(
        prf: Prf,
        width: usize,
        self_salt: bool,
        key: i64,
        vocabulary: u32,
        gamma: f64,
    ) -> Self {
        static SHARED: OnceLock<Arc<Vec<u32>>> = OnceLock::new();
        let table = SHARED.get_or_init(|| Arc::new(randperm(TABLE_SEED, TABLE, TABLE)));
        Self {
            prf,
            key,
            width,
            self_salt,
            vocabulary,
            first: First::new(vocabulary, (f64::from(vocabulary) * gamma) as u32),
            table: Arc::clone(table),
            own_table: false,
            late: false,
        }
    }

    /// `simple_1` of `lm-watermarking`, its first default.
    pub fn simple_1(key: i64, vocabulary: u32, gamma: f64) -> Self {
        Self::lm_watermarking(Prf::Additive, 1, false, key, vocabulary, gamma)
    }

    /// `selfhash` of `lm-watermarking`.
    pub fn selfhash(key: i64, vocabulary: u32, gamma: f64) -> Self {
        Self::lm_watermarking(Prf::AnchoredMinHash, 4, true, key, vocabulary, gamma)
    }

    /// The left hash of `transformers`: the newest token alone seeds, but `width` tokens tell
    /// windows apart.
    pub fn transformers_lefthash(width: usize, key: i64, vocabulary: u32, gamma: f64) -> Self {
        Self {
            late: true,
            ..Self::lm_watermarking(Prf::Newest, width, false, key, vocabulary, gamma)
        }
    }

    /// The self hash of `transformers`, whose table is drawn from the key.
    pub fn transformers_selfhash(width: usize, key: i64, vocabulary: u32, gamma: f64) -> Self {
        Self {
            table: Arc::new(randperm(key as u64, TABLE, TABLE)),
            own_table: true,
            late: true,
            ..Self::lm_watermarking(Prf::AnchoredMinHash, width, true, key, vocabulary, gamma)
        }
    }

    fn hash(&self, x: i64) -> i64 {
        i64::from(self.table[x.rem_euclid(i64::from(TABLE)) as usize]) + 1
    }

    /// The value of the pseudo-random function for a full window.
    pub(crate) fn prf(&self, window: &[u32]) -> i128 {
        let key = self.key;
        let of = |t: &u32| i64::from(*t);
        let keyed = |t: &u32| self.hash(key.wrapping_mul(of(t)));
        let wide = |x: i64| i128::from(key) * i128::from(x);
        let (oldest, newest) = (&window[0], &window[window.len() - 1]);
        let tokens = window.iter();
        match self.prf {
            Prf::Additive => wide(tokens.map(of).fold(0, i64::wrapping_add)),
            Prf::Multiplicative => wide(tokens.map(of).fold(1, i64::wrapping_mul)),
            Prf::Minimum => wide(tokens.map(of).min().unwrap_or(0)),
            Prf::Newest => wide(of(newest)),
            Prf::SimpleSkip => i128::from(tokens.step_by(2).map(keyed).fold(1, i64::wrapping_mul)),
            Prf::Skipgram => i128::from(keyed(oldest)),
            Prf::AnchoredSkipgram => i128::from(keyed(oldest).wrapping_mul(keyed(newest))),
            Prf::MinHash => i128::from(tokens.map(keyed).min().unwrap_or(0)),
            Prf::AnchoredMinHash => {
                let anchor = self.hash(of(newest));
                let pair = |t| key.wrapping_mul(self.hash(of(t))).wrapping_mul(anchor);
                i128::from(tokens.map(pair).min().unwrap_or(0))
            }
            Prf::MinSkipgram => {
                let hashes: Vec<i64> = tokens.map(keyed).collect();
                let pairs =
                    (0..hashes.len()).flat_map(|i| (i + 1..hashes.len()).map(move |j| (i, j)));
                let product = |(i, j): (usize, usize)| hashes[i].wrapping_mul(hashes[j]);
                i128::from(pairs.map(product).min().unwrap_or(0))
            }
            Prf::NonCommutative => {
                let step = |key: i64, t: &u32| {
                    let hashed = self.hash(key.wrapping_mul(of(t)));
                    key.wrapping_mul(hashed).rem_euclid(1 << 32)
                };
                i128::from(tokens.fold(key, step))
            }
            Prf::Position => {
                let places = tokens.zip(1_i64..);
                let placed = |(t, place): (&u32, i64)| key.wrapping_mul(of(t)).wrapping_mul(place);
                i128::from(places.map(placed).fold(0, i64::wrapping_add))
            }
        }
    }

    /// Whether the function depends on the key: a product with token 0 does not, nor does its hash.
    fn is_keyed(&self, window: &[u32]) -> bool {
        let zero = |t: &u32| *t == 0;
        let of = |t: &u32| i64::from(*t);
        let hash = |t: &u32| self.hash(self.key.wrapping_mul(of(t)));
        let tokens = window.iter();
        match self.prf {
            Prf::Additive => tokens.map(of).fold(0, i64::wrapping_add) != 0,
            Prf::Multiplicative => tokens.map(of).fold(1, i64::wrapping_mul) != 0,
            Prf::Minimum => !window.contains(&0),
            Prf::Newest => !window.last().is_none_or(zero),
            Prf::SimpleSkip => !tokens.step_by(2).all(zero),
            Prf::Skipgram => !window.first().is_none_or(zero),
            Prf::AnchoredSkipgram => !(zero(&window[0]) && window.last().is_none_or(zero)),
            Prf::MinHash => !tokens.min_by_key(|t| hash(t)).is_none_or(zero),
            // Only a product of two hashes of token 0 is without the key.
            Prf::MinSkipgram => {
                let least = self.prf(window);
                let none = i128::from(hash(&0).wrapping_mul(hash(&0)));
                !(tokens.filter(|t| zero(t)).count() >= 2 && least == none)
            }
            Prf::AnchoredMinHash | Prf::NonCommutative => true,
            Prf::Position => {
                let placed = tokens
                    .zip(1_i64..)
                    .map(|(t, place)| of(t).wrapping_mul(place));
                placed.fold(0, i64::wrapping_add) != 0
            }
        }
    }

    /// The seed of the list: the function's value modulo 2⁶⁴ − 1, never negative.
    pub(crate) fn seed(&self, window: &[u32]) -> u64 {
        self.prf(window).rem_euclid(MODULUS) as u64
    }

    fn seed_of(&self, window: &[u32], token: u32) -> u64 {
        if !self.self_salt {
            return self.seed(window);
        }
        let salted: Vec<u32> = window.iter().copied().chain([token]).collect();
        self.seed(&salted)
    }

    /// The green list after a full window, in the order of the permutation.
    pub fn green_list(&self, window: &[u32]) -> Vec<u32> {
        randperm(self.seed(window), self.vocabulary, self.first.take())
    }
}

impl Scheme for Kgw {
    fn reading(&self) -> Reading {
        let width = self.width - usize::from(self.self_salt);
        Reading::after(width, Dedup::WindowToken)
    }

    fn vocabulary(&self) -> Option<u32> {
        Some(self.vocabulary)
    }

    fn law(&self) -> Law {
        Law::of_list(self.first.take(), self.vocabulary)
    }

    fn draw(&self, window: &[u32], token: u32) -> Draw {
        let salted: Vec<u32>;
        let window = if self.self_salt {
            salted = window.iter().chain([&token]).copied().collect();
            &salted
        } else {
            window
        };
        if self.is_keyed(window) {
            // The generator takes no more of a seed.
            Draw::Shared(self.seed(window) & u64::from(u32::MAX))
        } else {
            Draw::Keyless
        }
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        if !self.self_salt {
            return green(self.first.of(self.seed(window), tokens));
        }
        let seeds: Vec<u64> = tokens.iter().map(|t| self.seed_of(window, *t)).collect();
        green(self.first.each(&seeds, tokens))
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        green(listed(&self.first, units, |w, t| self.seed_of(w, t)))
    }

    fn all(&self, window: &[u32], vocabulary: u32) -> Vec<f64> {
        of_list(&self.green_list(window), vocabulary)
    }

    fn how(&self) -> How {
        let late = self.late;
        match self.self_salt {
            true => How::SelfSalted { late },
            false => How::Green { late },
        }
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        // A large odd key, as the real ones are.
        let key = (derived(seed, 0) >> 33) as i64 | 1;
        let table = if self.own_table {
            Arc::new(randperm(key as u64, TABLE, TABLE))
        } else {
            Arc::clone(&self.table)
        };
        Box::new(Self {
            key,
            table,
            ..self.clone()
        })
    }
}
