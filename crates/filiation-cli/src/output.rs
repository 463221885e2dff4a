//! Standard output.

use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};
use filiation_core::canonical;
use serde::Serialize;

/// Columns of a text report where the terminal does not say.
const COLUMNS: usize = 100;

/// Writes text. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// Writes canonical JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    text(&String::from_utf8_lossy(&canonical::to_pretty(value)))
}

/// Columns to fill.
pub(crate) fn columns() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(COLUMNS)
}
