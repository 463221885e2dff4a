use super::{Isotonic, Sample};

/// The least and the greatest log10 likelihood ratio of `score` by inductive Venn-Abers prediction (Vovk
/// and Petej 2014): what [`Isotonic`] says at the score when it joins the sample as one of H2, and as one
/// of H1. Nothing is assumed but that the case is one more draw of its class, so that the lower end is a
/// conservative likelihood ratio.
pub fn venn_abers(sample: &Sample, score: f64) -> [f64; 2] {
    [false, true].map(|distilled| Isotonic::fit(&sample.with(score, distilled)).llr(score))
}
