//! Probes of whose outputs a suspect resembles, against what it started from.

pub mod choice_priors;
pub mod directional_displacement;
pub mod divergence_agreement;
pub mod representation;
pub mod tlu_did;
