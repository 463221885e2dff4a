//! How the weights of one model relate to those of another, whatever order they were put in.
//!
//! AWM (Zeng et al., ICLR 2026, arXiv 2510.06738): shared tokens align the hidden dimensions,
//! unbiased CKA then compares query and key projections layer by layer, and layers are matched
//! by it where the models have different numbers of them. MATCH (see [`super`]) compares the
//! neurons. At the end the alignment is undone, and what is left is the change of the weights.

use filiation_checkpoint::config::ExpectedTensor;
use filiation_checkpoint::{CheckpointError, ModelWeights};
use filiation_core::{ChangeRank, ChangedTensor, LayerRelation, WeightRelation};
use filiation_stats::assignment::assign;
use filiation_stats::cka::CentredGram;
use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::align::{self, Hidden};
use super::change::{self, Alignment, Change};
use super::heads::Heads;
use super::layout::{self, Part};
use super::low_rank;
use super::neurons::{self, Views};
use super::pack;
use super::tensor::Tensor;
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
/// rounding"; it is `None` unless both models have the same tensors in the same shapes. Where no
/// shared weights are found as they lie, `sketch` says whether any are in another basis.
///
/// # Errors
/// Where a folder cannot be read.
pub fn relate(
    this: &dyn ModelWeights,
    other: &dyn ModelWeights,
) -> Result<WeightRelation, ProbeError> {
    let shared = vocabulary::shared(this, other)?;
    let mut relation = WeightRelation {
        this: this.identity().digest,
        other: other.identity().digest,
        shared_vocabulary: u32::try_from(shared.len()).unwrap_or(u32::MAX),
        same_configuration: this.config() == other.config(),
        permuted: false,
        aligned_dimensions: 0,
        largest_change: None,
        layers: Vec::new(),
        changed: Vec::new(),
        sketch: None,
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
    let (layers, tensors): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
    relation.layers = layers;
    relation.aligned_dimensions = pair.hidden.this.len().min(CKA_DIMENSIONS) as u32;
    let related = shared_neurons(&relation).is_some_and(|p| p <= LOG10_SIZE);
    let mut tensors = tensors.concat();
    tensors.extend(pair.outside_layers(related)?);
    // A tensor that could not be compared might hold any change.
    if same_tensors(this, other) && tensors.len() == needed(this).len() {
        relation.largest_change = Some(largest(&tensors));
    }
    if related {
        relation.permuted = is_reordered(&pair.hidden);
        relation.changed = tensors.into_iter().filter_map(Compared::changed).collect();
    } else {
        // Between strangers every order is chance.
        for layer in &mut relation.layers {
            (layer.neurons_permuted, layer.heads_permuted) = (false, false);
        }
        if relation.largest_change != Some(0.0) {
            relation.sketch = pack::relation(this, other);
        }
    }
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

/// A tensor of this model against its counterpart.
#[derive(Clone)]
struct Compared {
    name: String,
    shape: Vec<usize>,
    change: Change,
    rank: Option<ChangeRank>,
}

impl Compared {
    fn is_matrix(&self) -> bool {
        self.shape.len() == 2
    }

    fn changed(self) -> Option<ChangedTensor> {
        (!self.change.made.is_rounding()).then(|| ChangedTensor {
            tensor: self.name,
            shape: self.shape.iter().map(|&n| n as u32).collect(),
            relative_change: self.change.relative(),
            rank: self.rank,
        })
    }
}

/// Two models and how their hidden dimensions meet.
struct Pair<'a> {
    this: &'a dyn ModelWeights,
    other: &'a dyn ModelWeights,
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
        let grams = |of: &dyn ModelWeights, count: usize, own: bool| {
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
    ) -> Result<(LayerRelation, Vec<Compared>), CheckpointError> {
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
        let shared = found.as_ref().is_some_and(|m| m.log10_p <= LOG10_SIZE);
        let moved = shared && found.as_ref().is_some_and(|m| !m.in_place);
        let order = if moved && self.comparable {
            neurons::order(&mine, &theirs)
        } else {
            None
        };
        let alignment = Alignment {
            hidden: &self.hidden,
            neurons: order.as_deref(),
            heads: heads.as_ref(),
        };
        let tensors = self.compared(Some((layer, counterpart)), &alignment, shared)?;
        let matrices = tensors
            .iter()
            .filter(|t| t.is_matrix())
            .map(|t| t.change)
            .reduce(Change::and);
        let relation = LayerRelation {
            layer: layer as u32,
            counterpart: counterpart as u32,
            cka_q,
            cka_k,
            match_log10_p: found.map(|m| m.log10_p),
            relative_change: matrices.map(|m| m.relative()),
            neurons_permuted: order.is_some_and(|order| !order.is_sorted()),
            heads_permuted: heads.is_some(),
        };
        Ok((relation, tensors))
    }

    fn outside_layers(&self, ranked: bool) -> Result<Vec<Compared>, CheckpointError> {
        let alignment = Alignment {
            hidden: &self.hidden,
            neurons: None,
            heads: None,
        };
        self.compared(None, &alignment, ranked)
    }

    /// The tensors of a pair of layers, or those in no layer, with the ranks of their changes if
    /// these are asked for.
    fn compared(
        &self,
        layers: Option<(usize, usize)>,
        alignment: &Alignment<'_>,
        ranked: bool,
    ) -> Result<Vec<Compared>, CheckpointError> {
        if !self.comparable {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for tensor in needed(self.this) {
            if layout::layer_of(&tensor.name) != layers.map(|l| l.0) {
                continue;
            }
            let theirs = match layers {
                Some((_, counterpart)) => layout::in_layer(&tensor.name, counterpart),
                None => tensor.name.clone(),
            };
            all.extend(self.one(tensor, &theirs, alignment, ranked)?);
        }
        Ok(all)
    }

    /// `None` where the other has no such tensor, or another shape.
    fn one(
        &self,
        tensor: ExpectedTensor,
        theirs: &str,
        alignment: &Alignment<'_>,
        ranked: bool,
    ) -> Result<Option<Compared>, CheckpointError> {
        let (Ok(a), Ok(b)) = (
            Tensor::of(self.this, &tensor.name),
            Tensor::of(self.other, theirs),
        ) else {
            return Ok(None);
        };
        let axes = layout::axes(self.this.config().architecture, &tensor.name);
        let Some(change) = change::between(&a, &b, axes, alignment)? else {
            return Ok(None);
        };
        let rank = if ranked && !change.made.is_rounding() {
            low_rank::rank(&a, &b, axes, alignment)?
        } else {
            None
        };
        Ok(Some(Compared {
            name: tensor.name,
            shape: tensor.shape,
            change,
            rank,
        }))
    }

    /// Columns over the paired hidden dimensions, those of this model or of the other.
    fn paired(&self, matrix: &Array2<f32>, own: bool) -> Array2<f32> {
        if own {
            self.hidden.columns_of_this(matrix)
        } else {
            self.hidden.columns_of_other(matrix)
        }
    }

    fn views(
        &self,
        of: &dyn ModelWeights,
        layer: usize,
        own: bool,
    ) -> Result<Views, CheckpointError> {
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

fn same_heads(this: &dyn ModelWeights, other: &dyn ModelWeights) -> bool {
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

fn comparable(this: &dyn ModelWeights, other: &dyn ModelWeights) -> bool {
    let (a, b) = (this.config(), other.config());
    a.architecture == b.architecture && a.width == b.width
}

fn needed(of: &dyn ModelWeights) -> Vec<ExpectedTensor> {
    let mut all = of.config().expected_tensors();
    all.retain(|t| !t.optional);
    all
}

/// Whether both models have the same tensors in the same shapes.
fn same_tensors(this: &dyn ModelWeights, other: &dyn ModelWeights) -> bool {
    comparable(this, other) && needed(this) == needed(other)
}

/// Largest relative change that no rounding explains, 0 where there is none.
fn largest(tensors: &[Compared]) -> f64 {
    tensors
        .iter()
        .map(|t| &t.change)
        .filter(|c| !c.made.is_rounding())
        .map(Change::relative)
        .fold(0.0, f64::max)
}

/// Whether pairs are out of order or flipped; leaving dimensions out is neither.
fn is_reordered(hidden: &Hidden) -> bool {
    !hidden.other.is_sorted() || hidden.sign.iter().any(|&s| s < 0.0)
}
