use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bands of support (ENFSI 2015), of the likelihood ratio and not of a proposition.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// LR 1.
    None,
    /// Up to 10.
    Weak,
    /// 10 to 100.
    Moderate,
    /// 100 to 1,000.
    ModeratelyStrong,
    /// 1,000 to 10,000.
    Strong,
    /// 10,000 to 1,000,000.
    VeryStrong,
    /// More.
    ExtremelyStrong,
}

impl Support {
    /// The band of a likelihood ratio, whichever proposition it speaks for.
    pub fn of(llr: f64) -> Self {
        match llr.abs() {
            x if x.is_nan() || x == 0.0 => Self::None,
            x if x < 1.0 => Self::Weak,
            x if x < 2.0 => Self::Moderate,
            x if x < 3.0 => Self::ModeratelyStrong,
            x if x < 4.0 => Self::Strong,
            x if x <= 6.0 => Self::VeryStrong,
            _ => Self::ExtremelyStrong,
        }
    }

    /// The band of the end of an interval that claims least: none where the interval holds LR 1.
    pub fn conservative(lower: f64, upper: f64) -> Self {
        if lower <= 0.0 && upper >= 0.0 {
            Self::None
        } else {
            Self::of(if lower > 0.0 { lower } else { upper })
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::None => "no support either way",
            Self::Weak => "weak support",
            Self::Moderate => "moderate support",
            Self::ModeratelyStrong => "moderately strong support",
            Self::Strong => "strong support",
            Self::VeryStrong => "very strong support",
            Self::ExtremelyStrong => "extremely strong support",
        }
    }
}

/// Posterior probability of H1 from prior odds (not their logarithm) and a log10 likelihood ratio.
pub fn posterior(prior_odds: f64, llr: f64) -> f64 {
    // 1 / (1 + 1/odds), which does not overflow.
    1.0 / (1.0 + 10_f64.powf(-llr) / prior_odds)
}

/// The likelihood ratio of design-based evidence that remains when the evidence may also have come
/// about under H2 by an error of procedure, with probability `epsilon`: log10 of
/// 1 / ((1 − ε)/LR + ε), at most 1/ε.
pub fn with_procedural_error(log10_e: f64, epsilon: f64) -> f64 {
    -((1.0 - epsilon) * 10_f64.powf(-log10_e) + epsilon).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_comes_from_the_end_that_claims_least() {
        assert_eq!(Support::conservative(-0.1, 1.9), Support::None);
        assert_eq!(Support::conservative(0.2, 1.9), Support::Weak);
        assert_eq!(Support::conservative(1.0, 1.9), Support::Moderate);
        assert_eq!(Support::conservative(-1.9, -1.2), Support::Moderate);
        assert_eq!(Support::of(6.0), Support::VeryStrong);
        assert_eq!(Support::of(f64::INFINITY), Support::ExtremelyStrong);
        assert_eq!(Support::of(f64::NAN), Support::None);
    }

    #[test]
    fn a_posterior_needs_a_prior() {
        // At LR 100 and odds of 1 to 99, half.
        assert!((posterior(1.0 / 99.0, 2.0) - 100.0 / 199.0).abs() < 1e-12);
        assert_eq!(posterior(1.0, f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn no_tail_outweighs_an_error_of_procedure() {
        assert!((with_procedural_error(300.0, 1e-3) - 3.0).abs() < 1e-12);
        assert!((with_procedural_error(1.0, 0.0) - 1.0).abs() < 1e-12);
        assert!(with_procedural_error(0.0, 1e-3).abs() < 1e-12);
    }
}
