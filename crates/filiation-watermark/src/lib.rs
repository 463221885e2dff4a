//! Watermark schemes bit for bit, and tests on them whose nulls hold.
//!
//! A [`Scheme`] says, under a key, how each token scores after its window. [`Units`] cuts texts into
//! what counts, each repetition once, and [`Detection`] tests the sum. No tensors, no models: tokens
//! come in, log10 p-values go out.

#![forbid(unsafe_code)]

mod detect;
mod error;
mod evidence;
mod key;
mod mark;
pub mod rng;
pub mod scheme;
mod text;
mod tried;
pub mod tuples;
mod weighted;

pub use detect::{Detection, scores};
pub use error::{Names, WatermarkError};
pub use evidence::{Decoys, Residue, Test};
pub use key::{KeyFile, Number, SCHEMES, SealedKey};
pub use mark::{How, Marker, Memory};
pub use scheme::{Dedup, Draw, Law, Reading, Scheme};
pub use text::{Counted, Unit, Units, Window};
pub use tried::Tried;
pub use weighted::Weighted;
