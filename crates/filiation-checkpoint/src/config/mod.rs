//! Model configurations: one normaliser for the `config.json` of transformers 4 and 5.
//!
//! A key that could change the computation and is not understood is an error: a model scored with
//! a wrong rotary base or window would be a false statement in evidence.

mod error;
mod families;
mod keys;
mod rope;
mod tensors;

pub use error::ConfigError;
pub use rope::{Rope, RopeScaling};
pub use tensors::ExpectedTensor;

/// Most layers that a configuration may name.
pub const MAX_LAYERS: usize = 4096;

/// Largest width, head count, vocabulary or context that a configuration may name.
pub const MAX_SIZE: usize = 1 << 28;

/// The supported architectures, by the first entry of `architectures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// `LlamaForCausalLM`: Llama 1-3, SmolLM2, TinyLlama.
    Llama,
    /// `MistralForCausalLM`.
    Mistral,
    /// `Qwen2ForCausalLM`.
    Qwen2,
    /// `Qwen3ForCausalLM`.
    Qwen3,
    /// `Gemma2ForCausalLM`.
    Gemma2,
    /// `Gemma3ForCausalLM`: text only.
    Gemma3,
    /// `Phi3ForCausalLM`.
    Phi3,
    /// `Olmo2ForCausalLM`.
    Olmo2,
    /// `GPT2LMHeadModel`.
    Gpt2,
    /// `GPTNeoXForCausalLM`: Pythia.
    GptNeoX,
}

impl Architecture {
    /// Every supported architecture.
    pub const ALL: [Self; 10] = [
        Self::Llama,
        Self::Mistral,
        Self::Qwen2,
        Self::Qwen3,
        Self::Gemma2,
        Self::Gemma3,
        Self::Phi3,
        Self::Olmo2,
        Self::Gpt2,
        Self::GptNeoX,
    ];

    /// The class name in `architectures`.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Gemma2 => "Gemma2ForCausalLM",
            Self::Gemma3 => "Gemma3ForCausalLM",
            Self::Phi3 => "Phi3ForCausalLM",
            Self::Olmo2 => "Olmo2ForCausalLM",
            Self::Gpt2 => "GPT2LMHeadModel",
            Self::GptNeoX => "GPTNeoXForCausalLM",
        }
    }

    /// The value of `model_type`.
    pub const fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3_text",
            Self::Phi3 => "phi3",
            Self::Olmo2 => "olmo2",
            Self::Gpt2 => "gpt2",
            Self::GptNeoX => "gpt_neox",
        }
    }

    fn names() -> String {
        Self::ALL.map(|a| format!("`{}`", a.class())).join(", ")
    }
}

/// The kind of normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// x / rms(x) · w.
    Rms,
    /// x / rms(x) · (1 + w): Gemma.
    RmsPlusOne,
    /// (x − mean) / std · w + b.
    Layer,
}

/// A normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// Its kind.
    pub kind: NormKind,
    /// Added to the mean square (or variance) before the root.
    pub epsilon: f64,
}

/// Where a block normalises. `A` is attention, `F` the feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// x += A(norm(x)); x += F(norm(x)): Llama, GPT-2.
    Before,
    /// x += norm(A(x)); x += norm(F(x)): OLMo 2.
    After,
    /// x += norm(A(norm(x))); x += norm(F(norm(x))): Gemma 2 and 3.
    Around,
    /// x += A(norm(x)) + F(norm'(x)): GPT-NeoX with parallel residual.
    Parallel,
}

/// Normalisation of queries and keys before the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// None.
    None,
    /// Each head over its own dimensions: Qwen 3, Gemma 3.
    PerHead,
    /// All heads together: OLMo 2.
    Whole,
}

/// The non-linearity of the feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · σ(x).
    Silu,
    /// x · Φ(x), by the error function.
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

/// Which linear maps carry a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    /// Query, key and value.
    pub qkv: bool,
    /// Attention output.
    pub output: bool,
    /// Every map of the feed-forward part.
    pub feed_forward: bool,
}

/// What differs between layers.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerConfig {
    /// A query at position i sees the keys at i − window + 1 ..= i; `None` sees all up to i.
    pub window: Option<usize>,
    /// The rotary embedding; `None` where positions are learned.
    pub rope: Option<Rope>,
}

/// A decoder, whole: everything that its computation depends on except the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The architecture: decides tensor names and layout, nothing else.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocabulary: usize,
    /// Hidden width d.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
    /// Width of the feed-forward part.
    pub feed_forward: usize,
    /// Longest context that the model was made for; a hard limit where positions are learned.
    pub positions: usize,
    /// One entry a layer.
    pub layers: Vec<LayerConfig>,
    /// Every normalisation of the model.
    pub norm: Norm,
    /// Where blocks normalise.
    pub placement: Placement,
    /// Query and key normalisation.
    pub qk_norm: QkNorm,
    /// Non-linearity.
    pub activation: Activation,
    /// Whether the feed-forward part is act(x·G) ⊙ (x·U), not act(x·U).
    pub gated: bool,
    /// Biases.
    pub biases: Biases,
    /// Whether a learned embedding of the position is added to that of the token.
    pub learned_positions: bool,
    /// Multiplies q·k.
    pub attention_scale: f64,
    /// Scores become c·tanh(s/c) before the mask.
    pub attention_softcap: Option<f64>,
    /// Logits become c·tanh(l/c).
    pub logit_softcap: Option<f64>,
    /// Multiplies the token embedding.
    pub embedding_scale: f64,
    /// Whether the head is the embedding.
    pub tied: bool,
}

impl ModelConfig {
    /// Reads a `config.json` of transformers 4 or 5.
    ///
    /// # Errors
    /// [`ConfigError`] for an unsupported architecture, a missing key, a value out of range, and
    /// for every key or value that may change the computation and is not understood.
    pub fn from_json(document: &serde_json::Value) -> Result<Self, ConfigError> {
        families::read(document)
    }

    /// The tensors that a checkpoint of this configuration holds, in the order of the computation.
    pub fn expected_tensors(&self) -> Vec<ExpectedTensor> {
        tensors::expected(self)
    }
}

#[cfg(test)]
mod tests;
