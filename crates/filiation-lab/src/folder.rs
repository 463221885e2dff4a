use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use filiation_core::{Digest, canonical};
use serde_json::{Value, json};

use crate::network::{Network, parameters};
use crate::tokenizer::{BEGIN, BEGIN_ID, END, END_ID};
use crate::{LabError, Lineage, Shape, Stored};

pub(crate) const WEIGHTS: &str = "model.safetensors";
const LINEAGE: &str = "lineage.json";

/// `config.json` in the style of transformers 5.
fn config(shape: &Shape, vocabulary: usize, stored: Stored) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": BEGIN_ID,
        "dtype": dtype_name(stored),
        "eos_token_id": END_ID,
        "head_dim": shape.head_dim(),
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": shape.context,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "pretraining_tp": 1,
        "rms_norm_eps": shape.norm_eps,
        "rope_parameters": { "rope_theta": shape.rope_theta, "rope_type": "default" },
        "tie_word_embeddings": true,
        "use_cache": true,
        "vocab_size": vocabulary,
    })
}

const fn dtype_name(stored: Stored) -> &'static str {
    match stored {
        Stored::F32 => "float32",
        Stored::Bf16 => "bfloat16",
    }
}

fn tokenizer_config(shape: &Shape) -> Value {
    json!({
        "bos_token": BEGIN,
        "clean_up_tokenization_spaces": false,
        "eos_token": END,
        "model_max_length": shape.context,
        "tokenizer_class": "PreTrainedTokenizerFast",
    })
}

/// The weights file.
pub(crate) fn weights(vars: &[(String, Var)], stored: Stored) -> Result<Vec<u8>, LabError> {
    let dtype = match stored {
        Stored::F32 => DType::F32,
        Stored::Bf16 => DType::BF16,
    };
    let tensors: Vec<(&str, Tensor)> = vars
        .iter()
        .map(|(name, var)| Ok((name.as_str(), var.to_dtype(dtype)?)))
        .collect::<candle_core::Result<_>>()?;
    // `transformers` asks for the entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(tensors, Some(metadata))?)
}

/// Writes a model's folder: all files under a temporary name first, so that a folder that stands
/// under its own name is whole.
pub(crate) fn write(
    out: &Path,
    (shape, vocabulary, stored): (&Shape, usize, Stored),
    tokenizer: &str,
    weights: &[u8],
    lineage: &Lineage,
) -> Result<(), LabError> {
    let folder = out.join(&lineage.name);
    let scratch = out.join(format!("{}.tmp", lineage.name));
    remove(&scratch)?;
    fs::create_dir_all(&scratch).map_err(cannot_write(&scratch))?;
    let pretty = |value: &Value| canonical::to_pretty(value);
    let generation = json!({ "bos_token_id": BEGIN_ID, "eos_token_id": END_ID });
    for (name, bytes) in [
        ("config.json", pretty(&config(shape, vocabulary, stored))),
        ("generation_config.json", pretty(&generation)),
        ("tokenizer.json", tokenizer.as_bytes().to_vec()),
        ("tokenizer_config.json", pretty(&tokenizer_config(shape))),
        (WEIGHTS, weights.to_vec()),
        (LINEAGE, canonical::to_pretty(lineage)),
    ] {
        let path = scratch.join(name);
        fs::write(&path, bytes).map_err(cannot_write(&path))?;
    }
    remove(&folder)?;
    fs::rename(&scratch, &folder).map_err(cannot_write(&folder))
}

fn remove(folder: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(cannot_write(folder)(error))
        }
        _ => Ok(()),
    }
}

fn cannot_write(path: &Path) -> impl FnOnce(std::io::Error) -> LabError {
    let path = path.to_path_buf();
    |source| LabError::Write { path, source }
}

/// The record of a finished folder whose weights are still the recorded ones.
pub(crate) fn finished(folder: &Path) -> Option<Lineage> {
    let text = fs::read(folder.join(LINEAGE)).ok()?;
    let lineage: Lineage = serde_json::from_slice(&text).ok()?;
    let weights = fs::read(folder.join(WEIGHTS)).ok()?;
    (Digest::of(&weights) == lineage.weights).then_some(lineage)
}

/// The stored weights of a parent in f32, checked against its shape.
pub(crate) fn read(
    folder: &Path,
    shape: &Shape,
    vocabulary: usize,
) -> Result<BTreeMap<String, Tensor>, LabError> {
    let path = folder.join(WEIGHTS);
    let bytes = fs::read(&path).map_err(|source| LabError::Read {
        path: path.clone(),
        source,
    })?;
    let stored = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
    let mut weights = BTreeMap::new();
    for (tensor, expected) in parameters(shape, vocabulary) {
        let found = stored.get(&tensor).filter(|t| t.dims() == expected);
        let Some(found) = found else {
            return Err(LabError::Tensor {
                got: stored
                    .get(&tensor)
                    .map_or_else(Vec::new, |t| t.dims().to_vec()),
                path,
                tensor,
                expected,
            });
        };
        weights.insert(tensor, found.to_dtype(DType::F32)?);
    }
    Ok(weights)
}

/// A parent as a network that is only run.
pub(crate) fn open(folder: &Path, shape: &Shape, vocabulary: usize) -> Result<Network, LabError> {
    Ok(Network::new(shape, read(folder, shape, vocabulary)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::path::PathBuf;

    #[derive(Deserialize)]
    struct Reference {
        text: String,
        models: Vec<Scored>,
    }

    #[derive(Deserialize)]
    struct Scored {
        model: String,
        weights: Digest,
        ids: Vec<u32>,
        logprobs: Vec<f64>,
        last_logits: Vec<f64>,
    }

    /// The demonstration models have the shapes that their own configurations state.
    fn shape(folder: &Path) -> Shape {
        let text = fs::read(folder.join("config.json")).expect("config.json");
        let config: Value = serde_json::from_slice(&text).expect("json");
        let size = |key: &str| config[key].as_u64().expect("a number") as usize;
        Shape {
            layers: size("num_hidden_layers"),
            hidden: size("hidden_size"),
            heads: size("num_attention_heads"),
            kv_heads: size("num_key_value_heads"),
            intermediate: size("intermediate_size"),
            context: size("max_position_embeddings"),
            rope_theta: config["rope_parameters"]["rope_theta"]
                .as_f64()
                .expect("theta"),
            norm_eps: config["rms_norm_eps"].as_f64().expect("epsilon"),
        }
    }

    /// Largest difference to the values that `reference.py` stored.
    fn off(reference: &Scored, folder: &Path) -> f64 {
        let shape = shape(folder);
        let network = open(folder, &shape, reference.last_logits.len()).expect("opens");
        let rows = network.logits(&reference.ids, 1, None).expect("forward");
        let rows: Vec<Vec<f32>> = rows.to_vec2().expect("rows");
        let logprob = |row: &[f32], id: u32| {
            let mass: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            f64::from(row[id as usize]) - mass.ln()
        };
        let scored = rows
            .iter()
            .zip(&reference.ids[1..])
            .zip(&reference.logprobs);
        let scored = scored.map(|((row, id), want)| (logprob(row, *id) - want).abs());
        let last = rows.last().expect("a last position").iter();
        let last = last
            .zip(&reference.last_logits)
            .map(|(got, want)| (f64::from(*got) - want).abs());
        scored.chain(last).fold(0.0, f64::max)
    }

    #[test]
    fn folders_give_the_logits_that_transformers_gives() {
        let demo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../corpora/demo");
        let stored = include_str!("../tests/reference.json");
        let reference: Reference = serde_json::from_str(stored).expect("reference");
        assert_eq!(reference.models.len(), 2);
        for scored in &reference.models {
            let folder = demo.join(&scored.model);
            let weights = fs::read(folder.join(WEIGHTS)).expect("weights");
            let name = &scored.model;
            assert_eq!(
                Digest::of(&weights),
                scored.weights,
                "{name}: run reference.py again"
            );
            let tokenizer = folder.join("tokenizer.json");
            let tokenizer = tokenizers::Tokenizer::from_file(tokenizer).expect("tokenizer");
            let ids = tokenizer
                .encode(reference.text.as_str(), true)
                .expect("encodes");
            assert_eq!(ids.get_ids(), scored.ids, "{name}");
            let off = off(scored, &folder);
            assert!(off < 1e-4, "{name}: {off:e}");
        }
    }
}
