//! What the suspect remembers of alleged training data.

pub mod seen_questions;
