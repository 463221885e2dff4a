use std::sync::Arc;

use filiation_checkpoint::config::{Architecture, ModelConfig, NormKind, Placement, Rope};

use super::backend::{AttentionShape, Backend, Linear, Normaliser, Outcome};
use super::network::{Block, Network};
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
    pub(super) config: &'a ModelConfig,
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

    pub(super) fn linear(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
        bias: bool,
    ) -> Outcome<Linear<B>> {
        let [whole] = self.split(name, [outputs], inputs, bias)?;
        Ok(whole)
    }

    /// A stored map whose outputs are several maps one after the other.
    pub(super) fn split<const N: usize>(
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

    pub(super) fn ready(&self, view: MatrixView, bias: Option<Vec<f32>>) -> Outcome<Linear<B>> {
        Ok(Linear {
            weight: self.on.matrix(view)?,
            bias: bias.map(|bias| self.on.vector(bias)).transpose()?,
        })
    }

    pub(super) fn norm(&self, name: &str, width: usize) -> Outcome<Normaliser<B>> {
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

    pub(super) fn rows(&self, name: &str, outputs: usize, inputs: usize) -> Outcome<MatrixView> {
        let data = self.fetch(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(MatrixView::rows(data, outputs, inputs))
    }

    pub(super) fn columns(&self, name: &str, outputs: usize, inputs: usize) -> Outcome<MatrixView> {
        let data = self.fetch(&format!("{name}.weight"), &[inputs, outputs])?;
        Ok(MatrixView::columns(data, outputs, inputs))
    }

    pub(super) fn values(&self, name: &str, width: usize) -> Outcome<Vec<f32>> {
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
