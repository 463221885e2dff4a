//! Causal attention within one window, forward and backward, over rows of queries, keys and values
//! that stand side by side.

use crate::Shape;
use crate::kernels::{dot, exp, multiply_by, softmax_of, widest};
use crate::product::{View, multiply};

/// Queries whose scores are held at once.
const BLOCK: usize = 32;

/// Sizes of the heads and of the rows that hold them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) size: usize,
    /// Multiplies the scores.
    pub(crate) scale: f32,
    /// Keys that a query sees, its own the last.
    pub(crate) window: usize,
}

impl Heads {
    pub(crate) fn of(shape: &Shape) -> Self {
        Self {
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            size: shape.head_dim(),
            scale: 1.0 / (shape.head_dim() as f32).sqrt(),
            window: usize::MAX,
        }
    }

    /// Values of a row of queries, keys and values.
    pub(crate) const fn width(self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.size
    }

    /// Columns of the keys and of the values that query head `head` reads.
    pub(crate) const fn columns(self, head: usize) -> (usize, usize) {
        let kv_head = head / (self.heads / self.kv_heads);
        let keys = (self.heads + kv_head) * self.size;
        (keys, keys + self.kv_heads * self.size)
    }
}

/// Scores of one block of queries, and room for as many gradients.
#[derive(Debug)]
pub(crate) struct Scores {
    scores: Vec<f32>,
    gradients: Vec<f32>,
}

impl Scores {
    pub(crate) fn new(tokens: usize) -> Self {
        let room = vec![0.0; BLOCK.min(tokens) * tokens];
        Self {
            gradients: room.clone(),
            scores: room,
        }
    }
}

/// First query, queries and keys of each block.
fn blocks(tokens: usize) -> impl DoubleEndedIterator<Item = (usize, usize, usize)> {
    (0..tokens.div_ceil(BLOCK)).map(move |block| {
        let start = block * BLOCK;
        let rows = BLOCK.min(tokens - start);
        (start, rows, start + rows)
    })
}

/// `mixed` ← the mixed values of each row of `qkv`; `log_masses` gets, head after head, the logarithm
/// of what each row of weights was divided by.
pub(crate) fn attend(
    heads: Heads,
    qkv: &[f32],
    mixed: &mut [f32],
    log_masses: &mut [f32],
    room: &mut Scores,
) {
    let (hd, width, out) = (heads.size, heads.width(), heads.heads * heads.size);
    let tokens = qkv.len() / width;
    for head in 0..heads.heads {
        let (keys_at, values_at) = heads.columns(head);
        for (start, rows, keys) in blocks(tokens) {
            let scores = &mut room.scores[..rows * keys];
            let queries = View::rows(&qkv[start * width + head * hd..], width);
            let kept = View::columns(&qkv[keys_at..], width);
            multiply([rows, keys, hd], (scores, keys), queries, kept, false);
            let masses = &mut log_masses[head * tokens + start..][..rows];
            weigh(scores, keys, heads, masses);
            let mixed = &mut mixed[start * out + head * hd..];
            let (weights, values) = (
                View::rows(scores, keys),
                View::rows(&qkv[values_at..], width),
            );
            multiply([rows, hd, keys], (mixed, out), weights, values, false);
        }
    }
}

/// Backward of [`attend`]: `to_qkv` ← the gradient of `qkv` for the gradient `up` of `mixed`.
pub(crate) fn attend_back(
    heads: Heads,
    (qkv, mixed, log_masses): (&[f32], &[f32], &[f32]),
    up: &[f32],
    to_qkv: &mut [f32],
    room: &mut Scores,
) {
    let (hd, width, out) = (heads.size, heads.width(), heads.heads * heads.size);
    let tokens = qkv.len() / width;
    let group = heads.heads / heads.kv_heads;
    for head in 0..heads.heads {
        let (keys_at, values_at) = heads.columns(head);
        // The last block sees all keys, so it is the one that writes where the others add.
        for (start, rows, keys) in blocks(tokens).rev() {
            let adds = keys < tokens || head % group > 0;
            let weights = &mut room.scores[..rows * keys];
            let slopes = &mut room.gradients[..rows * keys];
            let at = start * width + head * hd;
            let queries = View::rows(&qkv[at..], width);
            let kept = View::columns(&qkv[keys_at..], width);
            multiply(
                [rows, keys, hd],
                (&mut *weights, keys),
                queries,
                kept,
                false,
            );
            let up_at = start * out + head * hd;
            let (up, mixed) = (&up[up_at..], &mixed[up_at..]);
            let values = View::columns(&qkv[values_at..], width);
            let up_rows = View::rows(up, out);
            multiply(
                [rows, keys, hd],
                (&mut *slopes, keys),
                up_rows,
                values,
                false,
            );
            let masses = &log_masses[head * tokens + start..][..rows];
            weigh_back(weights, slopes, keys, heads, masses, up, mixed);
            let (weights, slopes_t) = (View::columns(weights, keys), View::columns(slopes, keys));
            let to_values = (&mut to_qkv[values_at..], width);
            multiply([keys, hd, rows], to_values, weights, up_rows, adds);
            let to_keys = (&mut to_qkv[keys_at..], width);
            multiply([keys, hd, rows], to_keys, slopes_t, queries, adds);
            let keys_rows = View::rows(&qkv[keys_at..], width);
            let slopes = View::rows(slopes, keys);
            multiply(
                [rows, hd, keys],
                (&mut to_qkv[at..], width),
                slopes,
                keys_rows,
                false,
            );
        }
    }
}

widest! {
    /// Rows of `keys` scores, the last of which sees keys up to the last and each earlier one a key
    /// less, into weights.
    fn weigh(scores: &mut [f32], keys: usize, heads: Heads, log_masses: &mut [f32]) {
        let rows = log_masses.len();
        for (i, (row, mass)) in scores.chunks_exact_mut(keys).zip(log_masses).enumerate() {
            let (seen, hidden) = row.split_at_mut(keys - rows + i + 1);
            let (past, seen) = seen.split_at_mut(seen.len().saturating_sub(heads.window));
            *mass = softmax_of(seen, heads.scale);
            past.fill(0.0);
            hidden.fill(0.0);
        }
    }
}

widest! {
    /// Scores into weights, as in [`weigh`], and `slopes`, the gradient of the weights, into that of
    /// the scores. `up` and `mixed` begin at the first row's part of this head.
    fn weigh_back(
        scores: &mut [f32],
        slopes: &mut [f32],
        keys: usize,
        heads: Heads,
        log_masses: &[f32],
        up: &[f32],
        mixed: &[f32],
    ) {
        let (rows, scale, width) = (log_masses.len(), heads.scale, heads.heads * heads.size);
        let pairs = scores.chunks_exact_mut(keys).zip(slopes.chunks_exact_mut(keys));
        for (i, ((scores, slopes), mass)) in pairs.zip(log_masses).enumerate() {
            let part = i * width..i * width + heads.size;
            // The weighted mean of the row's slopes.
            let mean = dot(&up[part.clone()], &mixed[part]);
            let (seen, hidden) = scores.split_at_mut(keys - rows + i + 1);
            let (moving, still) = slopes.split_at_mut(seen.len());
            let past = seen.len().saturating_sub(heads.window);
            let ((past, seen), (before, moving)) =
                (seen.split_at_mut(past), moving.split_at_mut(past));
            for (weight, slope) in seen.iter_mut().zip(moving) {
                *weight = exp(scale.mul_add(*weight, -mass));
                *slope = scale * *weight * (*slope - mean);
            }
            past.fill(0.0);
            before.fill(0.0);
            hidden.fill(0.0);
            still.fill(0.0);
        }
    }
}

widest! {
    /// One query over the positions seen: `keys` holds `room` positions for each of the query's
    /// values, `values` a row a position. `out` ← the mixed values.
    fn attend_one(
        query: &[f32],
        keys: &[f32],
        values: &[f32],
        room: usize,
        scores: &mut [f32],
        scale: f32,
        out: &mut [f32],
    ) {
        scores.fill(0.0);
        for (q, keys) in query.iter().zip(keys.chunks_exact(room)) {
            for (score, key) in scores.iter_mut().zip(keys) {
                *score = q.mul_add(*key, *score);
            }
        }
        softmax_of(scores, scale);
        multiply_by(out, 0.0);
        for (weight, value) in scores.iter().zip(values.chunks_exact(out.len())) {
            for (out, v) in out.iter_mut().zip(value) {
                *out = weight.mul_add(*v, *out);
            }
        }
    }
}
