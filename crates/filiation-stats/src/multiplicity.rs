//! Many tests at once.

/// Holm's step-down adjustment of p-values given as log10, in their order: rejecting those at or
/// below log10 α rejects a true null anywhere with probability at most α, however the tests
/// depend on each other.
pub fn holm(log10_p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..log10_p.len()).collect();
    order.sort_by(|&a, &b| log10_p[a].total_cmp(&log10_p[b]));
    let mut adjusted = vec![0.0; log10_p.len()];
    let mut least = f64::NEG_INFINITY;
    for (place, &i) in order.iter().enumerate() {
        let left = (log10_p.len() - place) as f64;
        least = (log10_p[i] + left.log10()).clamp(least, 0.0_f64.max(least));
        adjusted[i] = least.min(0.0);
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_down_and_stays_a_probability() {
        // statsmodels.stats.multitest.multipletests(p, method="holm").
        let p: [f64; 5] = [0.01, 0.04, 0.03, 0.005, 0.9];
        let want = [0.04, 0.09, 0.09, 0.025, 0.9];
        for (got, want) in holm(&p.map(f64::log10)).iter().zip(want) {
            assert!((10_f64.powf(*got) - want).abs() < 1e-12, "{got} {want}");
        }
        assert_eq!(
            holm(&[-0.1, -0.2]),
            [0.0, -0.2 + 2.0_f64.log10()].map(|x: f64| x.min(0.0))
        );
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn certainty_survives() {
        assert_eq!(holm(&[f64::NEG_INFINITY, -1.0])[0], f64::NEG_INFINITY);
    }
}
