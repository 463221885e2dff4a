mod hint;

use std::path::PathBuf;

pub use self::hint::Instead;
use crate::config::ConfigError;

/// Why a model folder, or a part of it, was not read.
///
/// A message is whole: causes stand in it and are not repeated as sources. Names taken from files
/// are shortened and their control characters escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("`{file}`: cannot be read: {cause}")]
    Io {
        /// Where.
        file: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The path is no folder.
    #[error("`{path}` is not a folder, expected a folder with `config.json` and safetensors")]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The folder has no safetensors.
    #[error("`{folder}` has neither `model.safetensors` nor `model.safetensors.index.json`")]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// What lies there in place of them.
        instead: Option<Instead>,
    },
    /// A file that something else needs is not there.
    #[error("`{file}` is missing, needed by {needed_by}")]
    MissingFile {
        /// The file.
        file: PathBuf,
        /// What needs it.
        needed_by: String,
    },
    /// A directory, a pipe or a device in place of a file.
    #[error("`{file}` is not a regular file")]
    NotAFile {
        /// The path.
        file: PathBuf,
    },
    /// A file that leads out of the model folder.
    #[error("`{file}` leads to `{target}`, outside of the model folder")]
    EscapesFolder {
        /// The link.
        file: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// More than [`Limits`](crate::Limits) allow.
    #[error("`{file}`: {what} is {found}, more than the limit of {limit}")]
    OverLimit {
        /// The file.
        file: PathBuf,
        /// What was counted.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much may be.
        limit: u64,
    },
    /// The file ends too early.
    #[error("`{file}` is {found} bytes, expected at least {expected}: it is truncated")]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Its bytes.
        found: u64,
        /// Bytes that its own header asks for.
        expected: u64,
    },
    /// Bytes that no tensor owns.
    #[error("`{file}` is {found} bytes, expected {expected}: the last tensor ends before the file")]
    TrailingBytes {
        /// The file.
        file: PathBuf,
        /// Its bytes.
        found: u64,
        /// Where the last tensor ends.
        expected: u64,
    },
    /// Not the JSON that was expected.
    #[error("`{file}`: JSON that begins at byte {offset}: {cause}")]
    Json {
        /// The file.
        file: PathBuf,
        /// Where the JSON begins in the file.
        offset: u64,
        /// What was wrong, with line and column in the JSON.
        cause: serde_json::Error,
    },
    /// A value of the wrong kind.
    #[error("`{file}`: `{key}` is `{found}`, expected {expected}")]
    BadValue {
        /// The file.
        file: PathBuf,
        /// The key.
        key: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// An element type that is not read.
    #[error(
        "`{file}`: tensor `{tensor}` has dtype `{found}`, expected one of {}",
        crate::Dtype::NAMES
    )]
    UnknownDtype {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its dtype.
        found: String,
    },
    /// A shape whose elements or bytes do not fit in 64 bits.
    #[error("`{file}`: tensor `{tensor}` of shape {shape:?} has more than 2^63 bytes")]
    ShapeOverflow {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// Offsets that run backwards or out of the file.
    #[error("`{file}`: tensor `{tensor}` lies at {begin}..{end}, expected within 0..{data}")]
    OutsideFile {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// First byte, from the start of the data.
        begin: u64,
        /// One past the last byte.
        end: u64,
        /// Bytes of data in the file.
        data: u64,
    },
    /// Offsets that do not hold the shape.
    #[error(
        "`{file}`: tensor `{tensor}` lies in {found} bytes, its dtype and shape need {expected}"
    )]
    SizeMismatch {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Bytes between its offsets.
        found: u64,
        /// Bytes of dtype and shape.
        expected: u64,
    },
    /// Two tensors share bytes.
    #[error(
        "`{file}`: tensor `{tensor}` begins at {found}, inside another that ends at {expected}"
    )]
    Overlap {
        /// The file.
        file: PathBuf,
        /// The later tensor.
        tensor: String,
        /// Where it begins.
        found: u64,
        /// Where the one before ends.
        expected: u64,
    },
    /// Bytes between two tensors that neither owns.
    #[error("`{file}`: tensor `{tensor}` begins at {found}, expected {expected}: there is a gap")]
    Gap {
        /// The file.
        file: PathBuf,
        /// The tensor after the gap.
        tensor: String,
        /// Where it begins.
        found: u64,
        /// Where the one before ends.
        expected: u64,
    },
    /// A tensor that cannot be read in place.
    #[error("`{file}`: tensor `{tensor}` begins at byte {offset}, expected a multiple of {align}")]
    Misaligned {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its first byte in the file.
        offset: u64,
        /// Bytes of an element.
        align: u64,
    },
    /// A shard name that is not a plain file name.
    #[error("`{file}` names shard `{shard}`, expected a plain name that ends in `.safetensors`")]
    ShardName {
        /// The index.
        file: PathBuf,
        /// What it names.
        shard: String,
    },
    /// A tensor that is not where the index says.
    #[error("`{file}`: tensor `{tensor}` is promised in `{promised}`, found in {}",
        found.as_deref().map_or("no shard".into(), |f| format!("`{f}`")))]
    WrongShard {
        /// The index.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Shard in the index.
        promised: String,
        /// Shard that has it.
        found: Option<String>,
    },
    /// A tensor that two shards hold.
    #[error("tensor `{tensor}` is in `{first}` and again in `{second}`")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
        /// One shard.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A tensor that the index does not know.
    #[error("`{file}`: tensor `{tensor}` is not in the shard index")]
    UnlistedTensor {
        /// The shard.
        file: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// No such tensor.
    #[error("`{folder}` has no tensor `{tensor}`")]
    NoSuchTensor {
        /// The folder.
        folder: PathBuf,
        /// The name asked.
        tensor: String,
    },
    /// The configuration is not understood.
    #[error("`{file}`: {cause}")]
    Config {
        /// The file.
        file: PathBuf,
        /// What is not understood.
        cause: ConfigError,
    },
    /// The configuration asks for a tensor that is not there.
    #[error("`{file}` asks for tensor `{tensor}` of shape {expected:?}, which no weights file has")]
    MissingTensor {
        /// The configuration.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor that is not of the shape that the configuration asks for.
    #[error("`{file}`: tensor `{tensor}` has shape {found:?}, `config.json` asks for {expected:?}")]
    WrongShape {
        /// The weights file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// Its shape by the configuration.
        expected: Vec<usize>,
    },
    /// A weight whose elements are no floating-point numbers.
    #[error("`{file}`: tensor `{tensor}` has dtype {found}, expected a floating-point type")]
    NotFloat {
        /// The weights file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: crate::Dtype,
    },
    /// A scale beside FP8 weights that belongs to none of them.
    #[error(
        "`{file}`: FP8 weights are scaled by `weight_scale_inv` or `weight_scale`, found scale `{scale}`"
    )]
    ScaledFp8 {
        /// The weights file.
        file: PathBuf,
        /// The tensor that scales.
        scale: String,
    },
    /// Packed codes whose elements are no words of 32 bits.
    #[error("`{file}`: tensor `{tensor}` of packed codes has dtype {found}, expected I32")]
    NotWords {
        /// The weights file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: crate::Dtype,
    },
    /// An input of a packed matrix in a group that has no scale.
    #[error(
        "`{file}`: tensor `{tensor}` puts input {index} into group {found}, of {groups} groups"
    )]
    GroupIndex {
        /// The weights file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// The input.
        index: u64,
        /// Its group.
        found: i32,
        /// How many groups there are.
        groups: u64,
    },
    /// NaN or infinity among the weights.
    #[error("`{file}`: tensor `{tensor}` is {value} at element {index}, expected finite numbers")]
    NotFinite {
        /// The weights file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Element, in row-major order.
        index: u64,
        /// What stands there.
        value: f64,
    },
    /// The tokenizer cannot be built or fails on a text.
    #[error("`{file}`: {reason}")]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// What the tokenizer said.
        reason: String,
    },
    /// The tokenizer has entries that the embedding has no row for.
    #[error(
        "`{file}`: token `{token}` has id {found}, the embedding has {rows} rows: the tokenizer is larger than the embedding"
    )]
    TokenizerTooLarge {
        /// The file.
        file: PathBuf,
        /// The entry with the highest id.
        token: String,
        /// Its id.
        found: u32,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A text has a token that the embedding has no row for.
    #[error(
        "`{file}`: the text has token id {found}, expected less than {rows}, the rows of the embedding"
    )]
    TokenOutOfRange {
        /// The tokenizer file.
        file: PathBuf,
        /// The id.
        found: u32,
        /// Rows of the embedding.
        rows: usize,
    },
    /// The chat template cannot be read or failed.
    #[error("`{file}`: chat template: {reason}")]
    Template {
        /// The file.
        file: PathBuf,
        /// What the engine, or the template itself, said.
        reason: String,
    },
    /// The chat template did not end.
    #[error("`{file}`: chat template took more than {limit} steps: it loops or grows without end")]
    TemplateFuel {
        /// The file.
        file: PathBuf,
        /// Steps allowed.
        limit: u64,
    },
    /// The chat template wrote too much.
    #[error("`{file}`: chat template wrote more than {limit} bytes")]
    TemplateOutput {
        /// The file.
        file: PathBuf,
        /// Bytes allowed.
        limit: usize,
    },
    /// Another reader of weights failed.
    #[error("{cause}")]
    Reader {
        /// What it said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// `name` as it may stand in a message: control characters escaped, at most 120 characters.
pub(crate) fn shown(name: &str) -> String {
    let mut text: String = name
        .chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(120).is_some() {
        text.push('…');
    }
    text
}
