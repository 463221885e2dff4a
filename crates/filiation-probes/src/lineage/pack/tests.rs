use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::super::memory::{Memory, demo};
use super::{Kinship, Pack, kinship, mixtures};
use crate::error::PackProblem;

/// Models of `corpora/demo` that were initialised apart.
const INDEPENDENT: [&str; 6] = [
    "base-a",
    "base-b",
    "teacher-1",
    "teacher-2",
    "teacher-3",
    "innocent-independent",
];

/// Those that start from `base-a`.
const CHILDREN: [&str; 9] = [
    "student-text-100",
    "student-logits-100",
    "student-text-30",
    "student-text-10",
    "innocent-fine-tune",
    "control-1",
    "control-2",
    "control-3",
    "control-4",
];

fn pack(model: &Memory) -> Pack {
    Pack::of(model).expect("a sound model")
}

/// Copies of a model, each by what was done to it.
fn copies(of: &Memory) -> Vec<(&'static str, Memory)> {
    let (width, neurons) = (of.config.width, of.config.feed_forward);
    vec![
        ("noise", of.noisy(0.1, 1)),
        ("permuted", of.permuted(2)),
        ("rotated", of.rotated(3)),
        ("rotated noise", of.noisy(0.05, 4).rotated(5)),
        ("permuted four bits", of.four_bits().permuted(6)),
        ("fewer neurons", of.pruned(width, neurons * 3 / 4)),
        ("narrower", of.pruned(width * 3 / 4, neurons)),
        ("shallower", of.stacked(&[1])),
        ("deeper", of.stacked(&[0, 1, 0, 1])),
    ]
}

fn says(found: &Kinship) -> &str {
    found.finding.unwrap_or("not settled")
}

/// On pairs of known history: all related ones found, no other taken for one.
#[test]
fn related_and_unrelated_are_told_apart() {
    let bases: Vec<(&str, Memory)> = INDEPENDENT.iter().map(|n| (*n, demo(n))).collect();
    let packs: Vec<Pack> = bases.iter().map(|(_, m)| pack(m)).collect();
    // Suspect, what it descends from, its pack.
    let mut suspects: Vec<(String, usize, Pack)> = CHILDREN
        .iter()
        .map(|child| ((*child).to_owned(), 0, pack(&demo(child))))
        .collect();
    for (at, (name, model)) in bases.iter().enumerate() {
        for (what, copy) in copies(model) {
            suspects.push((format!("{name}, {what}"), at, pack(&copy)));
        }
        suspects.push((
            format!("{name}, random"),
            usize::MAX,
            pack(&model.random(9)),
        ));
    }
    let (mut related, mut unrelated) = (Vec::new(), Vec::new());
    for (name, from, suspect) in &suspects {
        for (at, base) in packs.iter().enumerate() {
            let found = kinship(suspect, base, 1);
            let p = found.log10_p.expect("the tokenizer is one");
            let told = format!(
                "{name} against {}: {} {p:.1}, CKA {:.3}",
                bases[at].0,
                says(&found),
                found.cka.expect("two layers")
            );
            if at == *from {
                assert_eq!(says(&found), "derived", "{told}");
                related.push((p, told));
            } else {
                assert_eq!(says(&found), "unrelated", "{told}");
                unrelated.push((p, told));
            }
        }
    }
    let by_p = |a: &&(f64, String), b: &&(f64, String)| a.0.total_cmp(&b.0);
    let weakest = related.iter().max_by(by_p).expect("some");
    let strongest = unrelated.iter().min_by(by_p).expect("some");
    assert!(related.len() >= 50, "{} related", related.len());
    assert!(unrelated.len() >= 100, "{} unrelated", unrelated.len());
    // AUC is 1, and so is the power at any false positive rate.
    assert!(weakest.0 < strongest.0, "{weakest:?}, {strongest:?}");
}

#[test]
fn disguises_are_named() {
    let of = demo("base-a");
    let base = pack(&of);
    let notes = |copy: &Memory| kinship(&pack(copy), &base, 1).notes.join("; ");
    assert_eq!(notes(&of.noisy(0.05, 1)), "");
    assert_eq!(
        notes(&of.permuted(2)),
        "hidden dimensions permuted or flipped; neurons permuted; neurons rescaled"
    );
    assert_eq!(
        notes(&of.rotated(3)),
        "hidden space rotated, norms folded into matrices"
    );
    assert_eq!(
        notes(&of.pruned(96, 192)),
        "192 neurons of a layer, not 256"
    );
    let found = kinship(&pack(&of.stacked(&[1, 0, 1])), &base, 1);
    let from: Vec<_> = found
        .layers
        .iter()
        .map(|l| (l.counterpart, l.inherited))
        .collect();
    assert_eq!(from, [(1, true), (0, true), (1, true)]);
    assert_eq!(found.notes, ["3 layers, not 2"]);
    let found = kinship(&pack(&of.stacked(&[1])), &base, 1);
    assert_eq!(found.left_out, [0]);
}

#[test]
fn a_copy_of_a_copy_changes_little_and_noise_more() {
    let of = demo("teacher-1");
    let base = pack(&of);
    let change = |copy: &Memory| kinship(&pack(copy), &base, 1).change.expect("related");
    assert!(change(&of.rotated(3)) < 0.01);
    let (little, much) = (change(&of.noisy(0.02, 4)), change(&of.noisy(0.1, 4)));
    assert!(little > 0.01 && much > 2.0 * little, "{little} {much}");
}

#[test]
fn attention_without_the_neurons_is_left_open() {
    let found = kinship(
        &pack(&demo("base-a").with_neurons_of(&demo("teacher-1"))),
        &pack(&demo("base-a")),
        1,
    );
    // The neurons are those of another, and are found there.
    assert_eq!(says(&found), "not settled", "{found:?}");
    let graft = demo("base-a").with_neurons_of(&demo("teacher-1"));
    let found = kinship(&pack(&graft), &pack(&demo("teacher-2")), 1);
    assert_eq!(says(&found), "unrelated", "{found:?}");
}

#[test]
fn a_mixture_is_found_and_siblings_are_none() {
    let (a, b, c) = (demo("control-1"), demo("control-2"), demo("control-3"));
    let packs = [pack(&a), pack(&b), pack(&demo("base-a"))];
    let of = |suspect: &Pack| {
        let kin: Vec<Kinship> = packs.iter().map(|p| kinship(suspect, p, 3)).collect();
        let bases: Vec<(&Pack, &Kinship)> = packs.iter().zip(&kin).collect();
        mixtures(suspect, &bases)
    };
    let found = of(&pack(&a.mixed(&b, 0.6)));
    let best = found.first().expect("a mixture");
    assert_eq!(best.of, (0, 1));
    assert!((best.share - 0.6).abs() < 0.02, "{best:?}");
    assert!(best.left < 0.05, "{best:?}");
    assert_eq!(of(&pack(&c)), []);
    assert_eq!(of(&pack(&a.noisy(0.1, 1))), []);
}

#[test]
fn a_file_is_the_pack_and_the_same_each_time() {
    let of = demo("base-b");
    let made = pack(&of);
    let bytes = made.to_bytes();
    assert_eq!(bytes, pack(&of).to_bytes());
    let read = Pack::from_bytes(&bytes).expect("sound bytes");
    assert_eq!(read.digest(), made.digest());
    assert_eq!(read.to_bytes(), bytes);
    let other = pack(&demo("base-a"));
    assert_eq!(kinship(&read, &other, 1), kinship(&made, &other, 1));
}

#[test]
fn bytes_that_are_no_pack_are_refused() {
    let bytes = pack(&demo("base-b")).to_bytes();
    let problem = |bytes: &[u8]| Pack::from_bytes(bytes).expect_err("unsound bytes");
    assert_eq!(problem(b"PK\x03\x04"), PackProblem::Magic);
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        problem(&bytes)
    };
    assert_eq!(changed(7, 9), PackProblem::Version { found: 9 });
    assert!(matches!(changed(11, 0xff), PackProblem::TooMany { .. }));
    assert!(matches!(changed(13, b'!'), PackProblem::Header(_)));
    let last = bytes.len() - 1;
    assert_eq!(changed(last, !bytes[last]), PackProblem::Digest);
    for end in (0..bytes.len()).step_by(997) {
        problem(&bytes[..end]);
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(problem(&longer), PackProblem::Length { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is changed, reading ends with a pack or an error.
    #[test]
    fn no_bytes_make_reading_panic(at in 0_usize..20_000, to: u8, cut in 0_usize..20_000) {
        static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
        let mut bytes = BYTES.get_or_init(|| pack(&demo("base-b")).to_bytes()).clone();
        bytes[at] = to;
        let _ = Pack::from_bytes(&bytes);
        bytes.truncate(cut);
        prop_assert!(Pack::from_bytes(&bytes).is_err());
    }
}

/// A vocabulary's marks for a space are one.
#[test]
fn tokens_are_chosen_by_their_text() {
    let made = pack(&demo("base-a"));
    let tokens: BTreeMap<&str, ()> = made.facts.tokens.iter().map(|t| (t.as_str(), ())).collect();
    assert_eq!(tokens.len(), made.facts.tokens.len());
    assert!(tokens.contains_key("a") && tokens.contains_key(" a"));
    assert!(tokens.keys().all(|t| !t.contains('Ġ')));
}
