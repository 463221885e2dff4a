use serde_json::{Value, json};

use super::*;

fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 100,
        "hidden_size": 24,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 5000.0,
        "torch_dtype": "bfloat16",
    })
}

fn with(mut document: Value, changes: Value) -> Value {
    let map = document.as_object_mut().expect("an object");
    for (key, value) in changes.as_object().expect("an object") {
        map.insert(key.clone(), value.clone());
    }
    document
}

fn of(class: &str, kind: &str, changes: Value) -> Value {
    let named = json!({ "architectures": [class], "model_type": kind });
    with(with(llama(), named), changes)
}

fn read(document: &Value) -> ModelConfig {
    ModelConfig::from_json(document).expect("a known configuration")
}

fn refusal(document: &Value) -> String {
    ModelConfig::from_json(document)
        .expect_err("a refusal")
        .to_string()
}

fn windows(config: &ModelConfig) -> Vec<Option<usize>> {
    config.layers.iter().map(|layer| layer.window).collect()
}

#[test]
fn a_llama_is_read_whole() {
    let config = read(&llama());
    assert_eq!(
        (config.head_dim, config.kv_heads, config.tied),
        (4, 2, false)
    );
    assert_eq!(config.norm.epsilon, 1e-5);
    assert_eq!(config.attention_scale, 0.5);
    let rope = config.layers[0].rope.as_ref().expect("rotary");
    assert_eq!((rope.theta, rope.dims), (5000.0, 4));
    assert_eq!(rope.scaling, RopeScaling::None);
}

#[test]
fn rotary_keys_of_both_versions_agree() {
    let mut new = llama();
    new.as_object_mut().expect("an object").remove("rope_theta");
    let scaling = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64
    });
    let old = with(llama(), json!({ "rope_scaling": scaling }));
    let new = with(
        new,
        json!({ "rope_parameters": with(scaling, json!({ "rope_theta": 5000.0 })) }),
    );
    assert_eq!(read(&old), read(&new));
    let contradiction = with(new, json!({ "rope_theta": 10000.0 }));
    assert!(refusal(&contradiction).contains("rope_theta"));
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let rope = |scaling: Value| json!({ "rope_scaling": scaling });
    for (changes, named) in [
        (
            json!({ "attention_multiplier": 0.5 }),
            "attention_multiplier",
        ),
        (
            json!({ "quantization_config": { "bits": 4 } }),
            "quantization_config",
        ),
        (json!({ "sliding_window": 64 }), "sliding_window"),
        (json!({ "hidden_act": "gelu_fast" }), "gelu_fast"),
        (json!({ "rope_interleaved": true }), "rope_interleaved"),
        (
            json!({ "partial_rotary_factor": 0.5 }),
            "partial_rotary_factor",
        ),
        (rope(json!({ "rope_type": "yarn", "factor": 4.0 })), "yarn"),
        (rope(json!({ "type": "dynamic", "factor": 4.0 })), "dynamic"),
        (rope(json!({ "type": "linear" })), "rope_scaling.factor"),
        (
            rope(json!({ "type": "linear", "factor": 2.0, "beta": 1 })),
            "rope_scaling.beta",
        ),
        (
            json!({ "layer_types": ["sliding_attention", "full_attention", "full_attention"] }),
            "layer_types",
        ),
        (
            json!({ "layer_types": ["full_attention"] }),
            "3 layer types",
        ),
        (json!({ "num_attention_heads": 5 }), "num_attention_heads"),
        (json!({ "num_key_value_heads": 4 }), "num_key_value_heads"),
        (
            json!({ "num_hidden_layers": 1_u64 << 60 }),
            "num_hidden_layers",
        ),
        (
            json!({ "num_hidden_layers": 1_000_000 }),
            "num_hidden_layers",
        ),
        (json!({ "hidden_size": -1 }), "hidden_size"),
        (json!({ "vocab_size": 1.5 }), "vocab_size"),
        (json!({ "rms_norm_eps": "1e-5" }), "rms_norm_eps"),
        (
            json!({ "architectures": ["MixtralForCausalLM"] }),
            "MixtralForCausalLM",
        ),
        (json!({ "model_type": "mistral" }), "mistral"),
    ] {
        let message = refusal(&with(llama(), changes));
        assert!(
            message.contains(named),
            "`{message}` does not name `{named}`"
        );
    }
    assert!(refusal(&json!([])).contains("an array"));
    assert!(refusal(&json!({})).contains("not supported"));
}

#[test]
fn what_changes_nothing_is_accepted() {
    let harmless = json!({
        "attention_dropout": 0.1, "use_cache": false, "bos_token_id": 1, "eos_token_id": [2, 3],
        "is_llama_config": true, "rope_interleaved": false, "pretraining_tp": 1,
        "sliding_window": null, "quantization_config": null, "use_sliding_window": false,
        "initializer_range": 0.04, "transformers.js_config": { "dtype": "q4" },
    });
    assert_eq!(read(&with(llama(), harmless)), read(&llama()));
}

#[test]
fn silence_means_what_transformers_assumes() {
    let mistral = of("MistralForCausalLM", "mistral", json!({}));
    assert_eq!(windows(&read(&mistral)), [Some(4096); 3]);
    let none = with(mistral, json!({ "sliding_window": null }));
    assert_eq!(windows(&read(&none)), [None; 3]);
    let qwen3 = of("Qwen3ForCausalLM", "qwen3", json!({ "sliding_window": 16 }));
    assert_eq!(
        (read(&qwen3).head_dim, read(&qwen3).layers[0].window),
        (128, None)
    );
    let gemma = of("Gemma2ForCausalLM", "gemma2", json!({}));
    let gemma = read(&gemma);
    assert_eq!((gemma.head_dim, gemma.tied), (256, true));
    assert_eq!(
        (gemma.attention_softcap, gemma.logit_softcap),
        (Some(50.0), Some(30.0))
    );
    assert_eq!(windows(&gemma), [Some(4096), None, Some(4096)]);
    let off = json!({ "attn_logit_softcapping": null, "final_logit_softcapping": null });
    let off = read(&of("Gemma2ForCausalLM", "gemma2", off));
    assert_eq!((off.attention_softcap, off.logit_softcap), (None, None));
}

#[test]
fn windows_follow_types_or_patterns() {
    let on = json!({ "use_sliding_window": true, "sliding_window": 16, "max_window_layers": 2 });
    let qwen = of("Qwen2ForCausalLM", "qwen2", on);
    assert_eq!(windows(&read(&qwen)), [None, None, Some(16)]);
    let types = json!({
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]
    });
    assert_eq!(
        windows(&read(&with(qwen, types.clone()))),
        [Some(16), None, Some(16)]
    );
    let contradiction = of("Qwen2ForCausalLM", "qwen2", types);
    assert!(refusal(&contradiction).contains("layer_types"));
    let gemma = json!({
        "sliding_window": 8, "sliding_window_pattern": 2, "rope_local_base_freq": 50.0,
    });
    let gemma = read(&of("Gemma3ForCausalLM", "gemma3_text", gemma));
    assert_eq!(windows(&gemma), [Some(8), None, Some(8)]);
    let thetas: Vec<f64> = gemma
        .layers
        .iter()
        .map(|layer| layer.rope.as_ref().expect("rotary").theta)
        .collect();
    assert_eq!(thetas, [50.0, 5000.0, 50.0]);
}

#[test]
fn scaled_frequencies_follow_their_formulas() {
    let rope = |scaling| Rope {
        theta: 100.0,
        dims: 8,
        scaling,
    };
    let plain = rope(RopeScaling::None).frequencies();
    for (j, f) in plain.iter().enumerate() {
        assert!((f64::from(*f) - 100_f64.powf(-(j as f64) / 4.0)).abs() < 1e-7);
    }
    let linear = rope(RopeScaling::Linear { factor: 4.0 }).frequencies();
    assert!(plain.iter().zip(&linear).all(|(p, l)| *l == p / 4.0));
    let llama3 = rope(RopeScaling::Llama3 {
        factor: 8.0,
        low: 1.0,
        high: 4.0,
        original: 40.0,
    });
    let scaled = llama3.frequencies();
    // Wavelengths 6.3, 19.9, 62.8, 198.7: kept below 10, divided above 40, blended between.
    let blend = (40.0 / (2.0 * std::f64::consts::PI / f64::from(plain[1])) - 1.0) / 3.0;
    let expected = f64::from(plain[1]) * ((1.0 - blend) / 8.0 + blend);
    assert_eq!(scaled[0], plain[0]);
    assert!((f64::from(scaled[1]) - expected).abs() < 1e-7);
    assert_eq!(scaled[2..], [plain[2] / 8.0, plain[3] / 8.0]);
}

#[test]
fn expected_tensors_have_the_shapes_of_the_configuration() {
    let config = read(&with(llama(), json!({ "head_dim": 8, "mlp_bias": true })));
    let tensors = config.expected_tensors();
    let shape = |name: &str| {
        let found = tensors.iter().find(|t| t.name == name);
        found.map(|t| (t.shape.clone(), t.optional))
    };
    let q = "model.layers.2.self_attn.q_proj.weight";
    assert_eq!(shape(q), Some((vec![48, 24], false)));
    let k = "model.layers.0.self_attn.k_proj.weight";
    assert_eq!(shape(k), Some((vec![16, 24], false)));
    assert_eq!(
        shape("model.layers.0.mlp.down_proj.bias"),
        Some((vec![24], false))
    );
    assert_eq!(shape("model.layers.3.mlp.down_proj.bias"), None);
    assert_eq!(shape("lm_head.weight"), Some((vec![100, 24], false)));
    let tied = read(&with(llama(), json!({ "tie_word_embeddings": true })));
    let head = tied
        .expected_tensors()
        .into_iter()
        .find(|t| t.name == "lm_head.weight");
    assert!(head.expect("a head").optional);
}
