use std::collections::HashMap;
use std::fs;
use std::path::Path;

use filiation_core::{Digest, canonical};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::{Value, json};

use crate::network::Network;
use crate::parameters::{Layout, Tensor};
use crate::tokenizer::{BEGIN, BEGIN_ID, END, END_ID};
use crate::{LabError, Lineage, Shape, Stored};

pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const LINEAGE: &str = "lineage.json";

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

pub(crate) const fn dtype_name(stored: Stored) -> &'static str {
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
pub(crate) fn weights(network: &Network, stored: Stored) -> Result<Vec<u8>, LabError> {
    tensors(&network.layout.tensors, &network.values, stored)
}

/// A file of `tensors`, which lie in `values`.
pub(crate) fn tensors(
    tensors: &[Tensor],
    values: &[f32],
    stored: Stored,
) -> Result<Vec<u8>, LabError> {
    let bytes = |t: &Tensor| encode(&values[t.span.clone()], stored);
    let bytes: Vec<Vec<u8>> = tensors.iter().map(bytes).collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        let view = TensorView::new(dtype(stored), tensor.dims.clone(), bytes)?;
        Ok((tensor.name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, SafeTensorError>>()?;
    // `transformers` asks for the entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(views, Some(metadata))?)
}

pub(crate) const fn dtype(stored: Stored) -> Dtype {
    match stored {
        Stored::F32 => Dtype::F32,
        Stored::Bf16 => Dtype::BF16,
    }
}

/// The bytes of `values` in a file.
pub(crate) fn encode(values: &[f32], stored: Stored) -> Vec<u8> {
    match stored {
        Stored::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Stored::Bf16 => values.iter().flat_map(|v| bf16(*v).to_le_bytes()).collect(),
    }
}

/// The nearest bf16, ties to the even one.
pub(crate) const fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 1 << 6;
    }
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// Writes a model's folder.
pub(crate) fn write(
    out: &Path,
    (shape, vocabulary, stored): (&Shape, usize, Stored),
    tokenizer: &str,
    weights: &[u8],
    lineage: &Lineage,
) -> Result<(), LabError> {
    let pretty = |value: &Value| canonical::to_pretty(value);
    let generation = json!({ "bos_token_id": BEGIN_ID, "eos_token_id": END_ID });
    let files = [
        ("config.json", pretty(&config(shape, vocabulary, stored))),
        ("generation_config.json", pretty(&generation)),
        ("tokenizer.json", tokenizer.as_bytes().to_vec()),
        ("tokenizer_config.json", pretty(&tokenizer_config(shape))),
        (WEIGHTS, weights.to_vec()),
        (LINEAGE, canonical::to_pretty(lineage)),
    ];
    place(&out.join(&lineage.name), |scratch| {
        for (name, bytes) in &files {
            let path = scratch.join(name);
            fs::write(&path, bytes).map_err(cannot_write(&path))?;
        }
        Ok(())
    })
}

/// Makes `folder` anew with what `fill` writes: under a temporary name first, so that a folder that
/// stands under its own name is whole.
pub(crate) fn place(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let scratch = folder.with_file_name(name);
    remove(&scratch)?;
    fs::create_dir_all(&scratch).map_err(cannot_write(&scratch))?;
    fill(&scratch)?;
    remove(folder)?;
    fs::rename(&scratch, folder).map_err(cannot_write(folder))
}

fn remove(folder: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(cannot_write(folder)(error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn cannot_write(path: &Path) -> impl FnOnce(std::io::Error) -> LabError {
    let path = path.to_path_buf();
    |source| LabError::Write { path, source }
}

/// The record of a finished folder whose weights are still the recorded ones.
pub(crate) fn finished(folder: &Path, weights: &str) -> Option<Lineage> {
    let text = fs::read(folder.join(LINEAGE)).ok()?;
    let lineage: Lineage = serde_json::from_slice(&text).ok()?;
    let weights = fs::read(folder.join(weights)).ok()?;
    (Digest::of(&weights) == lineage.weights).then_some(lineage)
}

/// A parent, its stored weights checked against its shape.
pub(crate) fn open(folder: &Path, shape: &Shape, vocabulary: usize) -> Result<Network, LabError> {
    let path = folder.join(WEIGHTS);
    let bytes = fs::read(&path).map_err(|source| LabError::Read {
        path: path.clone(),
        source,
    })?;
    let stored = SafeTensors::deserialize(&bytes)?;
    let layout = Layout::new(shape, vocabulary);
    let mut values = Vec::with_capacity(layout.len());
    for Tensor { name, dims, .. } in &layout.tensors {
        let found = stored.tensor(name).ok();
        let decoded = found
            .as_ref()
            .filter(|t| t.shape() == dims)
            .and_then(decode);
        let Some(decoded) = decoded else {
            return Err(LabError::Tensor {
                path,
                tensor: name.clone(),
                got: found.map_or_else(
                    || "no such tensor".into(),
                    |t| format!("{:?} of {:?}", t.dtype(), t.shape()),
                ),
                expected: dims.clone(),
            });
        };
        values.extend(decoded);
    }
    Ok(Network::new(shape, vocabulary, values))
}

/// The values of a tensor of one of the types that are written here.
pub(crate) fn decode(tensor: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => Some(
            data.as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
        ),
        Dtype::BF16 => {
            let wide = |b: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
            Some(data.as_chunks().0.iter().map(wide).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Trace;
    use crate::network::tests::{network, tiny};
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
        let tokens = reference.ids.len();
        let mut trace = Trace::new(&shape, tokens);
        network.forward(&reference.ids, tokens, &mut trace);
        let mut logits = vec![0.0; tokens * network.vocabulary];
        network.logits(&trace.hidden, &mut logits);
        let rows: Vec<&[f32]> = logits.chunks(network.vocabulary).collect();
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

    #[test]
    fn stored_weights_are_read_back() {
        let folder = tempfile::TempDir::new().expect("folder");
        let network = network(&tiny(), 3);
        let read = |stored| {
            let bytes = weights(&network, stored).expect("weights");
            fs::write(folder.path().join(WEIGHTS), bytes).expect("writes");
            open(folder.path(), &tiny(), 31).expect("opens").values
        };
        assert_eq!(read(Stored::F32), network.values);
        let rounded = network.values.iter().map(|v| {
            let exact = candle_core::Tensor::new(*v, &candle_core::Device::Cpu);
            let bf16 = exact.and_then(|t| t.to_dtype(candle_core::DType::BF16));
            let back = bf16.and_then(|t| t.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>());
            back.expect("rounds")
        });
        assert_eq!(read(Stored::Bf16), rounded.collect::<Vec<f32>>());
        let error = open(folder.path(), &tiny(), 30).expect_err("another vocabulary");
        let text = error.to_string();
        assert!(
            text.ends_with("is BF16 of [31, 16], expected [30, 16]"),
            "{text}"
        );
    }
}
