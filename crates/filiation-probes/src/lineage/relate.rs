//! How the weights of one model relate to those of another, whatever order they were put in.
//!
//! AWM (Zeng et al., ICLR 2026, arXiv 2510.06738): shared tokens align the hidden dimensions,
//! unbiased CKA then compares query and key projections layer by layer, and layers are matched
//! by it where the models have different numbers of them. MATCH (see [`super`]) compares the
//! neurons. At the end the alignment is undone, and what is left is the change of the weights.

use filiation_checkpoint::{Checkpoint, CheckpointError};
use filiation_core::{LayerRelation, WeightRelation};
use filiation_stats::assignment::assign;
use filiation_stats::cka::CentredGram;
use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::align::{self, Hidden};
use super::change::{self, Alignment, Change};
use super::heads::Heads;
use super::layout::{self, Part};
use super::neurons::{self, Views};
use super::vocabulary;
use crate::ProbeError;

/// Most hidden dimensions that CKA is computed over: its cost grows with their square, and its
/// null is already ±0.0014 at this number.
const CKA_DIMENSIONS: usize = 1024;

/// The same where all layers meet all layers.
const PAIRING_DIMENSIONS: usize = 256;

/// Fewest shared tokens that hidden dimensions are aligned by.
pub(super) const LEAST_SHARED: usize = 64;

/// log10 of the size of the test that decides between related and unrelated, over all layers.
pub const LOG10_SIZE: f64 = -6.0;

/// The weights of `this` against those of `other`.
///
/// `layers` is empty where the tokenizers share fewer than 64 tokens: nothing can be aligned.
/// `largest_change` leaves out tensors that an exact test explains as a rounding of the other's
/// (equal, cast to BF16 or F16, or quantised to at most 8 bits), so that 0 says "the same up to
/// rounding"; it is `None` unless both models have the same tensors in the same shapes.
///
/// # Errors
/// Where a folder cannot be read.
pub fn relate(this: &Checkpoint, other: &Checkpoint) -> Result<WeightRelation, ProbeError> {
    let shared = vocabulary::shared(this, other)?;
    let mut relation = WeightRelation {
        this: this.identity().digest,
        other: other.identity().digest,
        shared_vocabulary: u32::try_from(shared.len()).unwrap_or(u32::MAX),
        same_configuration: this.config() == other.config(),
        permuted: false,
        largest_change: None,
        layers: Vec::new(),
    };
    if shared.len() < LEAST_SHARED {
        return Ok(relation);
    }
    let hidden = align::hidden(this, other, &shared)?;
    let pair = Pair {
        this,
        other,
        hidden,
        comparable: comparable(this, other),
    };
    let layers = pair
        .layers()?
        .into_par_iter()
        .map(|(layer, counterpart)| pair.layer(layer, counterpart))
        .collect::<Result<Vec<_>, _>>()?;
    let mut changes = pair.outside_layers();
    changes.extend(layers.iter().flat_map(|(_, changes)| changes));
    relation.layers = layers.into_iter().map(|(layer, _)| layer).collect();
    if same_tensors(this, other) {
        relation.largest_change = Some(largest(&changes));
    }
    relation.permuted =
        is_reordered(&pair.hidden) && shared_neurons(&relation).is_some_and(|p| p <= LOG10_SIZE);
    Ok(relation)
}

/// log10 p of "no layer shares neurons with its counterpart": the least p of MATCH over the
/// layers times their number (Bonferroni; the layers may depend on each other). `None` where no
/// layer has one.
pub fn shared_neurons(relation: &WeightRelation) -> Option<f64> {
    let each: Vec<f64> = relation
        .layers
        .iter()
        .filter_map(|l| l.match_log10_p)
        .collect();
    let least = each.iter().copied().min_by(f64::total_cmp)?;
    Some((least + (each.len() as f64).log10()).min(0.0))
}

/// Two models and how their hidden dimensions meet.
struct Pair<'a> {
    this: &'a Checkpoint,
    other: &'a Checkpoint,
    hidden: Hidden,
    /// Same architecture and width: tensors of the same name mean the same.
    comparable: bool,
}

impl Pair<'_> {
    /// Matched layers, in the order of this: by position where there are as many, else by CKA.
    fn layers(&self) -> Result<Vec<(usize, usize)>, CheckpointError> {
        let (mine, theirs) = (
            self.this.config().layers.len(),
            self.other.config().layers.len(),
        );
        if mine == theirs {
            return Ok((0..mine).map(|layer| (layer, layer)).collect());
        }
        let grams = |of: &Checkpoint, count: usize, own: bool| {
            (0..count)
                .into_par_iter()
                .map(|layer| {
                    let gram = |part| -> Result<_, CheckpointError> {
                        let paired = self.paired(&layout::read(of, layer, part)?, own);
                        Ok(gram(&paired, PAIRING_DIMENSIONS))
                    };
                    Ok((gram(Part::Query)?, gram(Part::Key)?))
                })
                .collect::<Result<Vec<_>, CheckpointError>>()
        };
        let (a, b) = (
            grams(self.this, mine, true)?,
            grams(self.other, theirs, false)?,
        );
        let cost: Vec<f64> = a
            .iter()
            .flat_map(|x| {
                b.iter()
                    .map(|y| 1.0 - (cka(&x.0, &y.0) + cka(&x.1, &y.1)) / 2.0)
            })
            .collect();
        let columns = assign(&cost, mine, theirs)
            .map(|a| a.columns)
            .unwrap_or_default();
        Ok(columns
            .into_iter()
            .enumerate()
            .filter_map(|(layer, counterpart)| Some((layer, counterpart?)))
            .collect())
    }

    /// A layer and its counterpart, and the changes of its tensors where they can be compared.
    fn layer(
        &self,
        layer: usize,
        counterpart: usize,
    ) -> Result<(LayerRelation, Vec<Change>), CheckpointError> {
        let read = |part| -> Result<_, CheckpointError> {
            let mine = self.paired(&layout::read(self.this, layer, part)?, true);
            let theirs = self.paired(&layout::read(self.other, counterpart, part)?, false);
            Ok((mine, theirs))
        };
        let (query, key) = (read(Part::Query)?, read(Part::Key)?);
        let alike = |(mine, theirs): &(Array2<f32>, Array2<f32>)| {
            cka(&gram(mine, CKA_DIMENSIONS), &gram(theirs, CKA_DIMENSIONS))
        };
        let (cka_q, cka_k) = (alike(&query), alike(&key));
        let heads = if self.comparable && same_heads(self.this, self.other) {
            let config = self.this.config();
            Heads::matched(config, (&query.0, &key.0), (&query.1, &key.1))
        } else {
            None
        };
        let mine = self.views(self.this, layer, true)?;
        let theirs = self.views(self.other, counterpart, false)?;
        let found = neurons::matching(&mine, &theirs);
        let moved = found
            .as_ref()
            .is_some_and(|m| !m.in_place && m.log10_p <= LOG10_SIZE);
        let order = if moved && self.comparable {
            neurons::order(&mine, &theirs)
        } else {
            None
        };
        let changes = self.changes(Some((layer, counterpart)), order.as_deref(), heads.as_ref());
        let matrices = changes
            .iter()
            .filter(|(is_matrix, _)| *is_matrix)
            .map(|(_, change)| *change)
            .reduce(Change::and);
        let relation = LayerRelation {
            layer: layer as u32,
            counterpart: counterpart as u32,
            cka_q,
            cka_k,
            match_log10_p: found.map(|m| m.log10_p),
            relative_change: matrices.map(|m| m.relative()),
        };
        Ok((
            relation,
            changes.into_iter().map(|(_, change)| change).collect(),
        ))
    }

    fn outside_layers(&self) -> Vec<Change> {
        self.changes(None, None, None)
            .into_iter()
            .map(|(_, change)| change)
            .collect()
    }

    /// Changes of the tensors of a pair of layers, or of those in no layer; with whether each is
    /// a matrix.
    fn changes(
        &self,
        layers: Option<(usize, usize)>,
        neurons: Option<&[usize]>,
        heads: Option<&Heads>,
    ) -> Vec<(bool, Change)> {
        if !self.comparable {
            return Vec::new();
        }
        let alignment = Alignment {
            hidden: &self.hidden,
            neurons,
            heads,
        };
        let architecture = self.this.config().architecture;
        self.this
            .config()
            .expected_tensors()
            .into_iter()
            .filter(|t| !t.optional && layout::layer_of(&t.name) == layers.map(|l| l.0))
            .filter_map(|tensor| {
                let theirs = match layers {
                    Some((_, counterpart)) => layout::in_layer(&tensor.name, counterpart),
                    None => tensor.name.clone(),
                };
                let a = self.this.tensor(&tensor.name).ok()?;
                let b = self.other.tensor(&theirs).ok()?;
                let axes = layout::axes(architecture, &tensor.name);
                let change = change::between(&a, &b, axes, &alignment)?;
                Some((tensor.shape.len() == 2, change))
            })
            .collect()
    }

    /// Columns over the paired hidden dimensions, those of this model or of the other.
    fn paired(&self, matrix: &Array2<f32>, own: bool) -> Array2<f32> {
        if own {
            self.hidden.columns_of_this(matrix)
        } else {
            self.hidden.columns_of_other(matrix)
        }
    }

    fn views(&self, of: &Checkpoint, layer: usize, own: bool) -> Result<Views, CheckpointError> {
        let read = |part| Ok(self.paired(&layout::read(of, layer, part)?, own));
        Ok(Views::new(read(Part::Up)?, read(Part::Twin)?))
    }
}

/// Gram matrix of at most `most` hidden dimensions of a projection, outputs × hidden.
fn gram(paired: &Array2<f32>, most: usize) -> Option<CentredGram> {
    let dimensions = paired.ncols();
    if dimensions <= most {
        return CentredGram::linear(paired.t());
    }
    let kept: Vec<usize> = (0..most).map(|k| k * dimensions / most).collect();
    CentredGram::linear(paired.select(Axis(1), &kept).t())
}

fn same_heads(this: &Checkpoint, other: &Checkpoint) -> bool {
    let (a, b) = (this.config(), other.config());
    (a.heads, a.kv_heads, a.head_dim) == (b.heads, b.kv_heads, b.head_dim)
}

/// CKA, 0 where one side is constant.
fn cka(a: &Option<CentredGram>, b: &Option<CentredGram>) -> f64 {
    a.as_ref()
        .zip(b.as_ref())
        .and_then(|(a, b)| a.cka(b))
        .unwrap_or(0.0)
}

fn comparable(this: &Checkpoint, other: &Checkpoint) -> bool {
    let (a, b) = (this.config(), other.config());
    a.architecture == b.architecture && a.width == b.width
}

/// Whether both models have the same tensors in the same shapes.
fn same_tensors(this: &Checkpoint, other: &Checkpoint) -> bool {
    let needed = |of: &Checkpoint| {
        let mut all = of.config().expected_tensors();
        all.retain(|t| !t.optional);
        all
    };
    comparable(this, other) && needed(this) == needed(other)
}

/// Largest relative change that no rounding explains, 0 where there is none.
fn largest(changes: &[Change]) -> f64 {
    changes
        .iter()
        .filter(|c| !c.made.is_rounding())
        .map(Change::relative)
        .fold(0.0, f64::max)
}

/// Whether pairs are out of order or flipped; leaving dimensions out is neither.
fn is_reordered(hidden: &Hidden) -> bool {
    !hidden.other.is_sorted() || hidden.sign.iter().any(|&s| s < 0.0)
}
