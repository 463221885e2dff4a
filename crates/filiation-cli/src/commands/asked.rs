//! Flags that `audit`, `collect` and `plan` share.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use filiation_audit::{Asking, Case, Order, from_folder};
use filiation_model::DeviceChoice;

use super::audit::entry;
use crate::hub;
use crate::models::Local;
use crate::size::Size;

/// What is asked. A flag goes before the case file.
#[derive(Args)]
pub(crate) struct Asked {
    /// A probe by name; repeat for each. All where none is given.
    #[arg(long = "probe", value_name = "NAME")]
    probes: Vec<String>,
    /// A prompt suite (JSONL); repeat for each.
    #[arg(long = "suite", value_name = "FILE")]
    suites: Vec<PathBuf>,
    /// Seed of every random choice.
    #[arg(long)]
    seed: Option<u64>,
    /// Most tokens a completion may have.
    #[arg(long)]
    max_tokens: Option<u32>,
    /// Completions of each prompt by each teacher.
    #[arg(long)]
    samples: Option<u32>,
    /// Sampling temperature of the teachers.
    #[arg(long, allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Put every prompt as plain text, chat templates unused.
    #[arg(long)]
    raw: bool,
    /// Only the first prompts of each suite: for trying out, and said so in the report.
    #[arg(long, value_name = "PROMPTS")]
    limit: Option<usize>,
}

impl Asked {
    pub(super) fn put_into(&self, asking: &mut Asking) {
        if !self.probes.is_empty() {
            asking.probes.clone_from(&self.probes);
        }
        asking.seed = self.seed.unwrap_or(asking.seed);
        asking.max_tokens = self.max_tokens.unwrap_or(asking.max_tokens);
        asking.samples = self.samples.unwrap_or(asking.samples);
        asking.temperature = self.temperature.unwrap_or(asking.temperature);
        asking.raw |= self.raw;
        asking.limit = self.limit.or(asking.limit);
    }

    pub(super) const fn temperature(&self) -> Option<f64> {
        self.temperature
    }

    pub(super) const fn max_tokens(&self) -> Option<u32> {
        self.max_tokens
    }

    /// The suites given, or those of the case. They are given relative to the working directory and
    /// kept relative to `folder`, that of the case.
    pub(super) fn suites(&self, of_case: Vec<PathBuf>, folder: &Path) -> Result<Vec<PathBuf>> {
        if self.suites.is_empty() {
            return Ok(of_case);
        }
        let place = |suite: &PathBuf| Ok(from_folder(suite, folder)?);
        self.suites.iter().map(place).collect()
    }

    /// What to ask of the teachers of a case file, or of one model, and the folder that paths are relative to.
    pub(super) fn order(&self, target: &str) -> Result<(Order, PathBuf)> {
        let path = Path::new(target);
        let is_file = path.extension().is_some_and(|e| e == "toml");
        let (mut order, folder) = if is_file {
            let folder = path.parent().unwrap_or_else(|| Path::new(""));
            (Order::of_case(&Case::read(path)?), folder.to_owned())
        } else {
            (Order::of_model(entry(target)), PathBuf::new())
        };
        self.put_into(&mut order.asking);
        order.suites = self.suites(order.suites, &folder)?;
        let models = order.models.iter_mut().chain(&mut order.others);
        models.into_iter().try_for_each(hub::pin)?;
        Ok((order, folder))
    }
}

/// How it is computed.
#[derive(Args)]
pub(crate) struct Computed {
    /// Where to compute: `cpu`, `cuda`, `cuda:N`, `metal`.
    #[arg(long, env = "FILIATION_DEVICE", default_value = "cpu")]
    device: DeviceChoice,
    /// Most memory that a model may take, such as `2GB`: of this process, or of the GPU. A larger
    /// model is computed one layer after the other, slower and with the same results.
    #[arg(long, env = "FILIATION_MAX_MEMORY", value_name = "SIZE")]
    max_memory: Option<Size>,
}

impl Computed {
    pub(super) fn provider(&self, raw: bool) -> Local {
        Local::on(self.device, self.max_memory).raw(raw)
    }
}
