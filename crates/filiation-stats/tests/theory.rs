//! What the theory promises, held against simulation under fixed seeds.

use filiation_stats::{
    Bootstrap, Clusters, ks_uniform, moments, normal_quantile, power_of_t, sign_flip, spearman,
    student_t_quantile, tails,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let u: f64 = rng.random_range(1e-12..1.0 - 1e-12);
    normal_quantile(u).expect("inside (0, 1)")
}

fn sample(rng: &mut ChaCha8Rng, n: usize, mean: f64) -> Vec<f64> {
    (0..n).map(|_| mean + normal(rng)).collect()
}

fn assert_uniform(p: &[f64], of: &str) {
    let test = ks_uniform(p).expect("p-values lie in [0, 1]");
    assert!(test.log10_p > -3.0, "{of}: {test:?}");
}

#[test]
fn p_values_are_uniform_under_the_null() {
    let mut rng = rng(11);
    let t: Vec<f64> = (0..2000)
        .map(|_| {
            let m = moments(&sample(&mut rng, 8, 0.0)).expect("eight values");
            let t = m.mean / m.standard_error();
            10_f64.powf(tails::student_t_at_least(t, 7.0).expect("in the domain"))
        })
        .collect();
    assert_uniform(&t, "t");

    let flips: Vec<f64> = (0..1000)
        .map(|_| {
            let test = sign_flip(&sample(&mut rng, 12, 0.0), 1, 0).expect("twelve values");
            10_f64.powf(test.log10_p)
        })
        .collect();
    assert_uniform(&flips, "sign flip");

    let ranks: Vec<f64> = (0..2000)
        .map(|_| {
            let s = spearman(&sample(&mut rng, 40, 0.0), &sample(&mut rng, 40, 0.0));
            10_f64.powf(s.expect("forty pairs").log10_p)
        })
        .collect();
    assert_uniform(&ranks, "spearman");
}

#[test]
fn discrete_p_values_become_uniform_when_ties_are_broken_at_random() {
    let mut rng = rng(12);
    let n = 60_u64;
    let p: Vec<f64> = (0..2000)
        .map(|_| {
            let k = (0..n).filter(|_| rng.random_bool(0.3)).count() as u64;
            let at_least = |k| 10_f64.powf(tails::binomial_at_least(k, n, 0.3).expect("p"));
            let (this, above) = (at_least(k), at_least(k + 1));
            above + rng.random_range(0.0..1.0) * (this - above)
        })
        .collect();
    assert_uniform(&p, "binomial");
}

#[test]
fn the_drawn_sign_flip_keeps_its_size_and_has_its_power() {
    let mut rng = rng(13);
    let rejected = |rng: &mut ChaCha8Rng, mean: f64| {
        let hits = (0..800)
            .filter(|&i| {
                let test = sign_flip(&sample(rng, 30, mean), 199, i).expect("thirty values");
                test.log10_p <= 0.05_f64.log10() + 1e-12
            })
            .count();
        hits as f64 / 800.0
    };
    // Binomial standard deviation at 0.05 is 0.0077.
    let size = rejected(&mut rng, 0.0);
    assert!((size - 0.05).abs() < 0.025, "{size}");
    let power = rejected(&mut rng, 0.5);
    let promised = power_of_t(30, 0.5, 0.05).expect("in the domain");
    assert!((power - promised).abs() < 0.06, "{power} {promised}");
}

#[test]
fn stated_power_is_the_share_of_rejections() {
    let mut rng = rng(14);
    let critical = student_t_quantile(0.99, 24.0).expect("inner");
    let rejected = (0..3000)
        .filter(|_| {
            let m = moments(&sample(&mut rng, 25, 0.6)).expect("25 values");
            m.mean / m.standard_error() >= critical
        })
        .count() as f64
        / 3000.0;
    let promised = power_of_t(25, 0.6, 0.01).expect("in the domain");
    assert!((rejected - promised).abs() < 0.03, "{rejected} {promised}");
}

#[test]
fn bootstrap_intervals_cover() {
    let mut rng = rng(15);
    let runs = 600;
    let mut hits = [0_u32; 2];
    for seed in 0..runs {
        // Skewed: the mean of exp(Z/3) is exp(1/18).
        let values: Vec<f64> = sample(&mut rng, 80, 0.0)
            .iter()
            .map(|z| (z / 3.0).exp())
            .collect();
        let plan = Bootstrap {
            draws: 300,
            level: 0.9,
            seed,
        };
        let mean =
            |units: &[usize]| units.iter().map(|&u| values[u]).sum::<f64>() / units.len() as f64;
        let clusters = Clusters::singletons(80);
        let both = [
            plan.percentile(&clusters, mean),
            plan.accelerated(&clusters, mean),
        ];
        for (hit, estimate) in hits.iter_mut().zip(both) {
            let i = estimate.expect("eighty units").interval;
            let truth = (1.0 / 18.0_f64).exp();
            *hit += u32::from(i.lower <= truth && truth <= i.upper);
        }
    }
    for hit in hits {
        // 0.9 with standard deviation 0.012, less a little for n = 80 and a skewed population.
        let share = f64::from(hit) / runs as f64;
        assert!((0.85..=0.94).contains(&share), "{share}");
    }
}
