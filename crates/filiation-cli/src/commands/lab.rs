use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use filiation_lab::{Built, Progress, Recipe, build};

use crate::output;
use crate::progress::Shown;

/// Small models of known history.
#[derive(Subcommand)]
pub(crate) enum Lab {
    /// Train the models of a recipe. Those that stand already are kept.
    Train(Train),
}

/// Trains the models of a recipe.
#[derive(Args)]
pub(crate) struct Train {
    /// Recipe (TOML).
    recipe: PathBuf,
    /// Folder with the text sources that the recipe names.
    #[arg(long, value_name = "DIR")]
    text: PathBuf,
    /// Folder that gets one folder a model.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Lab {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        match self {
            Self::Train(train) => train.run(json),
        }
    }
}

impl Train {
    fn run(self, json: bool) -> Result<()> {
        let recipe = Recipe::read(&self.recipe)?;
        let built = build(&recipe, &self.text, &self.out, &mut tell)?;
        if json {
            let lineages: Vec<_> = built.iter().map(|b| &b.lineage).collect();
            return output::json(&lineages);
        }
        let line = |b: &Built| {
            let done = if b.kept { "kept" } else { "trained" };
            format!(
                "{}: {done}, loss {:.4}, weights {}\n",
                b.lineage.name, b.lineage.loss, b.lineage.weights
            )
        };
        output::text(&built.iter().map(line).collect::<String>())
    }
}

fn tell(progress: Progress<'_>) {
    match progress {
        Progress::Kept { model } => Shown::line(&format!("{model}: stands already")),
        Progress::Sampling { model, documents } => {
            Shown::line(&format!(
                "{model}: drawing {documents} documents of its teacher"
            ));
        }
        Progress::Step {
            model,
            step,
            steps,
            loss,
        } if step % 50 == 0 || step == steps => {
            Shown::line(&format!("{model}: step {step}/{steps}, loss {loss:.4}"));
        }
        Progress::Step { .. } => {}
    }
}
