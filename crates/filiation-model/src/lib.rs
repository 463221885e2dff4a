//! Scores, generates and embeds text with a local model, by candle.

mod answers;
mod decoder;
mod device;
mod error;
mod generate;
mod gguf;
mod local;
mod rows;
mod sample;
mod source;
#[cfg(test)]
mod testing;
mod text;

#[doc(hidden)]
pub use decoder::Product;
pub use decoder::{Cache, Decoder, Hidden};
pub use device::DeviceChoice;
pub use error::{GgufProblem, LoadError};
pub use gguf::Gguf;
pub use local::LocalModel;
pub use source::{Footprint, SharedBytes, WeightData, WeightSource};
