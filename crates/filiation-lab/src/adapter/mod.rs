//! Low-rank adapters of published models: a frozen base, and changes that are small enough to keep.

mod backward;
mod base;
mod build;
mod folder;
mod forward;
mod head;
mod learner;
mod lora;
mod material;
mod merge;
mod recipe;
mod served;
#[cfg(test)]
mod tests;

pub use base::Projection;
pub use build::adapt;
pub use lora::Rank;
pub use merge::merge;
pub use recipe::{AdapterEntry, AdapterRecipe, AdapterTeacher, Prompts};
pub use served::served;
