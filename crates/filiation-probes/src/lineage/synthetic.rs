//! Tiny Llama-type checkpoints, made and disguised for the tests.

use std::collections::BTreeMap;
use std::path::Path;

use filiation_checkpoint::{Checkpoint, Limits};
use half::bf16;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

const HEAD_DIM: usize = 16;
const KV_HEADS: usize = 2;

/// Weights of a model by tensor name, with what its configuration needs.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) width: usize,
    pub(super) neurons: usize,
    pub(super) layers: usize,
    pub(super) vocabulary: usize,
    pub(super) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// Standard normal numbers.
pub(super) fn normal(n: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..n)
        .map(|_| {
            let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
            (radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()) as f32
        })
        .collect()
}

/// A random order of 0..n.
pub(super) fn shuffled(n: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(rng);
    order
}

/// A new order of key groups and of the query heads in each.
struct Heads {
    groups: Vec<usize>,
    within: Vec<Vec<usize>>,
}

impl Heads {
    fn shuffled(heads: usize, rng: &mut ChaCha8Rng) -> Self {
        Self {
            groups: shuffled(KV_HEADS, rng),
            within: (0..KV_HEADS)
                .map(|_| shuffled(heads / KV_HEADS, rng))
                .collect(),
        }
    }

    fn key(&self, row: usize) -> usize {
        self.groups[row / HEAD_DIM] * HEAD_DIM + row % HEAD_DIM
    }

    fn query(&self, row: usize) -> usize {
        let each = self.within[0].len();
        let (head, dimension) = (row / HEAD_DIM, row % HEAD_DIM);
        let (group, k) = (head / each, head % each);
        (self.groups[group] * each + self.within[group][k]) * HEAD_DIM + dimension
    }
}

impl Model {
    /// A model trained from its own initialisation, as far as weights tell: random.
    pub(super) fn random(width: usize, neurons: usize, layers: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut model = Self {
            width,
            neurons,
            layers,
            vocabulary: 400,
            tensors: BTreeMap::new(),
        };
        for (name, shape) in model.shapes() {
            let count: usize = shape.iter().product();
            let norm = shape.len() == 1;
            let values = normal(count, &mut rng)
                .into_iter()
                .map(|x| if norm { 1.0 + 0.1 * x } else { 0.05 * x })
                .collect();
            model.tensors.insert(name, (shape, values));
        }
        model
    }

    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (d, ff) = (self.width, self.neurons);
        let mut shapes = vec![
            (
                "model.embed_tokens.weight".to_owned(),
                vec![self.vocabulary, d],
            ),
            ("model.norm.weight".to_owned(), vec![d]),
        ];
        for layer in 0..self.layers {
            for (name, shape) in [
                ("self_attn.q_proj", vec![d, d]),
                ("self_attn.k_proj", vec![KV_HEADS * HEAD_DIM, d]),
                ("self_attn.v_proj", vec![KV_HEADS * HEAD_DIM, d]),
                ("self_attn.o_proj", vec![d, d]),
                ("mlp.gate_proj", vec![ff, d]),
                ("mlp.up_proj", vec![ff, d]),
                ("mlp.down_proj", vec![d, ff]),
                ("input_layernorm", vec![d]),
                ("post_attention_layernorm", vec![d]),
            ] {
                shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
            }
        }
        shapes
    }

    /// A copy with every value changed.
    pub(super) fn map(&self, mut change: impl FnMut(&str, &[f32]) -> Vec<f32>) -> Self {
        let mut copy = self.clone();
        for (name, (_, values)) in &mut copy.tensors {
            *values = change(name, values);
        }
        copy
    }

    /// A copy with normal noise of `relative` times each tensor's standard deviation.
    pub(super) fn noisy(&self, relative: f32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        self.map(|_, values| {
            let n = values.len() as f32;
            let mean = values.iter().sum::<f32>() / n;
            let sd = (values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n).sqrt();
            let noise = normal(values.len(), &mut rng);
            values
                .iter()
                .zip(noise)
                .map(|(x, e)| x + relative * sd * e)
                .collect()
        })
    }

    /// A copy whose hidden dimensions are reordered and flipped and whose neurons and heads are
    /// reordered: it computes the same function.
    pub(super) fn disguised(&self, flip: bool, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let hidden = shuffled(self.width, &mut rng);
        let sign: Vec<f32> = (0..self.width)
            .map(|_| {
                if flip && rng.random::<bool>() {
                    -1.0
                } else {
                    1.0
                }
            })
            .collect();
        let neurons: Vec<_> = (0..self.layers)
            .map(|_| shuffled(self.neurons, &mut rng))
            .collect();
        let heads = Heads::shuffled(self.width / HEAD_DIM, &mut rng);
        let mut copy = self.clone();
        for (name, (shape, values)) in &mut copy.tensors {
            let order = super::layout::layer_of(name).map(|layer| neurons[layer].as_slice());
            let old = values.clone();
            let columns = shape.get(1).copied().unwrap_or(1);
            for (i, value) in values.iter_mut().enumerate() {
                let (row, column) = (i / columns, i % columns);
                let reads = |axis: usize| (hidden[axis], sign[axis]);
                let ((r, rs), (c, cs)) = match name.rsplit('.').nth(1).unwrap_or("") {
                    "o_proj" => (reads(row), (heads.query(column), 1.0)),
                    "q_proj" => ((heads.query(row), 1.0), reads(column)),
                    "k_proj" | "v_proj" => ((heads.key(row), 1.0), reads(column)),
                    "down_proj" => (reads(row), (order.map_or(column, |o| o[column]), 1.0)),
                    "gate_proj" | "up_proj" => {
                        ((order.map_or(row, |o| o[row]), 1.0), reads(column))
                    }
                    module if module.ends_with("norm") => ((hidden[row], 1.0), (column, 1.0)),
                    _ => ((row, 1.0), reads(column)),
                };
                *value = rs * cs * old[r * columns + c];
            }
        }
        copy
    }

    /// A copy of the first hidden dimensions and neurons of all layers.
    pub(super) fn pruned(&self, width: usize, neurons: usize) -> Self {
        let mut copy = Self::random(width, neurons, self.layers, 0);
        let wide = self.width;
        for (name, (shape, values)) in &mut copy.tensors {
            let (old_shape, old) = &self.tensors[name];
            let columns = shape.get(1).copied().unwrap_or(1);
            let old_columns = old_shape.get(1).copied().unwrap_or(1);
            for (i, value) in values.iter_mut().enumerate() {
                *value = old[i / columns * old_columns + i % columns];
            }
        }
        assert!(width <= wide);
        copy
    }

    /// A copy without some layers.
    pub(super) fn without_layers(&self, dropped: &[usize]) -> Self {
        let kept: Vec<usize> = (0..self.layers).filter(|l| !dropped.contains(l)).collect();
        let mut copy = self.clone();
        copy.layers = kept.len();
        copy.tensors
            .retain(|name, _| super::layout::layer_of(name).is_none());
        for (to, from) in kept.into_iter().enumerate() {
            for (name, tensor) in &self.tensors {
                if super::layout::layer_of(name) == Some(from) {
                    let name = super::layout::in_layer(name, to);
                    copy.tensors.insert(name, tensor.clone());
                }
            }
        }
        copy
    }

    /// Writes the folder of a model, in F32 or BF16.
    pub(super) fn write(&self, folder: &Path, brain: bool) {
        let bytes: BTreeMap<&str, Vec<u8>> = self
            .tensors
            .iter()
            .map(|(name, (_, values))| {
                let bytes = if brain {
                    values
                        .iter()
                        .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
                        .collect()
                } else {
                    values.iter().flat_map(|x| x.to_le_bytes()).collect()
                };
                (name.as_str(), bytes)
            })
            .collect();
        let dtype = if brain { Dtype::BF16 } else { Dtype::F32 };
        let views = self.tensors.iter().map(|(name, (shape, _))| {
            let view = TensorView::new(dtype, shape.clone(), &bytes[name.as_str()]);
            (name, view.expect("shape and bytes agree"))
        });
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))
            .expect("the folder is writable");
        let save = |name: &str, value: &Value| {
            std::fs::write(folder.join(name), value.to_string()).expect("the folder is writable");
        };
        save("config.json", &self.config());
        save("tokenizer.json", &self.tokenizer());
    }

    fn config(&self) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "hidden_size": self.width, "intermediate_size": self.neurons,
            "num_hidden_layers": self.layers, "num_attention_heads": self.width / HEAD_DIM,
            "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "vocab_size": self.vocabulary,
            "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "hidden_act": "silu", "tie_word_embeddings": true
        })
    }

    fn tokenizer(&self) -> Value {
        let vocabulary: serde_json::Map<String, Value> = (0..self.vocabulary)
            .map(|id| (format!("t{id}"), json!(id)))
            .collect();
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
            "decoder": null,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"}
        })
    }
}

/// Opens a folder with the model, which is deleted with the guard.
pub(super) fn opened(model: &Model, brain: bool) -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    model.write(folder.path(), brain);
    let checkpoint = Checkpoint::open(folder.path(), &Limits::default()).expect("a valid folder");
    (folder, checkpoint)
}
