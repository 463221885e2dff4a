//! What e-processes promise, held against simulation under fixed seeds.

#![expect(clippy::print_stdout, reason = "the medians are for those who read on")]

use filiation_stats::anytime::{
    Betting, Categorical, MeanSequence, RankBetting, RateBetting, Wealth, e_bh, smoothed,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Ville: at most 0.05 reach this, ever.
const BOUND: f64 = 20.0;
const RUNS: u32 = 1000;
/// Three standard deviations of a share of 0.05 over the runs.
const NOISE: f64 = 0.021;

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Box and Muller: a million of them are drawn.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, angle): (f64, f64) = (rng.random_range(1e-12..1.0), rng.random_range(0.0..1.0));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

fn draw(rng: &mut ChaCha8Rng, p: &[f64]) -> usize {
    let mut left = rng.random_range(0.0..1.0);
    let found = p.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    found.unwrap_or(p.len() - 1)
}

fn paired(rng: &mut ChaCha8Rng, effect: f64, sd: f64) -> f64 {
    (effect * sd + sd * normal(rng)).clamp(-1.0, 1.0)
}

/// The share of paths that ever reach the bound.
fn reached(seed: u64, path: impl Fn(&mut ChaCha8Rng) -> Wealth) -> f64 {
    let mut rng = rng(seed);
    let hits = (0..RUNS).filter(|_| path(&mut rng).log10_best >= BOUND.log10());
    hits.count() as f64 / f64::from(RUNS)
}

fn bet_all(steps: u32, mut x: impl FnMut() -> f64) -> Wealth {
    let mut gambler = Betting::new(0.0).expect("no tolerance");
    for _ in 0..steps {
        gambler.bet(x()).expect("in [-1, 1]");
    }
    gambler.wealth()
}

#[test]
fn wealth_seldom_reaches_the_bound_under_the_null() {
    let skewed =
        |rng: &mut ChaCha8Rng| bet_all(400, || if rng.random_bool(0.8) { 0.25 } else { -1.0 });
    let share = reached(1, skewed);
    assert!(share <= 0.05 + NOISE, "skewed: {share}");
    let normal = |rng: &mut ChaCha8Rng| bet_all(400, || paired(rng, 0.0, 0.3));
    let share = reached(2, normal);
    assert!(share <= 0.05 + NOISE, "normal: {share}");
    // The bound is nearly met, so that the test could fail.
    assert!(share > 0.01, "normal: {share}");

    let ranks = |rng: &mut ChaCha8Rng| {
        let mut gambler = RankBetting::new(9).expect("draws");
        for _ in 0..300 {
            gambler
                .bet(f64::from(rng.random_range(1..=10_u32)))
                .expect("a rank");
        }
        gambler.wealth()
    };
    let share = reached(3, ranks);
    assert!(share <= 0.05 + NOISE, "ranks: {share}");

    let rates = |rng: &mut ChaCha8Rng| {
        let mut gambler = RateBetting::new();
        for _ in 0..300 {
            let rate = rng.random_range(0.02..0.5);
            gambler.bet(rng.random_bool(rate), rate).expect("a rate");
        }
        gambler.wealth()
    };
    let share = reached(4, rates);
    assert!(share <= 0.05 + NOISE, "rates: {share}");

    let p = vec![0.4, 0.3, 0.2, 0.1];
    let categorical = |rng: &mut ChaCha8Rng| {
        let mut gambler = Categorical::new(std::slice::from_ref(&p), 0.0).expect("a distribution");
        for _ in 0..300 {
            gambler.bet(0, draw(rng, &p)).expect("an answer");
        }
        gambler.wealth()
    };
    let share = reached(5, categorical);
    assert!(share <= 0.05 + NOISE, "categorical: {share}");
}

/// Values needed until the e-value is 1,000: the median and the ninth decile of `runs`.
fn needed(runs: usize, mut step: impl FnMut() -> Box<dyn FnMut() -> Wealth>) -> (u32, u32) {
    let mut all: Vec<u32> = (0..runs)
        .map(|_| {
            let mut next = step();
            loop {
                let wealth = next();
                if wealth.log10_e >= 3.0 || wealth.steps >= 5000 {
                    return wealth.steps;
                }
            }
        })
        .collect();
    all.sort_unstable();
    (all[runs / 2], all[runs * 9 / 10])
}

#[test]
fn a_lead_is_found_within_what_is_planned_for() {
    let mut seed = 100;
    let mut lead = |effect: f64| {
        needed(301, || {
            seed += 1;
            let mut rng = rng(seed);
            let mut gambler = Betting::new(0.0).expect("no tolerance");
            Box::new(move || {
                gambler
                    .bet(paired(&mut rng, effect, 0.3))
                    .expect("in [-1, 1]")
            })
        })
    };
    // The medians planned for.
    for (effect, planned) in [(0.5, 99), (0.3, 192), (0.2, 420)] {
        let (median, decile) = lead(effect);
        println!("effect {effect}: median {median}, ninth decile {decile}");
        assert!(median <= planned, "{effect}: {median}");
    }
}

#[test]
fn other_streams_find_what_they_look_for() {
    let mut seed = 900;
    let high = needed(101, || {
        seed += 1;
        let mut rng = rng(seed);
        let mut gambler = RankBetting::new(9).expect("draws");
        // A value half a standard deviation above its nine draws.
        Box::new(move || {
            let x = 0.5 + normal(&mut rng);
            let below = (0..9).filter(|_| normal(&mut rng) < x).count();
            gambler.bet(below as f64 + 1.0).expect("a rank")
        })
    });
    let hits = needed(101, || {
        seed += 1;
        let mut rng = rng(seed);
        let mut gambler = RateBetting::new();
        Box::new(move || gambler.bet(rng.random_bool(0.3), 0.1).expect("a rate"))
    });
    let answers = needed(101, || {
        seed += 1;
        let mut rng = rng(seed);
        let reference = vec![vec![0.4, 0.3, 0.2, 0.1]; 40];
        let mut gambler = Categorical::new(&reference, 0.0).expect("distributions");
        let mut t = 0;
        Box::new(move || {
            t += 1;
            let answer = draw(&mut rng, &[0.1, 0.2, 0.3, 0.4]);
            gambler.bet(t % 40, answer).expect("an answer")
        })
    });
    println!("ranks {high:?}, rates {hits:?}, answers {answers:?}");
    assert!(high.0 <= 120, "{high:?}");
    assert!(hits.0 <= 80, "{hits:?}");
    assert!(answers.0 <= 250, "{answers:?}");
}

#[test]
fn an_estimated_reference_needs_its_tolerance() {
    // Forty cells of twenty answers, the reference made from fifty answers of the same model: the
    // null is false by the estimate alone, and the tolerance pays for it.
    let share = |tolerance: f64| {
        reached(6, |rng| {
            let truth = [0.5, 0.25, 0.15, 0.07, 0.03];
            let references: Vec<Vec<f64>> = (0..40)
                .map(|_| {
                    let mut counts = [0_u64; 5];
                    (0..50).for_each(|_| counts[draw(rng, &truth)] += 1);
                    smoothed(&counts).expect("answers")
                })
                .collect();
            let mut gambler = Categorical::new(&references, tolerance).expect("distributions");
            for t in 0..800 {
                gambler.bet(t % 40, draw(rng, &truth)).expect("an answer");
            }
            gambler.wealth()
        })
    };
    assert!(share(0.02) <= 0.05 + NOISE, "{}", share(0.02));
}

#[test]
fn a_mean_is_within_its_bounds_at_all_times() {
    let mut rng = rng(7);
    let runs = 400;
    let mut missed = 0;
    for _ in 0..runs {
        let mut sequence = MeanSequence::new();
        let mut out = false;
        for n in 1..=200 {
            sequence
                .push(if rng.random_bool(0.3) { 0.8 } else { -0.2 })
                .expect("in [-1, 1]");
            // The upper bound is below the mean, 0.1, where the e-value against it is 1/α.
            if n % 10 == 0 {
                let e = sequence.log10_e_against_at_least(0.1).expect("inner");
                out |= e >= 1.0;
                assert_eq!(
                    n % 200 == 0 && sequence.upper(0.1).expect("α") < 0.1,
                    n == 200 && e >= 1.0
                );
            }
        }
        missed += u32::from(out);
    }
    // Standard deviation 0.015.
    let share = f64::from(missed) / f64::from(runs);
    assert!(share <= 0.1 + 0.045, "{share}");
}

#[test]
fn few_of_what_e_bh_rejects_is_null() {
    let mut rng = rng(8);
    let runs = 300;
    let mut false_share = 0.0;
    let mut found = 0;
    for _ in 0..runs {
        // Twenty suspects share half of every value, so that they depend on one another; the last
        // five have an effect.
        let mut gamblers = vec![Betting::new(0.0).expect("no tolerance"); 20];
        for _ in 0..150 {
            let shared = normal(&mut rng);
            for (i, gambler) in gamblers.iter_mut().enumerate() {
                let effect = if i >= 15 { 0.5 } else { 0.0 };
                let z = effect + (shared + normal(&mut rng)) * 0.5_f64.sqrt();
                gambler.bet((0.3 * z).clamp(-1.0, 1.0)).expect("in [-1, 1]");
            }
        }
        let e: Vec<f64> = gamblers.iter().map(|g| g.wealth().log10_e).collect();
        let rejected = e_bh(&e, 0.05).expect("finite");
        let wrong = rejected.iter().filter(|i| **i < 15).count();
        found += rejected.len() - wrong;
        false_share += wrong as f64 / rejected.len().max(1) as f64;
    }
    assert!(false_share / f64::from(runs) <= 0.05, "{false_share}");
    assert!(found as f64 / f64::from(runs) >= 4.0, "{found}");
}
