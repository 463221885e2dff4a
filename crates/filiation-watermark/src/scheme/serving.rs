//! The watermarks that serving engines offer: vLLM (from 0.30) and SGLang (from 0.5.23). Both draw
//! the token by the Gumbel-max rule from uniforms keyed by the last tokens.

use sha2::{Digest, Sha256};

use super::{Dedup, Law, Reading, Scheme, derived, singly};
use crate::mark::{How, Memory};
use crate::rng::{murmur3_words, philox4x32_10};
use crate::text::Unit;

/// Distinct windows of an answer that SGLang marks.
const MARKED: usize = 4096;
/// Where a window reaches before the text.
const NOTHING: u32 = u32::MAX;

/// vLLM's `philox4x32-10-v1`, single key or dual.
#[derive(Debug, Clone)]
pub struct VLlm {
    keys: [u64; 2],
    alpha: Option<f64>,
    width: usize,
}

impl VLlm {
    /// Algorithm `gumbel` under `key`, windows of `width` tokens (4 where nothing is said).
    pub const fn new(key: u64, width: usize) -> Self {
        Self {
            keys: [key, key],
            alpha: None,
            width,
        }
    }

    /// Algorithm `dual_key_gumbel`: the second key was used at a share `alpha` of positions, which
    /// ones is not known.
    pub fn dual(key: u64, alpha: f64, width: usize) -> Self {
        let part = |label: &[u8]| {
            let hash = Sha256::new()
                .chain_update(label)
                .chain_update(key.to_be_bytes())
                .finalize();
            let mut head = [0; 8];
            head.copy_from_slice(&hash[..8]);
            u64::from_be_bytes(head)
        };
        Self {
            keys: [part(b"key_a"), part(b"key_b")],
            alpha: Some(alpha),
            width,
        }
    }

    #[cfg(test)]
    pub(crate) const fn first_key(&self) -> u64 {
        self.keys[0]
    }

    /// The uniform of `token` after `window` under key `which`, in (0, 1).
    pub(crate) fn uniform(&self, which: usize, window: &[u32], token: u32) -> f64 {
        let (lo, hi) = (self.keys[which] as u32, (self.keys[which] >> 32) as u32);
        let mut state = [0x574d_4358, window.len() as u32, 0, 0];
        for (block, words) in window.chunks(4).enumerate() {
            let offset = 4 * block as u32;
            for (i, word) in state.iter_mut().enumerate() {
                *word ^= words.get(i).copied().unwrap_or(NOTHING - i as u32);
            }
            state = philox4x32_10(state, [lo ^ offset, hi]);
        }
        let counter = [token >> 2, state[0], state[1], state[2]];
        let out = philox4x32_10(counter, [lo ^ state[3], hi ^ 0x574d_544b]);
        let bits = out[(token & 3) as usize] >> 8;
        f64::from((f64::from(bits + 1) / 16_777_217.0) as f32)
    }

    fn score(&self, window: &[u32], token: u32) -> f64 {
        let under = |which| -(-self.uniform(which, window, token)).ln_1p();
        match self.alpha {
            None => under(0),
            Some(alpha) => (1.0 - alpha) * under(0) + alpha * under(1),
        }
    }
}

impl Scheme for VLlm {
    fn reading(&self) -> Reading {
        Reading {
            first: 0,
            pad: Some(NOTHING),
            ..Reading::after(self.width, Dedup::Window)
        }
    }

    fn vocabulary(&self) -> Option<u32> {
        None
    }

    fn law(&self) -> Law {
        self.alpha
            .map_or(Law::Exponential, |alpha| Law::TwoExponentials { alpha })
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        tokens.iter().map(|t| self.score(window, *t)).collect()
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        singly(units, |window, token| self.score(window, token))
    }

    fn how(&self) -> How {
        How::Gumbel
    }

    fn memory(&self) -> Memory {
        Memory::First(usize::MAX)
    }

    fn second_key(&self) -> Option<f64> {
        self.alpha
    }

    fn all_under(&self, window: &[u32], vocabulary: u32, second: bool) -> Vec<f64> {
        let which = usize::from(second);
        let score = |token| -(-self.uniform(which, window, token)).ln_1p();
        (0..vocabulary).map(score).collect()
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        let key = derived(seed, 0);
        Box::new(match self.alpha {
            Some(alpha) => Self::dual(key, alpha, self.width),
            None => Self::new(key, self.width),
        })
    }
}

/// SGLang's MurmurHash3 uniforms, in (0, 1).
fn murmur_uniform(key: u64, context: u32, token: u32) -> f64 {
    let hash = murmur3_words(&[key as u32, (key >> 32) as u32, context, token]);
    (f64::from(hash) + 0.5) / 4_294_967_296.0
}

/// SGLang, single key or dual.
#[derive(Debug, Clone)]
pub struct SgLang {
    key: u64,
    /// The second key, and the share of windows under the first.
    second: Option<(u64, f64)>,
    width: usize,
}

impl SgLang {
    /// Under `key`, windows of `width` tokens. Windows reach into the prompt: without it the first
    /// `width` tokens cannot be scored.
    pub const fn new(key: u64, width: usize) -> Self {
        Self {
            key,
            second: None,
            width,
        }
    }

    /// With two keys: a coin that the window tosses says which one marks a token. The first marks the
    /// share `share` of windows, the second the rest.
    pub const fn dual(first: u64, second: u64, share: f64, width: usize) -> Self {
        Self {
            key: first,
            second: Some((second, share)),
            width,
        }
    }

    fn key(&self, context: u32) -> u64 {
        let a = self.key;
        let Some((b, share)) = self.second else {
            return a;
        };
        let coin = murmur3_words(&[
            a as u32,
            (a >> 32) as u32,
            b as u32,
            (b >> 32) as u32,
            context,
        ]);
        let first = u64::from(coin) < (share * 4_294_967_296.0).floor() as u64;
        if first { a } else { b }
    }

    fn score(&self, window: &[u32], token: u32) -> f64 {
        let context = murmur3_words(window);
        -(-murmur_uniform(self.key(context), context, token)).ln_1p()
    }
}

impl Scheme for SgLang {
    fn reading(&self) -> Reading {
        sglang_reading(self.width)
    }

    fn vocabulary(&self) -> Option<u32> {
        None
    }

    fn law(&self) -> Law {
        Law::Exponential
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        tokens.iter().map(|t| self.score(window, *t)).collect()
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        singly(units, |window, token| self.score(window, token))
    }

    fn how(&self) -> How {
        How::Gumbel
    }

    fn memory(&self) -> Memory {
        Memory::First(MARKED)
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        Box::new(Self {
            key: derived(seed, 0),
            second: self.second.map(|(_, share)| (derived(seed, 1), share)),
            width: self.width,
        })
    }
}

const fn sglang_reading(width: usize) -> Reading {
    Reading {
        short_after_prompt: true,
        ..Reading::after(width, Dedup::Window)
    }
}
