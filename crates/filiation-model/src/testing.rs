//! A tiny model of random weights, written as a Hugging Face folder.

use std::collections::BTreeMap;
use std::path::Path;

use filiation_checkpoint::Limits;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::{DeviceChoice, LocalModel};

pub(crate) const WIDTH: usize = 32;
pub(crate) const LAYERS: usize = 2;
pub(crate) const HEADS: usize = 4;
pub(crate) const KV_HEADS: usize = 2;
pub(crate) const FEED_FORWARD: usize = 48;
pub(crate) const POSITIONS: usize = 96;
/// Begins and ends a text; the chat template's marks.
pub(crate) const BOS: u32 = 0;
pub(crate) const EOS: u32 = 1;
const TEMPLATE: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<eos>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

/// What a test may change.
pub(crate) struct Tiny {
    pub(crate) seed: u64,
    pub(crate) template: bool,
    pub(crate) eos: Vec<u32>,
    pub(crate) bos: bool,
    /// Sets the last element of this tensor to NaN.
    pub(crate) nan: Option<&'static str>,
    /// Sets all elements of this tensor to the largest finite number.
    pub(crate) huge: Option<&'static str>,
    /// Adds a token beyond the embedding.
    pub(crate) stray: Option<&'static str>,
}

impl Default for Tiny {
    fn default() -> Self {
        Self {
            seed: 1,
            template: true,
            eos: vec![EOS],
            bos: true,
            nan: None,
            huge: None,
            stray: None,
        }
    }
}

impl Tiny {
    pub(crate) fn write(&self, folder: &Path) {
        let put = |name: &str, value: &Value| {
            std::fs::write(folder.join(name), value.to_string()).expect("the folder is writable");
        };
        put("config.json", &config());
        put("tokenizer.json", &self.tokenizer());
        put(
            "generation_config.json",
            &json!({ "eos_token_id": self.eos }),
        );
        let template = if self.template {
            json!(TEMPLATE)
        } else {
            Value::Null
        };
        let tokens = json!({ "bos_token": "<bos>", "eos_token": "<eos>",
            "chat_template": template });
        put("tokenizer_config.json", &tokens);
        let weights = self.weights();
        let views = weights.iter().map(|(name, (shape, values))| {
            let bytes = bytemuck::cast_slice(values);
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("sizes agree");
            (name.as_str(), view)
        });
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))
            .expect("the folder is writable");
    }

    pub(crate) fn open(&self) -> (TempDir, LocalModel) {
        let folder = TempDir::new().expect("a temporary folder");
        self.write(folder.path());
        let model = LocalModel::open(folder.path(), DeviceChoice::Cpu, &Limits::default())
            .expect("a sound model");
        (folder, model)
    }

    /// Every tensor by name: shape and values.
    pub(crate) fn weights(&self) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        let mut draw = ChaCha8Rng::seed_from_u64(self.seed);
        let mut out = BTreeMap::new();
        for (name, shape) in shapes() {
            let count = shape.iter().product();
            let norm = name.contains("norm");
            let value = |_| {
                let x: f32 = draw.random::<f32>() - 0.5;
                if norm { 1.0 + 0.2 * x } else { x }
            };
            let mut values: Vec<f32> = (0..count).map(value).collect();
            if self.nan == Some(name.as_str()) {
                values[count - 1] = f32::NAN;
            }
            if self.huge == Some(name.as_str()) {
                values.fill(f32::MAX);
            }
            out.insert(name, (shape, values));
        }
        out
    }

    /// Byte-level BPE with three merges.
    fn tokenizer(&self) -> Value {
        let special = ["<bos>", "<eos>", "<|user|>", "<|assistant|>"];
        let added = special
            .iter()
            .chain(self.stray.iter())
            .zip(0..)
            .map(|(text, i)| {
                let id = if i < special.len() { i } else { pieces().len() };
                json!({ "id": id, "content": text, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true })
            });
        let vocabulary: serde_json::Map<String, Value> = pieces()
            .into_iter()
            .zip(0..)
            .map(|(p, id)| (p, json!(id)))
            .collect();
        let sequence = json!({ "Sequence": { "id": "A", "type_id": 0 } });
        let first = json!({ "SpecialToken": { "id": "<bos>", "type_id": 0 } });
        let single = if self.bos {
            json!([first, sequence])
        } else {
            json!([sequence])
        };
        json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
            "added_tokens": added.collect::<Vec<_>>(),
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false,
                "trim_offsets": true, "use_regex": true },
            "post_processor": { "type": "TemplateProcessing", "single": single,
                "pair": [{ "Sequence": { "id": "A", "type_id": 0 } },
                    { "Sequence": { "id": "B", "type_id": 0 } }],
                "special_tokens": { "<bos>": { "id": "<bos>", "ids": [BOS], "tokens": ["<bos>"] } } },
            "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                "use_regex": true },
            "model": { "type": "BPE", "vocab": vocabulary, "merges": merges() },
        })
    }
}

pub(crate) fn merges() -> Vec<String> {
    ["t h", "th e", "Ġ the"].map(Into::into).to_vec()
}

/// The vocabulary, by id.
pub(crate) fn pieces() -> Vec<String> {
    let mut bytes: Vec<String> = ByteLevel::alphabet()
        .into_iter()
        .map(String::from)
        .collect();
    bytes.sort();
    let mut pieces = ["<bos>", "<eos>", "<|user|>", "<|assistant|>"]
        .map(String::from)
        .to_vec();
    pieces.extend(bytes);
    pieces.extend(["th", "the", "Ġthe"].map(String::from));
    pieces
}

fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "vocab_size": pieces().len(), "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
        "intermediate_size": FEED_FORWARD, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "max_position_embeddings": POSITIONS,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false,
    })
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let (d, kv, ff) = (WIDTH, WIDTH / HEADS * KV_HEADS, FEED_FORWARD);
    let mut out = vec![
        (
            "model.embed_tokens.weight".to_owned(),
            vec![pieces().len(), d],
        ),
        ("model.norm.weight".to_owned(), vec![d]),
    ];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("self_attn.q_proj", vec![d, d]),
            ("self_attn.k_proj", vec![kv, d]),
            ("self_attn.v_proj", vec![kv, d]),
            ("self_attn.o_proj", vec![d, d]),
            ("mlp.gate_proj", vec![ff, d]),
            ("mlp.up_proj", vec![ff, d]),
            ("mlp.down_proj", vec![d, ff]),
            ("input_layernorm", vec![d]),
            ("post_attention_layernorm", vec![d]),
        ] {
            out.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    out
}
