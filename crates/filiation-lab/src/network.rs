//! A Llama decoder over one flat slice of parameters: its forward pass, and what of it the backward
//! pass needs.

use std::ops::Range;

use crate::Shape;
use crate::attention::{Heads, Scores, attend};
use crate::kernels::{Curve, add_normalise, gate, normalise, rotate};
use crate::parameters::Layout;
use crate::product::{View, multiply};

/// A decoder.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) shape: Shape,
    pub(crate) vocabulary: usize,
    pub(crate) layout: Layout,
    /// All parameters, placed as `layout` says.
    pub(crate) values: Vec<f32>,
    /// Cosines, then sines, of each position.
    angles: Vec<f32>,
}

/// What one block computed, kept for the way back.
#[derive(Debug)]
pub(crate) struct Block {
    /// What entered.
    pub(crate) x: Vec<f32>,
    pub(crate) x_scales: Vec<f32>,
    /// Queries, keys and values, rotated.
    pub(crate) qkv: Vec<f32>,
    pub(crate) log_masses: Vec<f32>,
    pub(crate) mixed: Vec<f32>,
    /// The stream after attention.
    pub(crate) middle: Vec<f32>,
    pub(crate) middle_scales: Vec<f32>,
    /// Gate and up.
    pub(crate) gates: Vec<f32>,
}

/// The buffers of a forward pass. A pass over fewer rows uses the beginning of each.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) blocks: Vec<Block>,
    /// The stream after the last block.
    pub(crate) out: Vec<f32>,
    pub(crate) out_scales: Vec<f32>,
    /// The final hidden rows, after the norm; before that, what each norm gives.
    pub(crate) hidden: Vec<f32>,
    /// Output of the gates.
    pub(crate) gated: Vec<f32>,
    pub(crate) scores: Scores,
}

impl Trace {
    /// Room for `rows` rows.
    pub(crate) fn new(shape: &Shape, rows: usize) -> Self {
        let (d, ff) = (rows * shape.hidden, rows * shape.intermediate);
        let zeros = |count| vec![0.0; count];
        let block = || Block {
            x: zeros(d),
            x_scales: zeros(rows),
            qkv: zeros(rows * Heads::of(shape).width()),
            log_masses: zeros(rows * shape.heads),
            mixed: zeros(d),
            middle: zeros(d),
            middle_scales: zeros(rows),
            gates: zeros(2 * ff),
        };
        Self {
            blocks: (0..shape.layers).map(|_| block()).collect(),
            out: zeros(d),
            out_scales: zeros(rows),
            hidden: zeros(d),
            gated: zeros(ff),
            scores: Scores::new(shape.context.min(rows)),
        }
    }
}

impl Network {
    /// A network over `values`, which are as many as the layout places.
    pub(crate) fn new(shape: &Shape, vocabulary: usize, values: Vec<f32>) -> Self {
        let half = shape.head_dim() / 2;
        let angle = |position: usize, i: usize| {
            position as f64 * shape.rope_theta.powf(-(i as f64) / half as f64)
        };
        let row = |position| {
            let angles = (0..half).map(move |i| angle(position, i) as f32);
            angles.clone().map(f32::cos).chain(angles.map(f32::sin))
        };
        Self {
            shape: shape.clone(),
            vocabulary,
            layout: Layout::new(shape, vocabulary),
            values,
            angles: (0..shape.context).flat_map(row).collect(),
        }
    }

    /// Cosines and sines of the positions from `first` on.
    pub(crate) fn angles(&self, first: usize) -> &[f32] {
        &self.angles[first * self.shape.head_dim()..]
    }

    pub(crate) const fn epsilon(&self) -> f32 {
        self.shape.norm_eps as f32
    }

    /// Runs windows of `tokens` tokens that stand one after the other in `ids`; their final hidden
    /// rows are `trace.hidden`.
    pub(crate) fn forward(&self, ids: &[u32], tokens: usize, trace: &mut Trace) {
        let heads = Heads::of(&self.shape);
        let (width, d) = (heads.width(), self.shape.hidden);
        let both = heads.heads + heads.kv_heads;
        self.run(ids, trace, &mut |_, block, scores| {
            let rows = block.qkv[..ids.len() * width].chunks_exact_mut(tokens * width);
            let mixed = block.mixed.chunks_exact_mut(tokens * d);
            let masses = block.log_masses.chunks_exact_mut(tokens * heads.heads);
            for ((qkv, mixed), masses) in rows.zip(mixed).zip(masses) {
                rotate(qkv, width, both, heads.size / 2, self.angles(0), 1.0);
                attend(heads, qkv, mixed, masses, scores);
            }
        });
    }

    /// Runs the rows of `ids` with an attention of the caller's, which is given the layer and its
    /// buffers: `qkv` before the rotation, `mixed` to be written.
    pub(crate) fn run(
        &self,
        ids: &[u32],
        trace: &mut Trace,
        attention: &mut dyn FnMut(usize, &mut Block, &mut Scores),
    ) {
        let (rows, d, ff) = (ids.len(), self.shape.hidden, self.shape.intermediate);
        let (n, epsilon) = (rows * d, self.epsilon());
        let Trace {
            blocks,
            out,
            out_scales,
            hidden,
            gated,
            scores,
        } = trace;
        let embedding = &self.values[self.layout.embedding.clone()];
        for (row, id) in blocks[0].x.chunks_exact_mut(d).zip(ids) {
            row.copy_from_slice(&embedding[*id as usize * d..][..d]);
        }
        let hidden = &mut hidden[..n];
        for layer in 0..blocks.len() {
            let spans = &self.layout.blocks[layer];
            let weights = |span: &Range<usize>| &self.values[span.clone()];
            let (before, rest) = blocks.split_at_mut(layer);
            let (block, after) = rest.split_at_mut(1);
            let block = &mut block[0];
            let (x, scales) = (&mut block.x[..n], &mut block.x_scales);
            let norm = weights(&spans.attention_norm);
            match before.last() {
                None => normalise(x, norm, epsilon, hidden, scales),
                Some(b) => add_normalise(&b.middle[..n], x, norm, epsilon, hidden, scales),
            }
            self.linear([rows, d], hidden, &spans.qkv, &mut block.qkv);
            attention(layer, block, scores);
            self.linear([rows, d], &block.mixed, &spans.output, &mut block.middle);
            let (x, middle) = (&block.x[..n], &mut block.middle[..n]);
            let norm = weights(&spans.gated_norm);
            add_normalise(x, middle, norm, epsilon, hidden, &mut block.middle_scales);
            self.linear([rows, d], hidden, &spans.gate_up, &mut block.gates);
            gate(&block.gates[..2 * rows * ff], ff, Curve::SILU, gated);
            let next = after.first_mut().map_or(&mut *out, |b| &mut b.x);
            self.linear([rows, ff], gated, &spans.down, next);
        }
        let last = &blocks[blocks.len() - 1].middle[..n];
        let norm = &self.values[self.layout.norm.clone()];
        add_normalise(last, &mut out[..n], norm, epsilon, hidden, out_scales);
    }

    /// `out` ← x·Wᵀ for the matrix at `span`, whose rows have `inputs` values.
    fn linear(&self, [rows, inputs]: [usize; 2], x: &[f32], span: &Range<usize>, out: &mut [f32]) {
        let weight = &self.values[span.clone()];
        let outputs = weight.len() / inputs;
        let (x, weight) = (View::rows(x, inputs), View::columns(weight, inputs));
        multiply([rows, outputs, inputs], (out, outputs), x, weight, false);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::parameters::initialise;
    use crate::text::{Stream, stream};

    pub(crate) fn tiny() -> Shape {
        Shape {
            layers: 2,
            hidden: 16,
            heads: 4,
            kv_heads: 2,
            intermediate: 24,
            context: 12,
            rope_theta: 10_000.0,
            norm_eps: 1e-5,
        }
    }

    pub(crate) fn network(shape: &Shape, seed: u64) -> Network {
        let layout = Layout::new(shape, 31);
        let values = initialise(shape, &layout, &mut stream(seed, Stream::Initialise));
        Network::new(shape, 31, values)
    }

    /// Two windows of six.
    pub(crate) const IDS: [u32; 12] = [0, 5, 9, 3, 7, 30, 0, 2, 2, 11, 19, 4];

    #[test]
    fn the_future_changes_nothing() {
        let network = network(&tiny(), 3);
        let mut traces = [Trace::new(&tiny(), 12), Trace::new(&tiny(), 12)];
        let mut other = IDS;
        other[5] = 8;
        other[11] = 8;
        for (ids, trace) in [IDS, other].iter().zip(&mut traces) {
            network.forward(ids, 6, trace);
        }
        for row in 0..12 {
            let [a, b] = [0, 1].map(|i| &traces[i].hidden[row * 16..][..16]);
            assert_eq!(a != b, row % 6 == 5, "row {row}");
        }
    }
}
