use std::path::PathBuf;

use filiation_checkpoint::CheckpointError;
use filiation_checkpoint::config::ConfigError;

/// Why a model could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A text that names no device.
    #[error("`{found}` is not a device, expected `cpu`, `cuda`, `cuda:N` or `metal`")]
    DeviceName {
        /// The text.
        found: String,
    },
    /// A device that this build leaves out.
    #[error(
        "device `{device}` is not in this build: build again with `--features {feature}`, or use `--device cpu`"
    )]
    DeviceNotBuilt {
        /// The device.
        device: String,
        /// The feature that has it.
        feature: &'static str,
    },
    /// A device that did not start.
    #[error("device `{device}` did not start; `--device cpu` works everywhere")]
    DeviceFailed {
        /// The device.
        device: String,
        /// What the driver said.
        source: candle_core::Error,
    },
    /// The folder is not a sound checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The configuration is not one that can be computed exactly.
    #[error("configuration of `{path}`")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ConfigError,
    },
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A GGUF file that is broken or not supported.
    #[error("`{path}`: {problem}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: GgufProblem,
    },
    /// A tensor that the configuration calls for is absent.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor of a shape that the configuration does not call for.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the configuration calls for.
        expected: Vec<usize>,
    },
    /// A token id that the vocabulary does not have.
    #[error("token id {id} is out of range, expected less than {vocabulary}")]
    TokenId {
        /// The id.
        id: u32,
        /// Rows of the embedding.
        vocabulary: usize,
    },
    /// A sequence longer than the learned positions.
    #[error(
        "{tokens} tokens in a sequence, expected at most {limit}: the model's positions are learned"
    )]
    TooLong {
        /// Length of the sequence.
        tokens: usize,
        /// Positions that the model has.
        limit: usize,
    },
    /// Hidden states of a layer that the model does not have.
    #[error("layer {found} does not exist, expected 0 (embeddings) to {last}")]
    Layer {
        /// The layer asked for.
        found: usize,
        /// The last one.
        last: usize,
    },
    /// A cache for another batch.
    #[error("cache of {found} rows, expected {expected} rows on the model's device")]
    CacheRows {
        /// Rows of the cache.
        found: usize,
        /// Rows of the batch.
        expected: usize,
    },
    /// A bound on memory that the model does not fit in, layer by layer.
    #[error("{space} bytes of memory are left for the model, expected at least {least}")]
    Memory {
        /// The least that would do.
        least: u64,
        /// What the bound leaves.
        space: u64,
    },
    /// The engine below failed.
    #[error("the engine could not build the model")]
    Engine(#[from] candle_core::Error),
}

/// What is wrong with a GGUF file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufProblem {
    /// Not GGUF, or a version that is not read.
    #[error("starts with {found:02x?}, expected `GGUF` and version 2 or 3")]
    Magic {
        /// The first eight bytes.
        found: Vec<u8>,
    },
    /// The file ends inside something.
    #[error("{what} needs {needed} bytes at offset {offset}, the file ends at {end}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where.
        offset: u64,
        /// How much it needs.
        needed: u64,
        /// Length of the file.
        end: u64,
    },
    /// More of something than the limits allow.
    #[error("{found} {what}, expected at most {limit}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The count.
        found: u64,
        /// The most allowed.
        limit: u64,
    },
    /// A value that the format does not define.
    #[error("{what} is `{found}`, expected {expected}")]
    Value {
        /// What has the value.
        what: String,
        /// The value.
        found: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// A metadata key that must be there.
    #[error("metadata `{key}` is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// Something named twice.
    #[error("{what} `{name}` appears twice")]
    Duplicate {
        /// Key or tensor.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// An architecture that is not read from GGUF.
    #[error("architecture `{found}` is not supported in GGUF, expected one of {}", crate::gguf::ARCHITECTURES.join(", "))]
    Architecture {
        /// Its name.
        found: String,
    },
    /// A tensor that no part of the architecture uses.
    #[error("tensor `{name}` is not known for architecture `{architecture}`")]
    UnknownTensor {
        /// Its name.
        name: String,
        /// The architecture.
        architecture: String,
    },
    /// A folder without exactly one GGUF file.
    #[error(
        "holds {found} files `*.gguf`, expected one (parts of a split file must be merged first)"
    )]
    NotOneFile {
        /// How many.
        found: usize,
    },
    /// NaN or infinity among the weights.
    #[error("tensor `{name}` is not finite at element {index}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// Element, row-major.
        index: usize,
    },
}

impl LoadError {
    /// What to do about it, in one line, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Checkpoint(error) => error.hint(),
            Self::Memory { least, space } => {
                let more = (least - space).div_ceil(1_000_000);
                Some(format!("allow at least {more} MB more"))
            }
            Self::Gguf {
                problem: GgufProblem::NotOneFile { .. },
                ..
            } => Some("give the path of one file; merge the parts of a split one first".into()),
            Self::Gguf {
                problem: GgufProblem::Truncated { .. },
                ..
            } => Some("download the file again".into()),
            Self::Gguf {
                problem: GgufProblem::Architecture { .. } | GgufProblem::UnknownTensor { .. },
                ..
            } => Some("give the Hugging Face folder that the file was made from".into()),
            _ => None,
        }
    }
}
