use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use filiation_checkpoint::Limits;
use filiation_core::ModelIdentity;
use filiation_probes::lineage::pack::Pack;
use filiation_report::clean;
use serde::Serialize;

use super::open;
use crate::output;

/// Sketches a model's weights into a file of a few megabytes, which stands for the model in
/// `lineage --against`. The same weights give the same bytes.
#[derive(Args)]
pub(super) struct PackArgs {
    /// Folder, or GGUF file.
    model: PathBuf,
    /// Where to write the pack. Replaced where it exists.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Serialize)]
struct Written<'a> {
    model: &'a ModelIdentity,
    out: String,
    bytes: usize,
    pack: String,
}

impl PackArgs {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let pack = of(&self.model)?;
        let bytes = pack.to_bytes();
        write(&self.out, &bytes)?;
        let written = Written {
            model: pack.identity(),
            out: self.out.display().to_string(),
            bytes: bytes.len(),
            pack: pack.digest().to_string(),
        };
        if json {
            return output::json(&written);
        }
        let lines = [
            format!("{}  {}", written.model.source, written.model.digest),
            format!("{}  {} bytes  {}", written.out, written.bytes, written.pack),
        ];
        output::text(&lines.map(|l| clean(&l) + "\n").concat())
    }
}

/// The pack that a path holds, or that of the model there.
pub(super) fn of(path: &Path) -> Result<Pack> {
    if path.is_file() && Pack::is_pack(path) {
        return Ok(Pack::open(path)?);
    }
    Ok(Pack::of(&*open(path, &Limits::default())?)?)
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("cannot write `{}`", path.display()))
}
