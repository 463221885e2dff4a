mod build;
mod manifest;
mod pilot;
mod plan;
mod plot;
mod show;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use filiation_lr::Record;

/// Suspects of known history.
#[derive(Subcommand)]
pub(crate) enum Population {
    /// Write the manifest of a folder of models whose parents are known (`lineage.json`).
    Manifest(manifest::ManifestArgs),
    /// Audit every suspect of a manifest. Those that have their scores are kept.
    Build(build::Build),
    /// Judge every probe on the scores of a population.
    Pilot(pilot::Pilot),
    /// Fit likelihood ratios on a population and show how they fare on models that were left out.
    Show(show::Show),
    /// Say how many lineages a claim needs.
    Plan(plan::Plan),
}

impl Population {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        match self {
            Self::Manifest(command) => command.run(json),
            Self::Build(command) => command.run(json),
            Self::Pilot(command) => command.run(json),
            Self::Show(command) => command.run(json),
            Self::Plan(command) => command.run(json),
        }
    }
}

/// The records of score files.
fn records(paths: &[PathBuf]) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for path in paths {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        records.extend(filiation_audit::population::records(path, &bytes)?);
    }
    Ok(records)
}

/// The score files of arguments that may be folders.
fn score_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(filiation_audit::population::score_files(path, None)?),
            false => files.push(path.clone()),
        }
    }
    Ok(files)
}
