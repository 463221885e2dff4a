//! Whole models against `transformers`, and copies of known lineage.
//!
//! ```text
//! VENV/bin/python tests/real/setup.py FOLDER
//! FILIATION_REAL=FOLDER cargo test --release -p filiation-cli --features real --test real
//! ```

#![expect(
    clippy::print_stdout,
    reason = "the largest differences, shown with `--nocapture`"
)]

mod api;
mod lineage;
mod null;
mod parity;
mod peer;

use std::path::PathBuf;

use filiation_checkpoint::Limits;
use filiation_model::{DeviceChoice, LocalModel};

/// A folder that `setup.py` made.
fn folder(name: &str) -> PathBuf {
    let root = std::env::var_os("FILIATION_REAL")
        .expect("FILIATION_REAL names the folder that tests/real/setup.py made");
    PathBuf::from(root).join(name)
}

fn open(name: &str) -> LocalModel {
    LocalModel::open(&folder(name), DeviceChoice::Cpu, &Limits::default())
        .expect("setup.py made a sound model")
}
