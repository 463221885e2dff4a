use std::ops::Range;

use filiation_checkpoint::config::ModelConfig;

use crate::adapter::base::{Base, Layer, Projection};
use crate::adapter::lora::Adapter;
use crate::attention::{Scores, attend};
use crate::kernels::{add, gate, normalise, rotate};
use crate::product::{View, multiply};

/// What one layer computed, kept for the way back. What a family does without is empty.
#[derive(Debug)]
pub(crate) struct Kept {
    /// What entered.
    pub(crate) x: Vec<f32>,
    pub(crate) x_scales: Vec<f32>,
    /// Queries and keys before their normalisation.
    pub(crate) raw: Vec<f32>,
    pub(crate) raw_scales: Vec<f32>,
    /// Queries, keys and values, rotated.
    pub(crate) qkv: Vec<f32>,
    pub(crate) log_masses: Vec<f32>,
    pub(crate) mixed: Vec<f32>,
    /// The output of attention before its normalisation.
    pub(crate) attended: Vec<f32>,
    pub(crate) attended_scales: Vec<f32>,
    /// The stream after attention.
    pub(crate) middle: Vec<f32>,
    pub(crate) middle_scales: Vec<f32>,
    /// Gate and up.
    pub(crate) gates: Vec<f32>,
    /// The output of the feed-forward part before its normalisation.
    pub(crate) fed: Vec<f32>,
    pub(crate) fed_scales: Vec<f32>,
    /// What lies between A and B of each projection.
    pub(crate) low: [Vec<f32>; 7],
}

/// The buffers of a pass. A pass over fewer rows uses the beginning of each.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) layers: Vec<Kept>,
    /// The stream after the last layer.
    pub(crate) out: Vec<f32>,
    pub(crate) out_scales: Vec<f32>,
    /// The final hidden rows; before that, what each norm gives.
    pub(crate) hidden: Vec<f32>,
    /// Output of the gates.
    pub(crate) gated: Vec<f32>,
    pub(crate) scores: Scores,
}

/// Widths of what a layer computes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Widths {
    pub(crate) d: usize,
    pub(crate) ff: usize,
    /// Queries.
    pub(crate) q: usize,
    /// Keys, and values.
    pub(crate) kv: usize,
}

impl Widths {
    pub(crate) const fn of(config: &ModelConfig) -> Self {
        Self {
            d: config.width,
            ff: config.feed_forward,
            q: config.heads * config.head_dim,
            kv: config.kv_heads * config.head_dim,
        }
    }

    pub(crate) const fn qkv(self) -> usize {
        self.q + 2 * self.kv
    }

    /// Where queries, keys and values begin in their row.
    pub(crate) const fn parts(self) -> [(Projection, usize, usize); 3] {
        [
            (Projection::Query, 0, self.q),
            (Projection::Key, self.q, self.kv),
            (Projection::Value, self.q + self.kv, self.kv),
        ]
    }
}

impl Trace {
    /// Room for `rows` tokens, of which a sequence has at most `longest`.
    pub(crate) fn new(base: &Base, adapter: Option<&Adapter>, rows: usize, longest: usize) -> Self {
        let config = base.config();
        let w = Widths::of(config);
        let zeros = |width: usize| vec![0.0; rows * width];
        let kept = |(layer, parts): (usize, &Layer)| {
            let only = |holds: bool, width| if holds { zeros(width) } else { Vec::new() };
            let norms = &parts.norms;
            let (qk, after) = (norms.heads.is_some(), norms.after_attention.is_some());
            let fed = norms.after_gated.is_some();
            Kept {
                x: zeros(w.d),
                x_scales: zeros(1),
                raw: only(qk, w.q + w.kv),
                raw_scales: only(qk, config.heads + config.kv_heads),
                qkv: zeros(w.qkv()),
                log_masses: zeros(config.heads),
                mixed: zeros(w.q),
                attended: only(after, w.d),
                attended_scales: only(after, 1),
                middle: zeros(w.d),
                middle_scales: zeros(1),
                gates: zeros(2 * w.ff),
                fed: only(fed, w.d),
                fed_scales: only(fed, 1),
                low: Projection::ALL.map(|projection| {
                    let changed = adapter.filter(|a| a.pair(layer, projection).is_some());
                    changed.map_or_else(Vec::new, |a| zeros(a.rank))
                }),
            }
        };
        Self {
            layers: base.layers.iter().enumerate().map(kept).collect(),
            out: zeros(w.d),
            out_scales: zeros(1),
            hidden: zeros(w.d),
            gated: zeros(w.ff),
            scores: Scores::new(longest),
        }
    }
}

impl Base {
    /// Runs the sequences `spans` of `ids`; their final hidden rows are `trace.hidden`.
    pub(crate) fn forward(
        &self,
        adapter: Option<&Adapter>,
        ids: &[u32],
        spans: &[Range<usize>],
        trace: &mut Trace,
    ) {
        let w = Widths::of(self.config());
        let (rows, epsilon) = (ids.len(), self.config().norm.epsilon as f32);
        let n = rows * w.d;
        let (hidden, gated) = (&mut trace.hidden[..n], &mut trace.gated[..rows * w.ff]);
        self.embed(ids, &mut trace.layers[0].x);
        for (at, layer) in self.layers.iter().enumerate() {
            let norms = &layer.norms;
            let (kept, rest) = trace.layers[at..].split_at_mut(1);
            let kept = &mut kept[0];
            let next = rest.first_mut().map_or(&mut trace.out, |next| &mut next.x);
            let low = &mut kept.low;
            let linear = |projection, x: &[f32], out: (&mut [f32], usize), low: &mut _| {
                self.linear(adapter, (at, projection), rows, x, out, low);
            };
            normalise(
                &kept.x[..n],
                &norms.before_attention,
                epsilon,
                hidden,
                &mut kept.x_scales,
            );
            for (projection, start, _) in w.parts() {
                let out = (&mut kept.qkv[start..], w.qkv());
                linear(projection, hidden, out, low);
            }
            if let Some(weights) = &norms.heads {
                let (raw, scales) = (&mut kept.raw, &mut kept.raw_scales);
                normalise_heads(
                    w,
                    weights,
                    epsilon,
                    &mut kept.qkv[..rows * w.qkv()],
                    raw,
                    scales,
                );
            }
            for span in spans {
                self.attend(at, span, kept, &mut trace.scores);
            }
            let (mixed, middle) = (&kept.mixed[..rows * w.q], &mut kept.middle[..n]);
            let low = &mut kept.low;
            if let Some(weight) = &norms.after_attention {
                linear(Projection::Output, mixed, (&mut kept.attended, w.d), low);
                let (x, scales) = (&kept.attended[..n], &mut kept.attended_scales);
                normalise(x, weight, epsilon, middle, scales);
            } else {
                linear(Projection::Output, mixed, (&mut *middle, w.d), low);
            }
            add(middle, &kept.x[..n]);
            let scales = &mut kept.middle_scales;
            normalise(middle, &norms.before_gated, epsilon, hidden, scales);
            for (projection, start) in [(Projection::Gate, 0), (Projection::Up, w.ff)] {
                linear(
                    projection,
                    hidden,
                    (&mut kept.gates[start..], 2 * w.ff),
                    low,
                );
            }
            gate(&kept.gates[..2 * rows * w.ff], w.ff, self.curve, gated);
            let next = &mut next[..n];
            if let Some(weight) = &norms.after_gated {
                linear(Projection::Down, gated, (&mut kept.fed, w.d), low);
                normalise(&kept.fed[..n], weight, epsilon, next, &mut kept.fed_scales);
            } else {
                linear(Projection::Down, gated, (&mut *next, w.d), low);
            }
            add(next, middle);
        }
        let (out, scales) = (&trace.out[..n], &mut trace.out_scales);
        normalise(out, &self.norm, epsilon, hidden, scales);
    }

    fn embed(&self, ids: &[u32], x: &mut [f32]) {
        let d = self.config().width;
        let (embedding, scale) = (self.embedding(), self.config().embedding_scale as f32);
        for (row, id) in x.chunks_exact_mut(d).zip(ids) {
            let from = &embedding[*id as usize * d..][..d];
            row.iter_mut().zip(from).for_each(|(x, e)| *x = e * scale);
        }
    }

    /// Attention within one sequence.
    fn attend(&self, layer: usize, span: &Range<usize>, kept: &mut Kept, scores: &mut Scores) {
        let Layer { heads, angles, .. } = &self.layers[layer];
        let part = |width: usize| span.start * width..span.end * width;
        let qkv = &mut kept.qkv[part(heads.width())];
        let both = heads.heads + heads.kv_heads;
        rotate(qkv, heads.width(), both, heads.size / 2, angles, 1.0);
        let mixed = &mut kept.mixed[part(heads.heads * heads.size)];
        attend(
            *heads,
            qkv,
            mixed,
            &mut kept.log_masses[part(heads.heads)],
            scores,
        );
    }

    /// `out` ← x·Wᵀ, and what the adapter adds.
    fn linear(
        &self,
        adapter: Option<&Adapter>,
        (layer, projection): (usize, Projection),
        rows: usize,
        x: &[f32],
        (out, stride): (&mut [f32], usize),
        low: &mut [Vec<f32>; 7],
    ) {
        let [outputs, inputs] = projection.dims(self.config());
        let weight = View::columns(self.matrix(layer, projection), inputs);
        let rows_of_x = View::rows(x, inputs);
        multiply(
            [rows, outputs, inputs],
            (out, stride),
            rows_of_x,
            weight,
            false,
        );
        let change = adapter.and_then(|a| Some((a, a.pair(layer, projection)?)));
        if let Some((adapter, pair)) = change {
            let low = &mut low[projection as usize];
            adapter.add(&pair, (rows, inputs), x, low, (out, stride));
        }
    }
}

/// Normalises the queries and keys of each row of `qkv`; `raw` keeps them as they were.
fn normalise_heads(
    w: Widths,
    [query, key]: &[Vec<f32>; 2],
    epsilon: f32,
    qkv: &mut [f32],
    raw: &mut [f32],
    scales: &mut [f32],
) {
    let size = query.len();
    let (queries, both) = (w.q / size, (w.q + w.kv) / size);
    let rows = qkv
        .chunks_exact_mut(w.qkv())
        .zip(raw.chunks_exact_mut(w.q + w.kv));
    for ((row, raw), scales) in rows.zip(scales.chunks_exact_mut(both)) {
        raw.copy_from_slice(&row[..w.q + w.kv]);
        let (to_queries, to_keys) = row[..w.q + w.kv].split_at_mut(w.q);
        let (of_queries, of_keys) = scales.split_at_mut(queries);
        normalise(&raw[..w.q], query, epsilon, to_queries, of_queries);
        normalise(&raw[w.q..], key, epsilon, to_keys, of_keys);
    }
}
