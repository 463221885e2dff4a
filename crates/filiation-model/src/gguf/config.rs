//! The metadata of a GGUF file as the `config.json` that it was made from.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::header::{Header, Value};
use crate::error::GgufProblem;

/// The architectures that are read, by their GGUF names.
pub(crate) const ARCHITECTURES: [&str; 7] = [
    "llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "olmo2",
];

/// Typed access to metadata, with the architecture's prefix put in.
pub(super) struct Metadata<'a> {
    pub(super) architecture: &'a str,
    map: &'a BTreeMap<String, Value>,
}

impl<'a> Metadata<'a> {
    pub(super) fn new(header: &'a Header) -> Result<Self, GgufProblem> {
        let map = &header.metadata;
        match map.get("general.architecture") {
            Some(Value::Text(name)) if ARCHITECTURES.contains(&name.as_str()) => Ok(Self {
                architecture: name,
                map,
            }),
            Some(found) => Err(GgufProblem::Architecture {
                found: match found {
                    Value::Text(name) => name.clone(),
                    other => format!("{other:?}"),
                },
            }),
            None => Err(missing("general.architecture")),
        }
    }

    /// The value of `key`; a leading `.` stands for the architecture.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(&self.full(key))
    }

    fn full(&self, key: &str) -> String {
        match key.strip_prefix('.') {
            Some(rest) => format!("{}.{rest}", self.architecture),
            None => key.into(),
        }
    }

    pub(super) fn count(&self, key: &str) -> Result<Option<u64>, GgufProblem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Int(n)) if (0..=1 << 40).contains(n) => Ok(Some(*n as u64)),
            Some(found) => Err(self.wrong(key, found, "a count")),
        }
    }

    pub(super) fn need(&self, key: &str) -> Result<u64, GgufProblem> {
        self.count(key)?.ok_or_else(|| missing(&self.full(key)))
    }

    /// A number. GGUF keeps f32: the shortest decimal of it is what the configuration said.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, GgufProblem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(x)) if x.is_finite() => {
                Ok((*x as f32).to_string().parse().ok().or(Some(*x)))
            }
            Some(Value::Int(n)) => Ok(Some(*n as f64)),
            Some(found) => Err(self.wrong(key, found, "a finite number")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, GgufProblem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(*b)),
            Some(found) => Err(self.wrong(key, found, "a boolean")),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, GgufProblem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(found) => Err(self.wrong(key, found, "a text")),
        }
    }

    pub(super) fn list(&self, key: &str) -> Result<&'a [Value], GgufProblem> {
        match self.get(key) {
            None => Err(missing(&self.full(key))),
            Some(Value::List(items)) => Ok(items),
            Some(found) => Err(self.wrong(key, found, "an array")),
        }
    }

    pub(super) fn wrong(&self, key: &str, found: &Value, expected: &'static str) -> GgufProblem {
        GgufProblem::Value {
            what: format!("metadata `{}`", self.full(key)),
            found: format!("{found:?}").chars().take(80).collect(),
            expected,
        }
    }
}

fn missing(key: &str) -> GgufProblem {
    GgufProblem::MissingKey { key: key.into() }
}

/// The configuration as transformers would write it.
///
/// `frequency_factors` is the tensor `rope_freqs.weight`, by which llama.cpp divides the rotary
/// frequencies: Llama 3 models come with one.
pub(super) fn config_json(
    header: &Header,
    frequency_factors: Option<&[f32]>,
) -> Result<Json, GgufProblem> {
    let metadata = Metadata::new(header)?;
    let heads = metadata.need(".attention.head_count")?;
    let width = metadata.need(".embedding_length")?;
    let head_dim = match metadata.count(".attention.key_length")? {
        Some(length) => length,
        None => width.checked_div(heads).unwrap_or(0),
    };
    let value_length = metadata.count(".attention.value_length")?;
    if let Some(length) = value_length.filter(|&length| length != head_dim) {
        let found = Value::Int(length.into());
        return Err(metadata.wrong(".attention.value_length", &found, "the key length"));
    }
    let mut out = Map::new();
    let mut set = |key: &str, value: Json| {
        out.insert(key.into(), value);
    };
    let (class, model_type) = class(metadata.architecture);
    set("architectures", json!([class]));
    set("model_type", json!(model_type));
    set("vocab_size", json!(vocabulary(header)?));
    set("hidden_size", json!(width));
    set("num_hidden_layers", json!(metadata.need(".block_count")?));
    set(
        "intermediate_size",
        json!(metadata.need(".feed_forward_length")?),
    );
    set("num_attention_heads", json!(heads));
    let kv_heads = metadata.count(".attention.head_count_kv")?;
    set("num_key_value_heads", json!(kv_heads.unwrap_or(heads)));
    if metadata.architecture != "phi3" && metadata.architecture != "olmo2" {
        set("head_dim", json!(head_dim));
    }
    set(
        "max_position_embeddings",
        json!(metadata.need(".context_length")?),
    );
    let epsilon = metadata.number(".attention.layer_norm_rms_epsilon")?;
    set("rms_norm_eps", json!(epsilon.unwrap_or(1e-6)));
    let theta = metadata.number(".rope.freq_base")?;
    set("rope_theta", json!(theta.unwrap_or(10_000.0)));
    if let Some(factor) = linear_scaling(&metadata)? {
        set(
            "rope_scaling",
            json!({ "rope_type": "linear", "factor": factor }),
        );
    }
    set(
        "tie_word_embeddings",
        json!(!header.tensors.contains_key("output.weight")),
    );
    let bias = |name: &str| header.tensors.contains_key(&format!("blk.0.{name}.bias"));
    match metadata.architecture {
        "llama" => {
            set("hidden_act", json!("silu"));
            set("attention_bias", json!(bias("attn_q")));
            set("mlp_bias", json!(bias("ffn_up")));
            if let Some(factors) = frequency_factors {
                let base = theta.unwrap_or(10_000.0);
                set("rope_scaling", llama3_scaling(factors, base, head_dim)?);
            }
        }
        "qwen3" | "olmo2" => {
            set("hidden_act", json!("silu"));
            set("attention_bias", json!(bias("attn_q")));
        }
        "gemma2" | "gemma3" => gemma(&metadata, head_dim, &mut set)?,
        "phi3" => {
            set("hidden_act", json!("silu"));
            if let Some(window) = metadata
                .count(".attention.sliding_window")?
                .filter(|&w| w > 0)
            {
                set("sliding_window", json!(window));
            }
            let rotated = metadata.count(".rope.dimension_count")?.unwrap_or(head_dim);
            if rotated != head_dim {
                set(
                    "partial_rotary_factor",
                    json!(rotated as f64 / head_dim as f64),
                );
            }
        }
        _ => set("hidden_act", json!("silu")),
    }
    Ok(Json::Object(out))
}

fn class(architecture: &str) -> (&'static str, &'static str) {
    match architecture {
        "llama" => ("LlamaForCausalLM", "llama"),
        "qwen2" => ("Qwen2ForCausalLM", "qwen2"),
        "qwen3" => ("Qwen3ForCausalLM", "qwen3"),
        "gemma2" => ("Gemma2ForCausalLM", "gemma2"),
        "gemma3" => ("Gemma3ForCausalLM", "gemma3_text"),
        "phi3" => ("Phi3ForCausalLM", "phi3"),
        _ => ("Olmo2ForCausalLM", "olmo2"),
    }
}

fn vocabulary(header: &Header) -> Result<usize, GgufProblem> {
    let embedding = header.tensors.get("token_embd.weight");
    embedding
        .and_then(|t| t.shape.first().copied())
        .ok_or_else(|| GgufProblem::MissingKey {
            key: "token_embd.weight".into(),
        })
}

// A stretch of the positions changes every score: one that is not understood is refused.
fn linear_scaling(metadata: &Metadata<'_>) -> Result<Option<f64>, GgufProblem> {
    let factor = metadata
        .number(".rope.scaling.factor")?
        .filter(|&f| f != 1.0);
    match (metadata.get(".rope.scaling.type"), factor) {
        (None, None) => Ok(None),
        (Some(Value::Text(kind)), None) if kind == "none" || kind == "linear" => Ok(None),
        (Some(Value::Text(kind)), Some(factor)) if kind == "linear" => Ok(Some(factor)),
        (Some(found), _) => Err(metadata.wrong(".rope.scaling.type", found, "`none` or `linear`")),
        (None, Some(factor)) => {
            let found = Value::Float(factor);
            Err(metadata.wrong(".rope.scaling.factor", &found, "1 where no type is given"))
        }
    }
}

fn gemma(
    metadata: &Metadata<'_>,
    head_dim: u64,
    set: &mut impl FnMut(&str, Json),
) -> Result<(), GgufProblem> {
    set("hidden_activation", json!("gelu_pytorch_tanh"));
    set("attention_bias", json!(false));
    let (width, heads, layers) = (
        metadata.need(".embedding_length")?,
        metadata.need(".attention.head_count")?,
        metadata.need(".block_count")?,
    );
    // The largest model of each generation scales scores by width / heads, the others by head_dim.
    let large = matches!(
        (metadata.architecture, layers),
        ("gemma2", 46) | ("gemma3", 62)
    );
    let scalar = if large {
        width.checked_div(heads).unwrap_or(0)
    } else {
        head_dim
    };
    set("query_pre_attn_scalar", json!(scalar));
    set(
        "sliding_window",
        json!(metadata.need(".attention.sliding_window")?),
    );
    let attention = metadata.number(".attn_logit_softcapping")?;
    let last = metadata.number(".final_logit_softcapping")?;
    if metadata.architecture == "gemma2" {
        set("attn_logit_softcapping", json!(attention.unwrap_or(50.0)));
        set("final_logit_softcapping", json!(last.unwrap_or(30.0)));
    } else {
        set("rope_local_base_freq", json!(10_000.0));
        set("attn_logit_softcapping", json!(attention));
        set("final_logit_softcapping", json!(last));
    }
    let full_every = if metadata.architecture == "gemma2" {
        2
    } else {
        6
    };
    let kinds = (1..=layers).map(|layer| {
        let full = layer % full_every == 0;
        if full {
            "full_attention"
        } else {
            "sliding_attention"
        }
    });
    set("layer_types", kinds.collect());
    Ok(())
}

/// The parameters of Llama 3's frequency scaling that give `factors`.
fn llama3_scaling(factors: &[f32], theta: f64, dims: u64) -> Result<Json, GgufProblem> {
    let dims = dims as f64;
    let original = 8192.0;
    let (low, high) = (1.0, 4.0);
    // The last factor belongs to the longest wavelength, which is divided in full.
    let factor = f64::from(factors.last().copied().unwrap_or(0.0));
    let fits = |(j, &found): (usize, &f32)| {
        let wavelength = std::f64::consts::TAU * theta.powf(2.0 * j as f64 / dims);
        let blend = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
        let expected = 1.0 / ((1.0 - blend) / factor + blend);
        (f64::from(found) / expected - 1.0).abs() < 1e-3
    };
    if factors.len() as f64 * 2.0 != dims || !factors.iter().enumerate().all(fits) {
        return Err(GgufProblem::Value {
            what: "tensor `rope_freqs.weight`".into(),
            found: format!("{} factors up to {factor}", factors.len()),
            expected: "the factors of Llama 3 (low 1, high 4, original context 8192)",
        });
    }
    Ok(json!({
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": 8192,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_factors_are_recognised_and_others_refused() {
        let (theta, dims, factor) = (500_000.0_f64, 64, 32.0);
        let mut factors: Vec<f32> = (0..32)
            .map(|j| {
                let wavelength = std::f64::consts::TAU * theta.powf(2.0 * f64::from(j) / 64.0);
                if wavelength < 2048.0 {
                    1.0
                } else if wavelength > 8192.0 {
                    factor as f32
                } else {
                    let blend = (8192.0 / wavelength - 1.0) / 3.0;
                    (1.0 / ((1.0 - blend) / factor + blend)) as f32
                }
            })
            .collect();
        let scaling = llama3_scaling(&factors, theta, dims).expect("Llama 3 factors");
        assert_eq!(scaling["factor"], 32.0);
        factors[3] = 2.0;
        assert!(llama3_scaling(&factors, theta, dims).is_err());
    }
}
