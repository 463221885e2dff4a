//! What the figures hold for.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process::Workshop;

pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processor and the system.
pub(crate) fn facts() -> Result<Value> {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        let line = info.lines().find(|l| l.starts_with(key));
        line.and_then(|l| l.split_once(':'))
            .map_or("", |(_, v)| v.trim())
    };
    let flags: Vec<&str> = field("flags").split(' ').collect();
    let vector = ["avx512f", "avx2", "avx"]
        .into_iter()
        .find(|f| flags.contains(f));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<f64>().ok());
    Ok(json!({
        "processor": field("model name"),
        "family": field("cpu family"),
        "model": field("model"),
        "vector": vector,
        "bf16_products": flags.contains(&"avx512_bf16") || flags.contains(&"amx_bf16"),
        "threads": threads(),
        "memory_gb": kib.map(|kib| (kib / 1e5).round() / 10.0),
        "system": std::env::consts::OS,
    }))
}

/// What was measured against what.
pub(crate) fn versions(workshop: &Workshop) -> Result<Value> {
    const ASK: &str = "import json, platform\nfrom importlib.metadata import version\n\
        names = ('torch', 'transformers', 'xllamacpp')\n\
        print(json.dumps({'python': platform.python_version(), **{n: version(n) for n in names}}))";
    let out = Command::new(&workshop.python).args(["-c", ASK]).output();
    let out = out.with_context(|| {
        let python = workshop.python.display();
        format!("cannot start `{python}`: make it with benches/setup.py, or name another in FILIATION_PYTHON")
    })?;
    if !out.status.success() {
        bail!("the peers: {}", String::from_utf8_lossy(&out.stderr));
    }
    let mut versions: Value = serde_json::from_slice(&out.stdout)?;
    versions["filiation"] = env!("CARGO_PKG_VERSION").into();
    let rustc = Command::new("rustc").arg("--version").output();
    if let Ok(rustc) = rustc {
        versions["rustc"] = String::from_utf8_lossy(&rustc.stdout).trim().into();
    }
    Ok(versions)
}
