//! Speed and memory against the peers on the same machine, as ratios within one run.
//!
//! ```text
//! python3 benches/setup.py
//! FILIATION_REAL=target/real/models cargo bench -p filiation-cli --bench performance [-- FIGURE…] [--quick]
//! ```
//! Every side of a figure is a process of its own; the sides take turns for three rounds, and the
//! table shows medians. A whole run writes `benches/results.json` and the table of
//! `docs/performance.md`; with figures by name, or a quarter of the work in one round (`--quick`),
//! it only prints. `--device` scores on a GPU, beside the peer on the same one; it only prints too. The
//! machine must be quiet: the peers slow by far more than their share beside
//! another program. Without `FILIATION_REAL`, and under `--test`, every kind of work is done once on
//! a demonstration model, small, without peers.

mod child;
mod device;
mod figures;
mod jobs;
mod machine;
mod process;
mod product;
mod report;
mod small;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;

use anyhow::{Context, Result, ensure};
use filiation_model::DeviceChoice;

use figures::{GROUPS, Plan};
use process::Workshop;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 3;

fn main() -> Result<()> {
    // Cargo says `--bench` to every bench.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let [flag, kind, job] = &args[..]
        && flag == "--child"
    {
        return say(&child::work(kind, &jobs::json_file(Path::new(job))?)?.to_string());
    }
    match std::env::var_os("FILIATION_REAL") {
        // Cargo runs a bench in the folder of its crate; a relative path is meant from the root.
        Some(models) if !args.iter().any(|a| a == "--test") => compare(&root().join(models), &args),
        _ => small::run(),
    }
}

fn compare(models: &Path, args: &[String]) -> Result<()> {
    let models = models
        .canonicalize()
        .with_context(|| format!("`{}`: make it with benches/setup.py", models.display()))?;
    let python = std::env::var_os("FILIATION_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or_else(|| models.join("../venv/bin/python"));
    // Beside the models, so that their files can be linked to.
    let scratch = tempfile::TempDir::new_in(&models)?;
    let workshop = Workshop {
        scratch: scratch.path().into(),
        python,
        started: AtomicUsize::new(0),
    };
    let quick = args.iter().any(|a| a == "--quick");
    let (device, rest) = device_of(args)?;
    let named: Vec<&String> = rest.into_iter().filter(|a| !a.starts_with("--")).collect();
    let plan = Plan {
        workshop: &workshop,
        models: &models,
        rounds: if quick { 1 } else { ROUNDS },
        share: if quick { 4 } else { 1 },
    };
    let machine = machine::facts()?;
    let versions = machine::versions(&workshop)?;
    say(&format!("{machine}\n{versions}"))?;
    if let Some(device) = device {
        return say(&report::table(&device::score(&plan, device)?));
    }
    ensure!(
        named
            .iter()
            .all(|n| GROUPS.iter().any(|(name, _)| name.contains(n.as_str()))),
        "{named:?} names no figures, expected a part of one of {:?}",
        GROUPS.map(|(name, _)| name)
    );
    let mut found = Vec::new();
    for (name, measure) in GROUPS {
        if named.is_empty() || named.iter().any(|n| name.contains(n.as_str())) {
            found.extend(measure(&plan).with_context(|| format!("figures of `{name}`"))?);
        }
    }
    let table = report::table(&found);
    say(&table)?;
    if named.is_empty() && !quick {
        report::store(&root(), &found, &machine, &versions, &table)?;
    }
    Ok(())
}

/// What `--device` says, and the other arguments.
fn device_of(args: &[String]) -> Result<(Option<DeviceChoice>, Vec<&String>)> {
    let Some(at) = args.iter().position(|a| a == "--device") else {
        return Ok((None, args.iter().collect()));
    };
    let device = args.get(at + 1).context("`--device` needs a device")?;
    let rest = args[..at].iter().chain(&args[at + 2..]).collect();
    Ok((Some(device.parse()?), rest))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
