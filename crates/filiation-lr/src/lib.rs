//! From statistics to opinions: the claim ladder, ranks, and what may be said of them.
//!
//! No population of models with known history ships yet, so everything here stands at tier 0:
//! scores, ranks and intervals, and the sentence that no likelihood ratio can be stated.
//! [`weigh`] turns a [`Statistic`](filiation_core::Statistic) into [`Evidence`]; [`Opinion`] is
//! the only type with a rendering, because a number is never shown without its propositions.

#![forbid(unsafe_code)]

mod contrast;
mod evidence;
mod ladder;
mod opinion;
pub mod pilot;
mod record;
mod setting;

pub use contrast::Contrast;
pub use evidence::{Evidence, Ranked, weigh};
pub use ladder::{LADDER, Needs, Population, Rung, Shortfall, Tier};
pub use opinion::{Agreement, Opinion, ProbeRank};
pub use record::{Candidate, Cost, History, Outcome, Record, Scored};
pub use setting::Setting;
