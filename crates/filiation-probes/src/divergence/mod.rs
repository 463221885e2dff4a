//! Probes of whose outputs a suspect resembles, against what it started from.

pub mod choice_priors;
mod contrast;
mod model_null;
pub mod tlu_did;

#[cfg(test)]
pub(crate) mod simulated;
