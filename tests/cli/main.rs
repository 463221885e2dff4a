//! The binary as a user meets it: exit codes, standard output and error, bad input.

mod bad_input;
mod import;
mod known_lineages;
mod lineage;
mod population;
mod residue;
mod streams;
#[path = "../audit/tiny.rs"]
mod tiny;
mod validation;
mod watermark;
mod watermark_input;
