use std::ops::Range;

use filiation_checkpoint::config::Activation;

use super::rotary::Rotary;
use super::view::MatrixView;
use crate::LoadError;

/// The arithmetic that a decoder is made of. Activations are f32 matrices, one row a token, the
/// tokens of all sequences one after the other.
pub(super) trait Backend {
    type Buffer: Send + Sync;
    type Matrix: Clone + Send + Sync;
    type Vector: Send + Sync;
    /// Keys and values that one layer keeps of one sequence.
    type Kept: Default + Clone + Send + Sync;

    /// Makes a stored matrix ready.
    fn matrix(&self, view: MatrixView) -> Result<Self::Matrix, LoadError>;

    fn vector(&self, values: Vec<f32>) -> Result<Self::Vector, LoadError>;

    /// Rows `ids` of `table`, times `scale`.
    fn gather(&self, table: &Self::Matrix, ids: &[u32], scale: f64) -> Outcome<Self::Buffer>;

    /// Rows of `width` values.
    fn buffer(&self, values: Vec<f32>, width: usize) -> Outcome<Self::Buffer>;

    /// Buffers of as many rows and of these widths, beside each other.
    fn beside(&self, parts: Vec<(Self::Buffer, usize)>) -> Outcome<Self::Buffer>;

    /// x·Wᵀ + b.
    fn linear(&self, x: &Self::Buffer, map: &Linear<Self>) -> Outcome<Self::Buffer>;

    /// Normalises each run of `width` values.
    fn normalise(&self, x: &Self::Buffer, norm: &Normaliser<Self>) -> Outcome<Self::Buffer>;

    /// Rotates each head of each token by its position.
    fn rotate(
        &self,
        x: Self::Buffer,
        head_dim: usize,
        rotary: &Rotary,
        positions: &[usize],
    ) -> Outcome<Self::Buffer>;

    /// Causal attention of each run of queries; mixed values, the runs one after the other.
    fn attend(
        &self,
        q: &Self::Buffer,
        runs: &[Run<'_, Self>],
        shape: &AttentionShape,
    ) -> Outcome<Self::Buffer>;

    /// Appends keys and values to those kept, with room for `room` tokens in all.
    fn keep(
        &self,
        kept: &mut Self::Kept,
        new: &[KeyValues<'_, Self>],
        room: usize,
        shape: &AttentionShape,
    ) -> Outcome<()>;

    /// Rows of several buffers, each `width` wide, one after the other.
    fn pick(&self, parts: &[(&Self::Buffer, Range<usize>)], width: usize) -> Outcome<Self::Buffer>;

    /// act(gate) ⊙ up, or act(gate).
    fn activate(
        &self,
        gate: Self::Buffer,
        up: Option<&Self::Buffer>,
        activation: Activation,
    ) -> Outcome<Self::Buffer>;

    fn add(&self, x: Self::Buffer, y: &Self::Buffer) -> Outcome<Self::Buffer>;

    /// c·tanh(x/c).
    fn softcap(&self, x: Self::Buffer, cap: f64) -> Outcome<Self::Buffer>;

    /// Takes a buffer back for reuse.
    fn recycle(&self, _buffer: Self::Buffer) {}
}

pub(super) type Outcome<T> = Result<T, LoadError>;

/// A linear map.
pub(super) struct Linear<B: Backend + ?Sized> {
    pub(super) weight: B::Matrix,
    pub(super) bias: Option<B::Vector>,
}

/// A normalisation with its weights.
pub(super) struct Normaliser<B: Backend + ?Sized> {
    /// Whether the mean is taken off first.
    pub(super) centred: bool,
    pub(super) epsilon: f64,
    pub(super) width: usize,
    pub(super) weight: B::Vector,
    pub(super) bias: Option<B::Vector>,
}

/// Keys and values of some tokens: rows of packed buffers.
pub(super) struct KeyValues<'a, B: Backend + ?Sized> {
    pub(super) keys: &'a B::Buffer,
    pub(super) values: &'a B::Buffer,
    pub(super) rows: Range<usize>,
}

/// Consecutive tokens of one sequence, whose queries are rows of a packed buffer.
pub(super) struct Run<'a, B: Backend + ?Sized> {
    pub(super) queries: Range<usize>,
    /// Position of the first in its sequence.
    pub(super) position: usize,
    pub(super) seen: Seen<'a, B>,
}

/// Keys and values of a sequence from its beginning, up to the last query of a run or beyond.
pub(super) enum Seen<'a, B: Backend + ?Sized> {
    Kept(&'a B::Kept),
    Packed(Vec<KeyValues<'a, B>>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionShape {
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) scale: f64,
    pub(super) softcap: Option<f64>,
    pub(super) window: Option<usize>,
}

impl AttentionShape {
    pub(super) const fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    pub(super) const fn key_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// First key that a query at `position` sees.
    pub(super) fn first(&self, position: usize) -> usize {
        self.window.map_or(0, |w| (position + 1).saturating_sub(w))
    }
}
