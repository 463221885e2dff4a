use std::ops::Range;

use crate::attention::{Heads, attend_back};
use crate::kernels::{Curve, gate_back, normalise_back, rotate};
use crate::network::{Block, Network, Trace};
use crate::product::{View, multiply};

/// Buffers of the way back.
#[derive(Debug)]
pub(crate) struct Slopes {
    /// Gradient of the stream.
    pub(crate) x: Vec<f32>,
    /// Gradient of the final hidden rows, then of what each norm gives.
    pub(crate) normed: Vec<f32>,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
}

impl Slopes {
    /// Room for `rows` rows.
    pub(crate) fn new(network: &Network, rows: usize) -> Self {
        let zeros = |width| vec![0.0; rows * width];
        let d = network.shape.hidden;
        Self {
            x: zeros(d),
            normed: zeros(d),
            qkv: zeros(Heads::of(&network.shape).width()),
            mixed: zeros(d),
        }
    }
}

/// Gradient of all parameters, placed as they are. What a pass gives is added to it, or, in the
/// first pass, written.
pub(crate) struct Gradient<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) adds: bool,
}

impl Gradient<'_> {
    /// The product aᵀ·b of `rows` rows, the gradient of the matrix at `span`.
    fn matrix(
        &mut self,
        span: &Range<usize>,
        rows: usize,
        (a, b): (&[f32], &[f32]),
        inputs: usize,
    ) {
        let outputs = span.len() / inputs;
        let out = (&mut self.values[span.clone()], inputs);
        let (a, b) = (View::columns(a, outputs), View::rows(b, inputs));
        multiply([outputs, inputs, rows], out, a, b, self.adds);
    }

    fn norm(&mut self, span: &Range<usize>) -> &mut [f32] {
        let values = &mut self.values[span.clone()];
        if !self.adds {
            values.fill(0.0);
        }
        values
    }
}

impl Network {
    /// The way back of [`Network::forward`] over the same `ids` and `trace`, from the gradient of
    /// the final hidden rows, which is `slopes.normed`. That of the head's use of the embedding is
    /// in `gradient` already. Uses up the trace.
    pub(crate) fn backward(
        &self,
        ids: &[u32],
        tokens: usize,
        trace: &mut Trace,
        slopes: &mut Slopes,
        gradient: &mut Gradient<'_>,
    ) {
        let d = self.shape.hidden;
        let n = ids.len() * d;
        slopes.x[..n].fill(0.0);
        let (normed, x) = (&mut slopes.normed[..n], &mut slopes.x[..n]);
        let weight = &self.values[self.layout.norm.clone()];
        let to_weight = gradient.norm(&self.layout.norm);
        normalise_back(
            normed,
            &trace.out[..n],
            &trace.out_scales,
            weight,
            x,
            to_weight,
        );
        for layer in (0..self.shape.layers).rev() {
            self.gated_back(ids.len(), layer, trace, slopes, gradient);
            self.attention_back((ids.len(), tokens), layer, trace, slopes, gradient);
        }
        let embedding = &mut gradient.values[self.layout.embedding.clone()];
        for (id, x) in ids.iter().zip(slopes.x.chunks_exact(d)) {
            let row = &mut embedding[*id as usize * d..][..d];
            row.iter_mut().zip(x).for_each(|(g, x)| *g += x);
        }
    }

    fn gated_back(
        &self,
        rows: usize,
        layer: usize,
        trace: &mut Trace,
        slopes: &mut Slopes,
        gradient: &mut Gradient<'_>,
    ) {
        let (d, ff, spans) = (
            self.shape.hidden,
            self.shape.intermediate,
            &self.layout.blocks[layer],
        );
        let Block {
            middle,
            middle_scales,
            gates,
            ..
        } = &mut trace.blocks[layer];
        let (gates, gated) = (&mut gates[..2 * rows * ff], &mut trace.gated[..rows * ff]);
        let (x, normed) = (&mut slopes.x[..rows * d], &mut slopes.normed[..rows * d]);
        self.through([rows, d, ff], x, &spans.down, gated);
        gate_back(gates, ff, Curve::SILU, gated);
        gradient.matrix(&spans.down, rows, (x, gated), ff);
        self.through([rows, 2 * ff, d], gates, &spans.gate_up, normed);
        let weight = &self.values[spans.gated_norm.clone()];
        let to_weight = gradient.norm(&spans.gated_norm);
        normalise_back(
            normed,
            &middle[..rows * d],
            middle_scales,
            weight,
            x,
            to_weight,
        );
        gradient.matrix(&spans.gate_up, rows, (gates, normed), d);
    }

    fn attention_back(
        &self,
        (rows, tokens): (usize, usize),
        layer: usize,
        trace: &mut Trace,
        slopes: &mut Slopes,
        gradient: &mut Gradient<'_>,
    ) {
        let (d, spans, heads) = (
            self.shape.hidden,
            &self.layout.blocks[layer],
            Heads::of(&self.shape),
        );
        let width = heads.width();
        let block = &mut trace.blocks[layer];
        let (x, normed) = (&mut slopes.x[..rows * d], &mut slopes.normed[..rows * d]);
        gradient.matrix(&spans.output, rows, (x, &block.mixed), d);
        self.through([rows, d, d], x, &spans.output, &mut slopes.mixed);
        for window in 0..rows / tokens {
            let wide = window * tokens * width..(window + 1) * tokens * width;
            let narrow = window * tokens * d..(window + 1) * tokens * d;
            let masses = window * tokens * heads.heads..(window + 1) * tokens * heads.heads;
            let kept = (
                &block.qkv[wide.clone()],
                &block.mixed[narrow.clone()],
                &block.log_masses[masses],
            );
            let to_qkv = &mut slopes.qkv[wide];
            attend_back(
                heads,
                kept,
                &slopes.mixed[narrow],
                to_qkv,
                &mut trace.scores,
            );
            let both = heads.heads + heads.kv_heads;
            rotate(to_qkv, width, both, heads.size / 2, self.angles(0), -1.0);
        }
        let qkv = &slopes.qkv[..rows * width];
        self.through([rows, width, d], qkv, &spans.qkv, normed);
        let weight = &self.values[spans.attention_norm.clone()];
        let to_weight = gradient.norm(&spans.attention_norm);
        normalise_back(
            normed,
            &block.x[..rows * d],
            &block.x_scales,
            weight,
            x,
            to_weight,
        );
        gradient.matrix(&spans.qkv, rows, (qkv, normed), d);
    }

    /// `out` ← up·W for the matrix at `span`: the gradient of what entered it.
    fn through(
        &self,
        [rows, outputs, inputs]: [usize; 3],
        up: &[f32],
        span: &Range<usize>,
        out: &mut [f32],
    ) {
        let weight = View::rows(&self.values[span.clone()], inputs);
        let size = [rows, inputs, outputs];
        multiply(size, (out, inputs), View::rows(up, outputs), weight, false);
    }
}
