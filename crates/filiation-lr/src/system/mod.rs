//! The chain from scores of several probes to one bounded likelihood ratio, and its validation.

mod against;
mod chain;
mod fit;
mod fusion;
mod interval;
mod known;
mod plan;
mod subject;
mod summary;
mod training;
mod typicality;
mod validated;
mod validation;
mod verbal;

pub use against::Against;
pub use fit::{Settings, System};
pub use fusion::{Fragility, Fusion};
pub use interval::{Draws, intervals};
pub use known::{Known, Scores, Taught};
pub use plan::{Needed, lineages_needed};
pub use subject::{Frame, Leads, Subject};
pub use summary::{AtShare, Rate, Summary, Unseen, held_out};
pub use typicality::{Domain, Typicality};
pub use validated::{Validated, Validation};
pub use validation::{Judged, LeaveOut, judge, judge_others, permuted, repeated};
pub use verbal::{Support, posterior, with_procedural_error};

#[cfg(test)]
mod tests;
