mod against;
mod pack;
mod pair;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use filiation_checkpoint::{Limits, ModelWeights};

use crate::failure::Usage;
use crate::hub;
use crate::models::weights;

/// Compares the weights of a model with those of one that it may descend from, or with many.
///
/// With one (`lineage A B`) every tensor is compared: the same model, derived, or unrelated, with
/// the disguise that was undone and what changed. With many (`lineage A --against …`) sketches are:
/// which bases it shares neurons with, layer by layer, whatever basis its hidden dimensions are in.
/// `lineage pack` keeps a model's sketch in a file of a few megabytes, which stands for the model
/// in `--against`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
        filiation lineage SUSPECT BASE\n  \
        filiation lineage pack BASE --out packs/base.flnpack\n  \
        filiation lineage SUSPECT --against packs/ other-base/ --json"
)]
pub(crate) struct Lineage {
    #[command(subcommand)]
    command: Option<Command>,
    /// The model asked about: a folder, a GGUF file, `hf:OWNER/NAME@REVISION`, or, with `--against`, a pack.
    #[arg(required = true)]
    a: Option<PathBuf>,
    /// The model that it may descend from.
    #[arg(required_unless_present = "against", conflicts_with = "against")]
    b: Option<PathBuf>,
    /// Models that it may descend from: folders, GGUF files, packs, and folders of these.
    #[arg(long, num_args = 1.., value_name = "MODEL|PACK|DIR")]
    against: Vec<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Sketch a model's weights into a file.
    Pack(pack::PackArgs),
}

impl Lineage {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        match (self.command, self.a, self.b) {
            (Some(Command::Pack(pack)), ..) => pack.run(json),
            (None, Some(a), Some(b)) => pair::run(&a, &b, json),
            (None, Some(a), None) if !self.against.is_empty() => {
                against::run(&a, &self.against, json)
            }
            _ => Err(Usage("`lineage` takes two models, or one and `--against`".into()).into()),
        }
    }
}

fn open(path: &Path, limits: &Limits) -> Result<Box<dyn ModelWeights>> {
    let (path, _) = hub::place(path)?;
    weights(&path, limits).map_err(|error| anyhow!(error))
}
