//! Speed and memory against PyTorch `transformers` on the same machine, as ratios within one run.
//!
//! ```text
//! FILIATION_REAL=FOLDER FILIATION_PYTHON=VENV/bin/python cargo bench -p filiation-cli --bench scoring
//! ```
//! `FOLDER` is what `tests/real/setup.py` makes. Without it, and under `--test`, a small model of
//! `corpora/demo` is scored once. The machine must be quiet: PyTorch slows by far more than its
//! share beside another program.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use filiation_checkpoint::{Checkpoint, Limits};
use filiation_model::{DeviceChoice, LocalModel};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 64;
const LENGTH: usize = 256;
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, folder, rows, length] = &args[..]
        && flag == "--child"
    {
        return child(Path::new(folder), rows.parse()?, length.parse()?);
    }
    match std::env::var_os("FILIATION_REAL") {
        Some(folder) if !args.iter().any(|a| a == "--test") => compare(Path::new(&folder)),
        _ => small(),
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Token rows that the peer draws the same way.
fn rows(folder: &Path, count: usize, length: usize) -> Result<Vec<Vec<u32>>> {
    let oracle: Value = serde_json::from_slice(&std::fs::read(folder.join("oracle.json"))?)?;
    let windows = oracle["windows"].as_array().context("no windows")?;
    let tokens = windows.iter().flat_map(|w| w["tokens"].as_array());
    let pool: Vec<u32> = tokens
        .flatten()
        .filter_map(|t| t.as_u64()?.try_into().ok())
        .collect();
    let row = |r| {
        (0..length)
            .map(|i| pool[(r * 37 + i) % pool.len()])
            .collect()
    };
    Ok((0..count).map(row).collect())
}

fn score(model: &LocalModel, rows: &[Vec<u32>]) -> Result<f64> {
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let scored = model.log_probs(&rows);
    let mut total = 0.0;
    for row in scored {
        total += row?.iter().sum::<f64>();
    }
    Ok(total)
}

fn child(folder: &Path, count: usize, length: usize) -> Result<()> {
    let model = LocalModel::open(folder, DeviceChoice::Cpu, &Limits::default())?;
    let rows = rows(folder, count, length)?;
    score(&model, &[rows[0][..32.min(length)].to_vec()])?;
    say("first")?;
    let start = Instant::now();
    let total = score(&model, &rows)?;
    let seconds = start.elapsed().as_secs_f64();
    let mean = total / (count * (length - 1)) as f64;
    say(&json!({ "seconds": seconds, "mean": mean, "peak_mb": peak_mb()? }).to_string())
}

fn peak_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next());
    Ok(kib.context("no VmHWM")?.parse::<f64>()? / 1024.0)
}

#[derive(Debug, Clone, Copy)]
struct Run {
    first: f64,
    seconds: f64,
    peak_mb: f64,
    mean: f64,
}

fn run(mut command: Command) -> Result<Run> {
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let line = lines.next().context("the child printed nothing")??;
    let first = start.elapsed().as_secs_f64();
    let result: Value = serde_json::from_str(&lines.next().context("the child died")??)?;
    if line != "first" || !child.wait()?.success() {
        bail!("{command:?} failed");
    }
    let number = |key: &str| result[key].as_f64().with_context(|| format!("no `{key}`"));
    Ok(Run {
        first,
        seconds: number("seconds")?,
        peak_mb: number("peak_mb")?,
        mean: number("mean")?,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(folder: &Path) -> Result<()> {
    say(&machine())?;
    let model = folder.join("smollm2");
    lineage(&model, &folder.join("smollm2-bf16"))?;
    digests(&model)?;
    let Some(python) = std::env::var_os("FILIATION_PYTHON") else {
        return say("FILIATION_PYTHON is not set: the peer is left out");
    };
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for round in 0..ROUNDS {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--child").arg(&model);
        ours.push(run(sized(command))?);
        let mut command = Command::new(&python);
        command
            .arg(root().join("benches/peer_scoring.py"))
            .arg(&model);
        theirs.push(run(sized(command))?);
        let (a, b) = (ours[round], theirs[round]);
        if (a.mean - b.mean).abs() > 1e-4 {
            bail!(
                "mean log-probability {} here, {} by the peer",
                a.mean,
                b.mean
            );
        }
        say(&format!(
            "round {}: {:.1} s, peer {:.1} s",
            round + 1,
            a.seconds,
            b.seconds
        ))?;
    }
    let row = |name: &str, unit: &str, wanted: f64, get: fn(&Run) -> f64| {
        let a = median(ours.iter().map(get).collect());
        let b = median(theirs.iter().map(get).collect());
        say(&format!(
            "{name:<28} {a:>9.2} {unit:<3} {b:>9.2} {unit:<3} {:>6.2}   ≤ {wanted}",
            a / b
        ))
    };
    let title = format!("{ROWS} x {LENGTH} tokens, f32");
    say(&format!(
        "{title:<28} {:>13} {:>13} {:>6}   wanted",
        "filiation", "transformers", "ratio"
    ))?;
    row("score every position", "s", 1.0, |r| r.seconds)?;
    row("peak memory", "MB", 0.6, |r| r.peak_mb)?;
    row("start to first result", "s", 0.5, |r| r.first)
}

fn sized(mut command: Command) -> Command {
    command.arg(ROWS.to_string()).arg(LENGTH.to_string());
    command
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|l| l.strip_prefix("model name"));
    let name = name.map_or("unknown processor", |n| {
        n.trim_start_matches([' ', '\t', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{name}, {cores} threads")
}

fn lineage(a: &Path, b: &Path) -> Result<()> {
    let limits = Limits::default();
    let start = Instant::now();
    let (a, b) = (Checkpoint::open(a, &limits)?, Checkpoint::open(b, &limits)?);
    let opened = start.elapsed().as_secs_f64();
    filiation_probes::lineage::relate(&a, &b)?;
    let seconds = start.elapsed().as_secs_f64();
    say(&format!(
        "weight-lineage f32 against bf16: {seconds:.2} s, of which {opened:.2} s opening (wanted ≤ 10 s)"
    ))
}

fn digests(folder: &Path) -> Result<()> {
    let start = Instant::now();
    let checkpoint = Checkpoint::open(folder, &Limits::default())?;
    // The first look at the files is what reads and hashes them.
    let bytes: u64 = checkpoint.files().iter().map(|f| f.bytes).sum();
    let seconds = start.elapsed().as_secs_f64();
    let rate = bytes as f64 / seconds / 1e9;
    say(&format!(
        "digests of {bytes} bytes: {rate:.2} GB/s (wanted ≥ 1)"
    ))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn small() -> Result<()> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root().join("corpora/demo"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("model.safetensors").is_file())
        .collect();
    folders.sort();
    let folder = folders.first().context("corpora/demo holds no model")?;
    let model = LocalModel::open(folder, DeviceChoice::Cpu, &Limits::default())?;
    let start = Instant::now();
    let total = score(&model, &[(0..64).collect(), (0..64).collect()])?;
    let seconds = start.elapsed().as_secs_f64();
    say(&format!(
        "2 x 64 tokens of a demonstration model: {seconds:.3} s, {total:.1} nats"
    ))
}
