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
