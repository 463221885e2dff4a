use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use filiation_audit::{Case, Entry, Run, measure, report, weigh};
use filiation_model::DeviceChoice;
use filiation_probes::NAMES;
use filiation_report::{FoundBy, render};

use crate::failure::Usage;
use crate::models::Local;
use crate::output;
use crate::progress::Shown;
use crate::size::Size;

/// Audits a suspect. The same command again goes on where it stopped; on a finished run it
/// prints the report again.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    filiation audit corpora/demo/case.toml\n  \
    filiation audit models/s --base models/b --teacher models/t1 --teacher models/t2 \
    --suite probes/chat.jsonl")]
pub(crate) struct Audit {
    /// A case file (`.toml`), or the suspect's folder or file.
    #[arg(value_name = "CASE|SUSPECT")]
    target: PathBuf,
    /// What the suspect was initialised from.
    #[arg(long, value_name = "[NAME=]PATH")]
    base: Option<String>,
    /// A candidate teacher; repeat for each.
    #[arg(long = "teacher", value_name = "[NAME=]PATH")]
    teachers: Vec<String>,
    /// A model known not to have learned from any candidate; repeat for each.
    #[arg(long = "control", value_name = "[NAME=]PATH")]
    controls: Vec<String>,
    /// A probe by name; repeat for each. All where none is given.
    #[arg(long = "probe", value_name = "NAME")]
    probes: Vec<String>,
    /// A prompt suite (JSONL); repeat for each.
    #[arg(long = "suite", value_name = "FILE")]
    suites: Vec<PathBuf>,
    /// Run directory. Default: `runs/<case name>`.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Where to compute: `cpu`, `cuda`, `cuda:N`, `metal`.
    #[arg(long, env = "FILIATION_DEVICE", default_value = "cpu")]
    device: DeviceChoice,
    /// Most memory that a model may take, such as `2GB`: of this process, or of the GPU. A larger
    /// model is computed one layer after the other, slower and with the same results.
    #[arg(long, env = "FILIATION_MAX_MEMORY", value_name = "SIZE")]
    max_memory: Option<Size>,
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
    /// `named-in-advance` or `batch:m`.
    #[arg(long)]
    found_by: Option<FoundBy>,
    /// Prior probability that the suspect was distilled from a candidate.
    #[arg(long)]
    prior: Option<f64>,
}

impl Audit {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let (case, folder) = self.case()?;
        let root = match &self.run {
            Some(root) => root.clone(),
            None => Path::new("runs").join(&case.name),
        };
        let provider = Local::on(self.device, self.max_memory).raw(case.raw);
        let all = case.probes.is_empty();
        let run = Run::begin(&root, case, &folder, &provider)?;
        for name in NAMES.iter().filter(|_| all) {
            if !run.case().probes.iter().any(|p| p == name) {
                Shown::line(&format!("not run, the case holds nothing for it: {name}"));
            }
        }
        run.collect(&folder, &provider, &Shown::new())?;
        measure(&run)?;
        weigh(&run)?;
        let report = report(&run)?;
        Shown::line(&format!("run directory: {}", root.display()));
        if json {
            output::text(&render::json(&report))
        } else {
            output::text(&render::text(&report, output::columns()))
        }
    }

    // The case and the folder that its paths are relative to. Flags go before the file.
    fn case(&self) -> Result<(Case, PathBuf)> {
        let is_file = self.target.extension().is_some_and(|e| e == "toml");
        let (mut case, folder) = if is_file {
            self.refuse_parties()?;
            let folder = self.target.parent().unwrap_or_else(|| Path::new(""));
            (Case::read(&self.target)?, folder.to_owned())
        } else {
            (self.case_of_flags()?, PathBuf::new())
        };
        if !self.probes.is_empty() {
            case.probes.clone_from(&self.probes);
        }
        if !self.suites.is_empty() {
            // Given relative to the working directory, kept relative to the case file.
            let place = |suite: &PathBuf| -> Result<PathBuf> {
                if is_file {
                    std::path::absolute(suite)
                        .with_context(|| format!("cannot find `{}`", suite.display()))
                } else {
                    Ok(suite.clone())
                }
            };
            case.suites = self.suites.iter().map(place).collect::<Result<_>>()?;
        }
        case.seed = self.seed.unwrap_or(case.seed);
        case.max_tokens = self.max_tokens.unwrap_or(case.max_tokens);
        case.samples = self.samples.unwrap_or(case.samples);
        case.temperature = self.temperature.unwrap_or(case.temperature);
        case.raw |= self.raw;
        case.limit = self.limit.or(case.limit);
        case.prior = self.prior.or(case.prior);
        case.found_by = self.found_by.unwrap_or(case.found_by);
        Ok((case, folder))
    }

    fn refuse_parties(&self) -> Result<()> {
        let named = self.base.is_some() || !self.teachers.is_empty() || !self.controls.is_empty();
        if named {
            let text = "`--base`, `--teacher` and `--control` go with a suspect's path; a case \
                        file names its own";
            return Err(Usage(text.into()).into());
        }
        Ok(())
    }

    fn case_of_flags(&self) -> Result<Case> {
        if self.teachers.is_empty() {
            let text = "no `--teacher` is given, expected at least one beside a suspect's path";
            return Err(Usage(text.into()).into());
        }
        let suspect = Entry::at(&self.target);
        Ok(Case {
            name: suspect.name.clone(),
            probes: Vec::new(),
            suites: Vec::new(),
            max_tokens: Case::default_max_tokens(),
            samples: Case::default_samples(),
            temperature: Case::default_temperature(),
            raw: false,
            limit: None,
            seed: 0,
            prior: None,
            found_by: FoundBy::default(),
            suspect,
            base: self.base.as_deref().map(entry),
            teachers: self.teachers.iter().map(|t| entry(t)).collect(),
            controls: self.controls.iter().map(|c| entry(c)).collect(),
            served: Vec::new(),
        })
    }
}

// `NAME=PATH` or `PATH`.
fn entry(text: &str) -> Entry {
    match text.split_once('=') {
        Some((name, path)) if !name.contains(['/', '\\']) => Entry {
            name: name.to_owned(),
            path: path.into(),
        },
        _ => Entry::at(text),
    }
}
