//! Teachers behind an API: asked once, kept byte for byte, never believed unchecked.
//!
//! [`Endpoint`] says where and in which dialect, [`Client`] turns a [`Call`] into exact request
//! bytes, sends them with patience, keeps request and response in a [`Store`], and parses the
//! response into a [`Reply`]. [`ApiModel`] is a [`filiation_core::Model`] over a client, at the tier
//! of access that the endpoint declares or was found to have.
//!
//! The only crate that opens sockets. Keys come from the environment and are never written.
//! Log-probabilities are in nats.

#![forbid(unsafe_code)]

mod attempt;
mod budget;
mod call;
mod capability;
mod client;
mod dialect;
mod doctor;
mod endpoint;
mod error;
mod estimate;
mod forced;
mod key;
mod model;
mod prices;
mod secret;
mod store;
mod transport;

pub use budget::{Budget, Spent};
pub use call::{Alternative, Call, Complete, Completed, End, Input, Piece, Reply, Token, Usage};
pub use capability::{Capability, Fault, Finding, Tier};
pub use client::{Client, Mode, Options, Seen};
pub use dialect::Dialect;
pub use doctor::{Check, Examination, Verdict, estimate as examination_estimate, examine};
pub use endpoint::{Endpoint, PROVIDERS, Provider};
pub use error::{Failure, TeacherError};
pub use estimate::Estimate;
pub use key::Key;
pub use model::ApiModel;
pub use prices::{Price, Prices};
pub use secret::Secret;
pub use store::{Exchange, Kind, Store, Summary, Sweep, Verified};
