//! From statistics to opinions: the claim ladder, ranks, and what may be said of them.
//!
//! [`calibrate`] has the numerics: calibrators, metrics and bounds. [`system`] is the chain from scores of
//! several probes to one bounded likelihood ratio, and its validation on models of known history.
//! [`Likelihood`] holds a case against a [`Calibration`]; a case without one stands at tier 0: scores,
//! ranks and intervals, and the sentence that no likelihood ratio can be stated.
//! [`weigh`] turns a [`Statistic`](filiation_core::Statistic) into [`Evidence`]; [`Opinion`] is
//! the only type with a rendering, because a number is never shown without its propositions.

#![forbid(unsafe_code)]

pub mod calibrate;
mod calibration;
mod contrast;
mod error;
mod evidence;
mod ladder;
mod likelihood;
mod opinion;
pub mod pilot;
mod record;
mod setting;
pub mod system;

pub use calibration::{Calibration, run_alike};
pub use contrast::Contrast;
pub use error::LrError;
pub use evidence::{DesignRatio, Evidence, Ranked, weigh};
pub use ladder::{LADDER, Needs, Population, Rung, Shortfall, Tier};
pub use likelihood::{Behind, Candidature, Claim, Likelihood, Part, Versus};
pub use opinion::{Agreement, Opinion, ProbeRank};
pub use record::{Candidate, Cost, History, Outcome, Record, Scored, features};
pub use setting::Setting;
