//! Golden values of what is inside a scheme: seeds, keys, starts.

use serde_json::Value;

use super::{Kgw, Prf, SynthId, SynthIdHash, Unigram, VLlm};

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("ids")
}

#[test]
fn functions_and_seeds_of_windows() {
    let golden = read(include_str!("../../tests/goldens/kgw.json"));
    let all = golden.as_object().expect("an object");
    for (name, of) in all {
        let (prf, width) = match name.as_str() {
            "simple_1" => (Prf::Additive, 1),
            "minhash" => (Prf::MinHash, 4),
            "selfhash" => (Prf::AnchoredMinHash, 4),
            "skipgram" => (Prf::Skipgram, 5),
            "ff-additive_prf-4-False" => (Prf::Additive, 4),
            "ff-multiplicative_prf-3-False" => (Prf::Multiplicative, 3),
            "ff-position_prf-4-False" => (Prf::Position, 4),
            "ff-anchored_skipgram_prf-4-False" => (Prf::AnchoredSkipgram, 4),
            "ff-noncomm_prf-4-False" => (Prf::NonCommutative, 4),
            other => panic!("no such seeding: {other}"),
        };
        let scheme = Kgw::lm_watermarking(prf, width, false, 15_485_863, 32_000, 0.25);
        let context = ids(&of["ctx"]);
        let window = &context[context.len() - width..];
        let number = |key: &str| of[key].to_string().parse::<i128>().expect("a number");
        assert_eq!(scheme.prf(window), number("prf"), "{name}");
        assert_eq!(i128::from(scheme.seed(window)), number("seed"), "{name}");
    }
}

#[test]
fn the_seed_of_a_shuffle() {
    let golden = read(include_str!("../../tests/goldens/unigram.json"));
    let key = golden["key"].as_i64().expect("a key");
    assert_eq!(Some(Unigram::seed(key).into()), golden["seed"].as_u64());
}

#[test]
fn where_a_hash_starts() {
    let golden = read(include_str!("../../tests/goldens/synthid.json"));
    let keys = ids(&golden["keys"]).into_iter().map(u64::from).collect();
    let scheme = SynthId::new(SynthIdHash::Steps, keys, 5);
    assert_eq!(Some(scheme.start()), golden["iv"].as_u64());
}

#[test]
fn keys_that_are_drawn_from_one() {
    let golden = read(include_str!("../../tests/goldens/serving.json"));
    let dual = VLlm::dual(42, 0.1, 4);
    assert_eq!(Some(dual.first_key()), golden["vllm_dual"]["ka"].as_u64());
}
