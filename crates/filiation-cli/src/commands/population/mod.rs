mod build;
mod manifest;
mod pilot;

use anyhow::Result;
use clap::Subcommand;

/// Suspects of known history.
#[derive(Subcommand)]
pub(crate) enum Population {
    /// Write the manifest of a folder of models whose parents are known (`lineage.json`).
    Manifest(manifest::ManifestArgs),
    /// Audit every suspect of a manifest. Those that have their scores are kept.
    Build(build::Build),
    /// Judge every probe on the scores of a population.
    Pilot(pilot::Pilot),
}

impl Population {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        match self {
            Self::Manifest(command) => command.run(json),
            Self::Build(command) => command.run(json),
            Self::Pilot(command) => command.run(json),
        }
    }
}
