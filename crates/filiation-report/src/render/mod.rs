//! Renderings of a report. They round; nothing before them does.

mod markdown;
mod text;

pub use markdown::markdown;
pub use text::text;

use crate::Report;

/// The canonical JSON, as in `report.json`.
pub fn json(report: &Report) -> String {
    String::from_utf8(report.to_json()).expect("JSON is UTF-8")
}
