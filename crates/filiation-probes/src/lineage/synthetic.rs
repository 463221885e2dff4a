//! Tiny checkpoints, made and disguised for the tests.

use std::collections::BTreeMap;
use std::path::Path;

use filiation_checkpoint::config::{Architecture, ModelConfig};
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
    pub(super) architecture: Architecture,
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
    fn shuffled(heads: usize, groups: usize, rng: &mut ChaCha8Rng) -> Self {
        Self {
            groups: shuffled(groups, rng),
            within: (0..groups).map(|_| shuffled(heads / groups, rng)).collect(),
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

    /// All queries, then all keys, then all values.
    fn stacked(&self, row: usize) -> usize {
        let keys = self.groups.len() * HEAD_DIM;
        let queries = keys * self.within[0].len();
        match row {
            q if q < queries => self.query(q),
            k if k < queries + keys => queries + self.key(k - queries),
            v => queries + keys + self.key(v - queries - keys),
        }
    }

    /// Query, key and value of one head after the other.
    fn interleaved(&self, row: usize) -> usize {
        let (head, rest) = (row / (3 * HEAD_DIM), row % (3 * HEAD_DIM));
        self.query(head * HEAD_DIM) * 3 + rest
    }
}

/// What a disguise does along an axis.
#[derive(Clone, Copy)]
enum Move {
    Stay,
    Hidden,
    /// Hidden dimensions that are scaled, whose sign cancels.
    Scale,
    Query,
    Key,
    Stacked,
    Interleaved,
    Neuron,
    /// Gates, then what they let through.
    Gated,
}

/// What moves along the rows and the columns of a tensor, by the last two parts of its name.
fn moves(architecture: Architecture, name: &str) -> (Move, Move) {
    use Move::{Gated, Hidden, Interleaved, Key, Neuron, Query, Scale, Stacked, Stay};
    let mut parts = name.rsplit('.');
    let (kind, module) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let block = parts.next().unwrap_or("");
    // (written, read): by these the linear maps are named.
    let (written, read) = match (module, block) {
        ("embed_tokens" | "embed_in" | "embed_out" | "lm_head" | "wte" | "wpe", _) => {
            return (Stay, Hidden);
        }
        ("q_proj", _) => (Query, Hidden),
        ("k_proj" | "v_proj", _) => (Key, Hidden),
        ("qkv_proj" | "c_attn", _) => (Stacked, Hidden),
        ("query_key_value", _) => (Interleaved, Hidden),
        ("o_proj" | "dense", _) | ("c_proj", "attn") => (Hidden, Query),
        ("gate_proj" | "up_proj" | "c_fc" | "dense_h_to_4h", _) => (Neuron, Hidden),
        ("gate_up_proj", _) => (Gated, Hidden),
        ("down_proj" | "dense_4h_to_h", _) | ("c_proj", "mlp") => (Hidden, Neuron),
        _ if kind == "bias" => (Hidden, Stay),
        _ => (Scale, Stay),
    };
    match kind {
        "bias" => (written, Stay),
        _ if module.ends_with("norm") || module.starts_with("ln_") => (written, Stay),
        _ if architecture == Architecture::Gpt2 => (read, written),
        _ => (written, read),
    }
}

impl Model {
    /// A model trained from its own initialisation, as far as weights tell: random.
    pub(super) fn random(width: usize, neurons: usize, layers: usize, seed: u64) -> Self {
        Self::random_as(Architecture::Llama, width, neurons, layers, seed)
    }

    /// The same with the tensors of another architecture.
    pub(super) fn random_as(
        architecture: Architecture,
        width: usize,
        neurons: usize,
        layers: usize,
        seed: u64,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut model = Self {
            architecture,
            width,
            neurons,
            layers,
            vocabulary: 400,
            tensors: BTreeMap::new(),
        };
        let config = ModelConfig::from_json(&model.config()).expect("a valid configuration");
        for tensor in config.expected_tensors() {
            if tensor.optional {
                continue;
            }
            let count: usize = tensor.shape.iter().product();
            let scale = tensor.shape.len() == 1 && tensor.name.ends_with("weight");
            let values = normal(count, &mut rng)
                .into_iter()
                .map(|x| if scale { 1.0 + 0.1 * x } else { 0.05 * x })
                .collect();
            model.tensors.insert(tensor.name, (tensor.shape, values));
        }
        model
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
    /// reordered: it computes the same function. Norms that centre allow no flips.
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
        let heads = Heads::shuffled(self.width / HEAD_DIM, self.groups(), &mut rng);
        let mut copy = self.clone();
        for (name, (shape, values)) in &mut copy.tensors {
            let order = super::layout::layer_of(name).map(|layer| neurons[layer].as_slice());
            let source = |along: Move, at: usize| match (along, order) {
                (Move::Stay, _) => (at, 1.0),
                (Move::Hidden, _) => (hidden[at], sign[at]),
                (Move::Scale, _) => (hidden[at], 1.0),
                (Move::Query, _) => (heads.query(at), 1.0),
                (Move::Key, _) => (heads.key(at), 1.0),
                (Move::Stacked, _) => (heads.stacked(at), 1.0),
                (Move::Interleaved, _) => (heads.interleaved(at), 1.0),
                (Move::Neuron, order) => (order.map_or(at, |o| o[at]), 1.0),
                (Move::Gated, order) => {
                    let (half, at) = (at / self.neurons, at % self.neurons);
                    (half * self.neurons + order.map_or(at, |o| o[at]), 1.0)
                }
            };
            let (by_row, by_column) = moves(self.architecture, name);
            let old = values.clone();
            let columns = shape.get(1).copied().unwrap_or(1);
            for (i, value) in values.iter_mut().enumerate() {
                let (r, rs) = source(by_row, i / columns);
                let (c, cs) = source(by_column, i % columns);
                *value = rs * cs * old[r * columns + c];
            }
        }
        copy
    }

    /// A copy of the first hidden dimensions and neurons of all layers.
    pub(super) fn pruned(&self, width: usize, neurons: usize) -> Self {
        let mut copy = Self::random_as(self.architecture, width, neurons, self.layers, 0);
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

    /// Key heads.
    fn groups(&self) -> usize {
        match self.architecture {
            Architecture::Gpt2 | Architecture::GptNeoX => self.width / HEAD_DIM,
            _ => KV_HEADS,
        }
    }

    fn config(&self) -> Value {
        let heads = self.width / HEAD_DIM;
        match self.architecture {
            Architecture::Gpt2 => json!({
                "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
                "n_embd": self.width, "n_inner": self.neurons, "n_layer": self.layers,
                "n_head": heads, "vocab_size": self.vocabulary, "n_positions": 64,
                "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"
            }),
            Architecture::GptNeoX => json!({
                "architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox",
                "hidden_size": self.width, "intermediate_size": self.neurons,
                "num_hidden_layers": self.layers, "num_attention_heads": heads,
                "vocab_size": self.vocabulary, "max_position_embeddings": 64,
                "layer_norm_eps": 1e-5, "rotary_pct": 0.25, "rotary_emb_base": 10000,
                "hidden_act": "gelu", "tie_word_embeddings": false
            }),
            Architecture::Phi3 => json!({
                "architectures": ["Phi3ForCausalLM"], "model_type": "phi3",
                "hidden_size": self.width, "intermediate_size": self.neurons,
                "num_hidden_layers": self.layers, "num_attention_heads": heads,
                "num_key_value_heads": KV_HEADS, "vocab_size": self.vocabulary,
                "max_position_embeddings": 64, "original_max_position_embeddings": 64,
                "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
                "sliding_window": null, "tie_word_embeddings": false
            }),
            _ => json!({
                "architectures": ["LlamaForCausalLM"], "model_type": "llama",
                "hidden_size": self.width, "intermediate_size": self.neurons,
                "num_hidden_layers": self.layers, "num_attention_heads": heads,
                "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
                "vocab_size": self.vocabulary, "max_position_embeddings": 64,
                "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
                "tie_word_embeddings": true
            }),
        }
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
