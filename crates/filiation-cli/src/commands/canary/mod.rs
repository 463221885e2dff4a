mod check;
mod plant;

use anyhow::Result;
use clap::Subcommand;

/// Plants texts in a teacher's data, and looks for them in a suspect.
#[derive(Subcommand)]
pub(crate) enum Canary {
    /// Make canaries among decoys: a record to publish, a secret, and the texts to plant.
    Plant(plant::Plant),
    /// Rank planted texts among their decoys under a suspect.
    Check(Box<check::Check>),
}

impl Canary {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        match self {
            Self::Plant(plant) => plant.run(json),
            Self::Check(check) => check.run(json),
        }
    }
}
