use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use filiation_audit::PackHead;
use filiation_core::Digest;
use filiation_report::clean;
use serde::Serialize;

use super::import::Import;
use crate::failure::Mismatch;
use crate::output;

/// Look at a recording, or make one of a log.
#[derive(Subcommand)]
pub(crate) enum Pack {
    Import(Box<Import>),
    /// Show what a pack holds: the model, its version, the day, the prompts and options.
    Show(Show),
    /// Check every digest of a pack, and its own against one that you were told.
    Verify(Verify),
}

#[derive(Args)]
pub(crate) struct Show {
    /// The pack.
    pack: PathBuf,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// The pack.
    pack: PathBuf,
    /// The digest that names it.
    #[arg(long, value_name = "SHA-256")]
    digest: Option<Digest>,
}

impl Pack {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        match self {
            Self::Import(command) => command.run(json),
            Self::Show(Show { pack: path }) => {
                let pack = filiation_audit::Pack::read(&path)?;
                let shown = Shown::of(&path, &pack);
                if json {
                    return output::json(&shown);
                }
                output::text(&shown.text())
            }
            Self::Verify(Verify { pack: path, digest }) => {
                let found = filiation_audit::Pack::read(&path)?.digest();
                if let Some(expected) = digest.filter(|d| *d != found) {
                    return Err(Mismatch {
                        path,
                        found,
                        expected,
                    }
                    .into());
                }
                if json {
                    return output::json(&BTreeMap::from([("digest", found)]));
                }
                output::text(&format!("{}: whole, {found}\n", path.display()))
            }
        }
    }
}

/// Whether a path is named as a pack.
pub(super) fn is_pack(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|e| e.eq_ignore_ascii_case("pack"))
}

/// A pack as it is shown.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    path: String,
    digest: Digest,
    head: &'a PackHead,
    kinds: BTreeMap<&'static str, Kind>,
}

#[derive(Serialize)]
struct Kind {
    answered: u64,
    failed: u64,
}

impl<'a> Shown<'a> {
    pub(super) fn of(path: &Path, pack: &'a filiation_audit::Pack) -> Self {
        let kind = |(kind, (answered, failed))| (kind, Kind { answered, failed });
        Self {
            path: path.display().to_string(),
            digest: pack.digest(),
            head: pack.head(),
            kinds: pack.counts().into_iter().map(kind).collect(),
        }
    }

    fn text(&self) -> String {
        let head = self.head;
        let asking = &head.asking;
        let mut lines = vec![
            ("pack", self.digest.to_string()),
            ("recorded", head.recorded.clone()),
            (
                "model",
                format!("{} ({})", head.model.source, head.model.architecture),
            ),
            ("model digest", head.model.digest.to_string()),
        ];
        lines.extend(head.version.clone().map(|version| ("version", version)));
        lines.extend(head.imported.as_ref().map(|import| {
            let text = format!(
                "from a log of {} ({}), which answers {} of {} questions",
                import.log, import.sha256, import.answered, import.asked
            );
            ("imported", text)
        }));
        lines.push(("probes", asking.probes.join(", ")));
        lines.push((
            "asked",
            format!(
                "seed {}, samples {}, max tokens {}, temperature {}, {}{}",
                asking.seed,
                asking.samples,
                asking.max_tokens,
                asking.temperature,
                if head.chat {
                    "in chat templates"
                } else {
                    "as plain text"
                },
                asking
                    .limit
                    .map_or_else(String::new, |l| format!(", first {l} of each suite"))
            ),
        ));
        lines.extend(head.suites.iter().map(|suite| {
            let text = format!(
                "{} ({} prompts) {}",
                suite.name, suite.prompts, suite.digest
            );
            ("suite", text)
        }));
        lines.extend(self.kinds.iter().map(|(kind, count)| {
            let text = format!(
                "{kind}: {} answered, {} failed",
                count.answered, count.failed
            );
            ("answers", text)
        }));
        let line = |(key, value): &(&str, String)| format!("{key:<13} {}\n", clean(value));
        lines.iter().map(line).collect()
    }
}
