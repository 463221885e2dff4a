//! One report type and its renderings.
//!
//! [`Report`] is the whole of what an audit says; `report.json` is its canonical JSON, and every
//! other form is made from it. Nothing in it is rounded: only [`render`] rounds. It holds no
//! times, paths of a machine or thread counts, so that the same inputs give the same bytes.

#![forbid(unsafe_code)]

mod assemble;
mod clean;
mod found_by;
mod outline;
pub mod render;
mod report;
mod schema;

pub use assemble::Parts;
pub use clean::clean;
pub use found_by::{FoundBy, FoundByError};
pub use report::{
    Alternative, Authorisation, CaseFacts, Contested, EndpointFacts, Held, Input, NotRun, Outcome,
    ProbeRecord, RecordingFacts, Report, ReportError, SuiteFacts, Tool,
};
pub use schema::schema;
