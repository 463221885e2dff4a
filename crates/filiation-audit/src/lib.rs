//! Runs a case over its parties and owns the run directory.
//!
//! The flow goes one way: [`Run::begin`] plans, [`Run::collect`] asks the models through a
//! [`Provider`] and is the only step that touches them, then [`measure`], [`weigh`] and
//! [`report`] work from the run directory alone and give the same bytes each time.
//!
//! ```text
//! case.toml                        the case, every default written out
//! suites/                          the prompts as they were read
//! served/                          logs of served responses as they were read
//! canaries/                        files of canaries and their secrets as they were read
//! marks/                           texts and tokenizers of marks as they were read, keys by commitment
//! plan.jsonl                       every request, before anything is asked
//! transcripts/<party>/party.json   what the party is
//! transcripts/<party>/answers.jsonl what it answered, by digest of the question
//! transcripts/<party>/exchanges.jsonl where it is behind an API: requests and responses, byte for byte
//! streams/<probe>.json             what was bought, where a probe may stop
//! evidence/<probe>.json            statistic or abstention, and what it is worth
//! report.json                      canonical; every rendering comes from it
//! manifest.json                    digests of everything above
//! ```
//!
//! A party may answer from a [`Pack`], a recording made once by a [`Collection`] and used for every
//! suspect. Runs on one machine may share their answers ([`Run::sharing`]).

#![forbid(unsafe_code)]

mod asking;
mod case;
mod collect;
mod disk;
mod endpoint;
mod entry;
mod error;
mod folder;
mod hint;
mod import;
mod manifest;
mod offline;
mod owned;
mod pack;
mod party;
mod plan;
pub mod population;
mod progress;
mod provider;
mod run;
mod store;
mod stream;
mod suites;
mod transcript;

pub use asking::Asking;
pub use case::Case;
pub use disk::from_folder;
pub use entry::{CanaryEntry, Entry, MarkEntry, ServedEntry, is_endpoint};
pub use error::{AuditError, BoxError};
pub use import::{EvalLog, ImportOrder, ImportProblem, Imported, LogFormat, LogSuite};
pub use offline::{measure, report, weigh};
pub use pack::{Collection, ImportFacts, Order, Pack, PackHead, Questions};
pub use progress::{Progress, Silent};
pub use provider::{Asked, Profile, Provider, Reach, Seat};
pub use run::Run;
pub use transcript::Recorded;
