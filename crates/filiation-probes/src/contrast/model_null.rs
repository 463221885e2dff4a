//! The suspect's lead among the leads of controls: models, not prompts, as draws.

use filiation_stats::{moments, tails};

/// Fewest controls for a spread between models to mean anything.
const LEAST: usize = 3;

/// log10 p of `suspect` as one more draw beside `controls`: Student's t with K − 1 degrees of
/// freedom of (s − m)/(sd √(1 + 1/K)). `None` for fewer than three controls or a spread of zero.
///
/// Exact where controls and suspect are exchangeable and normal between models. Where what is
/// counted is rare, controls may agree by having none of it; so their spread is taken to be no
/// smaller than `error`, the standard error of the suspect's own score over its units.
pub(crate) fn log10_p(suspect: f64, controls: &[f64], error: f64) -> Option<f64> {
    if controls.len() < LEAST {
        return None;
    }
    let m = moments(controls).ok()?;
    let sd = m.sd.max(error);
    if sd <= 0.0 {
        return None;
    }
    let t = (suspect - m.mean) / (sd * (1.0 + 1.0 / m.n as f64).sqrt());
    tails::student_t_at_least(t, m.n as f64 - 1.0).ok()
}

#[cfg(test)]
mod tests {
    use filiation_stats::{ks_uniform, normal_quantile};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn p_is_uniform_for_an_innocent_among_few_controls() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut draw = || normal_quantile(rng.random_range(1e-9..1.0 - 1e-9)).expect("inner");
        let p: Vec<f64> = (0..2000)
            .map(|_| {
                let controls: Vec<f64> = (0..4).map(|_| 0.3 + 0.05 * draw()).collect();
                let suspect = 0.3 + 0.05 * draw();
                10_f64.powf(log10_p(suspect, &controls, 0.0).expect("four controls that vary"))
            })
            .collect();
        let test = ks_uniform(&p).expect("probabilities");
        assert!(test.log10_p > -3.0, "{test:?}");
    }

    #[test]
    fn two_controls_are_no_population() {
        assert_eq!(log10_p(1.0, &[0.0, 0.1], 0.0), None);
        assert_eq!(log10_p(1.0, &[0.0; 5], 0.0), None);
    }

    #[test]
    fn controls_that_agree_on_nothing_are_not_certain() {
        // One rare event in thirty units: score 1/30, standard error 1/30.
        let p = log10_p(1.0 / 30.0, &[0.0, 0.0, 1e-6], 1.0 / 30.0).expect("three controls");
        assert!((-1.0..0.0).contains(&p), "{p}");
    }
}
