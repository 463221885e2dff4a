//! Low-rank adapters of published models: a frozen base, and changes that are small enough to keep.

mod backward;
mod base;
mod forward;
mod head;
mod learner;
mod lora;
#[cfg(test)]
mod tests;

pub use base::Projection;
pub use lora::Rank;
