//! Models in memory, and what becomes of them: for tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use filiation_checkpoint::config::ModelConfig;
use filiation_checkpoint::{Checkpoint, CheckpointError, Dtype, Limits, ModelWeights, Stored};
use filiation_core::{Digest, ModelIdentity};
use ndarray::{Array1, Array2, Axis, concatenate, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::layout;
use super::synthetic::{normal, shuffled};

/// A Llama-like model, tensors by name.
#[derive(Clone)]
pub(super) struct Memory {
    identity: ModelIdentity,
    pub(super) config: ModelConfig,
    vocabulary: Vec<(String, u32)>,
    tensors: BTreeMap<String, Array2<f32>>,
    shapes: BTreeMap<String, Vec<usize>>,
}

/// A model of `corpora/demo`.
pub(super) fn demo(name: &str) -> Memory {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../corpora/demo")
        .join(name);
    Memory::of(&Checkpoint::open(&folder, &Limits::default()).expect("a sound folder"))
}

impl ModelWeights for Memory {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn stored(&self, name: &str) -> Result<Stored<'_>, CheckpointError> {
        Ok(Stored {
            shape: &self.shapes[name],
            dtype: Some(Dtype::F32),
        })
    }

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, CheckpointError> {
        let all = &self.tensors[name];
        let rows = rows.start..rows.end.min(all.nrows());
        Ok(all.slice(s![rows, ..]).iter().copied().collect())
    }

    fn vocabulary(&self) -> Result<Vec<(String, u32)>, CheckpointError> {
        Ok(self.vocabulary.clone())
    }

    fn release(&self, _: &str) {}
}

/// What a matrix reads and writes, by the last part of its name.
fn reads_hidden(name: &str) -> bool {
    ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]
        .iter()
        .any(|part| name.contains(part))
}

fn writes_hidden(name: &str) -> bool {
    name.contains("o_proj") || name.contains("down_proj")
}

impl Memory {
    pub(super) fn of(model: &dyn ModelWeights) -> Self {
        let config = model.config().clone();
        let mut tensors = BTreeMap::new();
        for tensor in config.expected_tensors() {
            if tensor.optional {
                continue;
            }
            let rows = tensor.shape[0];
            let values = model.rows(&tensor.name, 0..rows).expect("a sound model");
            let columns = values.len() / rows;
            let matrix = Array2::from_shape_vec((rows, columns), values).expect("whole rows");
            tensors.insert(tensor.name, matrix);
        }
        let vocabulary = model.vocabulary().expect("a sound model");
        let mut copy = Self {
            identity: model.identity().clone(),
            config,
            vocabulary,
            tensors,
            shapes: BTreeMap::new(),
        };
        copy.settle("copy");
        copy
    }

    /// Shapes and identity again, after a change.
    fn settle(&mut self, what: &str) {
        self.shapes = self
            .tensors
            .iter()
            .map(|(name, m)| {
                let vector = m.ncols() == 1 && name.contains("norm");
                let shape = if vector {
                    vec![m.nrows()]
                } else {
                    vec![m.nrows(), m.ncols()]
                };
                (name.clone(), shape)
            })
            .collect();
        self.config.feed_forward = self.shapes["model.layers.0.mlp.up_proj.weight"][0];
        self.config.width = self.shapes["model.embed_tokens.weight"][1];
        self.identity.source = format!("{}: {what}", self.identity.source);
        self.identity.digest = Digest::of(self.identity.source.as_bytes());
    }

    fn changed(&self, what: &str, mut change: impl FnMut(&str, &mut Array2<f32>)) -> Self {
        let mut copy = self.clone();
        for (name, matrix) in &mut copy.tensors {
            change(name, matrix);
        }
        copy.settle(what);
        copy
    }

    /// Noise of `relative` times each matrix's standard deviation.
    pub(super) fn noisy(&self, relative: f32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        self.changed("noise", |_, m| {
            let sd = m.std(0.0);
            let noise = normal(m.len(), &mut rng);
            m.iter_mut()
                .zip(noise)
                .for_each(|(x, e)| *x += relative * sd * e);
        })
    }

    /// Hidden dimensions reordered and flipped, neurons reordered and what they read rescaled.
    pub(super) fn permuted(&self, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let hidden = shuffled(self.config.width, &mut rng);
        let sign: Array1<f32> = (0..self.config.width)
            .map(|_| if rng.random() { 1.0 } else { -1.0 })
            .collect();
        let orders: Vec<Vec<usize>> = (0..self.config.layers.len())
            .map(|_| shuffled(self.config.feed_forward, &mut rng))
            .collect();
        let factor: Array1<f32> = (0..self.config.feed_forward)
            .map(|_| rng.random_range(0.3..3.0))
            .collect();
        self.changed("permuted", |name, m| {
            if name.contains("embed") || name.contains("lm_head") || reads_hidden(name) {
                *m = m.select(Axis(1), &hidden) * &sign;
            } else if writes_hidden(name) {
                *m = m.select(Axis(0), &hidden) * sign.view().insert_axis(Axis(1));
            } else {
                *m = m.select(Axis(0), &hidden);
            }
            let Some(layer) = layout::layer_of(name) else {
                return;
            };
            if name.contains("up_proj") {
                *m *= &factor.view().insert_axis(Axis(1));
            }
            if name.contains("down_proj") {
                *m = (&*m / &factor).select(Axis(1), &orders[layer]);
            } else if name.contains("up_proj") || name.contains("gate_proj") {
                *m = m.select(Axis(0), &orders[layer]);
            }
        })
    }

    /// Norms folded into what reads through them, then the hidden space turned at random.
    pub(super) fn rotated(&self, seed: u64) -> Self {
        let turn = orthogonal(self.config.width, seed);
        let scales = self.tensors.clone();
        self.changed("rotated", |name, m| {
            if name.contains("norm") {
                m.fill(1.0);
            } else if name.contains("embed") || name.contains("lm_head") {
                *m = m.dot(&turn);
            } else if reads_hidden(name) {
                let layer = layout::layer_of(name).expect("a layer's matrix");
                let norm = if name.contains("mlp") {
                    "post_attention_layernorm"
                } else {
                    "input_layernorm"
                };
                let scale = &scales[&format!("model.layers.{layer}.{norm}.weight")];
                *m = (&*m * &scale.t()).dot(&turn);
            } else {
                *m = turn.t().dot(m);
            }
        })
    }

    /// The hidden dimensions and neurons `width` and `neurons` of each, evenly spread.
    pub(super) fn pruned(&self, width: usize, neurons: usize) -> Self {
        let spread = |n: usize, of: usize| (0..n).map(|k| k * of / n).collect::<Vec<_>>();
        let hidden = spread(width, self.config.width);
        let kept = spread(neurons, self.config.feed_forward);
        self.changed("pruned", |name, m| {
            if name.contains("embed") || name.contains("lm_head") || reads_hidden(name) {
                *m = m.select(Axis(1), &hidden);
            } else {
                *m = m.select(Axis(0), &hidden);
            }
            if name.contains("down_proj") {
                *m = m.select(Axis(1), &kept);
            } else if name.contains("up_proj") || name.contains("gate_proj") {
                *m = m.select(Axis(0), &kept);
            }
        })
    }

    /// Symmetric blocks of 32 along rows, as 4-bit files have.
    pub(super) fn four_bits(&self) -> Self {
        self.changed("four bits", |name, m| {
            if name.contains("norm") {
                return;
            }
            for mut row in m.rows_mut() {
                for mut block in row.axis_chunks_iter_mut(Axis(0), 32) {
                    let step = block.iter().fold(0f32, |m, x| m.max(x.abs())) / 7.0;
                    if step > 0.0 {
                        block.mapv_inplace(|x| (x / step).round() * step);
                    }
                }
            }
        })
    }

    /// A layer taken from each of `from`, in this order.
    pub(super) fn stacked(&self, from: &[usize]) -> Self {
        let mut copy = self.clone();
        copy.tensors
            .retain(|name, _| layout::layer_of(name).is_none());
        for (to, &layer) in from.iter().enumerate() {
            for (name, matrix) in &self.tensors {
                if layout::layer_of(name) == Some(layer) {
                    copy.tensors
                        .insert(layout::in_layer(name, to), matrix.clone());
                }
            }
        }
        copy.config.layers = from
            .iter()
            .map(|&layer| self.config.layers[layer].clone())
            .collect();
        copy.settle("stacked");
        copy
    }

    /// `share` of this and the rest of `other`, which has the same shapes.
    pub(super) fn mixed(&self, other: &Self, share: f32) -> Self {
        self.changed("mixed", |name, m| {
            *m = &*m * share + &other.tensors[name] * (1.0 - share);
        })
    }

    /// The attention of this, the neurons of `other`.
    pub(super) fn with_neurons_of(&self, other: &Self) -> Self {
        self.changed("other neurons", |name, m| {
            if name.contains("mlp") {
                *m = other.tensors[name].clone();
            }
        })
    }

    /// Other weights of the same distribution.
    pub(super) fn random(&self, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        self.changed("random", |name, m| {
            if !name.contains("norm") {
                let sd = m.std(0.0);
                let values = normal(m.len(), &mut rng);
                m.iter_mut().zip(values).for_each(|(x, e)| *x = sd * e);
            }
        })
    }
}

/// A product of as many reflections as would make a random orthogonal matrix.
fn orthogonal(n: usize, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut turn = Array2::<f32>::eye(n);
    for _ in 0..n {
        let axis = Array1::from_vec(normal(n, &mut rng));
        let unit = &axis / axis.dot(&axis).sqrt();
        let along = turn.dot(&unit);
        let outer = concatenate![Axis(1), along.view().insert_axis(Axis(1))]
            .dot(&unit.view().insert_axis(Axis(0)));
        turn = turn - 2.0 * outer;
    }
    turn
}
