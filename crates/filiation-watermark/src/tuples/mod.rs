//! What a model finds likely, or writes, after each window: all that a test of a mark needs of it.
//!
//! The suspect's side makes tuples and keeps its weights; the key's owner scores them and keeps the
//! key. One file, JSON lines: a header with digests, then one line a window, most frequent first.

mod align;
mod collect;
mod file;
mod score;

use serde::{Deserialize, Serialize};

pub use align::{Spelling, align};
pub use collect::{Collector, Frequencies, Likely, pieces};
pub use score::Found;

/// Format of tuple files that this version reads and writes.
pub const FORMAT: u32 = 1;

/// How a model was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// By what it finds likely after a text that is fed to it.
    Open,
    /// By what it writes.
    Closed,
}

/// What the tuples are of. Digests are SHA-256, hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Format of the file, 1.
    pub format: u32,
    /// How the model was read.
    pub mode: Mode,
    /// Whether texts that bear the mark were fed: then windows that occur earlier in the same text
    /// are left out, since any model may copy what followed there.
    pub marked_text: bool,
    /// Tokens of a window.
    pub width: usize,
    /// Digest of the weights.
    pub model: String,
    /// Digest of the tokenizer that ids are of.
    pub tokenizer: String,
    /// Entries of that tokenizer.
    pub vocabulary: u32,
    /// Digest of what was fed.
    pub texts: String,
    /// Positions with a whole window.
    pub positions: u64,
    /// Positions left out since the window stands earlier in the text or in the prompt.
    pub copied: u64,
    /// Positions left out since tokens of model and key do not meet there.
    pub unaligned: u64,
    /// Positions left out since their window is not among the frequent ones.
    pub rare: u64,
}

/// What a model does after one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The window, oldest first.
    pub window: Box<[u32]>,
    /// How often it stands in the text that orders the windows.
    pub frequency: u64,
    /// Positions that were read.
    pub read: u64,
    /// Tokens that were most likely, or were written, and how often; most often first.
    pub tokens: Vec<(u32, u64)>,
    /// Mean probability of tokens, or their share where they were written; largest first.
    pub masses: Vec<(u32, f64)>,
}

/// Tuples of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuples {
    /// What they are of.
    pub header: Header,
    /// The windows, most frequent first, ties by the window.
    pub rows: Vec<Row>,
}

impl Header {
    /// Share of positions that could be scored.
    pub fn kept(&self) -> f64 {
        let left = self.copied + self.unaligned + self.rare;
        match self.positions {
            0 => 0.0,
            n => n.saturating_sub(left) as f64 / n as f64,
        }
    }
}

#[cfg(test)]
mod tests;
