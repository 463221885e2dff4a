use std::collections::BTreeMap;

use filiation_core::{Digest, Role, canonical};
use filiation_watermark::KeyFile;
use serde::{Deserialize, Serialize};

use crate::recipe::FORMAT;
use crate::{Hiding, ModelRecipe, Recipe, Schedule, Shape, Signal, Slice, Stored};

/// What a trained model descends from: `lineage.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// Format of this file, 1.
    pub format: u32,
    /// The model.
    pub name: String,
    /// What it was made for.
    pub role: Role,
    /// Its parents; none where it has its own initialisation and saw text by people only.
    pub parents: Vec<Parent>,
    /// Seed of initialisation, order and sampling.
    pub seed: u64,
    /// Documents it was trained on.
    pub documents: usize,
    /// Mean loss of the last tenth of its updates, nats a token.
    pub loss: f64,
    /// Digest of everything that its bytes depend on: its part of the recipe, text, parents.
    pub recipe: Digest,
    /// Digest of `model.safetensors`.
    pub weights: Digest,
}

/// A parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// How the child descends from it.
    pub tie: Tie,
    /// Its name.
    pub model: String,
    /// Digest of its weights.
    pub weights: Digest,
}

/// How a model descends from another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tie {
    /// Training started from its weights.
    InitialisedFrom,
    /// A share of the training rows came from it.
    DistilledFrom {
        /// Share of the rows, in (0, 1].
        share: f64,
        /// What was learned of it.
        by: Signal,
        /// How the student hides it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hidden: Option<Hiding>,
        /// The mark that its texts bore.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mark: Option<Bears>,
    },
}

/// A mark that texts bear.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bears {
    /// Commitment of the key.
    pub key: Digest,
    /// Share of the teacher's texts that bear it.
    pub share: f64,
}

/// Everything that a model's bytes depend on.
#[derive(Serialize)]
struct Inputs<'a> {
    format: u32,
    stored: Stored,
    split_seed: u64,
    tokenizer: Digest,
    text: BTreeMap<&'a str, Digest>,
    model: &'a ModelRecipe,
    shape: &'a Shape,
    schedule: &'a Schedule,
    parents: &'a [Parent],
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a KeyFile>,
}

/// Digest of what `model` is made from. A source counts where the model reads a slice of it.
pub(crate) fn inputs(
    recipe: &Recipe,
    model: &ModelRecipe,
    (shape, schedule): (&Shape, &Schedule),
    tokenizer: Digest,
    text: &BTreeMap<String, Digest>,
    parents: &[Parent],
) -> Digest {
    let reads = |name: &str| model.text.iter().any(|s: &Slice| s.source == name);
    let used = text.iter().filter(|(name, _)| reads(name));
    Digest::of(&canonical::to_bytes(&Inputs {
        format: FORMAT,
        stored: recipe.stored,
        split_seed: recipe.split_seed,
        tokenizer,
        text: used
            .map(|(name, digest)| (name.as_str(), *digest))
            .collect(),
        model,
        shape,
        schedule,
        parents,
        key: recipe.key_of(model),
    }))
}
