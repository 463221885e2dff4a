//! The rank of a change: a merged LoRA adds a matrix of low rank, training all weights does not.

use filiation_checkpoint::CheckpointError;
use filiation_core::{ChangeRank, ChangedTensor, WeightRelation};
use ndarray::Array2;

use super::change::{self, Alignment};
use super::floor::{self, Precision};
use super::layout::{self, Axis};
use super::spectrum;
use super::tensor::Tensor;

/// Most elements of a matrix whose rank is measured: 1 GiB in `f32`.
const ELEMENTS: usize = 1 << 28;

/// Rank of the change from `other` to `this`, axes moved as `alignment` says. `None` for vectors,
/// for shapes that differ or are too large, and where the values are no floats of 16 bits or more.
pub(super) fn rank(
    this: &Tensor<'_>,
    other: &Tensor<'_>,
    axes: (Axis, Axis),
    alignment: &Alignment<'_>,
) -> Result<Option<ChangeRank>, CheckpointError> {
    let (Some(mine), Some(theirs)) = (this.dtype, other.dtype) else {
        return Ok(None);
    };
    if this.shape.len() != 2 || this.len() > ELEMENTS {
        return Ok(None);
    }
    let Some((a, b)) = change::aligned(this, other, axes, alignment)? else {
        return Ok(None);
    };
    let precisions = (Precision::of(&a, mine), Precision::of(&b, theirs));
    Ok(match precisions {
        (Some(mine), Some(theirs)) => measure((a, mine), (&b, theirs)),
        _ => None,
    })
}

fn measure(
    (mine, of_mine): (Array2<f32>, Precision),
    (theirs, of_theirs): (&Array2<f32>, Precision),
) -> Option<ChangeRank> {
    let rounding = floor::of((&mine, of_mine), (theirs, of_theirs));
    let change = mine - theirs;
    let found = spectrum::above(&change, rounding.floor, rounding.square);
    let all = found.above_square + found.rest_square;
    (all > 0.0 && all.is_finite()).then(|| ChangeRank {
        at_least: u32::try_from(found.above).unwrap_or(u32::MAX),
        rest_is_rounding: found.rest_square <= rounding.square,
        share: found.above_square / all,
        floor: rounding.floor / all.sqrt(),
    })
}

/// Whether a change is of low rank as far as can be seen: rounding explains what the large singular
/// values leave, these are most of it, and two factors of that rank hold fewer numbers than the
/// matrix.
fn is_low(rank: &ChangeRank, shape: &[u32]) -> bool {
    let [m, n, r] = match shape {
        &[m, n] => [m, n, rank.at_least].map(u64::from),
        _ => return false,
    };
    r > 0 && r * (m + n) < m * n && rank.rest_is_rounding && rank.share > 0.5
}

/// Whether a change is no more than rounding, though no cast or quantiser makes one of the other.
fn is_nothing(rank: &ChangeRank) -> bool {
    rank.at_least == 0 && rank.rest_is_rounding
}

/// The matrices of low-rank change, and how often something else changed.
struct Merge<'a> {
    low: Vec<(&'a ChangedTensor, u32)>,
    others: usize,
}

impl<'a> Merge<'a> {
    /// `None` where no matrix changed so, or where another one of a layer changed otherwise.
    fn found(relation: &'a WeightRelation) -> Option<Self> {
        let (mut low, mut others) = (Vec::new(), 0);
        for tensor in &relation.changed {
            match &tensor.rank {
                Some(rank) if is_low(rank, &tensor.shape) => low.push((tensor, rank.at_least)),
                Some(rank) if is_nothing(rank) => {}
                _ if tensor.shape.len() == 2 && layout::layer_of(&tensor.tensor).is_some() => {
                    return None;
                }
                _ => others += 1,
            }
        }
        (!low.is_empty()).then_some(Self { low, others })
    }

    fn ranks(&self) -> (u32, u32) {
        let each = self.low.iter().map(|(_, rank)| *rank);
        each.fold((u32::MAX, 0), |(l, h), r| (l.min(r), h.max(r)))
    }
}

/// Highest rank of the matrices in [`note`].
pub(super) fn highest(relation: &WeightRelation) -> Option<u32> {
    Some(Merge::found(relation)?.ranks().1)
}

/// Number of the matrices in [`note`].
pub(super) fn matrices(relation: &WeightRelation) -> Option<usize> {
    Some(Merge::found(relation)?.low.len())
}

/// Says that the change is of low rank, and where, if all matrices of layers that changed did so.
pub(super) fn note(relation: &WeightRelation) -> Option<String> {
    /// Places named; the relation lists all.
    const NAMED: usize = 6;
    let merge = Merge::found(relation)?;
    let (lowest, highest) = merge.ranks();
    let rank = if lowest == highest {
        highest.to_string()
    } else {
        format!("{lowest} to {highest}")
    };
    let mut places = places(&merge.low);
    if places.len() > NAMED {
        let more = places.len() - NAMED;
        places.truncate(NAMED);
        places.push(format!("{more} places more"));
    }
    let (matrices, are) = match merge.low.len() {
        1 => ("matrix", "is"),
        _ => ("matrices", "are"),
    };
    let mut text = format!(
        "low-rank change: {} {matrices} {are} changed by rank {rank} above the rounding floor, and by no more \
         than rounding below it: {}",
        merge.low.len(),
        places.join(", ")
    );
    match merge.others {
        0 => {}
        1 => text.push_str(" (1 other tensor changed too)"),
        n => text.push_str(&format!(" ({n} other tensors changed too)")),
    }
    Some(text)
}

/// Modules with the layers that they are in: `self_attn.q_proj of layers 0-3`.
fn places(low: &[(&ChangedTensor, u32)]) -> Vec<String> {
    let mut by_module: Vec<(&str, Vec<usize>)> = Vec::new();
    for (tensor, _) in low {
        let name = tensor.tensor.trim_end_matches(".weight");
        let module = layout::within_layer(name);
        let at = by_module.iter().position(|(m, _)| *m == module);
        let at = at.unwrap_or_else(|| {
            by_module.push((module, Vec::new()));
            by_module.len() - 1
        });
        by_module[at].1.extend(layout::layer_of(name));
    }
    by_module
        .into_iter()
        .map(|(module, layers)| match layers.as_slice() {
            [] => module.to_owned(),
            [one] => format!("{module} of layer {one}"),
            many => format!("{module} of layers {}", runs(many)),
        })
        .collect()
}

/// Ascending numbers, neighbours joined: `0-3, 7`.
fn runs(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &n in numbers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == n => *end = n,
            _ => runs.push((n, n)),
        }
    }
    let each: Vec<String> = runs
        .into_iter()
        .map(|(start, end)| match start == end {
            true => start.to_string(),
            false => format!("{start}-{end}"),
        })
        .collect();
    each.join(", ")
}

#[cfg(test)]
mod tests;
