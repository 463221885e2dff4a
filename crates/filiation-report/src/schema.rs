use filiation_core::canonical;

use crate::Report;

/// JSON Schema of `report.json`, as its file: `docs/report.schema.json`.
pub fn schema() -> Vec<u8> {
    canonical::to_pretty(&schemars::schema_for!(Report))
}
