//! The null holds: for every scheme, on text that repeats itself and on text with Zipf's law, p is
//! uniform over keys, and no innocent key is accused.

use filiation_stats::{ks_uniform, tails};
use filiation_watermark::scheme::ExpShift;
use filiation_watermark::{Dedup, Detection, KeyFile, Law, SCHEMES, Scheme, Test, Units};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Keys that each scheme is tried with.
const KEYS: u64 = 1000;

/// The table of `gumbel@aar` is walked through from its beginning: a small one is quick.
fn vocabulary(name: &str) -> u32 {
    if name == "gumbel@aar" { 100 } else { 2000 }
}

/// By name, after which a way of seeding may stand, or `two` for two keys.
fn scheme(name: &str) -> Box<dyn Scheme> {
    let (name, seeding) = name.split_once(' ').unwrap_or((name, ""));
    let seeding = match seeding {
        "" => String::new(),
        "two" if name.ends_with("sglang") => "alpha = 0.3\nkeys = [11, 12]\n".into(),
        "two" => "alpha = 0.3\n".into(),
        seeding => format!("seeding = \"{seeding}\"\n"),
    };
    let text = format!(
        "{seeding}scheme = \"{name}\"\nkey = \"0x9e3779b97f4a7c15\"\ngamma = 0.25\nwidth = {}\n\
         vocabulary = {}\ndevice = \"cpu\"\n{}",
        if name.starts_with("kgw@lm") { 1 } else { 2 },
        vocabulary(name),
        if name.starts_with("synthid") {
            "keys = [654, 400, 836, 123, 340, 443, 597, 160]\n"
        } else {
            ""
        },
    );
    let file = KeyFile::parse(&text).expect("a key file");
    file.scheme().expect("a known scheme")
}

/// "- Yes / - No" over and over, with a few words between, and token 0 among them.
fn repetitive(vocabulary: u32, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let line = [11, 42, 13, 11, 77, 13];
    (0..120)
        .flat_map(|i| {
            let word = rng.random_range(0..vocabulary);
            let line = line.into_iter();
            line.chain((i % 3 == 0).then_some(word))
                .chain((i % 7 == 0).then_some(0))
        })
        .collect()
}

/// Tokens by Zipf's law, so that windows repeat as they do in text; token 0 is the most frequent.
fn zipf(vocabulary: u32, n: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let ln = f64::from(vocabulary).ln();
    (0..n)
        .map(|_| ((rng.random_range(0.0..1.0) * ln).exp() - 1.0) as u32)
        .collect()
}

/// p by the law of the scheme. A count has few values: p is drawn between the two tails that it lies
/// between, which makes it uniform where the law is exact.
fn randomised(scheme: &dyn Scheme, found: &Detection, u: f64) -> f64 {
    let p = 10_f64.powf(found.log10_p);
    let (Law::Green { share }, n, more) = (scheme.law(), found.scored, found.sum as u64 + 1) else {
        return p;
    };
    if more > n {
        return p * u;
    }
    let above = match (scheme.reading().dedup, scheme.vocabulary()) {
        (Dedup::Token, Some(all)) => {
            let marked = (share * f64::from(all)).round() as u64;
            tails::hypergeometric_at_least(more, all.into(), marked, n)
        }
        _ => tails::binomial_at_least(more, n, share),
    };
    let above = 10_f64.powf(above.expect("a count"));
    above + u * (p - above)
}

/// p under decoys of the scheme, each taken as the key.
fn p_values(name: &str, tokens: &[u32]) -> Vec<f64> {
    let scheme = scheme(name);
    (0..KEYS)
        .into_par_iter()
        .map(|seed| {
            let keyed = scheme.decoy(seed);
            let mut units = Units::of(&*keyed);
            units.add(&[], tokens).expect("tokens of the vocabulary");
            let found = Detection::of(&*keyed, &units).expect("units");
            let u = ChaCha8Rng::seed_from_u64(seed).random_range(0.0..1.0);
            randomised(&*keyed, &found, u)
        })
        .collect()
}

/// Uniform by Kolmogorov and Smirnov, and no innocent key accused.
fn holds(schemes: &[&str]) {
    for name in schemes {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let all = vocabulary(name);
        for (kind, tokens) in [
            ("repetitive", repetitive(all, &mut rng)),
            ("zipf", zipf(all, 400, &mut rng)),
        ] {
            let p = p_values(name, &tokens);
            let test = ks_uniform(&p).expect("probabilities");
            assert!(test.log10_p > -2.0, "{name}, {kind}: {test:?}");
            let least = p.iter().copied().fold(1.0, f64::min);
            assert!(least > 1e-6, "{name}, {kind}: {least:e}");
        }
    }
}

fn named(kind: &str) -> Vec<&'static str> {
    let all = SCHEMES.iter().copied();
    all.filter(|name| name.starts_with(kind)).collect()
}

#[test]
fn the_null_of_green_lists_holds() {
    holds(&named("kgw@"));
}

/// Sums and products with token 0, and hashes of it, are the same under every key.
#[test]
fn the_null_of_every_seeding_holds() {
    let functions = [
        "additive",
        "multiplicative",
        "minfunc",
        "simple_skip",
        "skipgram",
        "anchored_skipgram",
        "minhash",
        "anchored_minhash",
        "minskipgram",
        "noncomm",
        "position",
    ];
    let of = |f: &str, salted| format!("kgw@lm-watermarking ff-{f}_prf-3-{salted}");
    for function in functions {
        holds(&[&of(function, "False"), &of(function, "True")]);
    }
}

#[test]
fn the_null_of_fixed_and_permuted_lists_holds() {
    holds(&[named("unigram@"), named("dip@")].concat());
}

#[test]
fn the_null_of_exponential_scores_holds() {
    holds(&named("gumbel@"));
}

/// Two keys: of vLLM both score every token, of SGLang the window says which one does. Over ten texts of
/// each kind, a thousand keys a text.
#[test]
fn the_null_of_two_keys_holds() {
    for name in ["gumbel@vllm two", "gumbel@sglang two"] {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let texts: Vec<Vec<u32>> = (0..10)
            .flat_map(|_| [repetitive(2000, &mut rng), zipf(2000, 400, &mut rng)])
            .collect();
        let base = scheme(name);
        let p: Vec<f64> = (0..KEYS * texts.len() as u64)
            .into_par_iter()
            .map(|seed| {
                let keyed = base.decoy(seed);
                let mut units = Units::of(&*keyed);
                let text = &texts[(seed / KEYS) as usize];
                units.add(&[], text).expect("tokens of the vocabulary");
                10_f64.powf(Detection::of(&*keyed, &units).expect("units").log10_p)
            })
            .collect();
        let test = ks_uniform(&p).expect("probabilities");
        assert!(test.log10_p > -2.0, "{name}: {test:?}");
        // 20,000 keys: the least of so many is below 3.5e-5 as often as not.
        let least = p.iter().copied().fold(1.0, f64::min);
        assert!(least > 1e-7, "{name}: {least:e}");
    }
}

/// The least over offsets has a bound, not a law: small p are no more frequent than they say.
#[test]
fn the_null_of_sequences_is_held_by_a_bound() {
    let (vocabulary, length) = (300, 64);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let texts = [
        ("repetitive", repetitive(vocabulary, &mut rng)),
        ("zipf", zipf(vocabulary, 400, &mut rng)),
    ];
    for (kind, tokens) in texts {
        let p: Vec<f64> = (0..KEYS)
            .into_par_iter()
            .map(|key| {
                let sequence = ExpShift::new(key, length, vocabulary);
                sequence.detect(&tokens).expect("tokens").log10_p
            })
            .collect();
        for size in [0.1_f64, 0.01] {
            let below = p.iter().filter(|p| **p <= size.log10()).count() as f64;
            let most = KEYS as f64 * size;
            assert!(
                below <= most + 3.0 * most.sqrt(),
                "{kind}: {below} at {size}"
            );
        }
        let least = p.iter().copied().fold(0.0, f64::min);
        assert!(least > -6.0, "{kind}: {least}");
        // Not so wide that it could find nothing.
        assert!(least < -1.0, "{kind}: {least}");
    }
}

/// Bits of one token depend on each other, differently for each list of keys: the law of independent
/// bits is off, and ranks among decoys are not.
#[test]
fn the_null_of_bits_holds_by_decoys() {
    for name in named("synthid@") {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for tokens in [repetitive(2000, &mut rng), zipf(2000, 400, &mut rng)] {
            let scheme = scheme(name);
            let p: Vec<f64> = (0..KEYS)
                .into_par_iter()
                .map(|seed| {
                    let keyed = scheme.decoy(seed);
                    let mut units = Units::of(&*keyed);
                    units.add(&[], &tokens).expect("tokens of the vocabulary");
                    let test = Test {
                        decoys: 99,
                        seed: 10_000 + seed,
                        ..Test::default()
                    };
                    let found = test.of(&*keyed, &units).expect("units");
                    let rank = 10_f64.powf(found.decoys.expect("asked for").log10_p);
                    // Between the two steps that it lies between.
                    let u: f64 = ChaCha8Rng::seed_from_u64(seed).random_range(0.0..1.0);
                    assert!(found.reported() > -6.0, "{name}: {found:?}");
                    rank - u / 100.0
                })
                .collect();
            let test = ks_uniform(&p).expect("probabilities");
            assert!(test.log10_p > -2.0, "{name}: {test:?}");
        }
    }
}

#[test]
fn decoys_correct_what_the_law_misses() {
    // Text without any rule against repetition: the law is wrong by far, the decoys are not.
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let tokens = repetitive(2000, &mut rng);
    let base = scheme("kgw@three-bricks");
    let p: Vec<(f64, f64, f64)> = (0..200_u64)
        .map(|seed| {
            let keyed = base.decoy(seed);
            let mut units = Units::with(&*keyed, Dedup::None);
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
