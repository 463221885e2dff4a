use std::path::PathBuf;

/// Why a set of models could not be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A file could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The recipe is not one.
    #[error("`{}`: {source}", path.display())]
    Recipe {
        /// Which file.
        path: PathBuf,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// A key file that cannot be marked with.
    #[error("`{}`: {source}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: filiation_watermark::WatermarkError,
    },
    /// A recipe of another format.
    #[error("recipe has format {got}, expected {expected}")]
    Format {
        /// Format found.
        got: u32,
        /// Format this version reads.
        expected: u32,
    },
    /// A model names something that the recipe lacks, or that comes later in it.
    #[error("model `{model}` names {kind} `{name}`, which no earlier part of the recipe defines")]
    Undefined {
        /// The model.
        model: String,
        /// `shape`, `schedule`, `source`, `start`, `teacher` or `mark`.
        kind: &'static str,
        /// What it names.
        name: String,
    },
    /// Two models of one name.
    #[error("two models are called `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name that cannot be a folder's.
    #[error("`{name}` is no model name, expected lower-case letters, digits, `-`, `_`, `.`")]
    Name {
        /// The name.
        name: String,
    },
    /// A number outside what can be trained.
    #[error("`{owner}`: {field} is {got}, expected {expected}")]
    Value {
        /// Model, shape or schedule.
        owner: String,
        /// The field.
        field: &'static str,
        /// Its value.
        got: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// A slice of a source that is shorter than that.
    #[error("source `{source_name}` has {lines} lines, slice wants {from}..{to}")]
    Slice {
        /// The source.
        source_name: String,
        /// Lines it has.
        lines: usize,
        /// First line wanted.
        from: usize,
        /// One past the last line wanted.
        to: usize,
    },
    /// A pool of text that is dealt out is used up.
    #[error("`{group}` has {left} lines of source `{source_name}` left, `{model}` wants {wanted}")]
    Pool {
        /// The factorial or lineages.
        group: String,
        /// The model that gets too few.
        model: String,
        /// The source.
        source_name: String,
        /// Lines wanted.
        wanted: usize,
        /// Lines left.
        left: usize,
    },
    /// A line that is dealt out is another model's too.
    #[error("`{one}` and `{other}` both read lines of source `{source_name}` that are dealt out")]
    Overlap {
        /// A model.
        one: String,
        /// Another.
        other: String,
        /// The source.
        source_name: String,
    },
    /// Fewer rows than a model is to be trained on.
    #[error("model `{model}` wants {wanted} rows of text, its slices give {got}")]
    Rows {
        /// The model.
        model: String,
        /// Rows wanted.
        wanted: usize,
        /// Rows there are.
        got: usize,
    },
    /// The tokenizer could not be trained, read or used.
    #[error("tokenizer: {source}")]
    Tokenizer {
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tokenizer came out with another number of entries than the recipe asks for.
    #[error("tokenizer has {got} entries, recipe wants {expected}")]
    Vocabulary {
        /// Entries trained.
        got: usize,
        /// Entries wanted.
        expected: usize,
    },
    /// A parameter got no gradient: the backward pass leaves it out.
    #[error("no gradient reached `{tensor}`")]
    NoGradient {
        /// The parameter.
        tensor: String,
    },
    /// A teacher that only draws empty documents.
    #[error("the teacher ended each of {drawn} documents before their first token")]
    Silent {
        /// Documents drawn.
        drawn: usize,
    },
    /// Training diverged.
    #[error("loss or gradient of `{model}` is not finite at step {step}")]
    NotFinite {
        /// The model.
        model: String,
        /// The step, from 1.
        step: u32,
    },
    /// A parent's weights lack a tensor, or it has another shape or type.
    #[error("`{}`: tensor `{tensor}` is {got}, expected {expected:?}", path.display())]
    Tensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What stands there.
        got: String,
        /// Shape expected.
        expected: Vec<usize>,
    },
    /// A base or teacher that has no backward pass here.
    #[error("`{}`: adapters of a model with {what} cannot be trained", folder.display())]
    Unsupported {
        /// The model's folder.
        folder: PathBuf,
        /// What of it is not supported.
        what: &'static str,
    },
    /// A published model could not be opened.
    #[error(transparent)]
    Checkpoint(#[from] filiation_checkpoint::CheckpointError),
    /// A teacher could not be loaded to draw texts from.
    #[error(transparent)]
    Load(#[from] filiation_model::LoadError),
    /// A teacher could not answer.
    #[error("teacher `{model}`: {source}")]
    Teacher {
        /// The teacher.
        model: String,
        /// What it said.
        source: filiation_core::ModelError,
    },
    /// A distribution can only be learned over the same ids.
    #[error(
        "`{model}`: base `{base}` and teacher `{teacher}` have different tokenizers, expected one for `by = \"logits\"`"
    )]
    Tokenizers {
        /// The adapter.
        model: String,
        /// Its base.
        base: String,
        /// Its teacher.
        teacher: String,
    },
    /// A line of a source of questions and answers that is not two fields.
    #[error(
        "source `{source_name}`: a line has no tab, expected what is asked, a tab, the answer: `{line}`"
    )]
    Pair {
        /// The source.
        source_name: String,
        /// How the line begins.
        line: String,
    },
    /// A file of prompts that is not JSON lines.
    #[error("`{}`, line {line}: {source}", path.display())]
    Prompt {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// An adapter that cannot be merged.
    #[error("`{}`: {reason}", path.display())]
    Adapter {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The weights could not be put into a file.
    #[error("weights: {0}")]
    Weights(#[from] safetensors::SafeTensorError),
}

impl From<tokenizers::Error> for LabError {
    fn from(source: tokenizers::Error) -> Self {
        Self::Tokenizer { source }
    }
}
