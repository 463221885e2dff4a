use super::*;
use crate::scheme::derived;
use crate::{KeyFile, SCHEMES, Scheme, Test, WatermarkError};
use filiation_stats::ks_uniform;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VOCABULARY: u32 = 120;

fn scheme(name: &str) -> Box<dyn Scheme> {
    let keys = if name.starts_with("synthid") {
        "keys = [654, 400, 836, 123]\n"
    } else {
        ""
    };
    let text = format!(
        "scheme = \"{name}\"\nkey = \"0x9e3779b97f4a7c15\"\n{keys}gamma = 0.25\nwidth = 2\n\
         vocabulary = {VOCABULARY}\ndevice = \"cpu\"\n"
    );
    let key = KeyFile::parse(&text).and_then(|k| k.scheme());
    key.unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn header(marked_text: bool) -> Header {
    Header {
        format: FORMAT,
        mode: Mode::Open,
        marked_text,
        width: 0,
        model: "m".into(),
        tokenizer: "t".into(),
        vocabulary: VOCABULARY,
        texts: "x".into(),
        positions: 0,
        copied: 0,
        unaligned: 0,
        rare: 0,
    }
}

/// Tuples of a model that prefers a few tokens after each window; where a key is given, those with
/// large scores by the factor 1 + `lean`.
fn read(width: usize, seed: u64, key: Option<(&dyn Scheme, f64)>) -> Tuples {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut noise = ChaCha8Rng::seed_from_u64(seed);
    let mut collector = Collector::new(width, None);
    for _ in 0..60 {
        let text: Vec<u32> = (0..30)
            .map(|_| (rng.random::<f64>().powi(2) * f64::from(VOCABULARY)) as u32)
            .collect();
        let likely = |at: usize| {
            let from = at.checked_sub(width)?;
            let window = &text[from..at];
            let mut own = ChaCha8Rng::seed_from_u64(derived(
                9,
                window.iter().fold(0, |h, t| h * 131 + u64::from(*t)),
            ));
            let mut tokens: Vec<u32> = (0..8).map(|_| own.random_range(0..VOCABULARY)).collect();
            tokens.sort_unstable();
            tokens.dedup();
            let mut weights: Vec<f64> = tokens
                .iter()
                .map(|_| own.random::<f64>() + 0.1 * noise.random::<f64>())
                .collect();
            if let Some((scheme, lean)) = key {
                let mean = scheme.law().mean();
                for (weight, score) in weights.iter_mut().zip(scheme.scores(window, &tokens)) {
                    *weight *= 1.0 + lean * f64::from(u8::from(score > mean));
                }
            }
            let total: f64 = weights.iter().sum();
            let mut all: Likely = tokens
                .into_iter()
                .zip(weights.iter().map(|w| w / total))
                .collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            Some(all)
        };
        let likely: Vec<_> = (0..text.len()).map(likely).collect();
        collector.fed(&text, &likely);
    }
    collector.finish(header(false), usize::MAX)
}

fn named(test: &Test, scheme: &dyn Scheme, tuples: &Tuples, control: Option<&Tuples>) -> Found {
    test.tuples(scheme, tuples, control)
        .expect("tuples of this scheme")
}

#[test]
fn a_lean_is_found_and_more_of_it_beyond_a_control() {
    let test = Test {
        decoys: 39,
        ..Test::default()
    };
    for name in SCHEMES {
        // One list for all windows has few units here.
        if name == "unigram@zhao" || name == "gumbel@aar" {
            continue;
        }
        let scheme = scheme(name);
        let width = scheme.reading().width;
        let clean = read(width, 1, None);
        let leaning = read(width, 2, Some((&*scheme, 0.4)));
        let found = named(&test, &*scheme, &leaning, Some(&clean));
        let beyond = found.beyond_control.expect("a control");
        let mass = found.mass.expect("windows");
        assert!(beyond.reported() < -20.0, "{name}: {beyond:?}");
        assert!(beyond.z > mass.z, "{name}: {beyond:?} {mass:?}");
        assert!(
            beyond.log10_e > 10.0 && beyond.log10_p_anytime < -10.0,
            "{name}: {beyond:?}"
        );
        assert!(beyond.excess > beyond.smallest, "{name}: {beyond:?}");
        let none = named(&test, &*scheme, &read(width, 3, None), Some(&clean));
        assert!(none.reported().expect("windows") > -4.0, "{name}: {none:?}");
    }
}

#[test]
fn p_is_uniform_over_keys_or_a_bound() {
    let test = Test {
        decoys: 0,
        ..Test::default()
    };
    for name in [
        "kgw@three-bricks",
        "kgw@markllm",
        "gumbel@vllm",
        "synthid@transformers",
    ] {
        let base = scheme(name);
        let width = base.reading().width;
        let (suspect, control) = (read(width, 4, None), read(width, 5, None));
        let keys = 240;
        let mut ranks: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        let mut small = 0;
        for key in 0..keys {
            let decoy = base.decoy(1000 + key);
            let found = named(&test, &*decoy, &suspect, Some(&control));
            let (mass, beyond) = (
                found.mass.expect("windows"),
                found.beyond_control.expect("one"),
            );
            ranks[0].push(mass.z);
            ranks[1].push(beyond.z);
            small += u32::from(mass.log10_p < -2.0) + u32::from(beyond.log10_p < -2.0);
        }
        for zs in &ranks {
            // Of a normal law, where nothing depends on the key.
            let p: Vec<f64> = zs
                .iter()
                .map(|z| 10_f64.powf(filiation_stats::tails::normal_at_least(*z).expect("finite")))
                .collect();
            let ks = ks_uniform(&p).expect("p-values");
            assert!(ks.log10_p > -3.0, "{name}: {}", ks.log10_p);
        }
        assert!(small <= 12, "{name}: {small} of 480 below 0.01");
    }
}

#[test]
fn what_may_be_copied_is_left_out() {
    let mut collector = Collector::new(1, None);
    let text = [5, 6, 5, 7];
    let sure = |token| Some(vec![(token, 1.0)]);
    collector.fed(&text, &[None, sure(6), sure(5), sure(6)]);
    let tuples = collector.finish(header(true), 10);
    // The second time that 5 is a window, 6 has followed it already.
    let windows: Vec<u32> = tuples.rows.iter().map(|row| row.window[0]).collect();
    assert_eq!((windows, tuples.header.copied), (vec![5, 6], 1));
    let mut collector = Collector::new(1, None);
    collector.written(&[5], &[5, 6, 7]);
    let tuples = collector.finish(header(true), 10);
    assert_eq!((tuples.rows.len(), tuples.header.copied), (1, 1));
    assert!((tuples.header.kept() - 0.5).abs() < 1e-12);
}

#[test]
fn windows_are_in_the_order_of_their_frequency_elsewhere() {
    let mut order = Frequencies::default();
    order.add(1, &[8, 1, 8, 2, 8, 3, 9, 1]);
    let mut collector = Collector::new(1, Some(order));
    collector.written(&[], &[9, 4, 8, 4, 7, 4, 9, 4]);
    let tuples = collector.finish(header(false), 10);
    let windows: Vec<(u32, u64)> = tuples
        .rows
        .iter()
        .map(|r| (r.window[0], r.frequency))
        .collect();
    assert_eq!(windows, [(8, 3), (9, 1)]);
    assert_eq!(tuples.rows[1].read, 2);
}

#[test]
fn what_does_not_fit_is_refused() {
    let test = Test::default();
    let said = |scheme: &dyn Scheme, tuples: &Tuples, control: Option<&Tuples>| {
        let error = test
            .tuples(scheme, tuples, control)
            .expect_err("it does not fit");
        assert!(matches!(error, WatermarkError::Mismatch { .. }), "{error}");
        error.to_string()
    };
    let kgw = scheme("kgw@three-bricks");
    let narrow = read(1, 1, None);
    assert!(said(&*kgw, &narrow, None).contains("`width` is 1, expected 2"));
    let mut large = read(2, 1, None);
    large.header.vocabulary = VOCABULARY + 1;
    assert!(said(&*kgw, &large, None).contains("`vocabulary` is 121"));
    let mut other = read(2, 1, None);
    other.header.texts = "y".into();
    assert!(said(&*kgw, &read(2, 1, None), Some(&other)).contains("`texts`"));
    let mut shown = read(0, 1, None);
    shown.header.marked_text = true;
    assert!(said(&*scheme("unigram@zhao"), &shown, None).contains("marked_text"));
}

#[test]
fn files_are_read_back_and_changes_are_seen() {
    let tuples = read(2, 1, None);
    let text = tuples.to_text();
    assert_eq!(Tuples::parse(&text).expect("its own file"), tuples);
    let said = |text: &str| Tuples::parse(text).expect_err("changed").to_string();
    let mut lines: Vec<&str> = text.lines().collect();
    let last = lines.pop().expect("rows");
    assert!(said(&lines.join("\n")).contains("windows, expected"));
    lines.push(last);
    lines.swap(1, 2);
    assert!(
        said(&lines.join("\n")).contains("out of order"),
        "{}",
        said(&lines.join("\n"))
    );
    let changed = text.replacen("\"copied\":0", "\"copied\":1", 1);
    let changed = match changed == text {
        true => text.replacen("\"marked_text\":false", "\"marked_text\":true", 1),
        false => changed,
    };
    assert!(said(&changed).contains("digest"));
    assert!(said("").contains("line 1"));
}

proptest! {
    #[test]
    fn no_file_makes_the_parser_fail_otherwise_than_by_an_error(text in ".{0,200}", at in 0_usize..4000, byte in any::<u8>()) {
        let _ = Tuples::parse(&text);
        let mut bytes = read(1, 1, None).to_text().into_bytes();
        let at = at % bytes.len();
        let before = bytes[at];
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            // A byte that was changed is refused, or changed nothing that is read.
            if let Ok(tuples) = Tuples::parse(&text) {
                prop_assert_eq!(tuples.rows, read(1, 1, None).rows);
                let _ = before;
            }
        }
    }
}
