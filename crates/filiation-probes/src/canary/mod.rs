//! Canaries: texts whose randomness is ours or the teacher's own, so that their null is exact.

pub mod planted_canaries;
pub mod regeneration_rank;
