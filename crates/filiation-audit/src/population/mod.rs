//! Populations: every suspect of known history audited in the same way.

mod build;
mod calibration;
mod manifest;

pub use build::Building;
pub use calibration::{Decided, calibration, records, score_files};
pub use manifest::{Family, Known, Learned, Manifest};
