use std::sync::Arc;

use filiation_checkpoint::config::{Architecture, ModelConfig, NormKind, Placement, QkNorm, Rope};

use super::backend::{AttentionShape, Backend, Linear, Normaliser, Outcome};
use super::network::{Block, Network, Sandwich};
use super::rotary::Rotary;
use super::stream::{Blocks, Source, Stored, Stream, Table};
use super::view::MatrixView;
use crate::LoadError;
use crate::source::{WeightData, WeightSource};

/// The rotation of each layer. Layers with the same share its table.
pub(super) type Rotaries = Vec<Option<Arc<Rotary>>>;

/// Takes from `source` what `config` describes.
pub(super) fn network<B: Backend>(
    config: &ModelConfig,
    source: &dyn WeightSource,
    on: &B,
) -> Outcome<Network<B>> {
    let loader = Loader::new(config, source, on);
    let names = Names::of(config);
    let table = |name: &str| {
        let weight = on.matrix(loader.rows(name, config.vocabulary, config.width)?)?;
        Ok::<Linear<B>, LoadError>(Linear { weight, bias: None })
    };
    let embedding = table(names.embedding)?;
    let head = if config.tied {
        Linear {
            weight: embedding.weight.clone(),
            bias: None,
        }
    } else {
        table(names.head)?
    };
    let rotaries = rotaries(config);
    let blocks = (0..config.layers.len())
        .map(|layer| loader.block(layer, &rotaries))
        .collect::<Result<_, _>>()?;
    loader.assemble(
        Table::Held(embedding),
        Blocks::Held(blocks),
        Table::Held(head),
    )
}

/// As [`network`], layers made one after the other and `part` rows of the vocabulary at a time.
pub(super) fn streamed<B: Backend>(
    config: &ModelConfig,
    source: &Source,
    on: &B,
    (ahead, part): (bool, usize),
) -> Outcome<Network<B>> {
    let names = Names::of(config);
    let table = |name: &str| {
        Table::Stored(Stored {
            source: Arc::clone(source),
            name: format!("{name}.weight"),
            rows: config.vocabulary,
            width: config.width,
            part,
        })
    };
    let head = if config.tied {
        names.embedding
    } else {
        names.head
    };
    let stream = Stream {
        config: config.clone(),
        source: Arc::clone(source),
        rotaries: rotaries(config),
        ahead,
    };
    let blocks = Blocks::Streamed(stream);
    Loader::new(config, &**source, on).assemble(table(names.embedding), blocks, table(head))
}

/// What the parts outside the layers are called.
struct Names {
    embedding: &'static str,
    positions: Option<&'static str>,
    norm: &'static str,
    head: &'static str,
}

impl Names {
    fn of(config: &ModelConfig) -> Self {
        let (embedding, positions, norm, head) = match config.architecture {
            Architecture::Gpt2 => (
                "transformer.wte",
                Some("transformer.wpe"),
                "transformer.ln_f",
                "lm_head",
            ),
            Architecture::GptNeoX => (
                "gpt_neox.embed_in",
                None,
                "gpt_neox.final_layer_norm",
                "embed_out",
            ),
            _ => ("model.embed_tokens", None, "model.norm", "lm_head"),
        };
        Self {
            embedding,
            positions,
            norm,
            head,
        }
    }
}

fn rotaries(config: &ModelConfig) -> Rotaries {
    let mut made: Vec<(Rope, Arc<Rotary>)> = Vec::new();
    let mut rotary = |rope: &Rope| {
        if let Some((_, known)) = made.iter().find(|(known, _)| known == rope) {
            return Arc::clone(known);
        }
        let new = Arc::new(Rotary::new(rope));
        made.push((rope.clone(), Arc::clone(&new)));
        new
    };
    let ropes = config.layers.iter().map(|layer| layer.rope.as_ref());
    ropes.map(|rope| rope.map(&mut rotary)).collect()
}

/// Makes weights ready.
pub(super) struct Loader<'a, B> {
    config: &'a ModelConfig,
    source: &'a dyn WeightSource,
    on: &'a B,
}

impl<'a, B: Backend> Loader<'a, B> {
    pub(super) fn new(config: &'a ModelConfig, source: &'a dyn WeightSource, on: &'a B) -> Self {
        Self { config, source, on }
    }

    fn assemble(
        &self,
        embedding: Table<B>,
        blocks: Blocks<B>,
        head: Table<B>,
    ) -> Outcome<Network<B>> {
        let (config, names) = (self.config, Names::of(self.config));
        let positions = match names.positions {
            None => None,
            Some(name) => {
                let rows = self.rows(name, config.positions, config.width)?;
                Some(self.on.matrix(rows)?)
            }
        };
        Ok(Network {
            width: config.width,
            layers: config.layers.len(),
            embedding,
            embedding_scale: config.embedding_scale,
            positions,
            blocks,
            norm: self.norm(names.norm, config.width)?,
            head,
            activation: config.activation,
            parallel: config.placement == Placement::Parallel,
            logit_softcap: config.logit_softcap,
        })
    }

    /// One layer.
    pub(super) fn block(&self, layer: usize, rotaries: &Rotaries) -> Outcome<Block<B>> {
        let rotary = rotaries[layer].clone();
        let shape = AttentionShape::new(self.config, layer);
        match self.config.architecture {
            Architecture::Gpt2 => self.gpt2(&format!("transformer.h.{layer}"), shape),
            Architecture::GptNeoX => {
                self.gpt_neox(&format!("gpt_neox.layers.{layer}"), shape, rotary)
            }
            _ => self.llama_like(&format!("model.layers.{layer}"), shape, rotary),
        }
    }

    fn llama_like(
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

    fn gpt2(&self, at: &str, shape: AttentionShape) -> Outcome<Block<B>> {
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

    fn gpt_neox(
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

    fn linear(&self, name: &str, outputs: usize, inputs: usize, bias: bool) -> Outcome<Linear<B>> {
        let [whole] = self.split(name, [outputs], inputs, bias)?;
        Ok(whole)
    }

    /// A stored map whose outputs are several maps one after the other.
    fn split<const N: usize>(
        &self,
        name: &str,
        outputs: [usize; N],
        inputs: usize,
        bias: bool,
    ) -> Outcome<[Linear<B>; N]> {
        let total = outputs.iter().sum();
        let whole = self.rows(name, total, inputs)?;
        let bias = if bias {
            Some(self.values(&format!("{name}.bias"), total)?)
        } else {
            None
        };
        let mut start = 0;
        let mut parts = Vec::with_capacity(N);
        for count in outputs {
            let bias = bias.as_ref().map(|b| b[start..start + count].to_vec());
            parts.push(self.ready(whole.part(start, count), bias)?);
            start += count;
        }
        let parts = parts.try_into();
        Ok(parts.unwrap_or_else(|_| unreachable!("one part is pushed for each of the outputs")))
    }

    fn ready(&self, view: MatrixView, bias: Option<Vec<f32>>) -> Outcome<Linear<B>> {
        Ok(Linear {
            weight: self.on.matrix(view)?,
            bias: bias.map(|bias| self.on.vector(bias)).transpose()?,
        })
    }

    fn norm(&self, name: &str, width: usize) -> Outcome<Normaliser<B>> {
        let norm = self.config.norm;
        let mut weight = self.values(&format!("{name}.weight"), width)?;
        if norm.kind == NormKind::RmsPlusOne {
            weight.iter_mut().for_each(|w| *w += 1.0);
        }
        let bias = if norm.kind == NormKind::Layer {
            let bias = self.values(&format!("{name}.bias"), width)?;
            Some(self.on.vector(bias)?)
        } else {
            None
        };
        Ok(Normaliser {
            centred: norm.kind == NormKind::Layer,
            epsilon: norm.epsilon,
            width,
            weight: self.on.vector(weight)?,
            bias,
        })
    }

    fn rows(&self, name: &str, outputs: usize, inputs: usize) -> Outcome<MatrixView> {
        let data = self.fetch(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(MatrixView::rows(data, outputs, inputs))
    }

    fn columns(&self, name: &str, outputs: usize, inputs: usize) -> Outcome<MatrixView> {
        let data = self.fetch(&format!("{name}.weight"), &[inputs, outputs])?;
        Ok(MatrixView::columns(data, outputs, inputs))
    }

    fn values(&self, name: &str, width: usize) -> Outcome<Vec<f32>> {
        let data = self.fetch(name, &[width])?;
        let values = data.to_f32();
        data.release();
        Ok(values)
    }

    fn fetch(&self, name: &str, expected: &[usize]) -> Outcome<WeightData> {
        let (found, data) = self.source.tensor(name)?;
        let elements: usize = expected.iter().product();
        if found != expected || data.elements().len() != elements {
            return Err(LoadError::TensorShape {
                name: name.into(),
                found,
                expected: expected.to_vec(),
            });
        }
        Ok(data)
    }
}
