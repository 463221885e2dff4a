use super::*;
use crate::{Detection, KeyFile, SCHEMES, Test, Units};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::function::gamma::digamma;

const VOCABULARY: u32 = 400;

fn marker(name: &str) -> Marker {
    let (name, seeding) = name.split_once(' ').unwrap_or((name, ""));
    let seeding = match seeding {
        "" => String::new(),
        seeding => format!("seeding = \"{seeding}\"\n"),
    };
    let keys = match name {
        "gumbel@sglang" | "gumbel@vllm" | "dip@markllm" => "",
        _ => "keys = [654, 400, 836, 123, 340, 443, 597, 160]\n",
    };
    let text = format!(
        "{seeding}scheme = \"{name}\"\nkey = \"0x9e3779b97f4a7c15\"\n{keys}gamma = 0.25\n\
         width = 2\nvocabulary = {VOCABULARY}\ndevice = \"cpu\"\n"
    );
    let key = KeyFile::parse(&text).expect("a key file");
    key.marker().expect("it marks")
}

/// A model without memory: logits that are drawn anew for every token.
fn logits(rng: &mut ChaCha8Rng) -> Vec<f32> {
    let normal = |rng: &mut ChaCha8Rng| {
        let u: f64 = rng.random_range(1e-12..1.0);
        let v: f64 = rng.random_range(0.0..std::f64::consts::TAU);
        (-2.0 * u.ln()).sqrt() * v.cos()
    };
    (0..VOCABULARY).map(|_| 1.5 * normal(rng) as f32).collect()
}

fn weights(logits: &[f32]) -> Vec<f64> {
    logits.iter().map(|l| f64::from(*l).exp()).collect()
}

/// A text, and what the sum of its scores is in expectation given what each token was drawn from.
fn written(marker: &Marker, tokens: usize, seed: u64) -> (Vec<u32>, Vec<Vec<f64>>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let prompt = [3, 1, 4, 1];
    let mut marking = marker.begin(&prompt, seed);
    let (mut text, mut from) = (Vec::new(), Vec::new());
    for _ in 0..tokens {
        let mut logits = logits(&mut rng);
        marking.shift(&mut logits);
        let mut weights = weights(&logits);
        let u: f64 = rng.random();
        let token = marking.weigh(&mut weights).unwrap_or_else(|| {
            let total: f64 = weights.iter().sum();
            let mut mass = 0.0;
            let passed = weights.iter().position(|w| {
                mass += w / total;
                mass > u
            });
            passed.unwrap_or(0) as u32
        });
        marking.took(token);
        text.push(token);
        from.push(weights);
    }
    (text, from)
}

fn all() -> Vec<&'static str> {
    let ways = [
        "kgw@lm-watermarking selfhash",
        "kgw@lm-watermarking ff-additive_prf-4-False",
        "kgw@transformers selfhash",
    ];
    SCHEMES.iter().copied().chain(ways).collect()
}

#[test]
fn what_every_scheme_marks_it_finds_under_its_key_alone() {
    for name in all() {
        let marker = marker(name);
        let (text, _) = written(&marker, 400, 5);
        let mut units = Units::of(marker.scheme());
        units.add(&[], &text).expect("ids of the vocabulary");
        let found = Detection::of(marker.scheme(), &units).expect("a text");
        assert!(found.log10_p < -8.0, "{name}: {found:?}");
        let decoy = marker.scheme().decoy(17);
        let none = Detection::of(&*decoy, &units).expect("a text");
        assert!(none.log10_p > -4.0, "{name}: {none:?}");
        let test = Test {
            decoys: 19,
            ..Test::default()
        };
        let residue = test.of(marker.scheme(), &units).expect("a text");
        assert!(residue.reported() < -8.0, "{name}: {residue:?}");
        assert!(residue.mean > residue.smallest, "{name}: {residue:?}");
    }
}

#[test]
fn green_shares_are_those_that_theory_says() {
    // With δ added, a share q of green mass becomes q e^δ/(1 − q + q e^δ).
    for name in [
        "kgw@lm-watermarking",
        "kgw@transformers",
        "kgw@three-bricks",
        "kgw@textseal",
        "kgw@adfp",
        "kgw@markllm",
        "unigram@zhao",
    ] {
        let marker = marker(name);
        let (text, from) = written(&marker, 1500, 9);
        let scheme = marker.scheme();
        let width = scheme.reading().width;
        let (mut sum, mut expected, mut variance) = (0.0, 0.0, 0.0);
        for at in width..text.len() {
            let green = scheme.all(&text[at - width..at], VOCABULARY);
            let total: f64 = from[at].iter().sum();
            let mass: f64 = from[at].iter().zip(&green).map(|(w, g)| w * g).sum();
            let q = mass / total;
            sum += scheme.scores(&text[at - width..at], &text[at..=at])[0];
            expected += q;
            variance += q * (1.0 - q);
        }
        let off = (sum - expected) / variance.sqrt();
        assert!(off.abs() < 4.0, "{name}: {sum} for {expected}");
        // Far from γ: about 0.25 e²/(0.75 + 0.25 e²) = 0.71.
        assert!(expected / text.len() as f64 > 0.55, "{name}: {expected}");
    }
}

#[test]
fn gumbel_scores_are_those_that_theory_says() {
    // A token taken with probability p has E −ln(1 − u) = H(1/p), the harmonic number.
    let harmonic = |x: f64| digamma(x + 1.0) - digamma(1.0);
    for name in ["gumbel@three-bricks", "gumbel@sglang", "gumbel@vllm"] {
        let marker = marker(name);
        let (text, from) = written(&marker, 400, 13);
        let scheme = marker.scheme();
        let (mut sum, mut expected) = (0.0, 0.0);
        for at in 4..text.len() {
            let window = &text[at - 2..at];
            let total: f64 = from[at].iter().sum();
            let p = |w: f64| w / total;
            expected += from[at]
                .iter()
                .map(|w| p(*w) * harmonic(1.0 / p(*w)))
                .sum::<f64>();
            sum += scheme.scores(window, &text[at..=at])[0];
        }
        // A score varies by no more than about π²/6.
        let off = (sum - expected) / (1.645 * text.len() as f64).sqrt();
        assert!(off.abs() < 4.0, "{name}: {sum} for {expected}");
    }
}

#[test]
fn the_mean_over_keys_of_what_does_not_distort_is_the_model() {
    // Gumbel, tournament and reweighting leave each token its probability over the keys.
    let weights = [0.5, 0.3, 0.15, 0.05];
    for name in [
        "gumbel@vllm",
        "gumbel@sglang",
        "synthid@deepmind",
        "dip@markllm",
    ] {
        let base = marker(name);
        let keys = 4000_u32;
        let mut shares = [0.0; 4];
        for key in 0..keys {
            let decoy = base.scheme().decoy(u64::from(key));
            let marker = Marker::new(decoy, base.strength);
            let mut padded = vec![0.0; VOCABULARY as usize];
            padded[..4].copy_from_slice(&weights);
            let mut marking = marker.begin(&[9, 9, 9], 1);
            match marking.weigh(&mut padded) {
                Some(token) => shares[token as usize] += 1.0,
                None => {
                    let total: f64 = padded.iter().sum();
                    (0..4).for_each(|i| shares[i] += padded[i] / total);
                }
            }
        }
        for (share, weight) in shares.iter().zip(weights) {
            let share = share / f64::from(keys);
            assert!((share - weight).abs() < 0.03, "{name}: {shares:?}");
        }
    }
}

#[test]
fn two_keys_of_vllm_share_the_tokens_as_alpha_says() {
    let text = "scheme = \"gumbel@vllm\"\nkey = 77\nwidth = 2\nalpha = 0.25\n";
    let marker = KeyFile::parse(text)
        .and_then(|k| k.marker())
        .expect("marks");
    let (text, _) = written(&marker, 800, 3);
    let scheme = marker.scheme();
    let sums = [false, true].map(|second| {
        let of =
            |at: usize| scheme.all_under(&text[at - 2..at], VOCABULARY, second)[text[at] as usize];
        (2..text.len()).map(of).sum::<f64>() / 798.0 - 1.0
    });
    // Under the key that did not choose, a score is 1 in expectation.
    let share = sums[1] / (sums[0] + sums[1]);
    assert!((share - 0.25).abs() < 0.06, "{sums:?}");
    let mut units = Units::of(scheme);
    units.add(&[], &text).expect("ids");
    let found = Detection::of(scheme, &units).expect("a text");
    assert!(found.log10_p < -20.0, "{found:?}");
}

#[test]
fn repeated_windows_are_marked_once_where_the_reference_remembers() {
    for (name, again) in [
        ("gumbel@vllm", false),
        ("gumbel@sglang", false),
        ("dip@markllm", false),
        ("synthid@transformers", false),
        ("gumbel@three-bricks", true),
        ("gumbel@markllm", true),
    ] {
        let mut marking = marker(name).begin(&[5, 6], 1);
        let mut changed = Vec::new();
        for token in [5, 6, 5, 6, 5, 6] {
            let flat = vec![1.0; VOCABULARY as usize];
            let mut weights = flat.clone();
            changed.push(marking.weigh(&mut weights).is_some() || weights != flat);
            marking.took(token);
        }
        assert_eq!(changed[5], again, "{name}: {changed:?}");
        assert!(changed[0], "{name}: {changed:?}");
    }
}

#[test]
fn same_seed_and_prompt_same_marks_and_no_key_is_shown() {
    let (a, b) = (marker("gumbel@vllm"), marker("gumbel@vllm"));
    assert_eq!(written(&a, 60, 4).0, written(&b, 60, 4).0);
    // What the first text left in memory changes nothing.
    assert_eq!(written(&a, 60, 4).0, written(&b, 60, 4).0);
    let shown = format!("{:?}", marker("kgw@lm-watermarking"));
    assert!(!shown.contains("9e37") && !shown.contains("114"), "{shown}");
}

#[test]
fn whole_lists_are_the_scores_one_by_one() {
    for name in SCHEMES {
        let marker = marker(name);
        let scheme = marker.scheme();
        let width = scheme.reading().width;
        let window = &[17, 0, 399, 5][..width];
        let ids: Vec<u32> = (0..VOCABULARY).collect();
        let all = scheme.all(window, VOCABULARY + 3);
        assert_eq!(
            &all[..VOCABULARY as usize],
            scheme.scores(window, &ids),
            "{name}"
        );
    }
}

#[test]
fn strengths_that_mark_nothing_are_refused() {
    let text = "scheme = \"kgw@adfp\"\nkey = 1\ngamma = 0.25\nvocabulary = 9\ndelta = 0.0\n";
    let said = KeyFile::parse(text)
        .and_then(|k| k.marker())
        .expect_err("nothing");
    assert!(said.to_string().contains("`delta` is 0"), "{said}");
}
