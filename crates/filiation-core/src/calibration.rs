use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Statistic;

/// A log10 likelihood ratio with the limits of what its calibration can support.
///
/// The fields are read together: an LR never travels without its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoundedLlr {
    /// log10 LR, within the bounds.
    pub log10: f64,
    /// Least log10 LR that the calibration can support, ≤ 0.
    pub lower: f64,
    /// Greatest log10 LR that the calibration can support, ≥ 0.
    pub upper: f64,
}

impl BoundedLlr {
    /// `log10` held within the bounds; a NaN says nothing and becomes 0.
    ///
    /// # Errors
    /// [`CalibrationError::Bounds`] unless `lower ≤ 0 ≤ upper`.
    pub fn new(log10: f64, lower: f64, upper: f64) -> Result<Self, CalibrationError> {
        if !(lower <= 0.0 && upper >= 0.0) {
            return Err(CalibrationError::Bounds { lower, upper });
        }
        let log10 = if log10.is_nan() { 0.0 } else { log10 };
        Ok(Self {
            log10: log10.clamp(lower, upper),
            lower,
            upper,
        })
    }

    /// Whether a bound held the value back.
    pub fn is_capped(&self) -> bool {
        self.log10 == self.lower || self.log10 == self.upper
    }
}

/// The score of one model of known history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelledScore {
    /// Independent lineage: variants of one family share it.
    pub lineage: String,
    /// Whether the model was distilled from the candidate.
    pub distilled: bool,
    /// Its score.
    pub score: f64,
}

/// The scores that a calibrator is fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LabelledScores(Vec<LabelledScore>);

impl LabelledScores {
    /// Labelled scores.
    ///
    /// # Errors
    /// [`CalibrationError::NotFinite`] for a NaN or infinite score,
    /// [`CalibrationError::EmptyClass`] when a class has none.
    pub fn new(scores: Vec<LabelledScore>) -> Result<Self, CalibrationError> {
        if let Some(bad) = scores.iter().find(|s| !s.score.is_finite()) {
            return Err(CalibrationError::NotFinite {
                lineage: bad.lineage.clone(),
            });
        }
        for distilled in [true, false] {
            if !scores.iter().any(|s| s.distilled == distilled) {
                return Err(CalibrationError::EmptyClass { distilled });
            }
        }
        Ok(Self(scores))
    }

    /// The scores.
    pub fn as_slice(&self) -> &[LabelledScore] {
        &self.0
    }
}

/// Why a calibrator could not be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// A score is NaN or infinite.
    #[error("score of lineage `{lineage}` is not finite")]
    NotFinite {
        /// The lineage.
        lineage: String,
    },
    /// One class has no scores.
    #[error("no score with distilled = {distilled}, expected at least one of each class")]
    EmptyClass {
        /// The class.
        distilled: bool,
    },
    /// Bounds that exclude LR 1.
    #[error("bounds [{lower}, {upper}] do not contain 0")]
    Bounds {
        /// Lower.
        lower: f64,
        /// Upper.
        upper: f64,
    },
}

/// A way to turn scores into likelihood ratios, before it has seen a population.
pub trait Calibrator {
    /// The same, fitted.
    type Fitted: Calibrated;

    /// Fits.
    ///
    /// # Errors
    /// [`CalibrationError`] when the scores do not determine a fit.
    fn fit(&self, scores: &LabelledScores) -> Result<Self::Fitted, CalibrationError>;
}

/// A fitted calibrator.
pub trait Calibrated: Send + Sync {
    /// The log10 LR of a statistic's first-ranked candidate. Total: defined for every statistic.
    fn llr(&self, x: Statistic) -> BoundedLlr;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likelihood_ratio_stays_in_its_bounds() {
        let llr = BoundedLlr::new(7.0, -1.0, 1.5).expect("bounds hold 0");
        assert_eq!((llr.log10, llr.is_capped()), (1.5, true));
        assert_eq!(
            BoundedLlr::new(f64::NAN, -1.0, 1.0).map(|l| l.log10),
            Ok(0.0)
        );
        assert!(BoundedLlr::new(0.0, 0.5, 1.0).is_err());
    }

    #[test]
    fn scores_need_both_classes_and_no_nan() {
        let score = |distilled, score| LabelledScore {
            lineage: "a".into(),
            distilled,
            score,
        };
        assert!(LabelledScores::new(vec![score(true, 1.0)]).is_err());
        assert!(LabelledScores::new(vec![score(true, f64::NAN), score(false, 0.0)]).is_err());
        assert!(LabelledScores::new(vec![score(true, 1.0), score(false, 0.0)]).is_ok());
    }
}
