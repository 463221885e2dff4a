//! How much is held at once.

use filiation_checkpoint::config::{Architecture, ModelConfig};

use super::CHUNK;
use super::host::PART;
use crate::LoadError;
use crate::source::WeightSource;

/// Values that a pass may hold between layers: 32 MiB of f32, or four times that where the threads
/// would have too little to do.
const BATCH_VALUES: usize = 1 << 23;
/// Tokens that a thread should have in a pass.
const THREAD_TOKENS: usize = 2048;
/// Keys and values that the caches may hold at once: 1 GiB of f32.
const CACHE_VALUES: usize = 1 << 28;
/// Logits held at once: 32 MiB. Each lot of rows reads the whole head once, so fewer are slower.
const LOGITS: usize = 1 << 23;
/// Rows of logits that are always held at once where memory is not bounded.
const LOGIT_ROWS: usize = 64;

/// Tokens that the longest row must be allowed, whatever the bound.
const LEAST_TOKENS: usize = 256;

/// How much is held at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Tokens of a pass.
    pub(crate) tokens: usize,
    /// Tokens of the longest row, where memory is bounded.
    pub(crate) longest: Option<usize>,
    /// Tokens over all caches.
    pub(crate) cached: usize,
    /// Rows of logits.
    pub(crate) logits: usize,
    /// How layers are held.
    pub(crate) layers: Layers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layers {
    /// All at once.
    Held,
    /// One after the other; the vocabulary so many rows at a time.
    Streamed {
        /// Whether the next is made while one runs.
        ahead: bool,
        vocabulary: usize,
    },
}

impl Budget {
    /// Where memory is not bounded.
    pub(super) fn unbounded(config: &ModelConfig) -> Self {
        let heads = config.heads + 2 * config.kv_heads;
        let token = 2 * config.width + heads * config.head_dim;
        let many = THREAD_TOKENS * rayon::current_num_threads();
        let tokens = (BATCH_VALUES / token)
            .max(many)
            .min(4 * BATCH_VALUES / token);
        Self {
            tokens: tokens.max(512),
            longest: None,
            cached: CACHE_VALUES / cached_values(config),
            logits: (LOGITS / config.vocabulary).max(LOGIT_ROWS),
            layers: Layers::Held,
        }
    }

    /// What fits into `space` bytes with the weights of `source`.
    ///
    /// # Errors
    /// [`LoadError::Memory`] with the least space that would do.
    pub(super) fn within(
        config: &ModelConfig,
        source: &dyn WeightSource,
        space: u64,
    ) -> Result<Self, LoadError> {
        let weights = Weights::of(config, source)?;
        let states = States::of(config);
        let all = weights.outside + weights.ends + weights.layers;
        let made = weights.transient.max(weights.end_transient);
        if all + made.max(states.least) <= space {
            return Ok(states.within(config, space - all, Layers::Held));
        }
        let part = weights.layer + weights.transient;
        let least = weights.outside + part.max(weights.step) + states.least;
        if least > space {
            return Err(LoadError::Memory { least, space });
        }
        let mut rest = space - weights.outside - part.max(weights.step);
        // Half of what is left for the next layer is much, a quarter is not.
        let ahead = rest / 4 > weights.layer + weights.transient && rest / 2 > states.least;
        if ahead {
            rest -= weights.layer + weights.transient;
        }
        let steps = (part.max(weights.step) / weights.step.max(1)).max(1) as usize;
        let vocabulary = steps.saturating_mul(PART);
        Ok(states.within(config, rest, Layers::Streamed { ahead, vocabulary }))
    }
}

/// Keys and values that a cache holds of each token.
fn cached_values(config: &ModelConfig) -> usize {
    (2 * config.layers.len() * config.kv_heads * config.head_dim).max(1)
}

/// Bytes that weights take when they are ready.
#[derive(Debug, Default)]
struct Weights {
    /// Always held: positions and the last normalisation.
    outside: u64,
    /// Embedding and head.
    ends: u64,
    /// All layers, and the largest.
    layers: u64,
    layer: u64,
    /// A step of the vocabulary.
    step: u64,
    /// What the largest tensor of a layer takes while it is made ready, and the larger of the ends.
    transient: u64,
    end_transient: u64,
}

impl Weights {
    fn of(config: &ModelConfig, source: &dyn WeightSource) -> Result<Self, LoadError> {
        let mut sizes = vec![0; config.layers.len()];
        let mut found = Self::default();
        let stem = match config.architecture {
            Architecture::Gpt2 => "transformer.h.",
            Architecture::GptNeoX => "gpt_neox.layers.",
            _ => "model.layers.",
        };
        for tensor in config.expected_tensors().iter().filter(|t| !t.optional) {
            let bytes = source.footprint(&tensor.name)?;
            // Panels of parts of a fused tensor are filled up each, hence a little more.
            let ready = bytes.ready + bytes.ready / 16 + 4096;
            let rest = tensor.name.strip_prefix(stem);
            let layer = rest.and_then(|rest| rest.split_once('.')?.0.parse::<usize>().ok());
            let vocabulary = tensor.shape.first() == Some(&config.vocabulary);
            match layer.and_then(|layer| sizes.get_mut(layer)) {
                Some(size) => *size += ready,
                None if vocabulary && tensor.shape.len() == 2 => {
                    found.ends += ready;
                    let rows = (config.vocabulary as u64).max(1);
                    let step = (bytes.ready + bytes.transient) / rows * PART as u64;
                    found.step = found.step.max(step);
                    found.end_transient = found.end_transient.max(bytes.transient);
                    continue;
                }
                None => found.outside += ready,
            }
            found.transient = found.transient.max(bytes.transient);
        }
        found.layers = sizes.iter().sum();
        found.layer = sizes.iter().copied().max().unwrap_or(0);
        Ok(found)
    }
}

/// Bytes that states take.
struct States {
    /// Of each token of a pass.
    token: u64,
    /// Of each token that a worker has under way, beside that.
    working: u64,
    /// Tokens that workers have under way.
    workers: u64,
    /// Of each cached token.
    cached: u64,
    /// Of each row of logits.
    logits: u64,
    /// Without which nothing runs.
    least: u64,
}

impl States {
    fn of(config: &ModelConfig) -> Self {
        let threads = rayon::current_num_threads();
        let (width, hd) = (config.width, config.head_dim);
        let heads = config.heads * hd + 2 * config.kv_heads * hd;
        // Between layers; or at the end: states twice, and the shares of the vocabulary's steps.
        let between = 2 * width + heads + threads * (64 + 2 * hd);
        let end = 4 * width + 10 * config.vocabulary.div_ceil(PART);
        let working = 4 * width + config.heads * hd + 2 * config.feed_forward;
        let bytes = |values: usize| (values * 4) as u64;
        let mut found = Self {
            token: bytes(between.max(end)),
            working: bytes(working),
            workers: (CHUNK * threads) as u64,
            cached: bytes(cached_values(config)),
            logits: bytes(2 * config.vocabulary + 2 * width),
            least: 0,
        };
        let tokens = LEAST_TOKENS.min(config.positions) as u64;
        found.least = (2 * found.pass(tokens))
            .max(4 * tokens * found.cached)
            .max(4 * found.logits);
        found
    }

    fn pass(&self, tokens: u64) -> u64 {
        tokens * self.token + tokens.min(self.workers) * self.working
    }

    /// The tokens of the largest pass in `space`.
    fn tokens(&self, space: u64) -> usize {
        let few = space / (self.token + self.working);
        let many = space.saturating_sub(self.workers * self.working) / self.token;
        if few <= self.workers {
            few as usize
        } else {
            many as usize
        }
    }

    /// Half of `space` for a pass, a quarter each for caches and logits.
    fn within(&self, config: &ModelConfig, space: u64, layers: Layers) -> Budget {
        let free = Budget::unbounded(config);
        let fits = self.tokens(space / 2);
        let cached = free.cached.min((space / 4 / self.cached) as usize);
        Budget {
            // A layer that must be made again for every pass is worth many tokens.
            tokens: match layers {
                Layers::Held => fits.min(free.tokens),
                Layers::Streamed { .. } => fits.min(16 * free.tokens),
            },
            longest: Some(fits.min(cached)),
            cached,
            logits: free.logits.min((space / 4 / self.logits) as usize),
            layers,
        }
    }
}

/// Memory that this process has in use, in bytes; zero where the system does not say.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
