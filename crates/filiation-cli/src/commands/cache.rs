use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use filiation_report::clean;
use filiation_teacher::{Store, Summary};
use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::day::Day;
use crate::failure::Damaged;
use crate::output;

/// Look after the store of exchanges with models behind APIs.
#[derive(Subcommand)]
pub(crate) enum Cache {
    /// Show what was asked of which endpoint, who answered, and what is kept.
    Show(At),
    /// Read everything and check every digest: rows, their chain, requests and responses.
    Verify(At),
    /// Remove files that no row names, as a kill leaves them. Rows and what they name stay.
    Gc(At),
}

/// Where exchanges are kept.
#[derive(Args)]
pub(crate) struct At {
    /// Folder of exchanges. What is in it is not bought again.
    #[arg(
        long,
        env = "FILIATION_STORE",
        value_name = "DIR",
        default_value = ".filiation/store"
    )]
    pub(super) store: PathBuf,
}

#[derive(Serialize)]
struct Shown {
    head: Option<filiation_core::Digest>,
    endpoints: Vec<Summary>,
}

impl Cache {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        match self {
            Self::Show(At { store }) => {
                let store = Store::read(&store)?;
                let shown = Shown {
                    head: store.head()?,
                    endpoints: store.summary()?,
                };
                if json {
                    output::json(&shown)
                } else {
                    output::text(&shown.text())
                }
            }
            Self::Verify(At { store: root }) => {
                let found = Store::read(&root)?.verify()?;
                if json {
                    output::json(&found)?;
                } else {
                    let head = found
                        .head
                        .map_or_else(|| "empty".to_owned(), |head| head.to_string());
                    output::text(&format!(
                        "{}: {} rows, {} objects, {} bytes, {} problems; {head}\n",
                        root.display(),
                        found.rows,
                        found.objects,
                        found.bytes,
                        found.problems.len()
                    ))?;
                }
                if found.problems.is_empty() {
                    return Ok(());
                }
                Err(Damaged(found.problems).into())
            }
            Self::Gc(At { store }) => {
                let swept = Store::sweep(&store)?;
                if json {
                    return output::json(&swept);
                }
                output::text(&format!(
                    "{} files removed, {} bytes\n",
                    swept.files, swept.bytes
                ))
            }
        }
    }
}

impl Shown {
    fn text(&self) -> String {
        let mut table = Builder::new();
        table.push_record([
            "endpoint",
            "answered by",
            "epoch",
            "answers",
            "refused",
            "faults",
            "interrupted",
            "tokens",
            "first",
            "last",
        ]);
        let day = |ms: u64| Day::since_1970(ms / 86_400_000).to_string();
        for of in &self.endpoints {
            table.push_record([
                clean(&format!("{}:{}", of.provider, of.model)),
                clean(&of.returned.join(", ")),
                clean(&of.epoch),
                of.answers.to_string(),
                of.refused.to_string(),
                of.faults.to_string(),
                of.interrupted.to_string(),
                format!("{} + {}", of.input_tokens, of.output_tokens),
                day(of.first),
                day(of.last),
            ]);
        }
        let head = self
            .head
            .map_or_else(|| "none".to_owned(), |head| head.to_string());
        let table = table.build().with(Style::markdown()).to_string();
        format!("{table}\nlast row {head}\n")
    }
}
