use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use filiation_audit::{Asking, EvalLog, ImportOrder, Imported, LogFormat};
use filiation_report::clean;
use serde::Serialize;

use super::asked::Asked;
use super::pack;
use crate::day::Day;
use crate::failure::Usage;
use crate::output;

/// Turns a log of an evaluation into a pack, so that answers paid for already count.
///
/// Formats: `lm-eval` (samples_*.jsonl of --log_samples), `inspect` (.eval or .json), `vllm` (results of
/// a batch, OpenAI's too, with --requests; or LLM.generate's outputs as JSON lines).
///
/// An answer is used where its prompt is one that an audit with these suites would put, drawn as the
/// audit would draw it. What the log does not say (temperature, most tokens) you state with the flags;
/// what it says must agree. The counts of what was used and what was not are printed.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    filiation pack import inspect run.eval --new-suite run.jsonl --out packs/t1.pack\n  \
    filiation pack import lm-eval samples_gsm8k.jsonl --model t1 --date 2026-03-01 \
    --suite gsm8k.jsonl --max-tokens 256 --out packs/t1.pack\n  \
    filiation pack import vllm results.jsonl --requests batch.jsonl --served served.jsonl")]
pub(crate) struct Import {
    /// What wrote the log: `lm-eval`, `inspect`, `vllm`.
    format: LogFormat,
    /// The log.
    log: PathBuf,
    /// What was handed in, where the log holds results of a batch.
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// The pack to seal (`.pack`).
    #[arg(long, value_name = "PACK")]
    out: Option<PathBuf>,
    /// Write the log's own prompts as a suite, which an audit with the pack then uses.
    #[arg(long, value_name = "FILE")]
    new_suite: Option<PathBuf>,
    /// Language of the new suite's prompts (ISO 639-1).
    #[arg(long, default_value = "en", value_name = "CODE")]
    language: String,
    /// Licence of the new suite's prompts (SPDX).
    #[arg(long, default_value = "LicenseRef-unstated", value_name = "SPDX")]
    licence: String,
    /// Write the texts as a log of served responses, for `regeneration-rank`.
    #[arg(long, value_name = "FILE")]
    served: Option<PathBuf>,
    /// The model, where the log does not say.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The model's version, in the words of its maker.
    #[arg(long, value_name = "TEXT")]
    model_version: Option<String>,
    /// Day of the log, where it does not say.
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<Day>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Serialize)]
struct Told {
    questions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    suite: Option<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    served: Option<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pack: Option<Sealed>,
    /// Entries that no form can hold, by reason.
    passed: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Written {
    path: String,
    lines: u64,
    left_out: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Sealed {
    path: String,
    digest: filiation_core::Digest,
    #[serde(flatten)]
    imported: Imported,
}

impl Import {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        if self.out.is_none() && self.new_suite.is_none() && self.served.is_none() {
            let text = "nothing to write, expected `--out`, `--new-suite` or `--served`";
            return Err(Usage(text.into()).into());
        }
        if let Some(out) = self.out.as_deref().filter(|out| !pack::is_pack(out)) {
            let text = format!(
                "`{}` is no name of a pack, expected one that ends in `.pack`",
                out.display()
            );
            return Err(Usage(text).into());
        }
        let log = EvalLog::read(self.format, &self.log, self.requests.as_deref())?;
        let suite = self.new_suite.as_deref().map(|to| {
            let suite = log.suite(&self.language, &self.licence);
            put_new(to, &suite.bytes)?;
            Ok::<_, anyhow::Error>(Written {
                path: to.display().to_string(),
                lines: suite.items,
                left_out: suite.left_out,
            })
        });
        let suite = suite.transpose()?;
        let served = self.served.as_deref().map(|to| {
            let (bytes, lines) = log.served(self.model.as_deref());
            put_new(to, &bytes)?;
            Ok::<_, anyhow::Error>(Written {
                path: to.display().to_string(),
                lines,
                left_out: BTreeMap::new(),
            })
        });
        let served = served.transpose()?;
        let pack = self.out.as_deref().map(|out| self.seal(&log, out));
        let told = Told {
            questions: log.questions() as u64,
            suite,
            served,
            pack: pack.transpose()?,
            passed: log.passed(),
        };
        if json {
            output::json(&told)
        } else {
            output::text(&told.text())
        }
    }

    fn seal(&self, log: &EvalLog, out: &Path) -> Result<Sealed> {
        let mut suites = self.asked.suites(Vec::new(), Path::new(""))?;
        suites.extend(self.new_suite.clone());
        let mut asking = Asking::default();
        // A log of options alone holds nothing that was drawn.
        if log.samples() > 0 {
            asking.samples = log.samples();
            asking.temperature =
                self.stated("temperature", self.asked.temperature(), log.temperature())?;
            asking.max_tokens =
                self.stated("max-tokens", self.asked.max_tokens(), log.max_tokens())?;
        }
        self.asked.put_into(&mut asking);
        let recorded = match (self.date, log.day()) {
            (Some(day), _) => day.to_string(),
            (None, Some(day)) => day.to_owned(),
            (None, None) => {
                let text = format!(
                    "`{}` does not say its day, give `--date YYYY-MM-DD`",
                    self.log.display()
                );
                return Err(Usage(text).into());
            }
        };
        let order = ImportOrder {
            suites,
            asking,
            model: self.model.clone(),
            version: self.model_version.clone(),
            recorded,
        };
        let (pack, imported) = log.seal(&order, Path::new(""), out)?;
        Ok(Sealed {
            path: out.display().to_string(),
            digest: pack.digest(),
            imported,
        })
    }

    // How the answers were drawn is not guessed.
    fn stated<T>(&self, flag: &str, given: Option<T>, logged: Option<T>) -> Result<T> {
        given.or(logged).ok_or_else(|| {
            let log = self.log.display();
            let text =
                format!("`{log}` does not say one `{flag}` of all its answers, give `--{flag}`");
            Usage(text).into()
        })
    }
}

// What is there is not written over.
fn put_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

impl Told {
    fn text(&self) -> String {
        let mut lines = vec![format!("questions read: {}", self.questions)];
        let counted = |lines: &mut Vec<String>, counts: &BTreeMap<&'static str, u64>| {
            lines.extend(
                counts
                    .iter()
                    .map(|(why, n)| format!("  not used: {n}, {why}")),
            );
        };
        for (what, written) in [("prompts", &self.suite), ("responses", &self.served)] {
            if let Some(written) = written {
                lines.push(format!("{}: {} {what}", written.path, written.lines));
                counted(&mut lines, &written.left_out);
            }
        }
        if let Some(Sealed {
            path,
            digest,
            imported,
        }) = &self.pack
        {
            lines.push(format!(
                "{path}: {} of {} questions answered, {} of {} answers used, {digest}",
                imported.answered, imported.asked, imported.used, imported.logged
            ));
            counted(&mut lines, &imported.unused);
            if imported.finish_unstated > 0 {
                lines.push(format!(
                    "  {} texts do not say why they ended: taken as ended by the model",
                    imported.finish_unstated
                ));
            }
        } else {
            counted(&mut lines, &self.passed);
        }
        lines.iter().map(|line| clean(line) + "\n").collect()
    }
}
