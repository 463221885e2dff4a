use std::path::Path;
use std::sync::Arc;

use filiation_checkpoint::config::{Activation, ModelConfig, NormKind, Placement, QkNorm, Rope};
use filiation_checkpoint::{Checkpoint, Dtype, Limits};
use filiation_core::Digest;

use crate::LabError;
use crate::attention::Heads;
use crate::kernels::Curve;

/// The matrices of a layer, in the order of the computation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Projection {
    /// Queries.
    #[serde(rename = "q_proj")]
    Query,
    /// Keys.
    #[serde(rename = "k_proj")]
    Key,
    /// Values.
    #[serde(rename = "v_proj")]
    Value,
    /// The output of attention.
    #[serde(rename = "o_proj")]
    Output,
    /// The gate of the feed-forward part.
    #[serde(rename = "gate_proj")]
    Gate,
    /// What is gated.
    #[serde(rename = "up_proj")]
    Up,
    /// The output of the feed-forward part.
    #[serde(rename = "down_proj")]
    Down,
}

impl Projection {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Output,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    /// The module in a layer, as `transformers` calls it.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// Outputs and inputs.
    pub(crate) const fn dims(self, config: &ModelConfig) -> [usize; 2] {
        let (d, ff) = (config.width, config.feed_forward);
        let (q, kv) = (
            config.heads * config.head_dim,
            config.kv_heads * config.head_dim,
        );
        match self {
            Self::Query => [q, d],
            Self::Key | Self::Value => [kv, d],
            Self::Output => [d, q],
            Self::Gate | Self::Up => [ff, d],
            Self::Down => [d, ff],
        }
    }
}

/// A matrix: in the mapped file where that has f32, else widened once.
#[derive(Debug)]
enum Matrix {
    Mapped(String),
    Widened(Vec<f32>),
}

/// Weights of a layer's normalisations, as they multiply.
#[derive(Debug)]
pub(crate) struct Norms {
    pub(crate) before_attention: Vec<f32>,
    pub(crate) after_attention: Option<Vec<f32>>,
    pub(crate) before_gated: Vec<f32>,
    pub(crate) after_gated: Option<Vec<f32>>,
    /// Of each query head and key head.
    pub(crate) heads: Option<[Vec<f32>; 2]>,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    matrices: [Matrix; 7],
    pub(crate) norms: Norms,
    pub(crate) heads: Heads,
    /// Cosines, then sines, of each position.
    pub(crate) angles: Arc<Vec<f32>>,
}

/// A decoder that is not trained: what adapters stand on, and a teacher whose distribution is
/// learned.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) layers: Vec<Layer>,
    embedding: Matrix,
    /// None where it is the embedding.
    head: Option<Matrix>,
    pub(crate) norm: Vec<f32>,
    pub(crate) curve: Curve,
}

impl Base {
    /// Opens a model folder for rows of up to `tokens` tokens.
    pub(crate) fn open(folder: &Path, tokens: usize) -> Result<Self, LabError> {
        let checkpoint = Checkpoint::open(folder, &Limits::default())?;
        checkpoint.check_finite()?;
        let config = checkpoint.config();
        let curve = supported(config).map_err(|what| LabError::Unsupported {
            folder: folder.into(),
            what,
        })?;
        let reader = Reader {
            checkpoint: &checkpoint,
        };
        let mut tables: Vec<(&Rope, Arc<Vec<f32>>)> = Vec::new();
        let mut layers = Vec::with_capacity(config.layers.len());
        for (i, layer) in config.layers.iter().enumerate() {
            let angles = match &layer.rope {
                None => Arc::default(),
                Some(rope) => match tables.iter().find(|(known, _)| *known == rope) {
                    Some((_, table)) => Arc::clone(table),
                    None => {
                        let table = Arc::new(angles(rope, tokens));
                        tables.push((rope, Arc::clone(&table)));
                        table
                    }
                },
            };
            let at = format!("model.layers.{i}");
            let mut matrices = Projection::ALL.map(|_| Matrix::Widened(Vec::new()));
            for (matrix, projection) in matrices.iter_mut().zip(Projection::ALL) {
                *matrix = reader.matrix(&format!("{at}.{}.weight", projection.module()))?;
            }
            layers.push(Layer {
                matrices,
                norms: reader.norms(&at)?,
                heads: Heads {
                    heads: config.heads,
                    kv_heads: config.kv_heads,
                    size: config.head_dim,
                    scale: config.attention_scale as f32,
                    window: layer.window.unwrap_or(usize::MAX),
                },
                angles,
            });
        }
        let embedding = reader.matrix("model.embed_tokens.weight")?;
        let head = if config.tied {
            None
        } else {
            Some(reader.matrix("lm_head.weight")?)
        };
        let norm = reader.norm("model.norm")?;
        Ok(Self {
            layers,
            embedding,
            head,
            norm,
            curve,
            checkpoint,
        })
    }

    pub(crate) const fn config(&self) -> &ModelConfig {
        self.checkpoint.config()
    }

    /// A layer's matrix, row-major.
    pub(crate) fn matrix(&self, layer: usize, projection: Projection) -> &[f32] {
        self.values(&self.layers[layer].matrices[projection as usize])
    }

    /// The embedding, a row an id.
    pub(crate) fn embedding(&self) -> &[f32] {
        self.values(&self.embedding)
    }

    /// The head, a row an id.
    pub(crate) fn head(&self) -> &[f32] {
        self.values(self.head.as_ref().unwrap_or(&self.embedding))
    }

    fn values<'a>(&'a self, matrix: &'a Matrix) -> &'a [f32] {
        match matrix {
            Matrix::Widened(values) => values,
            // An open checkpoint is immutable, and the tensor was found so when it was opened.
            Matrix::Mapped(name) => self
                .checkpoint
                .tensor(name)
                .ok()
                .and_then(|view| bytemuck::try_cast_slice(view.data).ok())
                .unwrap_or_default(),
        }
    }
}

/// Digest of the files of weights: that of the one file, or of the digests of all.
pub(crate) fn weights(checkpoint: &Checkpoint) -> Digest {
    let files: Vec<_> = checkpoint
        .files()
        .iter()
        .filter(|file| file.name.ends_with(".safetensors"))
        .cloned()
        .collect();
    match &files[..] {
        [one] => one.sha256,
        all => filiation_checkpoint::FileDigest::combine(all),
    }
}

/// Row p holds the cosines, then the sines, of position p.
fn angles(rope: &Rope, tokens: usize) -> Vec<f32> {
    let frequencies = rope.frequencies();
    let row = |position: usize| {
        let angles = frequencies.iter().map(move |f| position as f32 * f);
        angles.clone().map(f32::cos).chain(angles.map(f32::sin))
    };
    (0..tokens).flat_map(row).collect()
}

/// The activation, or what of the configuration has no backward pass here.
fn supported(config: &ModelConfig) -> Result<Curve, &'static str> {
    let mut layers = config.layers.iter();
    let whole = layers.all(|layer| {
        let rope = layer.rope.as_ref();
        rope.is_some_and(|rope| rope.dims == config.head_dim)
    });
    for (holds, what) in [
        (config.norm.kind != NormKind::Layer, "layer normalisation"),
        (
            matches!(config.placement, Placement::Before | Placement::Around),
            "its placement of normalisations",
        ),
        (
            config.qk_norm != QkNorm::Whole,
            "normalisation of all heads together",
        ),
        (config.gated, "a feed-forward part without a gate"),
        (
            !config.biases.qkv && !config.biases.output && !config.biases.feed_forward,
            "biases",
        ),
        (
            whole,
            "positions that are learned or rotate a part of a head",
        ),
        (
            config.attention_softcap.is_none() && config.logit_softcap.is_none(),
            "capped scores or logits",
        ),
    ] {
        if !holds {
            return Err(what);
        }
    }
    match config.activation {
        Activation::Silu => Ok(Curve::SILU),
        Activation::GeluTanh => Ok(Curve::GELU_TANH),
        Activation::Gelu | Activation::Relu => Err("its activation"),
    }
}

struct Reader<'a> {
    checkpoint: &'a Checkpoint,
}

impl Reader<'_> {
    fn matrix(&self, name: &str) -> Result<Matrix, LabError> {
        let view = self.checkpoint.tensor(name)?;
        let in_place = bytemuck::try_cast_slice::<u8, f32>(view.data).is_ok();
        if view.dtype == Dtype::F32 && in_place {
            return Ok(Matrix::Mapped(name.into()));
        }
        let values = view.to_f32();
        self.checkpoint.release(name);
        Ok(Matrix::Widened(values))
    }

    fn norm(&self, name: &str) -> Result<Vec<f32>, LabError> {
        let name = format!("{name}.weight");
        let mut weight = self.checkpoint.tensor(&name)?.to_f32();
        if self.checkpoint.config().norm.kind == NormKind::RmsPlusOne {
            weight.iter_mut().for_each(|w| *w += 1.0);
        }
        Ok(weight)
    }

    // `post_attention_layernorm` stands before the feed-forward part in Llama, after attention in
    // Gemma.
    fn norms(&self, at: &str) -> Result<Norms, LabError> {
        let norm = |name: &str| self.norm(&format!("{at}.{name}"));
        let config = self.checkpoint.config();
        let around = config.placement == Placement::Around;
        let after = |name| around.then(|| norm(name)).transpose();
        Ok(Norms {
            before_attention: norm("input_layernorm")?,
            after_attention: after("post_attention_layernorm")?,
            before_gated: norm(if around {
                "pre_feedforward_layernorm"
            } else {
                "post_attention_layernorm"
            })?,
            after_gated: after("post_feedforward_layernorm")?,
            heads: if config.qk_norm == QkNorm::PerHead {
                Some([norm("self_attn.q_norm")?, norm("self_attn.k_norm")?])
            } else {
                None
            },
        })
    }
}
