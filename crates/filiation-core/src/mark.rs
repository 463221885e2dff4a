//! What marks a text while it is written.

/// Marks all that a model writes. Made from a key by who holds it; models only carry it out.
pub trait Mark: Send + Sync {
    /// The marking of one answer. It depends on nothing but the mark, the tokens of the prompt and
    /// the seed of the answer, so what else a batch holds never changes a text.
    fn begin(&self, prompt: &[u32], seed: u64) -> Box<dyn Marking>;
}

/// The marking of one answer, token by token: [`Self::shift`], [`Self::weigh`], [`Self::took`].
pub trait Marking: Send {
    /// Shifts the logits, before temperature and nucleus.
    fn shift(&mut self, logits: &mut [f32]);

    /// Sees what the token is drawn by: weights after temperature and nucleus, 0 where a token is
    /// left out; their sum need not be 1. May change them, or choose the token itself. Not asked
    /// where the most likely token is taken without a draw.
    fn weigh(&mut self, weights: &mut [f64]) -> Option<u32>;

    /// The token that was taken.
    fn took(&mut self, token: u32);
}
