//! The kernel two-sample test beside model-equality-testing, on 500 + 500 texts and 100 permutations.
//!
//! ```text
//! python3 benches/setup.py
//! cargo bench -p filiation-cli --bench equality
//! ```
//! `FILIATION_PYTHON` names the peers' interpreter where it is not `target/real/venv/bin/python`. The sides
//! take turns for three rounds and the table shows medians; both must find the same statistic where every
//! prompt has as many answers of each source. The peer is also asked about many small samples of one
//! source. Under `--test` only our side runs. The machine must be quiet.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use filiation_stats::{AnswerPair, HammingMmd, code_points};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const ROUNDS: usize = 3;
const DRAWS: u32 = 100;
/// Answers of each source.
const ANSWERS: usize = 500;
const NULL_RUNS: u64 = 300;
const NULL_DRAWS: u32 = 19;

fn main() -> Result<()> {
    let mut out = std::io::stdout().lock();
    let all: Vec<Vec<AnswerPair>> = [25, 1]
        .map(|prompts| sample(prompts as u64, prompts, ANSWERS, 0.02))
        .into();
    let alike: Vec<_> = (0..NULL_RUNS)
        .map(|i| sample(1000 + i, 4, 20, 0.0))
        .collect();
    if std::env::args().any(|a| a == "--test") {
        let (_, value) = ours(&all[0])?;
        return Ok(writeln!(out, "MMD² {value}")?);
    }
    let scratch = tempfile::tempdir()?;
    let job = scratch.path().join("job.json");
    let describe = |alike: &[Vec<AnswerPair>]| {
        json!({
            "draws": DRAWS, "null_draws": NULL_DRAWS,
            "samples": all.iter().map(|s| told(s)).collect::<Vec<_>>(),
            "null": alike.iter().map(|s| told(s)).collect::<Vec<_>>(),
        })
    };
    let mut seconds = vec![(Vec::new(), Vec::new()); all.len()];
    let mut zeros = 0;
    for round in 0..ROUNDS {
        let asked = if round == 0 { &alike[..] } else { &[] };
        std::fs::write(&job, describe(asked).to_string())?;
        let theirs = peer(&job)?;
        for (i, pairs) in all.iter().enumerate() {
            let found = &theirs["samples"][i];
            let (time, value) = ours(pairs)?;
            let statistic = found["statistic"].as_f64().context("no statistic")?;
            ensure!((statistic - value).abs() < 1e-9, "{statistic} and {value}");
            seconds[i].0.push(time);
            seconds[i]
                .1
                .push(found["seconds"].as_f64().context("no time")?);
        }
        let p = theirs["null"].as_array().context("no null")?;
        zeros += p.iter().filter(|p| p.as_f64() == Some(0.0)).count();
    }
    for (pairs, (ours, theirs)) in all.iter().zip(&mut seconds) {
        let (ours, theirs) = (median(ours), median(theirs));
        writeln!(
            out,
            "{ANSWERS} + {ANSWERS} texts to {} prompts, {DRAWS} permutations: ours {:.2} ms, peer {theirs:.2} s, \
             ratio {:.0} (wanted ≥ 100)",
            pairs.len(),
            1e3 * ours,
            theirs / ours
        )?;
    }
    writeln!(
        out,
        "p = 0 of one source against itself, {NULL_DRAWS} permutations: peer in {zeros} of {NULL_RUNS}, ours in 0 (at least {})",
        1.0 / f64::from(NULL_DRAWS + 1)
    )?;
    Ok(())
}

/// Seconds from the texts' characters to the p-value, and the statistic.
fn ours(pairs: &[AnswerPair]) -> Result<(f64, f64)> {
    let start = Instant::now();
    let mmd = HammingMmd::new(pairs)?;
    let test = mmd.test(DRAWS, 1)?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(test.log10_p <= 0.0, "no p-value");
    Ok((seconds, mmd.value()))
}

fn peer(job: &Path) -> Result<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = std::env::var_os("FILIATION_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or_else(|| root.join("target/real/venv/bin/python"));
    let output = Command::new(&python)
        .arg(root.join("benches/peer_equality.py"))
        .arg(job)
        .output()
        .with_context(|| format!("`{}`: make it with benches/setup.py", python.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the peer failed: {said}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn told(pairs: &[AnswerPair]) -> Value {
    let text = |answer: &Vec<u32>| -> String {
        answer.iter().filter_map(|c| char::from_u32(*c)).collect()
    };
    let side = |of: fn(&AnswerPair) -> &Vec<Vec<u32>>| {
        let rows = pairs.iter().enumerate();
        let rows = rows.flat_map(|(i, p)| of(p).iter().map(move |a| json!([i, text(a)])));
        rows.collect::<Vec<_>>()
    };
    json!({ "a": side(|p| &p.a), "b": side(|p| &p.b) })
}

/// `answers` texts of each of two sources over `prompts`: words of a small vocabulary up to 200
/// characters. The second source says another word in a share of places.
fn sample(seed: u64, prompts: usize, answers: usize, other: f64) -> Vec<AnswerPair> {
    const WORDS: [&str; 8] = [
        "the ", "a ", "river ", "hill ", "runs ", "stands ", "by ", "old ",
    ];
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut text = |prompt: usize, other: f64| {
        let mut text = String::new();
        let length = rng.random_range(100..200);
        while text.len() < length {
            let usual = (prompt + text.len() / 10 + rng.random_range(0..2)) % WORDS.len();
            text += if rng.random_bool(other) {
                "sea "
            } else {
                WORDS[usual]
            };
        }
        code_points(&text[..length])
    };
    let each = answers / prompts;
    (0..prompts)
        .map(|prompt| AnswerPair {
            a: (0..each).map(|_| text(prompt, 0.0)).collect(),
            b: (0..each).map(|_| text(prompt, other)).collect(),
        })
        .collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
