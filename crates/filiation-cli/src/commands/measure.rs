use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use filiation_audit::Run;
use filiation_report::{Outcome, ProbeRecord, clean};

use crate::output;

/// Computes the statistics; then `weigh` brings the report up to date.
#[derive(Args)]
pub(crate) struct Measure {
    /// Run directory.
    run: PathBuf,
    /// Key file of a mark: a run keeps only its commitment, and without the key what was measured with it
    /// stays. Repeat for each.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
}

impl Measure {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let records = filiation_audit::measure(&Run::open_with(&self.run, &self.keys)?)?;
        if json {
            return output::json(&records);
        }
        let line = |record: &ProbeRecord| {
            let said = match &record.outcome {
                Outcome::Statistic(s) => format!("{} candidates scored", s.candidates.len()),
                Outcome::Abstention(a) => format!("abstains: {}", clean(&a.detail)),
            };
            format!("{}: {said}\n", record.method.name())
        };
        output::text(&records.iter().map(line).collect::<String>())
    }
}
