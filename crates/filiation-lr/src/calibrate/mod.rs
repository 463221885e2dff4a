//! From scores of models whose history is known to likelihood ratios, and how good those are.
//!
//! All likelihood ratios are log10 and for "distilled from the teacher" (H1) over "not" (H2). Models
//! of one lineage are not independent, so everything here weighs lineages and not models: a
//! [`Sample`] gives the models of one lineage and class a weight of 1 together.

mod bigaussian;
mod bound;
mod density;
mod isotonic;
mod logistic;
mod metrics;
mod sample;
mod venn_abers;

pub use bigaussian::{BiGaussian, bigaussian_cllr, bigaussian_eer, bigaussian_variance};
pub use bound::{Bounds, Smoothing, tail_ratio};
pub use density::{Bandwidth, Density};
pub use isotonic::Isotonic;
pub use logistic::{Linear, ShrunkLogistic};
pub use metrics::{
    cllr, cllr_calibration, cllr_min, cllr_with_unseen, dev_pav, ece, ece_without,
    equal_error_rate, mean_lr, share_above, share_at_least,
};
pub(crate) use sample::counts;
pub use sample::{Labelled, Sample, Table};
pub use venn_abers::venn_abers;
