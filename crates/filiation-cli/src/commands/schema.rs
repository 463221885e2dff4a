use anyhow::Result;
use clap::Args;

use crate::output;

/// Prints the JSON Schema of `report.json`.
#[derive(Args)]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn run(self) -> Result<()> {
        output::text(&String::from_utf8_lossy(&filiation_report::schema()))
    }
}
