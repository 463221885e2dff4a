use std::ops::Range;

use crate::adapter::base::{Base, Layer, Projection};
use crate::adapter::forward::{Kept, Trace, Widths};
use crate::adapter::lora::Adapter;
use crate::attention::attend_back;
use crate::kernels::{gate_back, normalise_back, rotate};
use crate::product::{View, multiply};

/// Buffers of the way back.
#[derive(Debug)]
pub(crate) struct Slopes {
    /// Gradient of the stream.
    x: Vec<f32>,
    /// Gradient of the final hidden rows, then of what each norm before a part gives.
    pub(crate) normed: Vec<f32>,
    /// Gradient of what a part adds to the stream.
    branch: Vec<f32>,
    /// Room for the gradient of what a norm was given.
    given: Vec<f32>,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    /// Gradients of the norms' weights, which are not trained.
    unused: Vec<f32>,
}

impl Slopes {
    /// Room for `rows` tokens.
    pub(crate) fn new(base: &Base, rows: usize) -> Self {
        let w = Widths::of(base.config());
        let zeros = |width: usize| vec![0.0; rows * width];
        Self {
            x: zeros(w.d),
            normed: zeros(w.d),
            branch: zeros(w.d),
            given: zeros(w.d),
            qkv: zeros(w.qkv()),
            mixed: zeros(w.q),
            unused: vec![0.0; w.d.max(base.config().head_dim)],
        }
    }
}

/// What one way back goes over.
struct Way<'a> {
    base: &'a Base,
    adapter: &'a Adapter,
    w: Widths,
    rows: usize,
    spans: &'a [Range<usize>],
}

impl Base {
    /// The way back of [`Base::forward`] with `adapter` over the same sequences, from the gradient
    /// of the final hidden rows, which is `slopes.normed`: writes `gradient`, all of it. Uses up
    /// the trace.
    pub(crate) fn backward(
        &self,
        adapter: &Adapter,
        spans: &[Range<usize>],
        trace: &mut Trace,
        slopes: &mut Slopes,
        gradient: &mut [f32],
    ) {
        let rows = spans.last().map_or(0, |span| span.end);
        let way = Way {
            base: self,
            adapter,
            w: Widths::of(self.config()),
            rows,
            spans,
        };
        let n = rows * way.w.d;
        slopes.x[..n].fill(0.0);
        normalise_back(
            &mut slopes.normed[..n],
            &trace.out[..n],
            &trace.out_scales,
            &self.norm,
            &mut slopes.x[..n],
            &mut slopes.unused,
        );
        for layer in (0..self.layers.len()).rev() {
            way.gated(layer, trace, slopes, gradient);
            way.attention(layer, trace, slopes, gradient);
        }
    }
}

impl Way<'_> {
    fn gated(&self, layer: usize, trace: &mut Trace, slopes: &mut Slopes, gradient: &mut [f32]) {
        let (w, rows, norms) = (self.w, self.rows, &self.base.layers[layer].norms);
        let n = rows * w.d;
        let kept = &mut trace.layers[layer];
        let (gates, gated) = (
            &mut kept.gates[..2 * rows * w.ff],
            &mut trace.gated[..rows * w.ff],
        );
        let branch = norms.after_gated.as_ref();
        let branch = branch.map(|weight| (&kept.fed[..], &kept.fed_scales[..], &weight[..]));
        self.branch(slopes, branch);
        let low = &mut kept.low;
        let up = (&slopes.branch[..n], w.d);
        self.through((layer, Projection::Down), up, gated, false, low, gradient);
        gate_back(gates, w.ff, self.base.curve, gated);
        self.to_a((layer, Projection::Down), gated, low, gradient);
        let parts = [(Projection::Gate, 0), (Projection::Up, w.ff)];
        let normed = &mut slopes.normed[..n];
        for (i, (projection, start)) in parts.into_iter().enumerate() {
            let up = (&gates[start..], 2 * w.ff);
            self.through((layer, projection), up, normed, i > 0, low, gradient);
        }
        normalise_back(
            normed,
            &kept.middle[..n],
            &kept.middle_scales,
            &norms.before_gated,
            &mut slopes.x[..n],
            &mut slopes.unused,
        );
        for (projection, _) in parts {
            self.to_a((layer, projection), normed, low, gradient);
        }
    }

    fn attention(
        &self,
        layer: usize,
        trace: &mut Trace,
        slopes: &mut Slopes,
        gradient: &mut [f32],
    ) {
        let (w, rows, norms) = (self.w, self.rows, &self.base.layers[layer].norms);
        let n = rows * w.d;
        let kept = &mut trace.layers[layer];
        let branch = norms.after_attention.as_ref();
        let branch =
            branch.map(|weight| (&kept.attended[..], &kept.attended_scales[..], &weight[..]));
        self.branch(slopes, branch);
        let up = (&slopes.branch[..n], w.d);
        let mixed = &mut slopes.mixed[..rows * w.q];
        let output = (layer, Projection::Output);
        self.through(output, up, mixed, false, &mut kept.low, gradient);
        self.to_a(output, &kept.mixed[..rows * w.q], &kept.low, gradient);
        for span in self.spans {
            let Layer { heads, angles, .. } = &self.base.layers[layer];
            let part = |width: usize| span.start * width..span.end * width;
            let (wide, narrow) = (part(w.qkv()), part(w.q));
            let masses = &kept.log_masses[part(heads.heads)];
            let seen = (&kept.qkv[wide.clone()], &kept.mixed[narrow.clone()], masses);
            let to_qkv = &mut slopes.qkv[wide];
            attend_back(
                *heads,
                seen,
                &slopes.mixed[narrow],
                to_qkv,
                &mut trace.scores,
            );
            let both = heads.heads + heads.kv_heads;
            rotate(to_qkv, w.qkv(), both, heads.size / 2, angles, -1.0);
        }
        if let Some(weights) = &norms.heads {
            self.heads(
                weights,
                kept,
                &mut slopes.qkv[..rows * w.qkv()],
                &mut slopes.unused,
            );
        }
        let normed = &mut slopes.normed[..n];
        for (i, (projection, start, _)) in w.parts().into_iter().enumerate() {
            let up = (&slopes.qkv[start..], w.qkv());
            self.through(
                (layer, projection),
                up,
                normed,
                i > 0,
                &mut kept.low,
                gradient,
            );
        }
        normalise_back(
            normed,
            &kept.x[..n],
            &kept.x_scales,
            &norms.before_attention,
            &mut slopes.x[..n],
            &mut slopes.unused,
        );
        for (projection, ..) in w.parts() {
            self.to_a((layer, projection), normed, &kept.low, gradient);
        }
    }

    /// `slopes.branch` ← the gradient of what a part gave, from that of the stream it was added to,
    /// through the norm in between where there is one: what it was given, its scales, its weight.
    fn branch(&self, slopes: &mut Slopes, norm: Option<(&[f32], &[f32], &[f32])>) {
        let n = self.rows * self.w.d;
        let branch = &mut slopes.branch[..n];
        branch.copy_from_slice(&slopes.x[..n]);
        if let Some((given, scales, weight)) = norm {
            let to_given = &mut slopes.given[..n];
            to_given.fill(0.0);
            normalise_back(
                branch,
                &given[..n],
                scales,
                weight,
                to_given,
                &mut slopes.unused,
            );
            branch.copy_from_slice(to_given);
        }
    }

    /// Through the norms of queries and keys, in place.
    fn heads(
        &self,
        [query, key]: &[Vec<f32>; 2],
        kept: &Kept,
        to_qkv: &mut [f32],
        unused: &mut [f32],
    ) {
        let (w, size) = (self.w, query.len());
        let (queries, both) = (w.q / size, (w.q + w.kv) / size);
        let mut given = vec![0.0; w.q + w.kv];
        let rows = to_qkv
            .chunks_exact_mut(w.qkv())
            .zip(kept.raw.chunks_exact(w.q + w.kv));
        for ((row, raw), scales) in rows.zip(kept.raw_scales.chunks_exact(both)) {
            given.fill(0.0);
            let row = &mut row[..w.q + w.kv];
            let (to_queries, to_keys) = row.split_at_mut(w.q);
            let (of_queries, of_keys) = given.split_at_mut(w.q);
            let (first, second) = scales.split_at(queries);
            normalise_back(to_queries, &raw[..w.q], first, query, of_queries, unused);
            normalise_back(to_keys, &raw[w.q..], second, key, of_keys, unused);
            row.copy_from_slice(&given);
        }
    }

    /// `to_x` ← up·W, the gradient of what entered a matrix, or to_x + up·W; the adapter's part
    /// included.
    fn through(
        &self,
        (layer, projection): (usize, Projection),
        (up, stride): (&[f32], usize),
        to_x: &mut [f32],
        adds: bool,
        low: &mut [Vec<f32>; 7],
        gradient: &mut [f32],
    ) {
        let [outputs, inputs] = projection.dims(self.base.config());
        let weight = View::rows(self.base.matrix(layer, projection), inputs);
        let size = [self.rows, inputs, outputs];
        multiply(size, (to_x, inputs), View::rows(up, stride), weight, adds);
        if let Some(pair) = self.adapter.pair(layer, projection) {
            let low = &mut low[projection as usize];
            let size = (self.rows, inputs);
            self.adapter
                .back(&pair, size, (up, stride), low, to_x, gradient);
        }
    }

    fn to_a(
        &self,
        (layer, projection): (usize, Projection),
        x: &[f32],
        low: &[Vec<f32>; 7],
        gradient: &mut [f32],
    ) {
        if let Some(pair) = self.adapter.pair(layer, projection) {
            let [_, inputs] = projection.dims(self.base.config());
            let low = &low[projection as usize];
            self.adapter
                .back_to_a(&pair, (self.rows, inputs), x, low, gradient);
        }
    }
}
