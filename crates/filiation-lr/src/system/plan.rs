use serde::Serialize;

use crate::LrError;
use crate::error::check_settings;

/// How many clean lineages, none of them misleading, a claim of a likelihood ratio needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// So that the tail-ratio bound, which counts one misleading lineage that was not seen, allows it.
    pub by_bound: u32,
    /// So that with 95 % confidence the rate of false alarms is as low as the claim says.
    pub with_confidence: u32,
}

/// Clean lineages for a claim of LR `claim`, where `sensitivity` of the distilled ones reach it.
///
/// By the bound (n + 1)·sensitivity ≥ claim; with confidence (Clopper and Pearson 1934, nothing seen)
/// 1 − 0.05^(1/n) ≤ sensitivity/claim.
///
/// # Errors
/// [`LrError::Setting`] for a claim that is not above 1, or a sensitivity outside (0, 1].
pub fn lineages_needed(claim: f64, sensitivity: f64) -> Result<Needed, LrError> {
    check_settings(&[
        ("claim", claim, claim > 1.0, "above 1"),
        (
            "sensitivity",
            sensitivity,
            sensitivity > 0.0 && sensitivity <= 1.0,
            "above 0, at most 1",
        ),
    ])?;
    let rate = sensitivity / claim;
    // A hair less, so that 10 / 0.5 needs 19 whatever the rounding.
    let whole = |x: f64| (x - 1e-9).ceil().clamp(1.0, f64::from(u32::MAX)) as u32;
    Ok(Needed {
        by_bound: whole(rate.recip() - 1.0),
        with_confidence: whole(0.05_f64.ln() / (-rate).ln_1p()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_inverted() {
        for (claim, all, half) in [
            (10.0, [9, 29], [19, 59]),
            (100.0, [99, 299], [199, 598]),
            (1000.0, [999, 2995], [1999, 5990]),
            (10_000.0, [9999, 29_956], [19_999, 59_914]),
        ] {
            for (sensitivity, [by_bound, with_confidence]) in [(1.0, all), (0.5, half)] {
                let needed = Needed {
                    by_bound,
                    with_confidence,
                };
                assert_eq!(lineages_needed(claim, sensitivity), Ok(needed));
            }
        }
        assert!(lineages_needed(1.0, 1.0).is_err() && lineages_needed(10.0, 0.0).is_err());
        assert!(lineages_needed(f64::NAN, 1.0).is_err());
    }
}
