use std::ops::Range;

use filiation_checkpoint::config::ModelConfig;
use serde::{Deserialize, Serialize};

use crate::adapter::base::Projection;
use crate::parameters::Tensor;
use crate::product::{View, multiply};
use crate::text::{Stream, stream, uniform};

/// Size of an adapter and what it changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rank {
    /// Rank of each change.
    pub rank: usize,
    /// The change is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// What is changed, in every layer.
    pub targets: Vec<Projection>,
}

/// Low-rank changes of a base's matrices (Hu et al., 2021): W + (alpha / rank)·B·A, with A (rank,
/// inputs) and B (outputs, rank).
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    pub(crate) rank: usize,
    pub(crate) factor: f32,
    /// Those of A and B in turns, as PEFT calls them.
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) values: Vec<f32>,
    /// For each layer and projection, the index of its A in `tensors`.
    places: Vec<[Option<usize>; 7]>,
}

/// One change: A and B.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) a: Range<usize>,
    pub(crate) b: Range<usize>,
}

impl Adapter {
    /// An adapter that changes nothing yet: A uniform within ±1/√inputs, B zero.
    pub(crate) fn new(config: &ModelConfig, rank: &Rank, seed: u64) -> Self {
        let r = rank.rank;
        let mut rng = stream(seed, Stream::Initialise);
        let (mut tensors, mut values) = (Vec::new(), Vec::new());
        let mut places = vec![[None; 7]; config.layers.len()];
        for (layer, places) in places.iter_mut().enumerate() {
            for projection in Projection::ALL {
                if !rank.targets.contains(&projection) {
                    continue;
                }
                let [outputs, inputs] = projection.dims(config);
                places[projection as usize] = Some(tensors.len());
                let bound = 1.0 / (inputs as f64).sqrt();
                for (half, dims) in [("A", [r, inputs]), ("B", [outputs, r])] {
                    let start = values.len();
                    values.extend((0..dims[0] * dims[1]).map(|_| match half {
                        "A" => ((2.0 * uniform(&mut rng) - 1.0) * bound) as f32,
                        _ => 0.0,
                    }));
                    let module = projection.module();
                    tensors.push(Tensor {
                        name: format!(
                            "base_model.model.model.layers.{layer}.{module}.lora_{half}.weight"
                        ),
                        dims: dims.to_vec(),
                        span: start..values.len(),
                    });
                }
            }
        }
        Self {
            rank: r,
            factor: (rank.alpha / r as f64) as f32,
            tensors,
            values,
            places,
        }
    }

    /// The change of a matrix, where there is one.
    pub(crate) fn pair(&self, layer: usize, projection: Projection) -> Option<Pair> {
        let at = self.places[layer][projection as usize]?;
        Some(Pair {
            a: self.tensors[at].span.clone(),
            b: self.tensors[at + 1].span.clone(),
        })
    }

    /// `low` ← factor·x·Aᵀ, and `out` ← out + low·Bᵀ, for `rows` rows of `x`.
    pub(crate) fn add(
        &self,
        pair: &Pair,
        (rows, inputs): (usize, usize),
        x: &[f32],
        low: &mut [f32],
        (out, stride): (&mut [f32], usize),
    ) {
        let r = self.rank;
        let low = &mut low[..rows * r];
        let (a, b) = (&self.values[pair.a.clone()], &self.values[pair.b.clone()]);
        let (x, a) = (View::rows(x, inputs), View::columns(a, inputs));
        multiply([rows, r, inputs], (low, r), x, a, false);
        low.iter_mut().for_each(|v| *v *= self.factor);
        let outputs = b.len() / r;
        let (low, b) = (View::rows(low, r), View::columns(b, r));
        multiply([rows, outputs, r], (out, stride), low, b, true);
    }

    /// The way back of [`Self::add`] for the gradient `up` of `out`, whose rows begin `stride`
    /// apart: the gradient of B goes to its place in `gradient`, that of x is added to `to_x`, and
    /// `low` becomes the gradient of x·Aᵀ.
    pub(crate) fn back(
        &self,
        pair: &Pair,
        (rows, inputs): (usize, usize),
        (up, stride): (&[f32], usize),
        low: &mut [f32],
        to_x: &mut [f32],
        gradient: &mut [f32],
    ) {
        let r = self.rank;
        let low = &mut low[..rows * r];
        let (a, b) = (&self.values[pair.a.clone()], &self.values[pair.b.clone()]);
        let outputs = b.len() / r;
        let to_b = (&mut gradient[pair.b.clone()], r);
        let columns = View::columns(up, stride);
        multiply([outputs, r, rows], to_b, columns, View::rows(low, r), false);
        let (up, b) = (View::rows(up, stride), View::rows(b, r));
        multiply([rows, r, outputs], (low, r), up, b, false);
        low.iter_mut().for_each(|v| *v *= self.factor);
        let (low, a) = (View::rows(low, r), View::rows(a, inputs));
        multiply([rows, inputs, r], (to_x, inputs), low, a, true);
    }

    /// The gradient of A, from what [`Self::back`] left in `low` and the input `x`.
    pub(crate) fn back_to_a(
        &self,
        pair: &Pair,
        (rows, inputs): (usize, usize),
        x: &[f32],
        low: &[f32],
        gradient: &mut [f32],
    ) {
        let r = self.rank;
        let to_a = (&mut gradient[pair.a.clone()], inputs);
        let (low, x) = (View::columns(low, r), View::rows(x, inputs));
        multiply([r, inputs, rows], to_a, low, x, false);
    }
}
