use super::*;
use filiation_stats::tails;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn group(weights: &[f64]) -> Group {
    Group {
        row: 0,
        weights: (0..).zip(weights.iter().copied()).collect(),
        scale: 1.0,
    }
}

fn sum(law: Law, groups: &[Group]) -> Sum<'_> {
    Sum {
        law,
        groups,
        without_replacement: None,
    }
}

const GREEN: Law = Law::Green { share: 0.25 };

#[test]
fn the_bound_of_equal_weights_is_chernoffs() {
    // n KL(k/n ‖ γ), in closed form.
    let groups = [group(&[1.0; 400])];
    for k in [130.0_f64, 200.0, 390.0] {
        let q = k / 400.0;
        let kl = q * (q / 0.25_f64).ln() + (1.0 - q) * ((1.0 - q) / 0.75_f64).ln();
        let want = -400.0 * kl / LN_10;
        let got = sum(GREEN, &groups).log10_bound(k - 100.0);
        assert!((got - want).abs() < 1e-6, "{got} {want}");
        // Never below the exact tail.
        let exact = tails::binomial_at_least(k as u64, 400, 0.25).expect("a count");
        assert!(got >= exact && got < exact + 2.5, "{got} {exact}");
    }
    assert_eq!(sum(GREEN, &groups).log10_bound(-3.0), 0.0);
    // Exponential: e^(n − s) (s/n)^n.
    let groups = [group(&[1.0; 50])];
    let got = sum(Law::Exponential, &groups).log10_bound(40.0);
    let want = (50.0_f64.ln_1p() * 0.0) + (-40.0 + 50.0 * (90.0_f64 / 50.0).ln()) / LN_10;
    assert!((got - want).abs() < 1e-6, "{got} {want}");
}

/// Weights of several sizes and signs.
fn uneven() -> Vec<Group> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let group_of = |rng: &mut ChaCha8Rng| {
        let weights: Vec<f64> = (0..12)
            .map(|_| rng.random_range(-0.4..1.0_f64).powi(3))
            .collect();
        group(&weights)
    };
    (0..60).map(|_| group_of(&mut rng)).collect()
}

fn score(law: Law, rng: &mut ChaCha8Rng) -> f64 {
    let exponential = |rng: &mut ChaCha8Rng| -(1.0 - rng.random::<f64>()).ln();
    match law {
        Law::Green { share } => f64::from(u8::from(rng.random_bool(share))),
        Law::Exponential => exponential(rng),
        Law::TwoExponentials { alpha } => {
            (1.0 - alpha) * exponential(rng) + alpha * exponential(rng)
        }
        Law::Bits { depth, one } => (0..depth)
            .map(|_| f64::from(u8::from(rng.random_bool(one))))
            .sum(),
    }
}

const LAWS: [Law; 4] = [
    GREEN,
    Law::Exponential,
    Law::TwoExponentials { alpha: 0.2 },
    Law::Bits {
        depth: 10,
        one: 0.5,
    },
];

#[test]
fn bounds_and_e_values_hold_for_uneven_weights_of_both_signs() {
    let groups = uneven();
    for law in LAWS {
        let sum = sum(law, &groups);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let rounds = 3000;
        let (mut mean_square, mut e_mean, mut anytime) = (0.0, 0.0, 0);
        let mut below = [0; 3];
        for _ in 0..rounds {
            let scores: Vec<Vec<f64>> = groups
                .iter()
                .map(|g| g.weights.iter().map(|_| score(law, &mut rng)).collect())
                .collect();
            let centred = sum.centred(&scores);
            let s: f64 = centred.iter().sum();
            mean_square += (s / sum.deviation()).powi(2) / f64::from(rounds);
            let p = sum.log10_bound(s);
            for (count, size) in below.iter_mut().zip([0.1_f64, 0.01, 0.001]) {
                *count += i32::from(p <= size.log10());
            }
            let (last, largest) = sum.e_process(&centred);
            e_mean += 10_f64.powf(last) / f64::from(rounds);
            anytime += i32::from(largest >= 1.0);
        }
        assert!((mean_square - 1.0).abs() < 0.12, "{law:?}: {mean_square}");
        // A bound: fewer than its size, up to chance of four deviations.
        for (count, size) in below.iter().zip([0.1_f64, 0.01, 0.001]) {
            let most = f64::from(rounds) * size;
            assert!(
                f64::from(*count) <= most + 4.0 * most.sqrt(),
                "{law:?}: {below:?}"
            );
        }
        assert!(below[0] > 20, "{law:?}: {below:?}");
        assert!(e_mean < 1.4, "{law:?}: {e_mean}");
        // Ville: at most one in ten ever reaches 10.
        assert!(anytime <= rounds / 10, "{law:?}: {anytime}");
    }
}
