use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use filiation_lab::{Built, Progress, Recipe, Stored, adapt, build, merge, served};

use crate::output;
use crate::progress::Shown;

/// Small models of known history.
#[derive(Subcommand)]
pub(crate) enum Lab {
    /// Train the models of a recipe. Those that stand already are kept.
    Train(Train),
    /// Train the low-rank adapters of a recipe, on published models. Those that stand already are kept.
    Adapt(Adapt),
    /// Write a model with an adapter merged into it.
    Merge(Merge),
    /// Write what the teachers of a recipe's adapters answered, as logs of served responses.
    Served(Served),
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

/// Trains the adapters of a recipe.
#[derive(Args)]
pub(crate) struct Adapt {
    /// Recipe (TOML).
    recipe: PathBuf,
    /// Folder with the text sources that the recipe names.
    #[arg(long, value_name = "DIR")]
    text: PathBuf,
    /// Folder with the models that the recipe names: bases and teachers.
    #[arg(long, value_name = "DIR")]
    models: PathBuf,
    /// Folder that gets one folder an adapter.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Draws again what teachers answered.
#[derive(Args)]
pub(crate) struct Served {
    /// Recipe of the adapters (TOML).
    recipe: PathBuf,
    /// Folder with the models that the recipe names: teachers.
    #[arg(long, value_name = "DIR")]
    models: PathBuf,
    /// Folder that gets one log (JSONL) an adapter.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Merges an adapter into its base.
#[derive(Args)]
pub(crate) struct Merge {
    /// The model that the adapter was made for.
    base: PathBuf,
    /// LoRA adapter, as PEFT writes it.
    adapter: PathBuf,
    /// The model's folder.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Type of the weights. Default: the base's.
    #[arg(long)]
    dtype: Option<Dtype>,
}

/// A type of weights.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Dtype {
    F32,
    Bf16,
}

impl Lab {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        match self {
            Self::Train(train) => train.run(json),
            Self::Adapt(adapt) => adapt.run(json),
            Self::Merge(merge) => merge.run(json),
            Self::Served(served) => served.run(json),
        }
    }
}

impl Train {
    fn run(self, json: bool) -> Result<()> {
        let recipe = Recipe::read(&self.recipe)?;
        told(&build(&recipe, &self.text, &self.out, &mut tell)?, json)
    }
}

impl Adapt {
    fn run(self, json: bool) -> Result<()> {
        let built = adapt(&self.recipe, &self.text, &self.models, &self.out, &mut tell)?;
        told(&built, json)
    }
}

impl Served {
    fn run(self, json: bool) -> Result<()> {
        let logs = served(&self.recipe, &self.models, &self.out, &mut tell)?;
        let logs: Vec<String> = logs.iter().map(|log| log.display().to_string()).collect();
        if json {
            return output::json(&serde_json::json!({ "logs": logs }));
        }
        output::text(
            &logs
                .iter()
                .map(|log| format!("{log}\n"))
                .collect::<String>(),
        )
    }
}

impl Merge {
    fn run(self, json: bool) -> Result<()> {
        let stored = self.dtype.map(|dtype| match dtype {
            Dtype::F32 => Stored::F32,
            Dtype::Bf16 => Stored::Bf16,
        });
        merge(&self.base, &self.adapter, &self.out, stored)?;
        let folder = self.out.display().to_string();
        if json {
            return output::json(&serde_json::json!({ "folder": folder }));
        }
        output::text(&format!("{folder}: merged\n"))
    }
}

fn told(built: &[Built], json: bool) -> Result<()> {
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
        } if step % (steps / 20).clamp(1, 50) == 0 || step == steps => {
            Shown::line(&format!("{model}: step {step}/{steps}, loss {loss:.4}"));
        }
        Progress::Step { .. } => {}
    }
}
