use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use filiation_audit::Run;
use filiation_report::{Report, render};

use crate::output;

/// Shows the report of a run. It is made from the evidence where it is not there yet.
#[derive(Args)]
pub(crate) struct ReportArgs {
    /// Run directory.
    run: PathBuf,
    /// Form.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Markdown,
    Json,
}

impl ReportArgs {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let path = self.run.join("report.json");
        let report = if path.is_file() {
            let shown = || format!("cannot read `{}`", path.display());
            let bytes = std::fs::read(&path).with_context(shown)?;
            Report::from_json(&bytes).with_context(shown)?
        } else {
            filiation_audit::report(&Run::open(&self.run)?)?
        };
        let text = match self.format {
            _ if json => render::json(&report),
            Format::Json => render::json(&report),
            Format::Markdown => render::markdown(&report),
            Format::Text => render::text(&report, output::columns()),
        };
        output::text(&text)
    }
}
