//! Sketches a model, one layer at a time.

use std::collections::{BTreeMap, BTreeSet};

use filiation_checkpoint::config::{ModelConfig, NormKind};
use filiation_checkpoint::{CheckpointError, ModelWeights};
use filiation_core::Digest;
use ndarray::{Array1, Array2, Axis};
use rayon::prelude::*;

use super::{
    ANCHORS, COORDINATES, Facts, LEAST_TOKENS, Layer, METHOD, NEURONS, Pack, Shape, TOKENS,
};
use crate::ProbeError;
use crate::lineage::layout::{self, Part};
use crate::lineage::tensor::Tensor;

impl Pack {
    /// Sketches the weights of a model. Reads the file once, to digest it, and of the matrices the
    /// queries, the keys, what ranks the neurons, and a few rows.
    ///
    /// # Errors
    /// Where weights cannot be read, or the model has fewer than 64 tokens.
    pub fn of(model: &dyn ModelWeights) -> Result<Self, ProbeError> {
        let config = model.config();
        let tokens = tokens(model)?;
        if tokens.len() < LEAST_TOKENS {
            return Err(ProbeError::TooSmall {
                model: model.identity().source.clone(),
                what: "tokens",
                found: tokens.len(),
                needed: LEAST_TOKENS,
            });
        }
        let embeddings = embeddings(model, &tokens)?;
        let by_layer = by_layer(config);
        let sketched = || {
            (0..config.layers.len())
                .into_par_iter()
                .map(|layer| {
                    let found = sketch(model, layer, &embeddings);
                    for name in by_layer.get(&layer).into_iter().flatten() {
                        model.release(name);
                    }
                    found
                })
                .collect::<Result<Vec<_>, _>>()
        };
        // The digest waits for the disk while sketches are computed.
        let (identity, sketched) = rayon::join(|| model.identity().clone(), sketched);
        let sketched = sketched?;
        let (layers, constant): (Vec<_>, Vec<_>) = sketched.into_iter().unzip();
        let facts = Facts {
            method: METHOD.into(),
            identity,
            shape: Shape {
                width: config.width,
                feed_forward: config.feed_forward,
                layers: config.layers.len(),
                heads: config.heads,
                kv_heads: config.kv_heads,
                head_dim: config.head_dim,
                vocabulary: config.vocabulary,
            },
            stored: stored(model, config)?,
            constant_norms: constant.into_iter().all(|c| c),
            tokens: tokens.into_iter().map(|(token, _)| token).collect(),
        };
        let gram = embeddings.dot(&embeddings.t());
        let width = config.width;
        let dimensions = COORDINATES.min(width);
        let kept: Vec<usize> = (0..dimensions).map(|k| k * width / dimensions).collect();
        let anchors: Vec<usize> = (0..ANCHORS).collect();
        let coordinates = embeddings.select(Axis(0), &anchors).select(Axis(1), &kept);
        let mut pack = Self {
            facts,
            digest: Digest::of(&[]),
            gram,
            coordinates,
            layers,
        };
        // As it will be read again, so that a pack and its file compare alike.
        pack = pack.through_bytes()?;
        Ok(pack)
    }
}

/// The tokens of a sketch with their rows: the same ones for any two vocabularies that have them.
///
/// First those of one ASCII character, with or without a space before it, which almost all
/// vocabularies have, so that two which share a tenth share most of these; then those of two; each
/// kind in the order of its digests.
fn tokens(of: &dyn ModelWeights) -> Result<Vec<(String, u32)>, CheckpointError> {
    let rows = of.config().vocabulary as u32;
    let entries = match of.vocabulary() {
        Ok(entries) => entries,
        // Rows by number, which no token of a vocabulary is named like.
        Err(CheckpointError::MissingFile { .. }) => {
            (0..rows).map(|row| (format!("\0row {row}"), row)).collect()
        }
        Err(error) => return Err(error),
    };
    let mut by_text: BTreeMap<String, u32> = BTreeMap::new();
    for (token, row) in entries {
        if row < rows {
            by_text.entry(text_of(&token)).or_insert(row);
        }
    }
    let mut all: Vec<_> = by_text
        .into_iter()
        .map(|(text, row)| {
            let bare = text.strip_prefix(' ').unwrap_or(&text);
            let plain = bare.bytes().all(|b| b.is_ascii_graphic());
            let length = if plain { bare.len().min(3) } else { 3 };
            let digest = Digest::of(format!("filiation-lineage-pack/1 {text}").as_bytes());
            ((length, digest), (text, row))
        })
        .collect();
    all.sort();
    all.truncate(TOKENS);
    Ok(all.into_iter().map(|(_, token)| token).collect())
}

/// A token's text with its leading space, whatever mark its vocabulary uses for one.
fn text_of(token: &str) -> String {
    match token.strip_prefix(['Ġ', '▁']) {
        Some(rest) => format!(" {rest}"),
        None => token.to_owned(),
    }
}

fn embeddings(
    of: &dyn ModelWeights,
    tokens: &[(String, u32)],
) -> Result<Array2<f32>, CheckpointError> {
    let name = layout::embedding(of.config().architecture);
    let tensor = Tensor::of(of, name)?;
    let mut rows = Array2::zeros((tokens.len(), of.config().width));
    for (mut into, (_, row)) in rows.rows_mut().into_iter().zip(tokens) {
        let row = *row as usize;
        into.assign(&tensor.rows(row..row + 1)?.row(0));
    }
    of.release(name);
    Ok(rows)
}

fn by_layer(config: &ModelConfig) -> BTreeMap<usize, Vec<String>> {
    let mut names: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for tensor in config.expected_tensors() {
        if let Some(layer) = layout::layer_of(&tensor.name) {
            names.entry(layer).or_default().push(tensor.name);
        }
    }
    names
}

fn stored(of: &dyn ModelWeights, config: &ModelConfig) -> Result<Vec<String>, CheckpointError> {
    let mut kinds = BTreeSet::new();
    for tensor in config.expected_tensors() {
        if tensor.optional || tensor.shape.len() != 2 {
            continue;
        }
        let dtype = of.stored(&tensor.name)?.dtype;
        kinds.insert(dtype.map_or_else(|| "codes".to_owned(), |d| d.to_string()));
    }
    Ok(kinds.into_iter().collect())
}

/// A layer, and whether its norms scale all dimensions alike.
fn sketch(
    of: &dyn ModelWeights,
    layer: usize,
    embeddings: &Array2<f32>,
) -> Result<(Layer, bool), CheckpointError> {
    let config = of.config();
    let (before, between) = layout::norms(config, layer);
    let attention = scales(of, before)?;
    let feed_forward = scales(of, between)?;
    let constant = is_constant(&attention) && is_constant(&feed_forward);
    let to_attention = embeddings * &attention;
    let gram = |part| -> Result<_, CheckpointError> {
        let mut sum = Array2::zeros((embeddings.nrows(), embeddings.nrows()));
        layout::each_block(of, layer, part, |rows| {
            let responses = to_attention.dot(&rows.t());
            sum += &responses.dot(&responses.t());
        })?;
        Ok(sum)
    };
    let (query, key) = (gram(Part::Query)?, gram(Part::Key)?);
    let neurons = largest(of, layer)?;
    let to_neurons = embeddings * &feed_forward;
    let up = layout::read_rows(of, layer, Part::Up, &neurons)?;
    let twin = layout::read_rows(of, layer, Part::Twin, &neurons)?;
    // A gate reads through the norm; without gates the twin is what a neuron writes.
    let facing = if config.gated {
        &to_neurons
    } else {
        embeddings
    };
    let found = Layer {
        query,
        key,
        neurons: neurons.iter().map(|&n| n as u32).collect(),
        up: to_neurons.dot(&up.t()),
        twin: facing.dot(&twin.t()),
    };
    Ok((found, constant))
}

/// What a norm multiplies each dimension by; ones where there is none.
fn scales(of: &dyn ModelWeights, name: Option<String>) -> Result<Array1<f32>, CheckpointError> {
    let width = of.config().width;
    let Some(name) = name else {
        return Ok(Array1::ones(width));
    };
    let weights = Array1::from_vec(of.rows(&name, 0..width)?);
    Ok(match of.config().norm.kind {
        NormKind::RmsPlusOne => weights + 1.0,
        NormKind::Rms | NormKind::Layer => weights,
    })
}

/// Whether all are the same, as far as BF16 can say.
fn is_constant(scales: &Array1<f32>) -> bool {
    let first = scales.first().copied().unwrap_or(1.0);
    scales
        .iter()
        .all(|s| (s - first).abs() <= first.abs() / 256.0)
}

/// The neurons whose rows are largest, ascending: by their gates, which no rescaling of a neuron
/// can change without changing the function, or else by what they read.
fn largest(of: &dyn ModelWeights, layer: usize) -> Result<Vec<usize>, CheckpointError> {
    let part = if of.config().gated {
        Part::Twin
    } else {
        Part::Up
    };
    let mut squares = Vec::with_capacity(of.config().feed_forward);
    layout::each_block(of, layer, part, |rows| {
        squares.extend(rows.rows().into_iter().map(|row| row.dot(&row)));
    })?;
    let mut order: Vec<usize> = (0..squares.len()).collect();
    order.sort_by(|&a, &b| squares[b].total_cmp(&squares[a]).then(a.cmp(&b)));
    order.truncate(NEURONS);
    order.sort_unstable();
    Ok(order)
}
