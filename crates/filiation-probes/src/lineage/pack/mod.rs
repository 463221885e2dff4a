//! Lineage packs: what tells a model's weights from others, in a few megabytes and in terms that
//! disguises leave alone.
//!
//! A few tokens that most vocabularies have are sent, as their embeddings lie in the file, through
//! the matrices that read the residual stream, norms folded in: E diag(g) Wᵀ. Whatever basis the
//! hidden dimensions have been put in (permuted, flipped, rotated, norms folded or not), the products
//! stay. Kept are, of each layer, the Gram matrices of the products with the query and the key
//! projection, which reordered heads leave alone too, and the products with the neurons of the
//! largest weights; which neurons these are does not depend on their order.

mod build;
mod compare;
mod file;
mod frame;
mod merge;
#[cfg(test)]
mod tests;

use filiation_checkpoint::ModelWeights;
use filiation_core::{Digest, ModelIdentity, SketchRelation};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

pub use compare::{Kinship, LayerKinship, kinship};
pub use merge::{Mixture, mixtures};

/// What the sketches are; packs of different methods are not compared.
const METHOD: &str = "token-responses/1;tokens=160;neurons=160;anchors=16;coordinates=256";

/// Tokens of a pack, as far as the vocabulary has them.
const TOKENS: usize = 160;

/// Neurons of a layer, as far as it has them.
const NEURONS: usize = 160;

/// Tokens whose coordinates are kept as they lie, and how many coordinates.
const ANCHORS: usize = 16;
const COORDINATES: usize = 256;

/// Fewest tokens that two packs are compared by.
const LEAST_TOKENS: usize = 64;

/// A model's sketch.
#[derive(Debug, Clone)]
pub struct Pack {
    facts: Facts,
    digest: Digest,
    /// Tokens × tokens: inner products of their embeddings.
    gram: Array2<f32>,
    /// Anchors × coordinates, as they lie.
    coordinates: Array2<f32>,
    layers: Vec<Layer>,
}

/// What a pack says about its model in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    method: String,
    identity: ModelIdentity,
    shape: Shape,
    /// How the matrices are stored, sorted.
    stored: Vec<String>,
    /// Whether every norm before a block scales all dimensions alike.
    constant_norms: bool,
    tokens: Vec<String>,
}

/// Sizes of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Hidden dimensions.
    pub width: usize,
    /// Neurons of a layer.
    pub feed_forward: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key heads.
    pub kv_heads: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocabulary: usize,
}

#[derive(Debug, Clone)]
struct Layer {
    /// Tokens × tokens.
    query: Array2<f32>,
    key: Array2<f32>,
    /// Which neurons, ascending.
    neurons: Vec<u32>,
    /// Tokens × neurons.
    up: Array2<f32>,
    twin: Array2<f32>,
}

/// What the sketches of two models say; `None` where either has too little to sketch.
pub(super) fn relation(
    this: &dyn ModelWeights,
    other: &dyn ModelWeights,
) -> Option<SketchRelation> {
    let found = kinship(&Pack::of(this).ok()?, &Pack::of(other).ok()?, 1);
    let inherited = found.layers.iter().filter(|l| l.inherited);
    Some(SketchRelation {
        log10_p: found.log10_p,
        cka: found.cka,
        inherited: inherited.map(|l| l.layer as u32).collect(),
        settled: found.finding.is_some(),
        notes: found.notes,
    })
}

impl Pack {
    /// What the model is.
    pub const fn identity(&self) -> &ModelIdentity {
        &self.facts.identity
    }

    /// Its sizes.
    pub const fn shape(&self) -> &Shape {
        &self.facts.shape
    }

    /// Digest of the pack's content: its name in a store.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}
