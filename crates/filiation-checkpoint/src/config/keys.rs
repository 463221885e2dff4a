use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{ConfigError, MAX_SIZE};

/// The keys of an object, and which of them have been understood.
pub(super) struct Keys<'a> {
    prefix: &'a str,
    map: &'a Map<String, Value>,
    seen: BTreeSet<&'static str>,
}

// Keys that never reach the computation of logits in inference.
const IGNORED: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_flash_attn_2_enabled",
    "_model_name_or_path",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "model_type",
    "n_ctx",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "reorder_and_upcast_attn",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];

// Keys that change nothing at exactly these values.
fn neutral(key: &str, value: &Value) -> bool {
    let expected = match key {
        "add_cross_attention"
        | "attention_bias"
        | "is_encoder_decoder"
        | "mlp_bias"
        | "qk_layernorm"
        | "rope_interleaved"
        | "tie_encoder_decoder"
        | "use_bidirectional_attention"
        | "use_sliding_window" => json!(false),
        "pruned_heads" => json!({}),
        "partial_rotary_factor" => return value.as_f64() == Some(1.0),
        _ => return false,
    };
    *value == expected
}

impl<'a> Keys<'a> {
    pub(super) const fn new(prefix: &'a str, map: &'a Map<String, Value>) -> Self {
        Self {
            prefix,
            map,
            seen: BTreeSet::new(),
        }
    }

    /// The value; `None` when absent or null.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.seen.insert(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key stands in the file, null or not.
    pub(super) fn present(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub(super) fn size(&mut self, key: &'static str) -> Result<Option<usize>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| (1..=MAX_SIZE).contains(n))
            .map(Some)
            .ok_or_else(|| self.wrong(key, value, format!("an integer in 1..={MAX_SIZE}")))
    }

    pub(super) fn need_size(&mut self, key: &'static str) -> Result<usize, ConfigError> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_f64()
            .filter(|x| x.is_finite() && *x > 0.0)
            .map(Some)
            .ok_or_else(|| self.wrong(key, value, "a number above zero".into()))
    }

    pub(super) fn need_number(&mut self, key: &'static str) -> Result<f64, ConfigError> {
        self.number(key)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_bool()
            .map(Some)
            .ok_or_else(|| self.wrong(key, value, "true or false".into()))
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<&'a str>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| self.wrong(key, value, "a string".into()))
    }

    pub(super) fn object(
        &mut self,
        key: &'static str,
    ) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_object()
            .map(Some)
            .ok_or_else(|| self.wrong(key, value, "an object".into()))
    }

    /// Fails on the first key, in alphabetical order, that nobody asked for and that may matter.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let mut unknown: Vec<_> = self
            .map
            .iter()
            .filter(|(key, value)| {
                !value.is_null()
                    && !self.seen.contains(key.as_str())
                    && !IGNORED.contains(&key.as_str())
                    && !neutral(key, value)
            })
            .collect();
        unknown.sort_by_key(|(key, _)| key.as_str());
        match unknown.first() {
            None => Ok(()),
            Some((key, value)) => Err(ConfigError::UnknownKey {
                key: self.path(key),
                found: brief(value),
            }),
        }
    }

    pub(super) fn missing(&self, key: &str) -> ConfigError {
        ConfigError::Missing {
            key: self.path(key),
        }
    }

    pub(super) fn wrong(&self, key: &str, found: &Value, expected: String) -> ConfigError {
        ConfigError::Value {
            key: self.path(key),
            found: brief(found),
            expected,
        }
    }

    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

fn brief(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().take(80).collect()
}
