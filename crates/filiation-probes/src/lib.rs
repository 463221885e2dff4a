//! The probes: what is asked of every party, and the statistic of the answers.
//!
//! A probe plans its requests before anything is collected, and measures from what was collected
//! alone: it touches neither models nor the network. One that lacks its inputs abstains with a
//! reason. `docs/probes/` has a page for each.

pub mod behaviour;
pub mod canaries;
pub mod canary;
mod contrast;
pub mod divergence;
mod error;
mod guard;
pub mod knowledge;
pub mod lineage;
pub mod marks;
pub mod memory;
mod options;
mod registry;
pub mod sameness;
pub mod served;
pub mod suite;
pub mod watermark;

pub use canaries::CanarySet;
pub use error::{LineProblem, PackProblem, ProbeError};
pub use lineage::relate::relate;
pub use marks::{MarkFiles, MarkLog, MarkedText};
pub use options::{ProbeOptions, PromptForm, Stopping};
pub use registry::{NAMES, standard};
pub use served::{Served, ServedLog};
pub use suite::{Item, Suite};
