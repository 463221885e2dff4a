use std::ops::Range;

use rand_chacha::ChaCha8Rng;

use crate::Shape;
use crate::text::uniform;

/// A named part of the flat parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    /// Name, as `transformers` has it.
    pub(crate) name: String,
    /// Dimensions; a matrix is (outputs, inputs).
    pub(crate) dims: Vec<usize>,
    /// Where it lies.
    pub(crate) span: Range<usize>,
}

/// Where the parameters of one block lie. The projections of queries, keys and values are one
/// matrix, and so are those of gate and up: they stand one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockSpans {
    pub(crate) attention_norm: Range<usize>,
    pub(crate) qkv: Range<usize>,
    pub(crate) output: Range<usize>,
    pub(crate) gated_norm: Range<usize>,
    pub(crate) gate_up: Range<usize>,
    pub(crate) down: Range<usize>,
}

/// Where each tensor lies in one flat slice, in the order of a forward pass.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) embedding: Range<usize>,
    pub(crate) blocks: Vec<BlockSpans>,
    pub(crate) norm: Range<usize>,
}

impl Layout {
    pub(crate) fn new(shape: &Shape, vocabulary: usize) -> Self {
        let (d, ff) = (shape.hidden, shape.intermediate);
        let kv = shape.kv_heads * shape.head_dim();
        let mut tensors = Vec::new();
        let mut end = 0;
        let mut place = |name: String, dims: Vec<usize>| {
            let span = end..end + dims.iter().product::<usize>();
            end = span.end;
            tensors.push(Tensor {
                name: format!("model.{name}.weight"),
                dims,
                span: span.clone(),
            });
            span
        };
        let embedding = place("embed_tokens".into(), vec![vocabulary, d]);
        let mut blocks = Vec::new();
        for layer in 0..shape.layers {
            let mut part = |name: &str, dims| place(format!("layers.{layer}.{name}"), dims);
            let attention_norm = part("input_layernorm", vec![d]);
            let q = part("self_attn.q_proj", vec![d, d]);
            part("self_attn.k_proj", vec![kv, d]);
            let v = part("self_attn.v_proj", vec![kv, d]);
            let output = part("self_attn.o_proj", vec![d, d]);
            let gated_norm = part("post_attention_layernorm", vec![d]);
            let gate = part("mlp.gate_proj", vec![ff, d]);
            let up = part("mlp.up_proj", vec![ff, d]);
            let down = part("mlp.down_proj", vec![d, ff]);
            blocks.push(BlockSpans {
                attention_norm,
                qkv: q.start..v.end,
                output,
                gated_norm,
                gate_up: gate.start..up.end,
                down,
            });
        }
        let norm = place("norm".into(), vec![d]);
        Self {
            tensors,
            embedding,
            blocks,
            norm,
        }
    }

    /// Number of parameters.
    pub(crate) const fn len(&self) -> usize {
        self.norm.end
    }
}

/// Seeded starting values: norms 1, matrices normal with standard deviation `0.5 / sqrt(inputs)`,
/// those that write into the residual stream smaller by `sqrt(2 * layers)`.
pub(crate) fn initialise(shape: &Shape, layout: &Layout, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut values = Vec::with_capacity(layout.len());
    for Tensor { name, dims, span } in &layout.tensors {
        let [_, inputs] = dims[..] else {
            values.resize(span.end, 1.0);
            continue;
        };
        let writes = name.contains("o_proj") || name.contains("down_proj");
        let depth = if writes { 2 * shape.layers } else { 1 };
        let deviation = 0.5 / ((inputs * depth) as f64).sqrt();
        values.extend(span.clone().map(|_| (normal(rng) * deviation) as f32));
    }
    values
}

/// Box-Muller, one of the pair.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}
