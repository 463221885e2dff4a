//! The schemes: what a key says of a token after its window.
//!
//! Every implementation is a scheme of its own: the same name means incompatible hashes in
//! different libraries. Scores of a scheme have a known law under the null hypothesis that the
//! tokens were chosen without the key.

mod aar;
mod hashed;
mod kgw;
mod markllm;
mod serving;
mod shifted;
mod synthid;
mod table;
mod three_bricks;
mod unigram;

#[cfg(test)]
mod goldens;

use rayon::prelude::*;

use crate::mark::{How, Memory};
use crate::rng::First;
use crate::text::Unit;

pub use aar::Aar;
pub use hashed::{Adfp, TextSeal};
pub use kgw::{Kgw, Prf};
pub use markllm::{MarkLlmDip, MarkLlmExp, MarkLlmKgw};
pub use serving::{SgLang, VLlm};
pub use shifted::{ExpShift, Shifted};
pub use synthid::{SynthId, SynthIdHash};
pub use table::{Listed, MOST_BYTES as MOST_TABLE_BYTES, Table};
pub use three_bricks::ThreeBricks;
pub use unigram::Unigram;

/// The law of one score under the null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// 1 with this probability, else 0: membership of a green list.
    Green {
        /// Share of the vocabulary that is green, as counted, not as asked for.
        share: f64,
    },
    /// Exponential of mean 1: −ln(1 − u) of a uniform u.
    Exponential,
    /// (1 − α) E + α E′ of two independent exponentials of mean 1.
    TwoExponentials {
        /// α, in (0, 1).
        alpha: f64,
    },
    /// The number of ones among `depth` bits.
    Bits {
        /// How many.
        depth: u32,
        /// Probability that a bit is one.
        one: f64,
    },
}

impl Law {
    /// Of a list of `green` out of `vocabulary` tokens.
    fn of_list(green: u32, vocabulary: u32) -> Self {
        Self::Green {
            share: f64::from(green) / f64::from(vocabulary),
        }
    }

    /// Mean of a score.
    pub fn mean(&self) -> f64 {
        match *self {
            Self::Green { share } => share,
            Self::Exponential | Self::TwoExponentials { .. } => 1.0,
            Self::Bits { depth, one } => f64::from(depth) * one,
        }
    }

    /// Variance of a score, bits taken as independent.
    pub fn variance(&self) -> f64 {
        match *self {
            Self::Green { share } => share * (1.0 - share),
            Self::Exponential => 1.0,
            Self::TwoExponentials { alpha } => (1.0 - alpha).powi(2) + alpha * alpha,
            Self::Bits { depth, one } => f64::from(depth) * one * (1.0 - one),
        }
    }
}

/// Which scored units count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dedup {
    /// All count, as often as they occur. No test on this is valid on repetitive text.
    None,
    /// A window counts once, with the first token after it.
    Window,
    /// A window with its token counts once.
    WindowToken,
    /// A token counts once, wherever it stands: for schemes without a window.
    Token,
}

/// How a text is cut into scored units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Tokens of a window.
    pub width: usize,
    /// Position of the first scored token.
    pub first: usize,
    /// What stands before the text where a window reaches there; `None` where it never does.
    pub pad: Option<u32>,
    /// Whether a prompt shorter than a window makes a window by itself.
    pub short_after_prompt: bool,
    /// The rule under which the null holds.
    pub dedup: Dedup,
}

impl Reading {
    /// Windows of `width` tokens within a text, prompt included; the first token after one is the
    /// first that is scored.
    const fn after(width: usize, dedup: Dedup) -> Self {
        Self {
            width,
            first: width,
            pad: None,
            short_after_prompt: false,
            dedup,
        }
    }
}

/// What a draw depends on beside the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// The window: every one draws for itself.
    Own,
    /// This seed, which many windows may have: what they share must count once.
    Shared(u64),
    /// Nothing, nor on the key: the score is the same under all keys and says nothing of any.
    Keyless,
}

/// A scheme under one key.
pub trait Scheme: Send + Sync {
    /// How texts are read.
    fn reading(&self) -> Reading;

    /// Size of the vocabulary that lists are drawn over, where the scheme depends on one.
    fn vocabulary(&self) -> Option<u32>;

    /// The law of a score under the null.
    fn law(&self) -> Law;

    /// What the draw for `token` after `window` depends on.
    fn draw(&self, window: &[u32], token: u32) -> Draw {
        let _ = (window, token);
        Draw::Own
    }

    /// The score of each of `tokens` after `window` (oldest first, [`Reading::width`] long).
    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64>;

    /// The scores of many units, in their order. Those of one window are scored together unless the
    /// scheme knows a quicker way.
    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        grouped(units, |window, tokens| self.scores(window, tokens))
    }

    /// The scores of the tokens 0..`vocabulary` after `window`.
    fn all(&self, window: &[u32], vocabulary: u32) -> Vec<f64> {
        self.scores(window, &(0..vocabulary).collect::<Vec<_>>())
    }

    /// How its reference marks a token.
    fn how(&self) -> How;

    /// Which windows of an answer its reference marks.
    fn memory(&self) -> Memory {
        Memory::None
    }

    /// [`How::Gumbel`] with two keys of which chance takes one: the share of the second.
    fn second_key(&self) -> Option<f64> {
        None
    }

    /// As [`Self::all`] under the first or second key, where [`Self::second_key`] says that chance
    /// takes one.
    fn all_under(&self, window: &[u32], vocabulary: u32, second: bool) -> Vec<f64> {
        let _ = second;
        self.all(window, vocabulary)
    }

    /// [`How::Tournament`]: the bits of `tokens` after `window`, layer by layer.
    fn layers(&self, window: &[u32], tokens: &[u32]) -> Vec<Vec<bool>> {
        let _ = (window, tokens);
        Vec::new()
    }

    /// [`How::Reweight`]: the order in which tokens lie on the distribution function after `window`.
    fn permutation(&self, window: &[u32]) -> Vec<u32> {
        let _ = window;
        Vec::new()
    }

    /// The same scheme under another key, drawn from `seed`: what decoys are made with.
    fn decoy(&self, seed: u64) -> Box<dyn Scheme>;
}

/// SplitMix64 (Steele, Lea and Flood 2014): one 64-bit key from a seed and a number.
pub(crate) const fn derived(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Units of one window together, windows side by side.
fn grouped(units: &[&Unit], of: impl Fn(&[u32], &[u32]) -> Vec<f64> + Sync) -> Vec<f64> {
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by(|&a, &b| units[a].window.cmp(&units[b].window));
    let groups: Vec<&[usize]> = order
        .chunk_by(|&a, &b| units[a].window == units[b].window)
        .collect();
    let scored: Vec<Vec<f64>> = groups
        .par_iter()
        .map(|group| {
            let tokens: Vec<u32> = group.iter().map(|&i| units[i].token).collect();
            of(&units[group[0]].window, &tokens)
        })
        .collect();
    let mut scores = vec![0.0; units.len()];
    for (group, scored) in groups.iter().zip(scored) {
        for (&i, score) in group.iter().zip(scored) {
            scores[i] = score;
        }
    }
    scores
}

/// Each unit by itself, pieces side by side: where a window costs nothing to speak of.
pub(crate) fn singly(units: &[&Unit], of: impl Fn(&[u32], u32) -> f64 + Sync) -> Vec<f64> {
    const PIECE: usize = 1024;
    let pieces = units.par_chunks(PIECE);
    let pieces = pieces.map(|piece| piece.iter().map(|u| of(&u.window, u.token)).collect());
    pieces.collect::<Vec<Vec<f64>>>().concat()
}

/// Membership of lists by `torch.randperm`, of which `seed` says which one.
pub(crate) fn listed(
    first: &First,
    units: &[&Unit],
    seed: impl Fn(&[u32], u32) -> u64 + Sync,
) -> Vec<bool> {
    let seeds: Vec<u64> = units.par_iter().map(|u| seed(&u.window, u.token)).collect();
    let tokens: Vec<u32> = units.iter().map(|u| u.token).collect();
    first.each(&seeds, &tokens)
}

/// 1 for each token of a list, 0 for the others of 0..`vocabulary`.
pub(crate) fn of_list(list: &[u32], vocabulary: u32) -> Vec<f64> {
    let mut all = vec![0.0; vocabulary as usize];
    for token in list {
        if let Some(score) = all.get_mut(*token as usize) {
            *score = 1.0;
        }
    }
    all
}

pub(crate) fn green(found: Vec<bool>) -> Vec<f64> {
    found.into_iter().map(f64::from).collect()
}
