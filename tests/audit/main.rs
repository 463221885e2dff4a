//! Whole audits of tiny models by the real binary: stopped, resumed, and done again offline.

mod abstentions;
mod likelihood;
mod offline;
mod packs;
mod resume;
mod tiny;
mod told;
