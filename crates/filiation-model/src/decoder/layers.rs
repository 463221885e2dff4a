//! The layers of each architecture: what their tensors are called and how they lie.

use std::sync::Arc;

use filiation_checkpoint::config::{Architecture, Placement, QkNorm};

use super::backend::{AttentionShape, Backend, Linear, Outcome};
use super::load::Loader;
use super::network::{Block, Sandwich};
use super::rotary::Rotary;
use crate::LoadError;

impl<B: Backend> Loader<'_, B> {
    pub(super) fn llama_like(
        &self,
        at: &str,
        shape: AttentionShape,
        rotary: Option<Arc<Rotary>>,
    ) -> Outcome<Block<B>> {
        let config = self.config;
        let (d, ff, hd) = (config.width, config.feed_forward, config.head_dim);
        let (q, kv) = (config.heads * hd, config.kv_heads * hd);
        let (qkv_bias, ff_bias) = (config.biases.qkv, config.biases.feed_forward);
        let attention = |name: &str| format!("{at}.self_attn.{name}");
        let mlp = |name: &str| format!("{at}.mlp.{name}");
        let ([query, key, value], [gate, up]) = if config.architecture == Architecture::Phi3 {
            (
                self.split(&attention("qkv_proj"), [q, kv, kv], d, qkv_bias)?,
                self.split(&mlp("gate_up_proj"), [ff, ff], d, ff_bias)?,
            )
        } else {
            (
                [
                    self.linear(&attention("q_proj"), q, d, qkv_bias)?,
                    self.linear(&attention("k_proj"), kv, d, qkv_bias)?,
                    self.linear(&attention("v_proj"), kv, d, qkv_bias)?,
                ],
                [
                    self.linear(&mlp("gate_proj"), ff, d, ff_bias)?,
                    self.linear(&mlp("up_proj"), ff, d, ff_bias)?,
                ],
            )
        };
        let qk_norm = |name: &str, whole: usize| match config.qk_norm {
            QkNorm::None => Ok(None),
            QkNorm::PerHead => self.norm(&attention(name), hd).map(Some),
            QkNorm::Whole => self.norm(&attention(name), whole).map(Some),
        };
        let (around_attention, around_feed_forward) = self.sandwiches(at)?;
        Ok(Block {
            query,
            key,
            value,
            output: self.linear(&attention("o_proj"), d, q, config.biases.output)?,
            query_norm: qk_norm("q_norm", q)?,
            key_norm: qk_norm("k_norm", kv)?,
            rotary,
            shape,
            gate: Some(gate),
            up,
            down: self.linear(&mlp("down_proj"), d, ff, ff_bias)?,
            around_attention,
            around_feed_forward,
        })
    }

    // `post_attention_layernorm` stands before the feed-forward part in Llama, and after attention
    // in OLMo 2 and Gemma.
    fn sandwiches(&self, at: &str) -> Outcome<(Sandwich<B>, Sandwich<B>)> {
        let names: [Option<&str>; 4] = match self.config.placement {
            Placement::Before | Placement::Parallel => [
                Some("input_layernorm"),
                None,
                Some("post_attention_layernorm"),
                None,
            ],
            Placement::After => [
                None,
                Some("post_attention_layernorm"),
                None,
                Some("post_feedforward_layernorm"),
            ],
            Placement::Around => [
                Some("input_layernorm"),
                Some("post_attention_layernorm"),
                Some("pre_feedforward_layernorm"),
                Some("post_feedforward_layernorm"),
            ],
        };
        let norm = |name: Option<&str>| {
            name.map(|name| self.norm(&format!("{at}.{name}"), self.config.width))
                .transpose()
        };
        let around = |before, after| {
            Ok::<_, LoadError>(Sandwich {
                before: norm(before)?,
                after: norm(after)?,
            })
        };
        Ok((around(names[0], names[1])?, around(names[2], names[3])?))
    }

    pub(super) fn gpt2(&self, at: &str, shape: AttentionShape) -> Outcome<Block<B>> {
        let (d, ff) = (self.config.width, self.config.feed_forward);
        let fused = self.columns(&format!("{at}.attn.c_attn"), 3 * d, d)?;
        let bias = self.values(&format!("{at}.attn.c_attn.bias"), 3 * d)?;
        let part = |i: usize| {
            let bias = bias[i * d..][..d].to_vec();
            self.ready(fused.part(i * d, d), Some(bias))
        };
        let conv1d = |name: &str, outputs: usize, inputs: usize| {
            let bias = self.values(&format!("{at}.{name}.bias"), outputs)?;
            let view = self.columns(&format!("{at}.{name}"), outputs, inputs)?;
            self.ready(view, Some(bias))
        };
        let before = |name: &str| {
            Ok::<_, LoadError>(Sandwich {
                before: Some(self.norm(&format!("{at}.{name}"), d)?),
                after: None,
            })
        };
        Ok(Block {
            query: part(0)?,
            key: part(1)?,
            value: part(2)?,
            output: conv1d("attn.c_proj", d, d)?,
            query_norm: None,
            key_norm: None,
            rotary: None,
            shape,
            gate: None,
            up: conv1d("mlp.c_fc", ff, d)?,
            down: conv1d("mlp.c_proj", d, ff)?,
            around_attention: before("ln_1")?,
            around_feed_forward: before("ln_2")?,
        })
    }

    pub(super) fn gpt_neox(
        &self,
        at: &str,
        shape: AttentionShape,
        rotary: Option<Arc<Rotary>>,
    ) -> Outcome<Block<B>> {
        let config = self.config;
        let (d, ff) = (config.width, config.feed_forward);
        let [query, key, value] = self.interleaved(&format!("{at}.attention.query_key_value"))?;
        let (around_attention, around_feed_forward) = self.sandwiches(at)?;
        let dense = format!("{at}.attention.dense");
        Ok(Block {
            query,
            key,
            value,
            output: self.linear(&dense, d, d, config.biases.output)?,
            query_norm: None,
            key_norm: None,
            rotary,
            shape,
            gate: None,
            up: self.linear(&format!("{at}.mlp.dense_h_to_4h"), ff, d, true)?,
            down: self.linear(&format!("{at}.mlp.dense_4h_to_h"), d, ff, true)?,
            around_attention,
            around_feed_forward,
        })
    }

    // GPT-NeoX stores query, key and value of one head next to each other.
    fn interleaved(&self, name: &str) -> Outcome<[Linear<B>; 3]> {
        let (d, heads, hd) = (self.config.width, self.config.heads, self.config.head_dim);
        let fused = self.rows(name, 3 * d, d)?;
        let bias = if self.config.biases.qkv {
            Some(self.values(&format!("{name}.bias"), 3 * d)?)
        } else {
            None
        };
        let part = |which: usize| {
            let outputs: Vec<usize> = (0..heads)
                .flat_map(|head| (0..hd).map(move |j| (3 * head + which) * hd + j))
                .collect();
            let bias = bias
                .as_ref()
                .map(|bias| outputs.iter().map(|o| bias[*o]).collect());
            self.ready(fused.select(&outputs), bias)
        };
        let parts = [part(0)?, part(1)?, part(2)?];
        fused.data.release();
        Ok(parts)
    }
}
