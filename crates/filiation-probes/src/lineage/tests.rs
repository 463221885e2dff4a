use std::collections::BTreeMap;

use filiation_checkpoint::config::Architecture;
use filiation_core::{
    Answer, ModelError, Observations, Party, Probe, Reason, RequestId, Role, Statistic,
    WeightRelation,
};

use super::memory::{Memory, demo};
use super::relate::shared_neurons;
use super::synthetic::{Model, opened};
use super::weight_lineage::finding;
use super::{WeightLineage, relate};

const WIDTH: usize = 64;
const NEURONS: usize = 160;

fn base() -> Model {
    Model::random(WIDTH, NEURONS, 3, 1)
}

fn related(suspect: &Model, of: &Model, brain: bool) -> WeightRelation {
    let (_a, this) = opened(suspect, brain);
    let (_b, other) = opened(of, false);
    relate(&this, &other).expect("both folders are valid")
}

fn mean_cka(relation: &WeightRelation) -> f64 {
    let sum: f64 = relation
        .layers
        .iter()
        .map(|l| (l.cka_q + l.cka_k) / 2.0)
        .sum();
    sum / relation.layers.len() as f64
}

fn says(relation: &WeightRelation) -> String {
    finding(relation, mean_cka(relation)).expect("a finding")
}

#[test]
fn random_weights_under_a_copied_configuration_are_unrelated() {
    let found = related(&Model::random(WIDTH, NEURONS, 3, 2), &base(), false);
    assert!(found.same_configuration);
    assert!(!found.permuted);
    assert_eq!(found.shared_vocabulary, 400);
    assert_eq!(
        says(&found),
        "unrelated; metadata copied: same configuration, other weights"
    );
    let change = found.largest_change.expect("same shapes");
    assert!(change > 0.9, "{change}");
}

#[test]
fn a_copy_is_the_same_model() {
    assert_eq!(says(&related(&base(), &base(), false)), "same model");
}

#[test]
fn a_permuted_copy_is_the_same_model() {
    for flip in [false, true] {
        let found = related(&base().disguised(flip, 5), &base(), false);
        assert_eq!(
            says(&found),
            "same model; hidden dimensions permuted; neurons permuted; heads permuted"
        );
        assert!(found.layers.iter().all(|l| l.relative_change == Some(0.0)));
        assert!(found.layers.iter().all(|l| l.neurons_permuted));
        assert!(mean_cka(&found) > 0.9999);
    }
}

#[test]
fn a_bf16_copy_is_the_same_model_also_when_permuted() {
    let found = related(&base(), &base(), true);
    assert_eq!(
        says(&found),
        "same model; weights stored with other precision"
    );
    let change = found.layers[0].relative_change.expect("same shapes");
    assert!(change > 5e-4 && change < 4e-3, "{change}");
    let found = related(&base().disguised(true, 5), &base(), true);
    assert_eq!(
        says(&found),
        "same model; hidden dimensions permuted; neurons permuted; heads permuted; weights stored with other precision"
    );
}

#[test]
fn an_eight_and_a_four_bit_copy_are_the_same_model() {
    for levels in [127.0f32, 7.0] {
        let copy = base().map(|name, values| {
            if name.ends_with("norm.weight") {
                return values.to_vec();
            }
            values
                .chunks(32)
                .flat_map(|block| {
                    let top = block.iter().fold(0f32, |m, x| m.max(x.abs()));
                    let scale = half::f16::from_f32(top / levels).to_f32();
                    block
                        .iter()
                        .map(move |x| (x * levels / top).round() * scale)
                })
                .collect()
        });
        let found = related(&copy, &base(), false);
        assert_eq!(
            says(&found),
            "same model; weights stored with other precision"
        );
    }
}

/// Fused projections, transposed matrices and other names, end to end.
#[test]
fn other_layouts_say_the_same() {
    for architecture in [
        Architecture::Gpt2,
        Architecture::GptNeoX,
        Architecture::Phi3,
    ] {
        let make = |seed| Model::random_as(architecture, WIDTH, NEURONS, 3, seed);
        let of = make(1);
        // Norms that centre allow no flips.
        let flip = architecture == Architecture::Phi3;
        let found = related(&of.disguised(flip, 5), &of, false);
        assert_eq!(
            says(&found),
            "same model; hidden dimensions permuted; neurons permuted; heads permuted",
            "{architecture:?}"
        );
        assert!(mean_cka(&found) > 0.9999, "{architecture:?}");

        let noisy = of.noisy(0.02, 6);
        assert_eq!(says(&related(&noisy, &of, false)), "derived");
        let found = related(&noisy.disguised(flip, 5), &of, false);
        assert_eq!(
            says(&found),
            "derived; hidden dimensions permuted; neurons permuted; heads permuted",
            "{architecture:?}"
        );
        let change = found.largest_change.expect("same shapes");
        assert!(change < 0.03, "{architecture:?}: {change}");

        let found = related(&make(2), &of, false);
        assert!(says(&found).starts_with("unrelated"), "{architecture:?}");
        let p = shared_neurons(&found).expect("enough neurons");
        assert!(p > -3.0, "{architecture:?}: {p}");
    }
}

#[test]
fn noise_of_two_percent_is_derived() {
    let found = related(&base().noisy(0.02, 5), &base(), false);
    assert_eq!(says(&found), "derived");
    let change = found.layers[0].relative_change.expect("same shapes");
    assert!((change - 0.02).abs() < 0.002, "{change}");
    let found = related(&base().noisy(0.02, 5).disguised(true, 6), &base(), false);
    assert_eq!(
        says(&found),
        "derived; hidden dimensions permuted; neurons permuted; heads permuted"
    );
    let change = found.largest_change.expect("same shapes");
    assert!(change < 0.03, "{change}");
}

#[test]
fn a_narrower_copy_is_derived() {
    let found = related(&base().pruned(32, 120), &base(), false);
    assert_eq!(says(&found), "derived");
    assert!(!found.permuted && !found.same_configuration);
    assert_eq!(found.largest_change, None);
    assert!(found.layers.iter().all(|l| l.relative_change.is_none()));
    let found = related(&base(), &base().pruned(32, 120), false);
    assert_eq!(says(&found), "derived");
    let stranger = Model::random(32, 120, 3, 8);
    assert_eq!(says(&related(&stranger, &base(), false)), "unrelated");
}

#[test]
fn layers_left_out_are_found() {
    let whole = Model::random(WIDTH, NEURONS, 5, 1);
    let found = related(&whole.without_layers(&[1, 2]), &whole, false);
    assert_eq!(says(&found), "derived");
    let counterparts: Vec<_> = found.layers.iter().map(|l| l.counterpart).collect();
    assert_eq!(counterparts, [0, 3, 4]);
    assert_eq!(found.largest_change, None);
}

#[test]
fn p_is_uniform_over_independent_seeds() {
    let mut ps: Vec<f64> = (0..60)
        .flat_map(|seed| {
            let a = Model::random(WIDTH, NEURONS, 2, 1000 + seed);
            let b = Model::random(WIDTH, NEURONS, 2, 2000 + seed);
            let found = related(&a, &b, false);
            assert!(says(&found).starts_with("unrelated"), "seed {seed}");
            found.layers.into_iter().filter_map(|l| l.match_log10_p)
        })
        .map(|p| 10f64.powf(p))
        .collect();
    assert_eq!(ps.len(), 120);
    ps.sort_by(f64::total_cmp);
    let distance = ps
        .iter()
        .enumerate()
        .map(|(i, p)| (p - (i as f64 + 0.5) / 120.0).abs())
        .fold(0.0, f64::max);
    // Kolmogorov: P(D > 1.95/√120) = 0.001.
    assert!(distance < 0.178, "{distance}");
}

#[test]
fn attention_without_the_neurons_is_left_open() {
    let stranger = Model::random(WIDTH, NEURONS, 3, 9);
    let mut graft = base();
    for (name, tensor) in &mut graft.tensors {
        if name.contains(".mlp.") {
            *tensor = stranger.tensors[name].clone();
        }
    }
    let found = related(&graft, &base(), false);
    assert!(shared_neurons(&found).expect("enough neurons") > -6.0);
    assert_eq!(finding(&found, mean_cka(&found)), None);
}

#[test]
fn a_rotated_copy_is_derived() {
    let of = demo("base-a");
    let found = |copy: &Memory| {
        let relation = relate(copy, &of).expect("weights of one tokenizer");
        (finding(&relation, mean_cka(&relation)), relation)
    };
    let (said, relation) = found(&of.rotated(3));
    assert!(shared_neurons(&relation).expect("enough neurons") > -6.0);
    assert_eq!(
        said.as_deref(),
        Some(
            "derived; weights shared in another basis by 2 of 2 layers; hidden space rotated, norms folded into matrices"
        )
    );
    let (said, relation) = found(&of.noisy(0.05, 4).rotated(5));
    assert!(
        said.is_some_and(|s| s.starts_with("derived")),
        "{relation:?}"
    );
    let (said, relation) = found(&of.random(9).rotated(3));
    assert!(
        said.is_some_and(|s| s.starts_with("unrelated")),
        "{relation:?}"
    );
    // What is found as it lies needs no sketch.
    assert_eq!(found(&of.noisy(0.05, 4)).1.sketch, None);
}

fn party(name: &str, role: Role, model: &Model) -> Party {
    let (_folder, checkpoint) = opened(model, false);
    Party {
        name: name.into(),
        role,
        identity: checkpoint.identity().clone(),
    }
}

fn measured(
    parties: &[Party],
    answer: Option<Result<Answer, ModelError>>,
) -> Result<Statistic, Reason> {
    let probe = WeightLineage::new();
    let key = (
        parties[0].name.clone(),
        RequestId::new("weight-lineage/base"),
    );
    let answers: BTreeMap<_, _> = answer.map(|a| (key, a)).into_iter().collect();
    probe
        .measure(&Observations::new(parties, &answers))
        .map_err(|abstention| abstention.reason)
}

#[test]
fn the_probe_scores_the_base_and_abstains_without_inputs() {
    let suspect = base().noisy(0.02, 5);
    let parties = [
        party("s", Role::Suspect, &suspect),
        party("b", Role::Base, &base()),
    ];
    let relation = related(&suspect, &base(), false);
    let got = measured(&parties, Some(Ok(Answer::Weights(relation.clone())))).expect("a score");
    assert_eq!(got.finding.as_deref(), Some("derived"));
    assert_eq!(
        (
            got.candidates[0].candidate.as_str(),
            got.candidates[0].units
        ),
        ("b", 3)
    );
    assert!(
        got.candidates[0].score > 0.99,
        "{}",
        got.candidates[0].score
    );

    assert_eq!(measured(&parties, None), Err(Reason::NotSupported));
    assert_eq!(
        measured(&parties[..1], Some(Ok(Answer::Weights(relation.clone())))),
        Err(Reason::NoBase)
    );
    let empty = WeightRelation {
        layers: vec![],
        ..relation
    };
    assert_eq!(
        measured(&parties, Some(Ok(Answer::Weights(empty)))),
        Err(Reason::NotComparable)
    );
}
