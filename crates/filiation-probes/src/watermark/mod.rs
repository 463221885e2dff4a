//! Marks that a key's owner put into a teacher's texts.

pub mod watermark_residue;
