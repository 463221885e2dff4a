//! Whether two sources are one: what the tests of it promise, held against simulation under fixed seeds.

#![expect(
    clippy::print_stdout,
    reason = "rates and medians are for those who read on"
)]

use filiation_stats::anytime::TwoSample;
use filiation_stats::{AnswerPair, HammingMmd, ks_uniform};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

const PROMPTS: usize = 5;
const PLACES: usize = 12;
const LETTERS: u32 = 6;

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// An answer to a prompt: a walk whose letters depend on the prompt and on the one before, of random
/// length. A share of its places is rewritten, which is what tells sources apart.
fn answer(rng: &mut ChaCha8Rng, prompt: u32, rewritten: f64) -> Vec<u32> {
    let mut last = prompt;
    let length = PLACES - rng.random_range(0..4_usize);
    (0..length)
        .map(|_| {
            let step = if rng.random_bool(0.6) {
                1
            } else {
                rng.random_range(0..LETTERS)
            };
            last = (last + step) % LETTERS;
            if rng.random_bool(rewritten) {
                LETTERS
            } else {
                last
            }
        })
        .collect()
}

/// Unequal numbers of answers to each prompt, so that what is exchanged within prompts matters.
fn sample(rng: &mut ChaCha8Rng, rewritten: f64) -> Vec<AnswerPair> {
    (0..PROMPTS as u32)
        .map(|prompt| {
            let (a, b) = (4 + 3 * prompt, 16 - 2 * prompt);
            AnswerPair {
                a: (0..a).map(|_| answer(rng, prompt, 0.0)).collect(),
                b: (0..b).map(|_| answer(rng, prompt, rewritten)).collect(),
            }
        })
        .collect()
}

/// How many permutations of `draws` reached the observed value, in `runs` comparisons.
fn reached(runs: u64, draws: u32, rewritten: f64) -> Vec<u64> {
    let one = |run| {
        let mmd = HammingMmd::new(&sample(&mut rng(run), rewritten)).expect("five prompts");
        mmd.test(draws, run).expect("draws").at_least
    };
    (0..runs).into_par_iter().map(one).collect()
}

fn share(of: &[u64], holds: impl Fn(u64) -> bool) -> f64 {
    of.iter().filter(|n| holds(**n)).count() as f64 / of.len() as f64
}

#[test]
fn p_of_mmd_is_uniform_under_the_null_and_below_it_otherwise() {
    let draws = 399;
    let p = |n: &u64| (*n as f64 + 1.0) / (f64::from(draws) + 1.0);
    let null: Vec<f64> = reached(1000, draws, 0.0).iter().map(p).collect();
    let test = ks_uniform(&null).expect("p-values");
    assert!(test.log10_p > -3.0, "{test:?}");
    let mean = null.iter().sum::<f64>() / null.len() as f64;
    assert!((mean - 0.5).abs() < 0.04, "{mean}");
    let mut power = Vec::new();
    for rewritten in [0.1, 0.2, 0.4] {
        let found = reached(200, draws, rewritten);
        power.push(share(&found, |n| n < 20));
    }
    println!("power at 0.05 for 10, 20 and 40 % of places: {power:?}");
    assert!(power[0] < power[1] && power[1] < power[2], "{power:?}");
    assert!(power[0] > 0.1 && power[2] > 0.9, "{power:?}");
}

#[test]
fn the_mean_of_mmd_is_zero_under_the_null_with_unequal_numbers() {
    let values: Vec<f64> = (0..2000_u64)
        .into_par_iter()
        .map(|run| {
            let mmd = HammingMmd::new(&sample(&mut rng(run + 5000), 0.0));
            mmd.expect("five prompts").value()
        })
        .collect();
    let m = filiation_stats::moments(&values).expect("values");
    assert!(m.mean.abs() < 3.5 * m.standard_error(), "{m:?}");
}

// The rule of model-equality-testing 0.0.2, p = #/draws, on the very same permutations: it claims p = 0
// for models that are the same, ours never goes below its size.
#[test]
fn the_null_is_honest_where_a_share_without_the_one_is_zero() {
    for draws in [19_u32, 49, 99] {
        let found = reached(4000, draws, 0.0);
        let level = 1.0 / (f64::from(draws) + 1.0);
        let noise = 3.0 * (level / 4000.0).sqrt();
        let theirs = share(&found, |n| n == 0);
        let ours = |alpha: f64| {
            share(&found, |n| {
                (n as f64 + 1.0) / (f64::from(draws) + 1.0) <= alpha
            })
        };
        println!(
            "{draws} draws: p = 0 by #/draws in {theirs:.4} of null runs, by (1+#)/(draws+1) never"
        );
        // Their p = 0 is as frequent as the least p that there can be.
        assert!((theirs - level).abs() < noise, "{draws}: {theirs}");
        assert_eq!(ours(0.5 * level), 0.0);
        for alpha in [level, 0.05, 0.1, 0.5] {
            let bound = alpha + 3.0 * (alpha * (1.0 - alpha) / 4000.0).sqrt();
            assert!(ours(alpha) <= bound, "{draws} {alpha}: {}", ours(alpha));
        }
    }
}

// Cells of six answers, each with its own habits.
fn habits(rng: &mut ChaCha8Rng, cells: usize) -> Vec<Vec<f64>> {
    let one = |_| {
        let weights: Vec<f64> = (0..6)
            .map(|_| rng.random_range(0.01..1.0_f64).powi(4))
            .collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| w / sum).collect()
    };
    (0..cells).map(one).collect()
}

fn draw(rng: &mut ChaCha8Rng, p: &[f64]) -> usize {
    let mut left = rng.random_range(0.0..1.0);
    let found = p.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    found.unwrap_or(p.len() - 1)
}

// The greatest wealth, and how many blocks it took to 1,000.
fn compared(seed: u64, references: usize, same: bool) -> (f64, Option<u32>) {
    let mut rng = rng(seed);
    let cells = 40;
    let first = habits(&mut rng, cells);
    let second = if same {
        first.clone()
    } else {
        habits(&mut rng, cells)
    };
    let mut gambler = TwoSample::new(&vec![6; cells]).expect("cells");
    let mut found = None;
    for block in 0..800 {
        let cell = block % cells;
        let told: Vec<usize> = (0..references)
            .map(|_| draw(&mut rng, &first[cell]))
            .collect();
        let fresh = draw(&mut rng, &second[cell]);
        let wealth = gambler.bet(cell, &told, &[fresh]).expect("answers");
        if wealth.log10_e >= 3.0 && found.is_none() {
            found = Some(wealth.steps);
        }
    }
    (gambler.wealth().log10_best, found)
}

#[test]
fn a_recorded_source_is_seldom_denied_and_another_soon_found() {
    for references in [1, 2] {
        let runs = 1000;
        let reached = |same| {
            let all: Vec<_> = (0..runs)
                .into_par_iter()
                .map(|run| compared(run, references, same))
                .collect();
            all
        };
        let null = reached(true);
        let denied = null
            .iter()
            .filter(|(best, _)| *best >= 20_f64.log10())
            .count();
        let denied = denied as f64 / runs as f64;
        let mut needed: Vec<u32> = reached(false)
            .iter()
            .map(|(_, found)| found.unwrap_or(u32::MAX))
            .collect();
        needed.sort_unstable();
        let median = needed[needed.len() / 2];
        println!("{references} to 1: denied {denied}, another found by {median} answers");
        assert!(denied <= 0.05 + 0.021, "{denied}");
        assert!(median <= 250, "{median}");
    }
}
