//! Does the suspect share weights with the base? Axis B.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, Answer, Axis, Basis, CandidateScore, Interval, LayerRelation, MethodId,
    Observations, Probe, Reason, Request, RequestId, Role, Statistic, Want, WeightRelation,
};

use super::low_rank;
use super::relate::{LOG10_SIZE, shared_neurons};

/// Mean CKA above which "unrelated" is not said although no neurons are shared.
///
/// The permutation null of CKA over n dimensions has variance 2/(n(n − 3)) whatever the data, so
/// by Cantelli's inequality it passes this with probability below 0.01 for n ≥ 64.
const UNSETTLED_CKA: f64 = 0.25;

/// Weight lineage of the suspect: AWM's score against the base, and what exact tests say.
///
/// The score is the mean unbiased CKA of query and key projections over the layers; it means
/// something only against models of known history. The finding rests on tests that need none:
/// equality up to rounding, and MATCH at size 10⁻⁶ over all layers, of the weights as they lie and,
/// where these share nothing, of sketches, which no change of basis moves.
#[derive(Debug, Clone)]
pub struct WeightLineage {
    id: MethodId,
    plan: Vec<Request>,
}

impl WeightLineage {
    /// The name of the probe.
    pub const NAME: &'static str = "weight-lineage";

    /// The probe. It has no parameters to choose.
    pub fn new() -> Self {
        Self {
            id: MethodId::new(Self::NAME, 2, &[("log10_size", &LOG10_SIZE)]),
            plan: vec![Request {
                id: Self::request(),
                to: vec![Role::Suspect],
                want: Want::CompareWeights { with: Role::Base },
            }],
        }
    }

    fn request() -> RequestId {
        RequestId::new("weight-lineage/base")
    }
}

impl Default for WeightLineage {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe for WeightLineage {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let base = seen.base().ok_or_else(|| {
            Abstention::new(Reason::NoBase, "no base is named, and one is compared with")
        })?;
        let relation = relation(seen)?;
        if relation.layers.is_empty() {
            return Err(Abstention::new(
                Reason::NotComparable,
                format!(
                    "the tokenizers share {} entries, needed at least 64 to align hidden dimensions",
                    relation.shared_vocabulary
                ),
            ));
        }
        let (score, sd) = mean_and_sd(relation.layers.iter().map(|l| (l.cka_q + l.cka_k) / 2.0));
        let units = u32::try_from(relation.layers.len()).unwrap_or(u32::MAX);
        let half = 1.959_963_984_540_054 * sd / f64::from(units).sqrt();
        Ok(Statistic {
            method: self.id.clone(),
            axis: Axis::WeightLineage,
            basis: Basis::Population,
            unit: "mean unbiased CKA of query and key projections".into(),
            candidates: vec![CandidateScore {
                candidate: base.name.clone(),
                score,
                interval: (units > 1).then_some(Interval {
                    lower: score - half,
                    upper: score + half,
                    level: 0.95,
                }),
                effect: (sd > 0.0).then(|| score / sd),
                units,
                exact: None,
            }],
            controls: Vec::new(),
            finding: finding(relation, score),
            power: None,
            details: details(relation),
        })
    }
}

fn relation<'a>(seen: &Observations<'a>) -> Result<&'a WeightRelation, Abstention> {
    let unseen = |detail: String| Abstention::new(Reason::NotSupported, detail);
    let suspect = seen
        .suspect()
        .ok_or_else(|| unseen("no suspect is named".into()))?;
    match seen.result(suspect, &WeightLineage::request()) {
        Some(Ok(Answer::Weights(relation))) => Ok(relation),
        Some(Ok(_)) => Err(unseen("the answer is not a relation of weights".into())),
        Some(Err(error)) => Err(unseen(format!("weights were not compared: {error}"))),
        None => Err(unseen("weights were not compared".into())),
    }
}

/// Mean and standard deviation (n − 1), the latter 0 for a single value.
fn mean_and_sd(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let square: f64 = values.map(|v| (v - mean) * (v - mean)).sum();
    (
        mean,
        if n > 1.0 {
            (square / (n - 1.0)).sqrt()
        } else {
            0.0
        },
    )
}

/// What the exact tests say, and which disguise was undone. `None` where attention is alike but
/// no neurons are shared, in this basis or in sketches: the tests here cannot settle it.
pub fn finding(relation: &WeightRelation, mean_cka: f64) -> Option<String> {
    let layers = |has: fn(&LayerRelation) -> bool| relation.layers.iter().any(has);
    let mut notes = Vec::new();
    for (moved, note) in [
        (relation.permuted, "hidden dimensions permuted"),
        (layers(|l| l.neurons_permuted), "neurons permuted"),
        (layers(|l| l.heads_permuted), "heads permuted"),
    ] {
        if moved {
            notes.push(note.to_owned());
        }
    }
    let same = relation.largest_change == Some(0.0);
    let related = shared_neurons(relation).is_some_and(|p| p <= LOG10_SIZE);
    let sketch = relation.sketch.as_ref();
    let word = if same {
        if layers(|l| l.relative_change.is_some_and(|c| c > 0.0)) {
            notes.push("weights stored with other precision".into());
        }
        "same model"
    } else if related {
        notes.extend(low_rank::note(relation));
        "derived"
    } else if let Some(sketch) = sketch.filter(|s| !s.inherited.is_empty()) {
        notes.push(format!(
            "weights shared in another basis by {} of {} layers",
            sketch.inherited.len(),
            relation.layers.len()
        ));
        notes.extend(sketch.notes.iter().cloned());
        "derived"
    } else if sketch.is_some_and(|s| !s.settled) || mean_cka > UNSETTLED_CKA {
        return None;
    } else {
        if relation.same_configuration {
            notes.push("metadata copied: same configuration, other weights".into());
        }
        "unrelated"
    };
    Some(
        std::iter::once(word.to_owned())
            .chain(notes)
            .collect::<Vec<_>>()
            .join("; "),
    )
}

/// Standard deviation of one CKA over random pairings of `n` dimensions, whatever the weights.
fn cka_null_sd(n: u32) -> Option<f64> {
    let n = f64::from(n);
    (n > 3.0).then(|| (2.0 / (n * (n - 3.0))).sqrt())
}

fn details(relation: &WeightRelation) -> BTreeMap<String, f64> {
    let changes = relation.layers.iter().filter_map(|l| l.relative_change);
    let sketch = relation.sketch.as_ref();
    let flag = |b: bool| f64::from(u8::from(b));
    [
        (
            "shared_vocabulary",
            Some(f64::from(relation.shared_vocabulary)),
        ),
        (
            "same_configuration",
            Some(flag(relation.same_configuration)),
        ),
        ("permuted", Some(flag(relation.permuted))),
        ("largest_change", relation.largest_change),
        ("largest_layer_change", changes.max_by(f64::total_cmp)),
        ("shared_neurons_log10_p", shared_neurons(relation)),
        ("sketch_log10_p", sketch.and_then(|s| s.log10_p)),
        ("sketch_cka", sketch.and_then(|s| s.cka)),
        ("sketch_layers", sketch.map(|s| s.inherited.len() as f64)),
        (
            "aligned_dimensions",
            Some(f64::from(relation.aligned_dimensions)),
        ),
        ("cka_null_sd", cka_null_sd(relation.aligned_dimensions)),
        ("changed_tensors", Some(relation.changed.len() as f64)),
        (
            "low_rank_matrices",
            low_rank::matrices(relation).map(|n| n as f64),
        ),
        (
            "low_rank_highest",
            low_rank::highest(relation).map(f64::from),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}
