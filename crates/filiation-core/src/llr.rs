use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// Bounds that exclude LR 1.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("bounds [{lower}, {upper}] do not contain 0")]
pub struct BoundsError {
    /// Lower.
    pub lower: f64,
    /// Upper.
    pub upper: f64,
}

impl BoundedLlr {
    /// `log10` held within the bounds; a NaN says nothing and becomes 0.
    ///
    /// # Errors
    /// [`BoundsError`] unless `lower ≤ 0 ≤ upper`.
    pub fn new(log10: f64, lower: f64, upper: f64) -> Result<Self, BoundsError> {
        if !(lower <= 0.0 && upper >= 0.0) {
            return Err(BoundsError { lower, upper });
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
        for (lower, upper) in [(0.5, 1.0), (-1.0, -0.5), (f64::NAN, 1.0)] {
            let error = BoundedLlr::new(0.0, lower, upper).expect_err("0 is outside");
            assert_eq!(
                error.to_string(),
                format!("bounds [{lower}, {upper}] do not contain 0")
            );
        }
    }
}
