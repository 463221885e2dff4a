//! Cross-entropy fused with the head: the logits of a few rows at a time, which turn into their own
//! gradient in place.

use crate::kernels::{dot, exponentials, largest, multiply_by, softmax_of, widest};
use crate::network::Network;
use crate::product::{View, multiply};
use crate::tokenizer::BEGIN_ID;

/// Logits held at once, about.
const HELD: usize = 1 << 18;

/// Room for the logits of some rows.
#[derive(Debug)]
pub(crate) struct Logits {
    own: Vec<f32>,
    taught: Vec<f32>,
    rows: usize,
}

impl Logits {
    pub(crate) fn new(vocabulary: usize, rows: usize, taught: bool) -> Self {
        let rows = (HELD / vocabulary).clamp(16, 256).min(rows);
        let room = vec![0.0; rows * vocabulary];
        Self {
            taught: if taught { room.clone() } else { Vec::new() },
            own: room,
            rows,
        }
    }
}

/// What the rows of a network are held against.
pub(crate) struct Goals<'a> {
    /// The next token of each row.
    pub(crate) targets: &'a [u32],
    /// Weight of each row in the loss. A row whose target begins a document has none: a new document
    /// is no continuation of the one before it.
    pub(crate) weight: f32,
    /// Whether the teacher's distribution takes the token's place, for each window of `tokens` rows.
    pub(crate) guided: &'a [bool],
    pub(crate) tokens: usize,
    /// The teacher and its final hidden rows.
    pub(crate) teacher: Option<(&'a Network, &'a [f32])>,
}

impl Goals<'_> {
    fn is_guided(&self, row: usize) -> bool {
        self.teacher.is_some() && self.guided[row / self.tokens]
    }
}

impl Network {
    /// `out` ← the logits of some final hidden rows.
    pub(crate) fn logits(&self, hidden: &[f32], out: &mut [f32]) {
        let (d, vocabulary) = (self.shape.hidden, self.vocabulary);
        let embedding = &self.values[self.layout.embedding.clone()];
        let size = [hidden.len() / d, vocabulary, d];
        let (hidden, embedding) = (View::rows(hidden, d), View::columns(embedding, d));
        multiply(size, (out, vocabulary), hidden, embedding, false);
    }

    /// The loss (nats, weighted) of final hidden rows. `to_hidden` ← their gradient; that of the
    /// embedding is added to `to_embedding`, or written to it.
    pub(crate) fn score(
        &self,
        hidden: &[f32],
        goals: &Goals<'_>,
        room: &mut Logits,
        to_hidden: &mut [f32],
        (to_embedding, adds): (&mut [f32], bool),
    ) -> f64 {
        let (d, vocabulary) = (self.shape.hidden, self.vocabulary);
        let embedding = &self.values[self.layout.embedding.clone()];
        let mut loss = 0.0;
        let chunks = hidden
            .chunks(room.rows * d)
            .zip(to_hidden.chunks_mut(room.rows * d));
        for (at, (hidden, to_hidden)) in chunks.enumerate() {
            let (first, rows) = (at * room.rows, hidden.len() / d);
            let logits = &mut room.own[..rows * vocabulary];
            self.logits(hidden, logits);
            let guided = (first..first + rows).any(|row| goals.is_guided(row));
            if let Some((teacher, hidden)) = goals.teacher.filter(|_| guided) {
                let d = teacher.shape.hidden;
                let taught = &mut room.taught[..rows * vocabulary];
                teacher.logits(&hidden[first * d..(first + rows) * d], taught);
            }
            for (i, logits) in logits.chunks_exact_mut(vocabulary).enumerate() {
                let target = goals.targets[first + i];
                loss += if target == BEGIN_ID {
                    logits.fill(0.0);
                    0.0
                } else if goals.is_guided(first + i) {
                    let taught = &mut room.taught[i * vocabulary..][..vocabulary];
                    against_distribution(logits, taught, goals.weight)
                } else {
                    against_token(logits, target as usize, goals.weight)
                };
            }
            let slopes = View::rows(logits, vocabulary);
            let weights = View::rows(embedding, d);
            multiply(
                [rows, d, vocabulary],
                (to_hidden, d),
                slopes,
                weights,
                false,
            );
            let (slopes, hidden) = (View::columns(logits, vocabulary), View::rows(hidden, d));
            let adds = adds || at > 0;
            multiply(
                [vocabulary, d, rows],
                (to_embedding, d),
                slopes,
                hidden,
                adds,
            );
        }
        loss
    }
}

widest! {
    /// weight·H(target, softmax(logits)); `logits` ← its gradient.
    fn against_token(logits: &mut [f32], target: usize, weight: f32) -> f64 {
        let (top, scored) = (largest(logits), logits[target]);
        let mass = exponentials(logits, 1.0, top);
        multiply_by(logits, weight / mass);
        logits[target] -= weight;
        f64::from(weight) * (f64::from(top) + f64::from(mass).ln() - f64::from(scored))
    }
}

widest! {
    /// weight·H(softmax(taught), softmax(logits)); `logits` ← its gradient, `taught` ← its softmax.
    fn against_distribution(logits: &mut [f32], taught: &mut [f32], weight: f32) -> f64 {
        softmax_of(taught, 1.0);
        let (top, scored) = (largest(logits), dot(logits, taught));
        let mass = exponentials(logits, 1.0, top);
        let share = 1.0 / mass;
        for (x, p) in logits.iter_mut().zip(taught) {
            *x = weight * x.mul_add(share, -*p);
        }
        f64::from(weight) * (f64::from(top) + f64::from(mass).ln() - f64::from(scored))
    }
}
