//! The probes: what is asked of every party, and the statistic of the answers.
//!
//! A probe plans its requests before anything is collected, and measures from what was collected
//! alone: it touches neither models nor the network. One that lacks its inputs abstains with a
//! reason. `docs/probes/` has a page for each.

mod contrast;
pub mod divergence;
mod error;
pub mod knowledge;
pub mod lineage;
mod options;
mod registry;
pub mod suite;

pub use error::{LineProblem, ProbeError};
pub use lineage::relate::relate;
pub use options::{ProbeOptions, PromptForm};
pub use registry::{NAMES, standard};
pub use suite::{Item, Suite};
