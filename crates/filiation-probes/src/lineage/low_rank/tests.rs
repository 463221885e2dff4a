use filiation_core::WeightRelation;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::super::relate;
use super::super::synthetic::{Model, normal, opened};
use super::super::weight_lineage::finding;
use super::runs;

const WIDTH: usize = 64;
const RANK: usize = 8;

fn base() -> Model {
    Model::random(WIDTH, 160, 3, 1)
}

/// Suspect and base, each with whether it is stored in BF16.
fn related(suspect: (&Model, bool), base: (&Model, bool)) -> WeightRelation {
    let (_a, this) = opened(suspect.0, suspect.1);
    let (_b, other) = opened(base.0, base.1);
    relate(&this, &other).expect("both folders are valid")
}

fn says(relation: &WeightRelation) -> String {
    finding(relation, 1.0).expect("a finding")
}

/// A LoRA of [`RANK`] merged into the matrices that `into` picks by layer and name.
fn merged(model: &Model, into: impl Fn(usize, &str) -> bool) -> Model {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut copy = model.clone();
    for (name, (shape, values)) in &mut copy.tensors {
        let layer = super::layout::layer_of(name);
        if shape.len() != 2 || !layer.is_some_and(|layer| into(layer, name)) {
            continue;
        }
        let (rows, columns) = (shape[0], shape[1]);
        let a = normal(rows * RANK, &mut rng);
        let b = normal(RANK * columns, &mut rng);
        for (i, value) in values.iter_mut().enumerate() {
            let (row, column) = (i / columns, i % columns);
            let update: f32 = (0..RANK)
                .map(|k| a[row * RANK + k] * b[k * columns + column])
                .sum();
            *value += 0.002 * update;
        }
    }
    copy
}

fn queries_and_values(layer: usize, name: &str) -> bool {
    layer < 2 && (name.contains("q_proj") || name.contains("v_proj"))
}

/// Ranks of the matrices that changed.
fn ranks(relation: &WeightRelation) -> Vec<(&str, u32, bool)> {
    let each = relation.changed.iter().map(|t| {
        let rank = t.rank.expect("matrices of floats");
        (t.tensor.as_str(), rank.at_least, rank.rest_is_rounding)
    });
    each.collect()
}

const MERGED: [(&str, u32, bool); 4] = [
    ("model.layers.0.self_attn.q_proj.weight", 8, true),
    ("model.layers.0.self_attn.v_proj.weight", 8, true),
    ("model.layers.1.self_attn.q_proj.weight", 8, true),
    ("model.layers.1.self_attn.v_proj.weight", 8, true),
];

const NOTE: &str = "low-rank change: 4 matrices are changed by rank 8 above the rounding floor, \
    and by no more than rounding below it: self_attn.q_proj of layers 0-1, self_attn.v_proj of \
    layers 0-1";

#[test]
fn a_merge_is_of_low_rank_in_f32() {
    let found = related(
        (&merged(&base(), queries_and_values), false),
        (&base(), false),
    );
    assert_eq!(ranks(&found), MERGED);
    assert_eq!(says(&found), format!("derived; {NOTE}"));
    assert!(
        found
            .changed
            .iter()
            .all(|t| t.rank.expect("measured").share > 0.999)
    );
}

/// Rounding makes the difference of full rank; its floor is known.
#[test]
fn a_merge_is_of_low_rank_when_stored_in_bf16() {
    let suspect = merged(&base(), queries_and_values);
    let both = related((&suspect, true), (&base(), true));
    assert_eq!(ranks(&both), MERGED);
    assert_eq!(says(&both), format!("derived; {NOTE}"));
    // Against a base in F32 the tensors that nothing was merged into are casts.
    let one = related((&suspect, true), (&base(), false));
    assert_eq!(ranks(&one), MERGED);
    assert_eq!(says(&one), format!("derived; {NOTE}"));
    // The base may be rounded before the merge, the sum after it.
    let cast = base().map(|_, values| {
        let low = values.iter().map(|&x| half::bf16::from_f32(x).to_f32());
        low.collect()
    });
    let twice = related((&merged(&cast, queries_and_values), true), (&base(), false));
    assert_eq!(ranks(&twice), MERGED);
}

#[test]
fn a_merge_on_feed_forward_parts_is_of_low_rank() {
    let suspect = merged(&base(), |layer, name| layer != 1 && name.contains(".mlp."));
    let found = related((&suspect, true), (&base(), true));
    let note = says(&found);
    assert!(
        note.ends_with(
            "mlp.gate_proj of layers 0, 2, mlp.up_proj of layers 0, 2, mlp.down_proj of layers 0, 2"
        ),
        "{note}"
    );
    assert!(ranks(&found).iter().all(|r| (r.1, r.2) == (8, true)));
}

#[test]
fn a_disguised_merge_is_of_low_rank() {
    for brain in [false, true] {
        let suspect = merged(&base(), queries_and_values).disguised(true, 6);
        let found = related((&suspect, brain), (&base(), brain));
        assert_eq!(ranks(&found), MERGED);
        assert_eq!(
            says(&found),
            format!(
                "derived; hidden dimensions permuted; neurons permuted; heads permuted; {NOTE}"
            )
        );
    }
}

/// Noise of 0.2 % is about that of rounding to BF16, and must not pass as a low-rank change.
#[test]
fn a_change_of_all_weights_is_not_of_low_rank() {
    for brain in [false, true] {
        for relative in [0.02, 0.002, 0.0005] {
            let found = related((&base().noisy(relative, 5), brain), (&base(), brain));
            assert_eq!(says(&found), "derived", "{relative} {brain}");
        }
    }
}

#[test]
fn a_merge_beside_a_dense_change_is_not_called_low_rank() {
    let mut suspect = merged(&base(), queries_and_values);
    let noisy = base().noisy(0.02, 5);
    let name = "model.layers.2.mlp.up_proj.weight";
    suspect
        .tensors
        .insert(name.into(), noisy.tensors[name].clone());
    let found = related((&suspect, false), (&base(), false));
    assert_eq!(found.changed.len(), 5);
    assert_eq!(says(&found), "derived");
}

#[test]
fn other_tensors_that_changed_are_counted() {
    let mut suspect = merged(&base(), queries_and_values);
    let noisy = base().noisy(0.02, 5);
    for name in [
        "model.embed_tokens.weight",
        "model.layers.0.input_layernorm.weight",
    ] {
        suspect
            .tensors
            .insert(name.into(), noisy.tensors[name].clone());
    }
    let found = related((&suspect, false), (&base(), false));
    assert_eq!(
        says(&found),
        format!("derived; {NOTE} (2 other tensors changed too)")
    );
}

#[test]
fn neighbours_are_joined() {
    assert_eq!(runs(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
    assert_eq!(runs(&[4]), "4");
}
