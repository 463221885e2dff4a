use std::f64::consts::LN_10;

use filiation_stats::anytime::average_log10_e;

use crate::LrError;
use crate::calibrate::{Linear, ShrunkLogistic, Table};

/// Lineages of the rarer class that each stream of a learned fusion needs.
const LINEAGES_A_STREAM: f64 = 10.0;

/// How the log10 likelihood ratios of streams that depend on each other become one. They are never
/// multiplied: a product counts twice what two streams share.
#[derive(Debug, Clone, PartialEq)]
pub enum Fusion {
    /// Weights learned from models of known history, none of them negative.
    Learned {
        /// ln LR of log10 LRs.
        linear: Linear,
        /// Streams, by place, whose weight came out negative: they are left out.
        left_out: Vec<usize>,
    },
    /// The mean of the likelihood ratios (not of their logarithms), whose expectation under H2 is at
    /// most 1 whatever the streams share.
    Mean,
}

impl Fusion {
    /// Learned where the rarer class has ten lineages for each stream, else the mean.
    ///
    /// # Errors
    /// [`LrError`] of the regression.
    pub fn fit(llrs: &Table, how: &ShrunkLogistic) -> Result<Self, LrError> {
        let streams = llrs.width();
        let rarer = llrs.lineages(true).min(llrs.lineages(false));
        if streams < 2 || rarer < LINEAGES_A_STREAM * streams as f64 {
            return Ok(Self::Mean);
        }
        let (linear, left_out) = how.fit_rising(llrs)?;
        Ok(Self::Learned { linear, left_out })
    }

    /// In words.
    pub fn describe(&self, streams: &[String]) -> String {
        let Self::Learned { linear, .. } = self else {
            return match streams {
                [one] => format!("`{one}` alone"),
                _ => "mean of the likelihood ratios".into(),
            };
        };
        let weight = |(stream, weight): (&String, &f64)| {
            // Of log10 on both sides.
            format!("{:.2} of `{stream}`", weight / LN_10)
        };
        let weights = streams.iter().zip(&linear.weights).map(weight);
        weights.collect::<Vec<_>>().join(" + ")
    }

    /// The fused log10 likelihood ratio.
    ///
    /// # Panics
    /// Where there is not one for each stream.
    pub fn llr(&self, llrs: &[f64]) -> f64 {
        match self {
            Self::Learned { linear, .. } => linear.llr(llrs),
            // Of regressions of finite scores, so finite.
            Self::Mean => average_log10_e(llrs).unwrap_or(f64::NAN),
        }
    }
}

/// How much hangs on single streams.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragility {
    /// The fused log10 likelihood ratio without each stream.
    pub without: Vec<f64>,
    /// What the strongest stream in favour adds, of what all in favour add; 0 where none is.
    pub concentration: f64,
}

impl Fragility {
    /// Of what each stream adds to a sum, log10.
    pub fn of(parts: &[f64]) -> Self {
        let total: f64 = parts.iter().sum();
        let positive: f64 = parts.iter().filter(|p| **p > 0.0).sum();
        let most = parts.iter().copied().fold(0.0, f64::max);
        Self {
            without: parts.iter().map(|part| total - part).collect(),
            concentration: if positive > 0.0 { most / positive } else { 0.0 },
        }
    }
}
