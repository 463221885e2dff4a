use serde_json::{Map, Value};

use super::keys::Keys;
use super::rope::{Rope, RopeKeys};
use super::{
    Activation, Architecture, Biases, ConfigError, LayerConfig, MAX_LAYERS, ModelConfig, Norm,
    NormKind, Placement, QkNorm,
};

pub(super) fn read(document: &Value) -> Result<ModelConfig, ConfigError> {
    let map = document.as_object().ok_or(ConfigError::NotAnObject {
        found: match document {
            Value::Array(_) => "an array",
            Value::Null => "null",
            _ => "a single value",
        },
    })?;
    let architecture = architecture(map)?;
    let mut keys = Keys::new("", map);
    let config = match architecture {
        Architecture::Gpt2 => gpt2(&mut keys)?,
        Architecture::GptNeoX => gpt_neox(&mut keys)?,
        other => llama_like(other, &mut keys)?,
    };
    keys.finish()?;
    check(&config)?;
    Ok(config)
}

fn architecture(map: &Map<String, Value>) -> Result<Architecture, ConfigError> {
    let class = map
        .get("architectures")
        .and_then(|list| list.get(0))
        .and_then(Value::as_str);
    let kind = map.get("model_type").and_then(Value::as_str);
    let found = class.or(kind).unwrap_or("");
    Architecture::ALL
        .into_iter()
        .find(|a| match (class, kind) {
            (Some(class), Some(kind)) => a.class() == class && a.model_type() == kind,
            (Some(class), None) => a.class() == class,
            (None, Some(kind)) => a.model_type() == kind,
            (None, None) => false,
        })
        .ok_or_else(|| ConfigError::Architecture {
            found: match (class, kind) {
                (Some(class), Some(kind)) => format!("{class} ({kind})"),
                _ => found.to_owned(),
            },
        })
}

/// What transformers assumes where a file of the family is silent.
struct Family {
    head_dim: Option<usize>,
    kv_heads_default_to_heads: bool,
    epsilon: f64,
    tied: bool,
    norm: NormKind,
    placement: Placement,
    qk_norm: QkNorm,
    activation_key: &'static str,
    activation: &'static str,
}

const LLAMA: Family = Family {
    head_dim: None,
    kv_heads_default_to_heads: true,
    epsilon: 1e-6,
    tied: false,
    norm: NormKind::Rms,
    placement: Placement::Before,
    qk_norm: QkNorm::None,
    activation_key: "hidden_act",
    activation: "silu",
};

const GEMMA2: Family = Family {
    head_dim: Some(256),
    kv_heads_default_to_heads: false,
    tied: true,
    norm: NormKind::RmsPlusOne,
    placement: Placement::Around,
    activation_key: "hidden_activation",
    activation: "gelu_pytorch_tanh",
    ..LLAMA
};

const fn family(architecture: Architecture) -> Family {
    match architecture {
        Architecture::Mistral | Architecture::Qwen2 => Family {
            kv_heads_default_to_heads: false,
            ..LLAMA
        },
        Architecture::Qwen3 => Family {
            head_dim: Some(128),
            kv_heads_default_to_heads: false,
            qk_norm: QkNorm::PerHead,
            ..LLAMA
        },
        Architecture::Gemma2 => GEMMA2,
        Architecture::Gemma3 => Family {
            qk_norm: QkNorm::PerHead,
            ..GEMMA2
        },
        Architecture::Phi3 => Family {
            epsilon: 1e-5,
            ..LLAMA
        },
        Architecture::Olmo2 => Family {
            epsilon: 1e-5,
            placement: Placement::After,
            qk_norm: QkNorm::Whole,
            ..LLAMA
        },
        _ => LLAMA,
    }
}

fn llama_like(architecture: Architecture, keys: &mut Keys<'_>) -> Result<ModelConfig, ConfigError> {
    let family = family(architecture);
    let gemma = matches!(architecture, Architecture::Gemma2 | Architecture::Gemma3);
    let width = keys.need_size("hidden_size")?;
    let heads = keys.need_size("num_attention_heads")?;
    let kv_heads = if family.kv_heads_default_to_heads || keys.present("num_key_value_heads") {
        keys.size("num_key_value_heads")?.unwrap_or(heads)
    } else {
        keys.need_size("num_key_value_heads")?
    };
    let head_dim = head_dim(keys, family.head_dim, width, heads)?;
    let positions = keys.need_size("max_position_embeddings")?;
    if gemma {
        // Left over from the first Gemma; transformers does not read it.
        keys.get("hidden_act");
    }
    if architecture == Architecture::Phi3 {
        // Only its long-context scaling reads it, which is refused.
        keys.get("original_max_position_embeddings");
    }
    let softcap = |keys: &mut Keys<'_>, key: &'static str, default: f64| {
        let absent = !keys.present(key) && architecture == Architecture::Gemma2;
        Ok::<_, ConfigError>(if absent {
            Some(default)
        } else {
            keys.number(key)?
        })
    };
    let (attention_softcap, logit_softcap) = if gemma {
        (
            softcap(keys, "attn_logit_softcapping", 50.0)?,
            softcap(keys, "final_logit_softcapping", 30.0)?,
        )
    } else {
        (None, None)
    };
    let scaled_by = if gemma {
        keys.number("query_pre_attn_scalar")?.unwrap_or(256.0)
    } else {
        head_dim as f64
    };
    Ok(ModelConfig {
        architecture,
        vocabulary: keys.need_size("vocab_size")?,
        width,
        heads,
        kv_heads,
        head_dim,
        feed_forward: keys.need_size("intermediate_size")?,
        positions,
        layers: layers(architecture, keys, head_dim, positions)?,
        norm: Norm {
            kind: family.norm,
            epsilon: keys.number("rms_norm_eps")?.unwrap_or(family.epsilon),
        },
        placement: family.placement,
        qk_norm: family.qk_norm,
        activation: activation(keys, family.activation_key, family.activation)?,
        gated: true,
        biases: biases(architecture, keys)?,
        learned_positions: false,
        attention_scale: scaled_by.sqrt().recip(),
        attention_softcap,
        logit_softcap,
        embedding_scale: if gemma { (width as f64).sqrt() } else { 1.0 },
        tied: keys.flag("tie_word_embeddings")?.unwrap_or(family.tied),
    })
}

fn head_dim(
    keys: &mut Keys<'_>,
    default: Option<usize>,
    width: usize,
    heads: usize,
) -> Result<usize, ConfigError> {
    match (keys.size("head_dim")?, default) {
        (Some(stated), _) => Ok(stated),
        (None, Some(default)) if !keys.present("head_dim") => Ok(default),
        _ if width.is_multiple_of(heads) => Ok(width / heads),
        _ => Err(keys.wrong(
            "num_attention_heads",
            &Value::from(heads),
            format!("a divisor of `hidden_size` = {width}"),
        )),
    }
}

fn biases(architecture: Architecture, keys: &mut Keys<'_>) -> Result<Biases, ConfigError> {
    let attention = match architecture {
        Architecture::Llama
        | Architecture::Qwen3
        | Architecture::Gemma2
        | Architecture::Gemma3
        | Architecture::Olmo2 => keys.flag("attention_bias")?.unwrap_or(false),
        _ => false,
    };
    let feed_forward =
        architecture == Architecture::Llama && keys.flag("mlp_bias")?.unwrap_or(false);
    Ok(Biases {
        qkv: attention || architecture == Architecture::Qwen2,
        output: attention,
        feed_forward,
    })
}

fn activation(
    keys: &mut Keys<'_>,
    key: &'static str,
    default: &str,
) -> Result<Activation, ConfigError> {
    match keys.text(key)?.unwrap_or(default) {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" | "gelu_python" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        other => Err(keys.wrong(
            key,
            &Value::from(other),
            "`silu`, `gelu`, `gelu_new`, `gelu_pytorch_tanh` or `relu`".into(),
        )),
    }
}

fn count_layers(keys: &mut Keys<'_>, key: &'static str) -> Result<usize, ConfigError> {
    let count = keys.need_size(key)?;
    if count > MAX_LAYERS {
        return Err(keys.wrong(
            key,
            &Value::from(count),
            format!("at most {MAX_LAYERS} layers"),
        ));
    }
    Ok(count)
}

fn layers(
    architecture: Architecture,
    keys: &mut Keys<'_>,
    head_dim: usize,
    positions: usize,
) -> Result<Vec<LayerConfig>, ConfigError> {
    let count = count_layers(keys, "num_hidden_layers")?;
    let windows = windows(architecture, keys, count)?;
    let rope = RopeKeys::read(keys, "rope_theta", "partial_rotary_factor")?;
    let gemma3 = architecture == Architecture::Gemma3;
    if rope.per_layer_type() && !gemma3 {
        let value = keys.get("rope_parameters").cloned().unwrap_or_default();
        let expected = "one dictionary for all layers".into();
        return Err(keys.wrong("rope_parameters", &value, expected));
    }
    let theta = if gemma3 { 1e6 } else { 1e4 };
    let full = rope.full(head_dim, theta, 1.0, positions)?;
    if full.dims != head_dim && architecture != Architecture::Phi3 {
        return Err(ConfigError::Value {
            key: "partial_rotary_factor".into(),
            found: (full.dims as f64 / head_dim as f64).to_string(),
            expected: format!("1 for `{}`", architecture.class()),
        });
    }
    let sliding: Rope = if gemma3 {
        let local = keys.number("rope_local_base_freq")?.unwrap_or(1e4);
        rope.sliding(head_dim, local)?
    } else {
        full.clone()
    };
    Ok(windows
        .into_iter()
        .map(|window| LayerConfig {
            window,
            rope: Some(if window.is_some() {
                sliding.clone()
            } else {
                full.clone()
            }),
        })
        .collect())
}

fn windows(
    architecture: Architecture,
    keys: &mut Keys<'_>,
    count: usize,
) -> Result<Vec<Option<usize>>, ConfigError> {
    let types = layer_types(keys, count)?;
    let (window, pattern): (_, Box<dyn Fn(usize) -> bool>) = match architecture {
        Architecture::Mistral if !keys.present("sliding_window") => {
            (Some(4096), Box::new(|_| true))
        }
        Architecture::Mistral | Architecture::Phi3 => {
            (keys.size("sliding_window")?, Box::new(|_| true))
        }
        Architecture::Qwen2 | Architecture::Qwen3 => {
            let on = keys.flag("use_sliding_window")?.unwrap_or(false);
            let size = if keys.present("sliding_window") {
                keys.size("sliding_window")?
            } else {
                Some(4096)
            };
            // Zero means every layer, so this is no size.
            let first = keys.get("max_window_layers").map_or(Ok(28), |value| {
                value.as_u64().ok_or_else(|| {
                    keys.wrong("max_window_layers", value, "a count of layers".into())
                })
            })?;
            (size.filter(|_| on), Box::new(move |i| i as u64 >= first))
        }
        Architecture::Gemma2 => (
            Some(keys.size("sliding_window")?.unwrap_or(4096)),
            Box::new(|i| i % 2 == 0),
        ),
        Architecture::Gemma3 => {
            let old = keys.size("sliding_window_pattern")?;
            let every = keys.size("_sliding_window_pattern")?.or(old).unwrap_or(6);
            let size = Some(keys.size("sliding_window")?.unwrap_or(4096));
            (size, Box::new(move |i| (i + 1) % every != 0))
        }
        _ => (None, Box::new(|_| false)),
    };
    match types {
        None => Ok((0..count).map(|i| window.filter(|_| pattern(i))).collect()),
        Some(types) => from_types(architecture, keys, &types, window),
    }
}

// Llama, Mistral and Phi-3 know no layer types: the list must say what they do anyway.
fn from_types(
    architecture: Architecture,
    keys: &mut Keys<'_>,
    types: &[bool],
    window: Option<usize>,
) -> Result<Vec<Option<usize>>, ConfigError> {
    let mixed = matches!(
        architecture,
        Architecture::Qwen2 | Architecture::Qwen3 | Architecture::Gemma2 | Architecture::Gemma3
    );
    let fits = |sliding: &bool| match (mixed, window) {
        (true, Some(_)) => true,
        (true, None) => !sliding,
        (false, window) => *sliding == window.is_some(),
    };
    if let Some(bad) = types.iter().find(|t| !fits(t)) {
        let found = if *bad {
            "sliding_attention"
        } else {
            "full_attention"
        };
        let expected = match window {
            Some(size) => format!("`sliding_attention` with a window of {size}"),
            None => "`full_attention`, as no window is set".into(),
        };
        return Err(keys.wrong("layer_types", &Value::from(found), expected));
    }
    Ok(types
        .iter()
        .map(|sliding| window.filter(|_| *sliding))
        .collect())
}

fn layer_types(keys: &mut Keys<'_>, count: usize) -> Result<Option<Vec<bool>>, ConfigError> {
    let Some(value) = keys.get("layer_types") else {
        return Ok(None);
    };
    let list = value.as_array().filter(|list| list.len() == count);
    let list = list.ok_or_else(|| {
        keys.wrong(
            "layer_types",
            value,
            format!("a list of {count} layer types"),
        )
    })?;
    list.iter()
        .map(|kind| match kind.as_str() {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            _ => Err(keys.wrong(
                "layer_types",
                kind,
                "`full_attention` or `sliding_attention`".into(),
            )),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

fn gpt2(keys: &mut Keys<'_>) -> Result<ModelConfig, ConfigError> {
    let width = keys.need_size("n_embd")?;
    let heads = keys.need_size("n_head")?;
    let head_dim = head_dim(keys, None, width, heads)?;
    let scaled = keys.flag("scale_attn_weights")?.unwrap_or(true);
    if keys.flag("scale_attn_by_inverse_layer_idx")? == Some(true) {
        let expected = "false: attention scaled by layer is not supported".into();
        return Err(keys.wrong("scale_attn_by_inverse_layer_idx", &true.into(), expected));
    }
    let count = count_layers(keys, "n_layer")?;
    Ok(ModelConfig {
        architecture: Architecture::Gpt2,
        vocabulary: keys.need_size("vocab_size")?,
        width,
        heads,
        kv_heads: heads,
        head_dim,
        feed_forward: keys.size("n_inner")?.unwrap_or(4 * width),
        positions: keys.need_size("n_positions")?,
        layers: vec![
            LayerConfig {
                window: None,
                rope: None
            };
            count
        ],
        norm: Norm {
            kind: NormKind::Layer,
            epsilon: keys.number("layer_norm_epsilon")?.unwrap_or(1e-5),
        },
        placement: Placement::Before,
        qk_norm: QkNorm::None,
        activation: activation(keys, "activation_function", "gelu_new")?,
        gated: false,
        biases: Biases {
            qkv: true,
            output: true,
            feed_forward: true,
        },
        learned_positions: true,
        attention_scale: if scaled {
            (head_dim as f64).sqrt().recip()
        } else {
            1.0
        },
        attention_softcap: None,
        logit_softcap: None,
        embedding_scale: 1.0,
        tied: keys.flag("tie_word_embeddings")?.unwrap_or(true),
    })
}

fn gpt_neox(keys: &mut Keys<'_>) -> Result<ModelConfig, ConfigError> {
    let width = keys.need_size("hidden_size")?;
    let heads = keys.need_size("num_attention_heads")?;
    let head_dim = head_dim(keys, None, width, heads)?;
    let positions = keys.need_size("max_position_embeddings")?;
    let count = count_layers(keys, "num_hidden_layers")?;
    let rope = RopeKeys::read(keys, "rotary_emb_base", "rotary_pct")?;
    if rope.per_layer_type() {
        let value = keys.get("rope_parameters").cloned().unwrap_or_default();
        let expected = "one dictionary for all layers".into();
        return Err(keys.wrong("rope_parameters", &value, expected));
    }
    let rope = rope.full(head_dim, 1e4, 0.25, positions)?;
    let bias = keys.flag("attention_bias")?.unwrap_or(true);
    let parallel = keys.flag("use_parallel_residual")?.unwrap_or(true);
    Ok(ModelConfig {
        architecture: Architecture::GptNeoX,
        vocabulary: keys.need_size("vocab_size")?,
        width,
        heads,
        kv_heads: heads,
        head_dim,
        feed_forward: keys.need_size("intermediate_size")?,
        positions,
        layers: vec![
            LayerConfig {
                window: None,
                rope: Some(rope)
            };
            count
        ],
        norm: Norm {
            kind: NormKind::Layer,
            epsilon: keys.number("layer_norm_eps")?.unwrap_or(1e-5),
        },
        placement: if parallel {
            Placement::Parallel
        } else {
            Placement::Before
        },
        qk_norm: QkNorm::None,
        activation: activation(keys, "hidden_act", "gelu")?,
        gated: false,
        biases: Biases {
            qkv: bias,
            output: bias,
            feed_forward: true,
        },
        learned_positions: false,
        attention_scale: (head_dim as f64).sqrt().recip(),
        attention_softcap: None,
        logit_softcap: None,
        embedding_scale: 1.0,
        tied: keys.flag("tie_word_embeddings")?.unwrap_or(false),
    })
}

fn check(config: &ModelConfig) -> Result<(), ConfigError> {
    let fail = |key: &str, found: usize, expected: String| {
        Err(ConfigError::Value {
            key: key.into(),
            found: found.to_string(),
            expected,
        })
    };
    let (heads, kv, hd) = (config.heads, config.kv_heads, config.head_dim);
    if !heads.is_multiple_of(kv) {
        return fail(
            "num_key_value_heads",
            kv,
            format!("a divisor of {heads} heads"),
        );
    }
    let large = [
        heads.saturating_mul(hd),
        2 * config.feed_forward,
        3 * config.width,
    ];
    if let Some(size) = large.into_iter().find(|n| *n > super::MAX_SIZE) {
        return fail("hidden_size", size, format!("at most {}", super::MAX_SIZE));
    }
    Ok(())
}
