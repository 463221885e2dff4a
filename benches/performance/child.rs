//! What our side does in its own process: one job, told by a JSON file, one JSON object back.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use filiation_checkpoint::{Checkpoint, Limits};
use filiation_core::{Answer, Model, Prompt, Request, RequestId, Sampling, Want};
use filiation_lab::{Progress, Recipe};
use filiation_model::{DeviceChoice, LocalModel};
use serde_json::{Value, json};

use crate::{product, say};

/// Updates before a training's speed is taken: memory is got, threads are started.
const WARM_UP: usize = 2;

pub(crate) fn work(kind: &str, job: &Value) -> Result<Value> {
    match kind {
        "score" => score(job),
        "forensic" => forensic(job),
        "generate" => generate(job),
        "train" => train(job),
        "product" => product::peak(job),
        "lineage" => lineage(job),
        "digests" => digests(job),
        _ => bail!("no kind of work `{kind}`"),
    }
}

fn path(job: &Value, key: &str) -> Result<PathBuf> {
    Ok(job[key]
        .as_str()
        .with_context(|| format!("no `{key}`"))?
        .into())
}

fn open(job: &Value) -> Result<LocalModel> {
    let folder = path(job, "model")?;
    let device = job["device"].as_str().map(str::parse::<DeviceChoice>);
    Ok(LocalModel::open_within(
        &folder,
        device.transpose()?.unwrap_or_default(),
        &Limits::default(),
        job["memory"].as_u64(),
    )?)
}

fn list<'a>(job: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    job[key]
        .as_array()
        .with_context(|| format!("no list `{key}`"))
}

fn peak_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next());
    Ok(kib.context("no VmHWM")?.parse::<f64>()? / 1024.0)
}

/// Log-probabilities of every position of rows of tokens, `batch` at a time or all at once.
fn score(job: &Value) -> Result<Value> {
    let rows: Vec<Vec<u32>> = serde_json::from_value(job["rows"].clone())?;
    let model = open(job)?;
    let total = |rows: &[&[u32]]| -> Result<f64> {
        let mut total = 0.0;
        for row in model.log_probs(rows) {
            total += row?.iter().sum::<f64>();
        }
        Ok(total)
    };
    let first = rows.first().context("no rows")?;
    total(&[&first[..first.len().min(32)]])?;
    say("first")?;
    let slices: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let batch = match job["batch"].as_u64() {
        Some(batch) => usize::try_from(batch)?.max(1),
        None => slices.len(),
    };
    let start = Instant::now();
    let totals: Vec<f64> = slices.chunks(batch).map(total).collect::<Result<_>>()?;
    let total: f64 = totals.iter().sum();
    let seconds = start.elapsed().as_secs_f64();
    let positions: usize = rows.iter().map(|row| row.len() - 1).sum();
    let mean = total / positions as f64;
    Ok(json!({ "seconds": seconds, "mean": mean, "peak_mb": peak_mb()? }))
}

fn request(number: usize, want: Want) -> Request {
    Request {
        id: RequestId::new(number.to_string()),
        to: vec![],
        want,
    }
}

/// Log-probabilities of several completions of each prompt, from texts: what an audit asks most.
fn forensic(job: &Value) -> Result<Value> {
    let mut requests = Vec::new();
    for item in list(job, "prompts")? {
        let prompt = item["prompt"].as_str().context("no prompt")?;
        for completion in list(item, "completions")? {
            let want = Want::Score {
                prompt: Prompt::Text(prompt.into()),
                continuation: completion.as_str().context("a text")?.into(),
            };
            requests.push(request(requests.len(), want));
        }
    }
    let model = open(job)?;
    let start = Instant::now();
    let (mut total, mut tokens) = (0.0, 0);
    for answer in model.answer(&requests) {
        let Answer::Scored(scored) = answer? else {
            bail!("a score was asked for");
        };
        total += scored.total();
        tokens += scored.tokens.len();
    }
    let seconds = start.elapsed().as_secs_f64();
    let mean = total / tokens as f64;
    Ok(json!({ "seconds": seconds, "mean": mean, "tokens": tokens, "peak_mb": peak_mb()? }))
}

/// Completions of a fixed length.
fn generate(job: &Value) -> Result<Value> {
    let new: u32 = serde_json::from_value(job["new"].clone())?;
    let temperature = job["temperature"].as_f64().context("no `temperature`")?;
    let mut requests = Vec::new();
    for (i, prompt) in list(job, "prompts")?.iter().enumerate() {
        let sampling = Sampling {
            temperature,
            top_p: 1.0,
            seed: i as u64,
        };
        let want = Want::Generate {
            prompt: Prompt::Text(prompt["text"].as_str().context("a text")?.into()),
            max_tokens: new,
            sampling,
        };
        requests.push(request(i, want));
    }
    let model = open(job)?;
    let start = Instant::now();
    let answers = model.answer(&requests);
    let seconds = start.elapsed().as_secs_f64();
    let mut rows = Vec::with_capacity(answers.len());
    for answer in answers {
        let Answer::Completion(completion) = answer? else {
            bail!("a completion was asked for");
        };
        rows.push(completion.tokens);
    }
    Ok(json!({ "seconds": seconds, "rows": rows, "peak_mb": peak_mb()? }))
}

/// Tokens a second of training, by the median update.
fn train(job: &Value) -> Result<Value> {
    let recipe: Recipe = serde_json::from_value(job["recipe"].clone())?;
    let out = tempfile::TempDir::new()?;
    let (mut last, mut seconds, mut loss) = (Instant::now(), Vec::new(), f64::NAN);
    filiation_lab::build(&recipe, &path(job, "text")?, out.path(), &mut |progress| {
        if let Progress::Step { loss: now, .. } = progress {
            seconds.push(last.elapsed().as_secs_f64());
            (last, loss) = (Instant::now(), now);
        }
    })?;
    let seconds = seconds.split_off(WARM_UP.min(seconds.len() - 1));
    let model = recipe.models.first().context("no model")?;
    let tokens = recipe.schedules[&model.schedule].windows * recipe.shape_of(model)?.context;
    let speed = tokens as f64 / crate::report::median(seconds);
    Ok(json!({ "tokens_per_second": speed, "loss": loss, "peak_mb": peak_mb()? }))
}

/// The whole of `weight-lineage` between two folders.
fn lineage(job: &Value) -> Result<Value> {
    let limits = Limits::default();
    let start = Instant::now();
    let this = Checkpoint::open(&path(job, "this")?, &limits)?;
    let other = Checkpoint::open(&path(job, "other")?, &limits)?;
    filiation_probes::lineage::relate(&this, &other)?;
    Ok(json!({ "seconds": start.elapsed().as_secs_f64() }))
}

/// Reading and hashing every file of a folder.
fn digests(job: &Value) -> Result<Value> {
    let folder = path(job, "model")?;
    let start = Instant::now();
    let checkpoint = Checkpoint::open(Path::new(&folder), &Limits::default())?;
    // The first look at the files is what reads and hashes them.
    let bytes: u64 = checkpoint.files().iter().map(|f| f.bytes).sum();
    Ok(json!({ "seconds": start.elapsed().as_secs_f64(), "bytes": bytes }))
}
