//! Tiny seeded models and a case of them, made anew for each test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

pub(crate) const WIDTH: usize = 32;
const FEED_FORWARD: usize = 64;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;

/// Printable ASCII, so that whatever a random model says is text; then `<s>` and `</s>`.
const CHARACTERS: usize = 95;
pub(crate) const VOCABULARY: usize = CHARACTERS + 2;

/// A folder with models `suspect`, `base`, `t1`, `t2`, two suites and `case.toml`.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(openings: usize) -> Self {
        let bench = Self {
            folder: tempfile::tempdir().expect("temporary folder"),
        };
        let base = weights(1);
        for (name, weights) in [
            ("base", base.clone()),
            ("t1", weights(2)),
            ("t2", weights(3)),
            ("suspect", blend(&base, &weights(2), 0.2)),
        ] {
            write_model(&bench.path(name), &weights);
        }
        let text = |i: usize| format!("opening {i}: the {}", ["cat", "river", "law"][i % 3]);
        let lines = (0..openings).map(|i| {
            json!({ "id": format!("opening-{i:03}"), "text": text(i), "domain": "opening",
                    "language": "en", "licence": "Apache-2.0" })
        });
        let choices = (0..12).map(|i| {
            json!({ "id": format!("choice-{i:03}"), "text": text(i), "options": ["a", "b", "c", "d"],
                    "domain": "choice-opening", "language": "en", "licence": "Apache-2.0" })
        });
        write_lines(&bench.path("openings.jsonl"), lines);
        write_lines(&bench.path("choices.jsonl"), choices);
        fs::write(bench.path("case.toml"), CASE).expect("writes the case");
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `filiation` with these arguments, in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_filiation"));
        command.args(arguments).current_dir(self.folder.path());
        command.env_remove("COLUMNS").env_remove("FILIATION_DEVICE");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("filiation starts")
    }

    /// As [`Self::run`], standard output of a run that must succeed.
    pub(crate) fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

const CASE: &str = r#"name = "tiny"
probes = ["weight-lineage", "tlu-did", "choice-priors"]
suites = ["openings.jsonl", "choices.jsonl"]
max_tokens = 12
seed = 5
suspect = "suspect"
base = "base"
teachers = ["t1", "t2"]
"#;

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Name, shape and values of each tensor.
pub(crate) type Weights = Vec<(String, Vec<usize>, Vec<f32>)>;

pub(crate) fn weights(seed: u64) -> Weights {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut uniform = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let kv = WIDTH / HEADS * KV_HEADS;
    let mut shapes = vec![(
        "model.embed_tokens.weight".to_owned(),
        vec![VOCABULARY, WIDTH],
    )];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("self_attn.q_proj", vec![WIDTH, WIDTH]),
            ("self_attn.k_proj", vec![kv, WIDTH]),
            ("self_attn.v_proj", vec![kv, WIDTH]),
            ("self_attn.o_proj", vec![WIDTH, WIDTH]),
            ("mlp.gate_proj", vec![FEED_FORWARD, WIDTH]),
            ("mlp.up_proj", vec![FEED_FORWARD, WIDTH]),
            ("mlp.down_proj", vec![WIDTH, FEED_FORWARD]),
            ("input_layernorm", vec![WIDTH]),
            ("post_attention_layernorm", vec![WIDTH]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    shapes.push(("model.norm.weight".to_owned(), vec![WIDTH]));
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let centre = if shape.len() == 1 { 1.0 } else { 0.0 };
            let length = shape.iter().product();
            let values = (0..length).map(|_| centre + uniform()).collect();
            (name, shape, values)
        })
        .collect()
}

pub(crate) fn blend(a: &Weights, b: &Weights, share: f32) -> Weights {
    let mix = |x: &f32, y: &f32| x * (1.0 - share) + y * share;
    a.iter()
        .zip(b)
        .map(|((name, shape, x), (_, _, y))| {
            let values = x.iter().zip(y).map(|(x, y)| mix(x, y)).collect();
            (name.clone(), shape.clone(), values)
        })
        .collect()
}

pub(crate) fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": WIDTH, "intermediate_size": FEED_FORWARD, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "vocab_size": VOCABULARY,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "bos_token_id": CHARACTERS, "eos_token_id": CHARACTERS + 1,
        "torch_dtype": "float32"
    })
}

pub(crate) fn write_model(folder: &Path, weights: &Weights) {
    fs::create_dir_all(folder).expect("makes the folder");
    fs::write(folder.join("model.safetensors"), safetensors(weights)).expect("writes weights");
    fs::write(folder.join("config.json"), config().to_string()).expect("writes the config");
    let tokenizer = tokenizer(0).to_string();
    fs::write(folder.join("tokenizer.json"), tokenizer).expect("writes the tokenizer");
}

pub(crate) fn safetensors(weights: &Weights) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape, values) in weights {
        let start = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
        header.insert(name.clone(), entry);
    }
    let mut text = Value::Object(header).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

/// One token a character, and `more` tokens that no text has.
pub(crate) fn tokenizer(more: usize) -> Value {
    let mut vocabulary = serde_json::Map::new();
    // The byte-level alphabet writes a space as U+0120; the rest of ASCII stands for itself.
    let alphabet = (' '..='~').map(|c| if c == ' ' { '\u{120}' } else { c });
    for (id, c) in alphabet.enumerate() {
        vocabulary.insert(c.to_string(), json!(id));
    }
    let special = |id: usize, content: &str| {
        json!({ "id": id, "content": content, "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false })
    };
    vocabulary.insert("<s>".into(), json!(CHARACTERS));
    vocabulary.insert("</s>".into(), json!(CHARACTERS + 1));
    for i in 0..more {
        vocabulary.insert(format!("\u{100}{i}"), json!(VOCABULARY + i));
    }
    let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                        "use_regex": true });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [special(CHARACTERS, "<s>"), special(CHARACTERS + 1, "</s>")],
        "pre_tokenizer": level, "decoder": level, "post_processor": null,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false,
                   "continuing_subword_prefix": null, "end_of_word_suffix": null,
                   "byte_fallback": false, "ignore_merges": false,
                   "vocab": vocabulary, "merges": [] }
    })
}

fn write_lines(path: &Path, lines: impl Iterator<Item = Value>) {
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    fs::write(path, text).expect("writes the suite");
}
