//! Reads hostile model folders: safetensors, shards, configurations, tokenizers, templates.
//!
//! A suspect is an adversary's file. [`Checkpoint::open`] is the one gate: behind it every header,
//! offset, shard name and shape has been checked under [`Limits`], and nothing in the folder was
//! run. Weights are never copied: a [`TensorView`] is the mapped file.
//!
//! ```no_run
//! # fn main() -> Result<(), filiation_checkpoint::CheckpointError> {
//! use filiation_checkpoint::{Checkpoint, Limits};
//!
//! let model = Checkpoint::open("suspect".as_ref(), &Limits::default())?;
//! let rows = model.tensor("model.embed_tokens.weight")?.shape[0];
//! assert_eq!(rows, model.config().vocabulary);
//! # Ok(())
//! # }
//! ```

pub mod config;

mod checkpoint;
mod digest;
mod dtype;
mod error;
mod findings;
mod folder;
mod generation;
mod header;
mod index;
mod limits;
mod mapping;
mod model_weights;
mod packed;
mod template;
mod tokenizer;
mod weights;

pub use checkpoint::Checkpoint;
pub use digest::FileDigest;
pub use dtype::Dtype;
pub use error::{CheckpointError, Instead};
pub use findings::Finding;
pub use generation::GenerationConfig;
pub use limits::Limits;
pub use mapping::Mapping;
pub use model_weights::{Fitted, Lattice, Lattices, ModelWeights, Stored};
pub use packed::PackedView;
pub use template::ChatTemplate;
pub use tokenizer::{Encoding, Tokenizer};
pub use weights::{Scale, TensorView};
