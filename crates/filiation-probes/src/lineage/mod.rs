//! Do two models share weights? Disguises are undone before anything is measured.

mod align;
mod change;
mod eigen;
mod floor;
mod heads;
mod layout;
mod low_rank;
mod neurons;
pub mod pack;
pub mod relate;
mod rounding;
mod spectrum;
mod tensor;
mod vocabulary;
pub mod weight_lineage;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;

pub use relate::relate;
pub use weight_lineage::WeightLineage;
