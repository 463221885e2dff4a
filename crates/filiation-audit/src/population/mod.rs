//! Populations: every suspect of known history audited in the same way.

mod build;
mod manifest;

pub use build::Building;
pub use manifest::{Family, Known, Learned, Manifest};
