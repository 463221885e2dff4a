use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use filiation_audit::Run;
use filiation_lr::Evidence;

use crate::output;

/// Weighs the statistics as measured and writes `report.json`.
#[derive(Args)]
pub(crate) struct Weigh {
    /// Run directory.
    run: PathBuf,
}

impl Weigh {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let run = Run::open(&self.run)?;
        let evidence = filiation_audit::weigh(&run)?;
        filiation_audit::report(&run)?;
        if json {
            return output::json(&evidence);
        }
        let line = |evidence: &Evidence| {
            let first: Vec<_> = evidence.first().map(|r| r.candidate.as_str()).collect();
            let tier = evidence.tier.number();
            format!(
                "{}: tier {tier}, first: {}\n",
                evidence.method.name(),
                first.join(", ")
            )
        };
        output::text(&evidence.iter().map(line).collect::<String>())
    }
}
