use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use filiation_audit::population::{Building, Manifest};
use filiation_model::DeviceChoice;
use serde::Serialize;

use crate::models::Local;
use crate::output;
use crate::progress::Shown;
use crate::size::Size;

/// Audits every suspect of a manifest. The same command again goes on where it stopped.
#[derive(Args)]
pub(crate) struct Build {
    /// Manifest (TOML).
    manifest: PathBuf,
    /// Folder that gets runs and scores.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folder with the models, in place of the one that the manifest names.
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Folder of answers that runs share. Default: `answers` below `--out`.
    #[arg(long, env = "FILIATION_ANSWERS", value_name = "DIR")]
    answers: Option<PathBuf>,
    /// Keep transcripts and reports of the runs.
    #[arg(long)]
    keep: bool,
    /// Where to compute: `cpu`, `cuda`, `cuda:N`, `metal`.
    #[arg(long, env = "FILIATION_DEVICE", default_value = "cpu")]
    device: DeviceChoice,
    /// Most memory that a model may take, such as `2GB`.
    #[arg(long, env = "FILIATION_MAX_MEMORY", value_name = "SIZE")]
    max_memory: Option<Size>,
}

#[derive(Serialize)]
struct Built {
    scores: PathBuf,
    suspects: usize,
    kept: usize,
}

/// A bar for each of thousands of stages would hide how far the whole is.
struct Quiet;

impl filiation_audit::Progress for Quiet {
    fn begin(&self, _: &str, _: u64, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

impl Build {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let manifest = Manifest::read(&self.manifest)?;
        let folder = self.manifest.parent().unwrap_or_else(|| Path::new(""));
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        let models = match self.models {
            Some(models) => models,
            None => folder.join(&manifest.models),
        };
        let provider = Local::on(self.device, self.max_memory).raw(manifest.raw);
        let suspects = manifest.suspects().count();
        let building = Building {
            manifest: &manifest,
            folder,
            models: &models,
            out: &self.out,
            keep: self.keep,
            answers: self.answers,
            provider: &provider,
            progress: &Quiet,
        };
        let mut kept = 0;
        let scores = building.build(&mut |name, number, stood| {
            kept += usize::from(stood);
            if !stood {
                Shown::line(&format!("{number}/{suspects} {name}"));
            }
        })?;
        let built = Built {
            scores,
            suspects,
            kept,
        };
        if json {
            return output::json(&built);
        }
        let (scores, trained) = (built.scores.display(), suspects - built.kept);
        output::text(&format!(
            "{scores}: {suspects} suspects, {trained} scored now\n"
        ))
    }
}
