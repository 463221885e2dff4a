//! Runs a case over its parties and owns the run directory.
//!
//! The flow goes one way: [`Run::begin`] plans, [`Run::collect`] asks the models through a
//! [`Provider`] and is the only step that touches them, then [`measure`], [`weigh`] and
//! [`report`] work from the run directory alone and give the same bytes each time.
//!
//! ```text
//! case.toml                        the case, every default written out
//! suites/                          the prompts as they were read
//! plan.jsonl                       every request, before anything is asked
//! transcripts/<party>/party.json   what the party is
//! transcripts/<party>/answers.jsonl what it answered, by digest of the question
//! evidence/<probe>.json            statistic or abstention, and what it is worth
//! report.json                      canonical; every rendering comes from it
//! manifest.json                    digests of everything above
//! ```

#![forbid(unsafe_code)]

mod case;
mod collect;
mod disk;
mod error;
mod hint;
mod manifest;
mod offline;
mod plan;
pub mod population;
mod progress;
mod provider;
mod run;
mod suites;
mod transcript;

pub use case::{Case, Entry};
pub use error::{AuditError, BoxError};
pub use offline::{measure, report, weigh};
pub use progress::{Progress, Silent};
pub use provider::{Profile, Provider, Seat};
pub use run::Run;
