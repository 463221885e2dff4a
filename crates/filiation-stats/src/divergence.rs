//! Distances of discrete distributions over the same outcomes.

use std::f64::consts::LN_2;

use crate::StatsError;
use crate::error::{require, require_least};

/// Sums may miss 1 by this much: probabilities come from f32 logits.
const SLACK: f64 = 1e-4;

/// Jensen–Shannon divergence with base 2, in bits: in [0, 1].
///
/// # Errors
/// [`StatsError`] when an argument is not a distribution or the lengths differ.
pub fn jsd_bits(p: &[f64], q: &[f64]) -> Result<f64, StatsError> {
    Ok((jsd_nats(p, q)? / LN_2).min(1.0))
}

/// Jensen–Shannon divergence in nats: in [0, ln 2].
///
/// # Errors
/// As [`jsd_bits`].
pub fn jsd_nats(p: &[f64], q: &[f64]) -> Result<f64, StatsError> {
    check(p, q)?;
    let sum: f64 = p
        .iter()
        .zip(q)
        .map(|(&a, &b)| {
            let middle = 0.5 * (a + b);
            0.5 * (part(a, middle) + part(b, middle))
        })
        .sum();
    Ok(sum.clamp(0.0, LN_2))
}

/// Kullback–Leibler divergence of `p` from `q`, Σ p ln(p/q), in nats; infinite where `q` has no
/// mass and `p` has.
///
/// # Errors
/// As [`jsd_bits`].
pub fn kl_nats(p: &[f64], q: &[f64]) -> Result<f64, StatsError> {
    check(p, q)?;
    let sum: f64 = p.iter().zip(q).map(|(&a, &b)| part(a, b)).sum();
    Ok(sum.max(0.0))
}

/// Total variation distance: half the sum of absolute differences, in [0, 1].
///
/// # Errors
/// As [`jsd_bits`].
pub fn total_variation(p: &[f64], q: &[f64]) -> Result<f64, StatsError> {
    check(p, q)?;
    let sum: f64 = p.iter().zip(q).map(|(a, b)| (a - b).abs()).sum();
    Ok((0.5 * sum).min(1.0))
}

fn part(a: f64, b: f64) -> f64 {
    if a == 0.0 { 0.0 } else { a * (a / b).ln() }
}

fn check(p: &[f64], q: &[f64]) -> Result<(), StatsError> {
    require_least("p", p.len(), 1)?;
    if p.len() != q.len() {
        return Err(StatsError::Length {
            name: "q",
            got: q.len(),
            expected: p.len(),
        });
    }
    for (name, values) in [("p", p), ("q", q)] {
        for &v in values {
            require(v >= 0.0 && v.is_finite(), name, v, "probabilities")?;
        }
        let sum: f64 = values.iter().sum();
        if (sum - 1.0).abs() > SLACK {
            return Err(StatsError::Sum { name, sum });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        assert_eq!(jsd_bits(&a, &b), Ok(1.0));
        assert_eq!(total_variation(&a, &b), Ok(1.0));
        assert_eq!(kl_nats(&a, &b), Ok(f64::INFINITY));
        let kl = kl_nats(&[0.5, 0.5], &[0.25, 0.75]).expect("distributions");
        assert!((kl - 0.5 * (4.0_f64 / 3.0).ln()).abs() < 1e-15);
        let jsd = jsd_bits(&[0.5, 0.5], &[1.0, 0.0]).expect("distributions");
        assert!((jsd - 0.311_278_124_459_132_9).abs() < 1e-15);
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        assert!(jsd_bits(&[], &[]).is_err());
        assert!(jsd_bits(&[1.0], &[0.5, 0.5]).is_err());
        assert!(kl_nats(&[1.5, -0.5], &[0.5, 0.5]).is_err());
        assert!(total_variation(&[0.5, 0.4], &[0.5, 0.5]).is_err());
    }

    fn pair() -> impl Strategy<Value = [Vec<f64>; 2]> {
        let weights = proptest::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 1..9);
        weights.prop_map(|w| {
            [0, 1].map(|side| {
                let part: Vec<f64> = w.iter().map(|x| 1e-9 + [x.0, x.1][side]).collect();
                let sum: f64 = part.iter().sum();
                part.iter().map(|v| v / sum).collect()
            })
        })
    }

    proptest! {
        #[test]
        fn divergences_are_ordered([p, q] in pair()) {
            let jsd = jsd_nats(&p, &q).expect("distributions");
            let tv = total_variation(&p, &q).expect("distributions");
            prop_assert_eq!(jsd, jsd_nats(&q, &p).expect("distributions"));
            // Lin (1991): JSD ≤ ln 2 · TV; Pinsker for the two halves: JSD ≥ TV²/2.
            prop_assert!(jsd <= LN_2 * tv + 1e-12);
            prop_assert!(jsd >= 0.5 * tv * tv - 1e-12);
            prop_assert!(kl_nats(&p, &q).expect("distributions") >= 2.0 * tv * tv - 1e-12);
            prop_assert!(kl_nats(&p, &p).expect("distributions") <= 1e-12);
        }
    }
}
