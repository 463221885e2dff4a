use filiation_checkpoint::config::Activation;

use super::rotary::Rotary;
use super::view::MatrixView;
use crate::LoadError;

/// The arithmetic that a decoder is made of. Activations are f32 matrices, one row a token, the
/// tokens of all sequences one after the other.
pub(super) trait Backend {
    type Buffer;
    type Matrix: Clone + Send + Sync;
    type Vector: Send + Sync;
    /// Keys and values that one layer keeps of one sequence.
    type Kept: Default + Send;

    /// Makes a stored matrix ready.
    fn matrix(&self, view: MatrixView) -> Result<Self::Matrix, LoadError>;

    fn vector(&self, values: Vec<f32>) -> Result<Self::Vector, LoadError>;

    /// Rows `ids` of `table`, times `scale`.
    fn gather(&self, table: &Self::Matrix, ids: &[u32], scale: f64) -> Outcome<Self::Buffer>;

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

    /// Causal attention within each sequence; `kept` holds one entry a sequence, or none.
    fn attend(
        &self,
        qkv: [&Self::Buffer; 3],
        spans: &[Span],
        kept: Option<Vec<&mut Self::Kept>>,
        shape: &AttentionShape,
    ) -> Outcome<Self::Buffer>;

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

    fn copy(&self, x: &Self::Buffer) -> Outcome<Self::Buffer>;

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

/// One sequence: tokens `start..start + len` of the packed rows, of which `past` came before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) past: usize,
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
    /// First key that a query at `position` sees.
    pub(super) fn first(&self, position: usize) -> usize {
        self.window.map_or(0, |w| (position + 1).saturating_sub(w))
    }
}
