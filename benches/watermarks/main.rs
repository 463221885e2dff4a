//! Speed of watermark tests beside the detectors of other projects, as ratios within one run.
//!
//! ```text
//! python3 benches/setup_watermarks.py [--vllm]
//! FILIATION_WATERMARKS=target/watermarks cargo bench -p filiation-cli --bench watermarks [-- FIGURE…]
//! ```
//! Every side of a figure is a process of its own, on all threads; the sides take turns for five
//! rounds, and the table shows medians. Both begin with lists of token ids in memory and end with what
//! they counted, which must be the same. A whole run writes `benches/watermarks.json` and the table of
//! `docs/performance.md`; with figures by name it only prints. The machine must be quiet. Without
//! `FILIATION_WATERMARKS`, and under `--test`, every test is done once on a short text, without peers.

mod jobs;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use filiation_core::canonical;
use filiation_watermark::{Dedup, Detection, Law, Scheme, Units};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use jobs::{FIGURES, Figure};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let [flag, name, job] = &args[..]
        && flag == "--child"
    {
        let job: Value = serde_json::from_slice(&fs::read(job)?)?;
        return say(&ours(figure(name)?, &job)?.to_string());
    }
    match std::env::var_os("FILIATION_WATERMARKS") {
        Some(folder) if !args.iter().any(|a| a == "--test") => compare(&root().join(folder), &args),
        _ => FIGURES.iter().try_for_each(|figure| {
            let counted = ours(figure, &figure.job(1, 400, 1))?["counted"].clone();
            ensure!(
                counted[0][0].as_u64() > Some(0),
                "{} counts nothing",
                figure.name
            );
            Ok(())
        }),
    }
}

fn figure(name: &str) -> Result<&'static Figure> {
    let found = FIGURES.iter().find(|f| f.name == name);
    found.with_context(|| format!("no figure `{name}`"))
}

/// What the job counts, and how long it takes.
fn ours(figure: &Figure, job: &Value) -> Result<Value> {
    let scheme = figure.scheme()?;
    let texts: Vec<Vec<u32>> = serde_json::from_value(job["texts"].clone())?;
    // A short text first, as for the peers: what the first call prepares is not counted.
    count(&*scheme, figure.dedup, &texts[0][..64])?;
    let start = Instant::now();
    let counted = texts
        .par_iter()
        .map(|text| count(&*scheme, figure.dedup, text))
        .collect::<Result<Vec<_>>>()?;
    let seconds = start.elapsed().as_secs_f64();
    let green = matches!(scheme.law(), Law::Green { .. } | Law::Bits { .. });
    let shown: Vec<Value> = counted
        .iter()
        .map(|found| match green {
            true => json!([found.scored, found.sum as u64]),
            false => json!([found.scored, found.sum]),
        })
        .collect();
    Ok(json!({ "seconds": seconds, "counted": shown }))
}

fn count(scheme: &dyn Scheme, dedup: Dedup, text: &[u32]) -> Result<Detection> {
    let mut units = Units::with(scheme, dedup);
    units.add(&[], text)?;
    Ok(Detection::of(scheme, &units)?)
}

fn compare(folder: &Path, args: &[String]) -> Result<()> {
    let python = folder.join("venv/bin/python");
    ensure!(
        python.exists(),
        "`{}` is not there: make it with benches/setup_watermarks.py",
        python.display()
    );
    let scratch = tempfile::tempdir()?;
    let named = |f: &Figure| args.is_empty() || args.iter().any(|a| f.name.contains(a.as_str()));
    let mut rows = Vec::new();
    for figure in FIGURES.iter().filter(|f| named(f)) {
        if !figure.there(folder) {
            say(&format!("{}: its peer was not set up", figure.name))?;
            continue;
        }
        let row = measured(figure, folder, &python, scratch.path())?;
        say(&row.line())?;
        rows.push(row);
    }
    if args.is_empty() {
        store(&rows, &python)?;
    }
    Ok(())
}

struct Row {
    figure: &'static Figure,
    tokens: usize,
    ours: f64,
    peer: f64,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.peer / self.ours
    }

    fn line(&self) -> String {
        let met = if self.ratio() >= self.figure.wanted {
            ""
        } else {
            ", missed"
        };
        let per = |seconds: f64| format!("{:.3} µs", 1e6 * seconds / self.tokens as f64);
        format!(
            "| `{}` | {} | {} | {:.1} | ≥ {}{met} |",
            self.figure.name,
            per(self.ours),
            per(self.peer),
            self.ratio(),
            self.figure.wanted
        )
    }
}

fn measured(figure: &'static Figure, folder: &Path, python: &Path, scratch: &Path) -> Result<Row> {
    let threads = std::thread::available_parallelism()?.get();
    let job = figure.job(figure.texts, figure.length, threads);
    let path = scratch.join(format!("{}.json", figure.name));
    fs::write(&path, canonical::to_bytes(&job))?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut command = Command::new(python);
        command
            .arg(root().join("benches/peer_watermarks.py"))
            .arg(&path)
            .arg(folder.join("engines"))
            .env("HF_HUB_OFFLINE", "1");
        let theirs = told(command)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--child").arg(figure.name).arg(&path);
        let own = told(command)?;
        agree(figure, &own["counted"], &theirs["counted"])?;
        let seconds = |told: &Value| told["seconds"].as_f64().context("a child told no time");
        ours.push(seconds(&own)?);
        peer.push(seconds(&theirs)?);
    }
    Ok(Row {
        figure,
        tokens: figure.texts * figure.length,
        ours: median(ours),
        peer: median(peer),
    })
}

/// Counts are equal, sums to rounding.
fn agree(figure: &Figure, own: &Value, theirs: &Value) -> Result<()> {
    let lists =
        |value: &Value| -> Result<Vec<(u64, f64)>> { Ok(serde_json::from_value(value.clone())?) };
    let (own, theirs) = (lists(own)?, lists(theirs)?);
    let same = own.len() == theirs.len()
        && own.iter().zip(&theirs).all(|(a, b)| {
            let close = (a.1 - b.1).abs() <= figure.tolerance * b.1.abs();
            a.0 == b.0 && close
        });
    if same {
        return Ok(());
    }
    let differ = own.iter().zip(&theirs).find(|(a, b)| a != b);
    bail!(
        "{}: ours and the peer's counts differ: {differ:?}",
        figure.name
    )
}

fn told(mut command: Command) -> Result<Value> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout)?;
    let last = said.lines().last().context("a child said nothing")?;
    Ok(serde_json::from_str(last)?)
}

fn store(rows: &[Row], python: &Path) -> Result<()> {
    let round = |x: f64| {
        format!("{x:.3e}")
            .parse::<f64>()
            .map_or(Value::Null, Value::from)
    };
    let per_token = |row: &Row, seconds: f64| round(1e6 * seconds / row.tokens as f64);
    let ratios: Map<String, Value> = rows
        .iter()
        .map(|row| (row.figure.name.to_owned(), round(row.ratio())))
        .collect();
    let medians: Map<String, Value> = rows
        .iter()
        .map(|row| {
            let (ours, peer) = (per_token(row, row.ours), per_token(row, row.peer));
            let of = json!({ "ours": ours, "peer": peer, "unit": "µs a token" });
            (row.figure.name.to_owned(), of)
        })
        .collect();
    let script = "import json, torch, transformers, importlib.metadata as m; print(json.dumps({'torch': \
        torch.__version__.split('+')[0], 'transformers': transformers.__version__, 'synthid-text': \
        m.version('synthid-text')}))";
    let mut command = Command::new(python);
    command.arg("-c").arg(script);
    let mut versions = told(command)?;
    versions["sglang"] = json!("0.5.23");
    versions["vllm"] = json!("0.33.0");
    versions["filiation"] = json!(env!("CARGO_PKG_VERSION"));
    let results = json!({
        "ratios": ratios,
        "medians": medians,
        "machine": machine(),
        "versions": versions,
    });
    fs::write(
        root().join("benches/watermarks.json"),
        canonical::to_pretty(&results),
    )?;
    let head =
        "| figure | ours, a token | peer, a token | ratio | wanted |\n|---|---:|---:|---:|---:|\n";
    let lines: String = rows.iter().map(|row| row.line() + "\n").collect();
    into_page(
        &root().join("docs/performance.md"),
        &(head.to_owned() + &lines),
    )
}

fn machine() -> Value {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|l| l.strip_prefix("model name"));
    let processor = line.map_or("", |l| l.trim_start_matches([' ', '\t', ':']));
    let threads = std::thread::available_parallelism().map_or(0, |n| n.get());
    json!({ "processor": processor, "threads": threads, "system": std::env::consts::OS })
}

/// Puts the table between the two marks of the page.
fn into_page(page: &Path, table: &str) -> Result<()> {
    const MARKS: [&str; 2] = ["<!-- watermarks -->\n", "<!-- end of watermarks -->\n"];
    let text = fs::read_to_string(page)?;
    let (before, rest) = text.split_once(MARKS[0]).context("no mark `watermarks`")?;
    let (_, after) = rest
        .split_once(MARKS[1])
        .context("no mark `end of watermarks`")?;
    Ok(fs::write(
        page,
        [before, MARKS[0], table, MARKS[1], after].concat(),
    )?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
