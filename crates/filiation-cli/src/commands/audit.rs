use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use filiation_audit::{Case, Entry, Run, from_folder, measure, report, weigh};
use filiation_probes::NAMES;
use filiation_report::{FoundBy, render};

use super::asked::{Asked, Computed};
use super::remote::{Remote, tell_spent};
use super::worth::Worth;
use crate::failure::Usage;
use crate::hub;
use crate::output;
use crate::progress::Shown;
use crate::teachers::Parties;

/// Audits a suspect. The same command again goes on where it stopped; on a finished run it
/// prints the report again. A path that ends in `.pack` answers from a recording (`filiation
/// collect`). `hf:OWNER/NAME@REVISION`, or `OWNER/NAME@REVISION` where no such folder is there, is a
/// model of the Hugging Face Hub; the case keeps its commit.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    filiation audit corpora/demo/case.toml\n  \
    filiation audit models/s --base models/b --teacher models/t1 --teacher models/t2 \
    --suite probes/chat.jsonl\n  \
    filiation audit models/s --base models/b --teacher openai:MODEL --teacher anthropic:MODEL \
    --suite probes/chat.jsonl --basis 'contract 7' --authorised-by 'A. Auditor'")]
pub(crate) struct Audit {
    /// A case file (`.toml`), or the suspect's folder or file.
    #[arg(value_name = "CASE|SUSPECT")]
    target: PathBuf,
    /// What the suspect was initialised from.
    #[arg(long, value_name = "[NAME=]PATH")]
    base: Option<String>,
    /// A candidate teacher: a path, or `PROVIDER:MODEL` behind an API; repeat for each.
    #[arg(long = "teacher", value_name = "[NAME=]PATH")]
    teachers: Vec<String>,
    /// A model known not to have learned from any candidate; repeat for each.
    #[arg(long = "control", value_name = "[NAME=]PATH")]
    controls: Vec<String>,
    #[command(flatten)]
    asked: Asked,
    /// Run directory. Default: `runs/<case name>`.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Folder of answers that runs on this machine share: what is there is not computed again.
    /// The report is the same with it and without.
    #[arg(long, env = "FILIATION_ANSWERS", value_name = "DIR")]
    answers: Option<PathBuf>,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    remote: Remote,
    /// Probes whose evidence may be watched stop buying completions at this e-value, such as 1000.
    /// Without it they buy their whole budget, as probes that need a population always do.
    #[arg(long, value_name = "E")]
    stop_at_e: Option<f64>,
    /// They stop too when every lead is shown to be below this, in the probe's unit.
    #[arg(long, value_name = "SCORE")]
    stop_below: Option<f64>,
    /// Folder of the population that likelihood ratios come from, such as `corpora/population`.
    #[arg(long, value_name = "DIR")]
    population: Option<PathBuf>,
    /// Candidates that are siblings (same maker, data or lineage), joined by commas; repeat for each group.
    #[arg(long = "siblings", value_name = "A,B")]
    siblings: Vec<String>,
    /// `named-in-advance` or `batch:m`.
    #[arg(long)]
    found_by: Option<FoundBy>,
    /// Probability that evidence of exact tests comes about by an error of procedure: their likelihood ratios
    /// are at most one over it [default: 0.01].
    #[arg(long)]
    epsilon: Option<f64>,
    /// Prior probability that the suspect was distilled from a candidate.
    #[arg(long)]
    prior: Option<f64>,
}

impl Audit {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let (mut case, folder) = self.case()?;
        self.remote.put_into(entries(&mut case))?;
        let root = match &self.run {
            Some(root) => root.clone(),
            None => Path::new("runs").join(&case.name),
        };
        let before = root.join("case.toml");
        // Another case in the same place is told of when the run begins.
        let before = Case::read(&before).ok();
        self.remote.authorise(entries(&mut case), before.as_ref())?;
        let local = self.computed.provider(case.raw);
        let provider = Parties::new(local, self.remote.manner()?);
        let all = case.probes.is_empty();
        let run = Run::begin(&root, case, &folder, &provider)?.sharing(self.answers);
        for name in NAMES.iter().filter(|_| all) {
            if !run.case().probes.iter().any(|p| p == name) {
                Shown::line(&format!("not run, the case holds nothing for it: {name}"));
            }
        }
        let collected = run.collect(&folder, &provider, &Shown::new());
        tell_spent(&provider);
        collected?;
        measure(&run)?;
        weigh(&run)?;
        let report = report(&run)?;
        for worth in Worth::of(&run, &provider)? {
            Shown::line(&worth.told(provider.currency()));
        }
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
        let mut asking = case.asking();
        self.asked.put_into(&mut asking);
        case.suites = self.asked.suites(case.suites, &folder)?;
        case.ask(asking);
        case.stop_at_e = self.stop_at_e.or(case.stop_at_e);
        case.stop_below = self.stop_below.or(case.stop_below);
        case.prior = self.prior.or(case.prior);
        case.epsilon = self.epsilon.unwrap_or(case.epsilon);
        if let Some(population) = &self.population {
            case.population = Some(from_folder(population, &folder)?);
        }
        let split = |group: &String| group.split(',').map(str::to_owned).collect();
        case.siblings.extend(self.siblings.iter().map(split));
        case.found_by = self.found_by.unwrap_or(case.found_by);
        entries(&mut case).try_for_each(hub::pin)?;
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
        let suspect = entry_at(&self.target.to_string_lossy());
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
            stop_at_e: None,
            stop_below: None,
            prior: None,
            epsilon: Case::default_epsilon(),
            population: None,
            siblings: Vec::new(),
            found_by: FoundBy::default(),
            suspect,
            base: self.base.as_deref().map(entry),
            teachers: self.teachers.iter().map(|t| entry(t)).collect(),
            controls: self.controls.iter().map(|c| entry(c)).collect(),
            served: Vec::new(),
            canaries: Vec::new(),
            marks: Vec::new(),
        })
    }
}

fn entries(case: &mut Case) -> impl Iterator<Item = &mut Entry> {
    std::iter::once(&mut case.suspect)
        .chain(&mut case.base)
        .chain(&mut case.teachers)
        .chain(&mut case.controls)
}

// `NAME=PATH` or `PATH`.
pub(super) fn entry(text: &str) -> Entry {
    match text.split_once('=') {
        Some((name, path)) if !name.contains(['/', '\\']) => Entry {
            name: name.to_owned(),
            ..Entry::at(path)
        },
        _ => entry_at(text),
    }
}

// A model of the Hub is called by its name there.
fn entry_at(text: &str) -> Entry {
    let entry = Entry::at(text);
    let name = hub::name(text).unwrap_or_else(|| entry.name.clone());
    Entry { name, ..entry }
}
