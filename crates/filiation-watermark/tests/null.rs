//! The null holds: for every scheme, on text that repeats itself and on text with Zipf's law, p is
//! uniform over keys, and no innocent key is accused.

use filiation_stats::ks_uniform;
use filiation_watermark::{Detection, KeyFile, SCHEMES, Scheme, Test, Units};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

const VOCABULARY: u32 = 2000;

fn scheme(name: &str) -> Box<dyn Scheme> {
    let text = format!(
        "scheme = \"{name}\"\nkey = \"0x9e3779b97f4a7c15\"\ngamma = 0.25\nwidth = {}\n\
         vocabulary = {VOCABULARY}\ndevice = \"cpu\"\n{}",
        if name.starts_with("kgw@lm") { 1 } else { 2 },
        if name.starts_with("synthid") {
            "keys = [654, 400, 836, 123, 340, 443, 597, 160]\n"
        } else {
            ""
        },
    );
    let file = KeyFile::parse(&text).expect("a key file");
    file.scheme().expect("a known scheme")
}

/// "- Yes / - No" over and over, with a few words between.
fn repetitive(rng: &mut ChaCha8Rng) -> Vec<u32> {
    let line = [11, 42, 13, 11, 77, 13];
    (0..120)
        .flat_map(|i| {
            let word = rng.random_range(0..VOCABULARY);
            let line = line.into_iter();
            line.chain((i % 3 == 0).then_some(word))
        })
        .collect()
}

/// Tokens by Zipf's law, so that windows repeat as they do in text.
fn zipf(n: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let ln = f64::from(VOCABULARY).ln();
    (0..n)
        .map(|_| ((rng.random_range(0.0..1.0) * ln).exp() - 1.0) as u32)
        .collect()
}

/// p under `keys` decoys of the scheme, each taken as the key. A count has few values: p is drawn
/// between the two tails that it lies between, which makes it uniform where the law is exact.
fn p_values(name: &str, tokens: &[u32], keys: u64) -> Vec<f64> {
    let scheme = scheme(name);
    (0..keys)
        .into_par_iter()
        .map(|seed| {
            let keyed = scheme.decoy(seed);
            let mut units = Units::of(&*keyed);
            units.add(&[], tokens).expect("tokens of the vocabulary");
            let found = Detection::of(&*keyed, &units).expect("units");
            10_f64.powf(found.log10_p)
        })
        .collect()
}

#[test]
fn no_innocent_key_is_accused_and_p_is_not_too_small() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for name in SCHEMES {
        for tokens in [repetitive(&mut rng), zipf(400, &mut rng)] {
            let p = p_values(name, &tokens, 1000);
            for size in [0.5, 0.1, 0.01] {
                let below = p.iter().filter(|p| **p <= size).count() as f64;
                let sd = (1000.0 * size * (1.0 - size)).sqrt();
                // Four standard deviations above what the size allows.
                assert!(
                    below <= 1000.0 * size + 4.0 * sd,
                    "{name}: {below} of 1000 at {size}"
                );
            }
            let least = p.iter().copied().fold(1.0, f64::min);
            assert!(least > 1e-6, "{name}: {least:e}");
        }
    }
}

#[test]
fn continuous_scores_give_uniform_p() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for name in SCHEMES.iter().filter(|name| name.starts_with("gumbel")) {
        for tokens in [repetitive(&mut rng), zipf(400, &mut rng)] {
            let test = ks_uniform(&p_values(name, &tokens, 1000)).expect("probabilities");
            assert!(test.log10_p > -2.0, "{name}: {test:?}");
        }
    }
}

#[test]
fn decoys_correct_what_the_law_misses() {
    // Text without any rule against repetition: the law is wrong by far, the decoys are not.
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let tokens = repetitive(&mut rng);
    let base = scheme("kgw@three-bricks");
    let p: Vec<(f64, f64, f64)> = (0..200_u64)
        .map(|seed| {
            let keyed = base.decoy(seed);
            let mut units = Units::with(&*keyed, filiation_watermark::Dedup::None);
            units.add(&[], &tokens).expect("tokens of the vocabulary");
            let test = Test {
                decoys: 99,
                seed: 1000 + seed,
                ..Test::default()
            };
            let found = test.of(&*keyed, &units).expect("units");
            let decoys = found.decoys.expect("asked for");
            (found.log10_p, decoys.log10_p, decoys.log10_p_inflated)
        })
        .collect();
    let share = |of: fn(&(f64, f64, f64)) -> f64| {
        p.iter().filter(|p| of(p) <= -2.0 + 1e-9).count() as f64 / 200.0
    };
    assert!(share(|p| p.0) > 0.1, "the naive law: {}", share(|p| p.0));
    assert!(share(|p| p.1) <= 0.05, "ranks: {}", share(|p| p.1));
    assert!(share(|p| p.2) <= 0.06, "inflated: {}", share(|p| p.2));
}
