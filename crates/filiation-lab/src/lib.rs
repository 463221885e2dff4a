//! Trains small labelled teachers, bases and students: models whose parents are known.
//!
//! A [`Recipe`] names text sources, shapes, schedules and models; [`build`] trains them in order and
//! writes each as a Hugging Face folder with a record of its parents. Same recipe, text and seeds
//! give the same bytes on the same kind of machine, whatever the number of threads.
//!
//! An [`AdapterRecipe`] does the same for low-rank adapters of published models: [`adapt`] trains them
//! over a frozen base and writes folders that PEFT reads, [`merge`] makes a model of base and adapter, and
//! [`served`] gives back what their teachers answered.
//!
//! The network's backward pass is written out by hand over flat slices. Its tests hold every gradient
//! against automatic differentiation, and the optimiser refuses a parameter that got none. A batch is
//! cut into shards by its size alone, and sums have a fixed order. [`train_windows`] trains on given
//! tokens and writes nothing: it is there to be timed.

mod adapter;
mod attention;
mod backward;
mod build;
mod check;
mod deal;
mod error;
mod folder;
mod head;
mod hide;
mod kernels;
mod lineage;
mod network;
mod optimizer;
#[cfg(test)]
mod oracle;
mod parameters;
mod product;
mod recipe;
mod rows;
mod sampler;
mod shards;
mod text;
mod tokenizer;
mod trainer;

pub use adapter::{
    AdapterEntry, AdapterRecipe, AdapterTeacher, Projection, Prompts, Rank, adapt, merge, served,
};
pub use build::{Built, Progress, build};
pub use deal::{Cool, Factorial, Lineages, Marked, Roots, Taught, Tune};
pub use error::LabError;
pub use lineage::{Bears, Lineage, Parent, Tie};
pub use recipe::{
    Hiding, ModelRecipe, Recipe, Schedule, Shape, Signal, Slice, Stored, TeacherRecipe,
    TokenizerRecipe,
};
pub use trainer::train_windows;
