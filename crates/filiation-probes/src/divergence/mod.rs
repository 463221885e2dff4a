//! Probes of whose outputs a suspect resembles, against what it started from.

pub mod choice_priors;
pub mod directional_displacement;
pub mod divergence_agreement;
pub mod reasoning_origin;
pub mod representation;
pub mod reversed_typicality;
pub mod template_residue;
pub mod tlu_did;
