//! Copies whose relation to SmolLM2 is known.

use filiation_checkpoint::{Checkpoint, Limits, ModelWeights};
use filiation_model::Gguf;
use filiation_probes::lineage::pack::{Kinship, Pack, kinship};
use filiation_probes::lineage::weight_lineage::finding;
use filiation_probes::relate;

use crate::folder;

fn open(name: &str) -> Box<dyn ModelWeights> {
    let (path, limits) = (folder(name), Limits::default());
    match Gguf::find(&path).expect("setup.py made a sound folder") {
        Some(file) => Box::new(Gguf::open(&file, &limits).expect("setup.py fetched a sound file")),
        None => Box::new(Checkpoint::open(&path, &limits).expect("setup.py made a sound folder")),
    }
}

/// What `weight-lineage` finds between two models.
fn found(this: &str, other: &str) -> String {
    let relation = relate(&*open(this), &*open(other)).expect("the weights can be compared");
    let each = relation.layers.iter().map(|l| (l.cka_q + l.cka_k) / 2.0);
    let mean = each.sum::<f64>() / relation.layers.len() as f64;
    finding(&relation, mean).unwrap_or_else(|| format!("no finding; {relation:?}"))
}

fn assert_found(this: &str, other: &str, word: &str) {
    let found = found(this, other);
    let first = found.split(';').next();
    assert_eq!(first, Some(word), "`{this}` against `{other}`: {found}");
}

#[test]
fn a_permuted_copy_is_the_same_model() {
    assert_found("smollm2-permuted", "smollm2", "same model");
}

#[test]
fn a_requantised_copy_is_the_same_model() {
    assert_found("smollm2-bf16", "smollm2", "same model");
}

#[test]
fn a_copy_with_two_percent_of_noise_is_derived() {
    assert_found("smollm2-noise", "smollm2", "derived");
}

/// FP8 with factors is no lattice that the rounding tests know, so it is not said to be the same.
#[test]
fn a_copy_in_fp8_with_scales_is_derived() {
    assert_found("smollm2-fp8", "smollm2", "derived");
    assert_found("smollm2-fp8", "smollm2-noise", "derived");
    assert_found("smollm2-fp8", "gemma3", "unrelated");
}

/// GPTQ moves each weight to make up for the rounding of others, and AWQ scales inputs into norms, so
/// that neither is a rounding to nearest of the weights as they were.
#[test]
fn copies_by_gptq_and_awq_are_derived() {
    for this in ["smollm2-gptq", "smollm2-awq"] {
        assert_found(this, "smollm2", "derived");
        assert_found("smollm2", this, "derived");
        assert_found(this, "smollm2-permuted", "derived");
        assert_found(this, "smollm2-random", "unrelated");
        assert_found(this, "gemma3", "unrelated");
    }
    assert_found("smollm2-gptq", "smollm2-awq", "derived");
}

#[test]
fn a_merged_adapter_is_a_change_of_low_rank() {
    for (this, other) in [
        ("smollm2-merged", "smollm2"),
        ("smollm2-merged-bf16", "smollm2-bf16"),
        ("smollm2-merged-bf16", "smollm2"),
    ] {
        assert_eq!(
            found(this, other),
            "derived; low-rank change: 20 matrices are changed by rank 8 above the rounding floor, and by no more \
             than rounding below it: self_attn.q_proj of layers 10-19, self_attn.v_proj of layers 10-19",
            "`{this}` against `{other}`"
        );
    }
}

#[test]
fn noise_in_all_weights_is_no_change_of_low_rank() {
    let found = found("smollm2-noise", "smollm2");
    assert!(!found.contains("low-rank"), "{found}");
}

#[test]
fn random_weights_under_a_copied_configuration_are_unrelated() {
    assert_found("smollm2-random", "smollm2", "unrelated");
}

#[test]
fn gemma_is_unrelated() {
    assert_found("gemma3", "smollm2", "unrelated");
}

#[test]
fn a_gguf_file_is_the_model_of_its_folder() {
    for (this, other, expected) in [
        ("smollm2-gguf", "smollm2", "same model"),
        ("smollm2", "smollm2-gguf", "same model"),
        ("gemma3-gguf", "gemma3", "same model"),
        (
            "smollm2-gguf",
            "smollm2-bf16",
            "same model; weights stored with other precision",
        ),
        (
            "smollm2-permuted",
            "smollm2-gguf",
            "same model; hidden dimensions permuted; neurons permuted; heads permuted",
        ),
    ] {
        assert_eq!(found(this, other), expected, "`{this}` against `{other}`");
    }
}

#[test]
fn a_change_shows_against_a_gguf_file() {
    assert_found("smollm2-noise", "smollm2-gguf", "derived");
    assert_found("smollm2-random", "smollm2-gguf", "unrelated");
    assert_found("gemma3-gguf", "smollm2", "unrelated");
    assert_found("gemma3-gguf", "smollm2-gguf", "unrelated");
}

fn sketched(this: &str, other: &str) -> Kinship {
    let pack = |name| Pack::of(&*open(name)).expect("it has enough tokens");
    kinship(&pack(this), &pack(other), 1)
}

#[test]
fn sketches_find_what_shares_neurons() {
    for (this, other) in [
        ("smollm2-permuted", "smollm2"),
        ("smollm2-noise", "smollm2"),
        ("smollm2-merged-bf16", "smollm2-gguf"),
        ("smollm2-f16-gguf", "smollm2"),
        ("smollm2-fp8", "smollm2"),
        ("smollm2-gptq", "smollm2"),
        ("smollm2-awq", "smollm2"),
        ("gemma3-gguf", "gemma3"),
    ] {
        let found = sketched(this, other);
        assert_eq!(found.finding, Some("derived"), "`{this}`: {found:?}");
        assert!(
            found.layers.iter().all(|l| l.inherited),
            "`{this}`: {found:?}"
        );
    }
}

#[test]
fn sketches_find_nothing_where_nothing_is_shared() {
    for (this, other) in [
        ("gemma3", "smollm2"),
        ("smollm2-gguf", "gemma3-gguf"),
        ("smollm2-random", "smollm2"),
    ] {
        let found = sketched(this, other);
        assert_eq!(found.finding, Some("unrelated"), "`{this}`: {found:?}");
    }
}
