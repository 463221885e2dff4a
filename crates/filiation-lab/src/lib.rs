//! Trains small labelled teachers, bases and students: models whose parents are known.
//!
//! A [`Recipe`] names text sources, shapes, schedules and models; [`build`] trains them in order and
//! writes each as a Hugging Face folder with a record of its parents. Same recipe, text and seeds
//! give the same bytes on the same kind of machine.
//!
//! Several candle operations drop gradients without a word (`softmax_last_dim`, `ops::rms_norm`,
//! `rotary_emb::rope`); only operations with a backward pass stand here, and the optimiser refuses a
//! parameter that got no gradient.

#![forbid(unsafe_code)]

mod build;
mod check;
mod error;
mod folder;
mod lineage;
mod network;
mod ops;
mod optimizer;
mod recipe;
mod rows;
mod sampler;
mod text;
mod tokenizer;
mod trainer;

pub use build::{Built, Progress, build};
pub use error::LabError;
pub use lineage::{Lineage, Parent, Tie};
pub use recipe::{
    ModelRecipe, Recipe, Schedule, Shape, Signal, Slice, Stored, TeacherRecipe, TokenizerRecipe,
};
