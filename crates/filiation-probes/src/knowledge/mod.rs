//! Probes of what a suspect knows, and of what it gets wrong as a teacher does.

pub mod capability_retention;
mod questions;
pub mod teacher_unique_errors;
