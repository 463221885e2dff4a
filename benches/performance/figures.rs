//! The figures: which sides take turns, what must agree between them, and what is read off.

use std::path::Path;

use anyhow::{Result, ensure};
use filiation_checkpoint::{Checkpoint, Limits};
use serde_json::{Value, json};

use crate::process::{Run, Workshop};
use crate::report::{Figure, Wanted, median};
use crate::{jobs, machine, product, say};

/// What is measured, and how much of it.
pub(crate) struct Plan<'a> {
    pub(crate) workshop: &'a Workshop,
    /// The folder that benches/setup.py made.
    pub(crate) models: &'a Path,
    pub(crate) rounds: usize,
    /// One part in so many of every job is done.
    pub(crate) share: usize,
}

type Measure = fn(&Plan<'_>) -> Result<Vec<Figure>>;

/// Figures that are measured together, by the name that asks for them.
pub(crate) const GROUPS: [(&str, Measure); 6] = [
    ("score", score),
    ("forensic-smollm2", |plan| {
        forensic(plan, "smollm2", "forensic_smollm2_vs_torch", (1e-4, 1.5))
    }),
    ("forensic-gemma", |plan| {
        forensic(plan, "gemma3", "forensic_gemma_vs_torch", (1e-3, 2.0))
    }),
    ("generate", generate),
    ("train", train),
    ("weights", weights),
];

/// Who does a job.
#[derive(Clone, Copy)]
enum By {
    Us,
    Peer,
}

/// One side of a figure.
pub(crate) struct Side {
    by: By,
    /// Kind of work, or the peer's script.
    work: &'static str,
    job: Value,
}

impl Side {
    pub(crate) const fn us(work: &'static str, job: Value) -> Self {
        let by = By::Us;
        Self { by, work, job }
    }

    pub(crate) const fn peer(work: &'static str, job: Value) -> Self {
        let by = By::Peer;
        Self { by, work, job }
    }
}

impl Plan<'_> {
    /// The runs of each side; the sides take turns.
    pub(crate) fn take_turns(&self, sides: &[Side]) -> Result<Vec<Vec<Run>>> {
        let mut runs = vec![Vec::new(); sides.len()];
        for round in 1..=self.rounds {
            for (side, runs) in sides.iter().zip(&mut runs) {
                let shop = self.workshop;
                let (by, command) = match side.by {
                    By::Us => ("ours", shop.ours(side.work, &side.job)?),
                    By::Peer => ("peer", shop.peer(side.work, &side.job)?),
                };
                let run = shop.run(command)?;
                say(&format!(
                    "round {round}, {by}, {}: {}",
                    side.work,
                    run.short()
                ))?;
                runs.push(run);
            }
        }
        Ok(runs)
    }

    /// The job with the batch size at which the peer is quickest.
    fn tuned(&self, peer: &str, job: &Value) -> Result<Value> {
        let mut command = self.workshop.peer(peer, job)?;
        command.arg("--tune");
        let run = self.workshop.run(command)?;
        say(&format!("tuning, peer, {peer}: {}", run.short()))?;
        let mut job = job.clone();
        job["batch"] = run.value("batch").clone();
        Ok(job)
    }

    fn text(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.models.join("text.txt"))?)
    }
}

/// The median of a number over the runs of a side.
pub(crate) fn of(runs: &[Run], key: &str) -> Result<f64> {
    let numbers = runs.iter().map(|run| run.number(key));
    Ok(median(numbers.collect::<Result<_>>()?))
}

fn first(runs: &[Run]) -> f64 {
    median(runs.iter().filter_map(|run| run.first).collect())
}

/// Both sides computed the same thing.
pub(crate) fn same_mean(a: &[Run], b: &[Run], tolerance: f64) -> Result<()> {
    for (a, b) in a.iter().zip(b) {
        let (here, there) = (a.number("mean")?, b.number("mean")?);
        ensure!(
            (here - there).abs() <= tolerance,
            "mean log-probability {here} here, {there} by the peer, expected within {tolerance}"
        );
    }
    Ok(())
}

/// Bytes that the f32 model may take, less than its weights.
const BOUND: u64 = 400_000_000;

fn score(plan: &Plan<'_>) -> Result<Vec<Figure>> {
    const LENGTH: usize = 256;
    let model = plan.models.join("smollm2");
    let count = 64 / plan.share;
    let rows = jobs::rows(&model, count, LENGTH)?;
    let threads = machine::threads();
    let job = |name| json!({ "model": plan.models.join(name), "rows": rows, "threads": threads });
    // One run gives speed, memory and first result together, so that none is had at the expense of
    // another. The bound makes the layers pass one by one.
    let mut bounded = job("smollm2");
    bounded["memory"] = json!(BOUND);
    let product = json!({ "side": 3072, "seconds": 2.0, "threads": threads });
    let runs = plan.take_turns(&[
        Side::us("score", bounded),
        Side::peer("scoring", plan.tuned("scoring", &job("smollm2"))?),
        Side::us("score", job("smollm2-bf16")),
        Side::us("product", product.clone()),
        Side::peer("product", product),
    ])?;
    let [ours, torch, half, gemm, matmul] = &runs[..] else {
        unreachable!("five sides took turns");
    };
    same_mean(ours, torch, 1e-4)?;
    // Rounding to 16 bits moves single values by up to 0.1, the mean by less than 0.01.
    same_mean(half, torch, 2e-2)?;
    let (seconds, theirs) = (of(ours, "seconds")?, of(torch, "seconds")?);
    let checkpoint = Checkpoint::open(&model, &Limits::default())?;
    let work = product::operations(checkpoint.config(), count, LENGTH);
    let peak = of(gemm, "flops")?.max(of(matmul, "flops")?);
    let most = Wanted::AtMost;
    let memory = (of(ours, "peak_mb")?, of(torch, "peak_mb")?);
    Ok(vec![
        Figure::speed("score_f32_vs_torch", seconds, theirs, 1.25),
        Figure::speed("score_bf16_vs_torch_f32", of(half, "seconds")?, theirs, 1.1),
        Figure::share(
            ("score_vs_gemm_peak", "GFLOP/s"),
            work / seconds / 1e9,
            peak / 1e9,
            Wanted::AtLeast(0.9),
        ),
        Figure::share(
            ("peak_memory_vs_torch", "MB"),
            memory.0,
            memory.1,
            most(0.3),
        ),
        Figure::share(
            ("first_result_vs_torch", "s"),
            first(ours),
            first(torch),
            most(0.4),
        ),
    ])
}

fn forensic(
    plan: &Plan<'_>,
    model: &str,
    figure: &'static str,
    (tolerance, wanted): (f64, f64),
) -> Result<Vec<Figure>> {
    let job = json!({
        "model": plan.models.join(model),
        "prompts": jobs::forensic(&plan.text()?, 100 / plan.share, 4),
        "threads": machine::threads(),
    });
    let runs = plan.take_turns(&[
        Side::us("forensic", job.clone()),
        Side::peer("forensic", plan.tuned("forensic", &job)?),
    ])?;
    same_mean(&runs[0], &runs[1], tolerance)?;
    let tokens = (of(&runs[0], "tokens")?, of(&runs[1], "tokens")?);
    ensure!(tokens.0 == tokens.1, "tokens scored: {tokens:?}");
    Ok(vec![Figure::speed(
        figure,
        of(&runs[0], "seconds")?,
        of(&runs[1], "seconds")?,
        wanted,
    )])
}

fn generate(plan: &Plan<'_>) -> Result<Vec<Figure>> {
    let count = 64 / plan.share;
    let model = plan.models.join("smollm2");
    let endless = jobs::endless(&model, plan.workshop.scratch.join("endless"))?;
    let job = |temperature: f64| -> Result<Value> {
        Ok(json!({
            "model": endless,
            "gguf": plan.models.join("smollm2-f16-gguf/smollm2.gguf"),
            "prompts": jobs::prompts(&model, &plan.text()?, count)?,
            "new": jobs::NEW,
            "temperature": temperature,
            "threads": machine::threads(),
        }))
    };
    let (greedy, sampled) = (job(0.0)?, job(1.0)?);
    let tuned = plan.tuned("generating", &greedy)?;
    let mut tuned_sampled = sampled.clone();
    tuned_sampled["batch"] = tuned["batch"].clone();
    let runs = plan.take_turns(&[
        Side::us("generate", greedy.clone()),
        Side::peer("generating", tuned),
        Side::peer("llamacpp", greedy),
        Side::us("generate", sampled.clone()),
        Side::peer("generating", tuned_sampled),
        Side::peer("llamacpp", sampled),
    ])?;
    for run in runs.iter().flatten() {
        let rows = run.value("rows").as_array().map_or(&[][..], Vec::as_slice);
        let full = |row: &Value| row.as_array().is_some_and(|row| row.len() == jobs::NEW);
        ensure!(
            rows.len() == count && rows.iter().all(full),
            "a side made other than {count} rows of {} tokens",
            jobs::NEW
        );
    }
    // A tie between two tokens may go either way, and the row goes on from there.
    let rows = |runs: &[Run]| {
        runs[0]
            .value("rows")
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let pairs = rows(&runs[0]).into_iter().zip(rows(&runs[1]));
    let same = pairs.filter(|(a, b)| a == b).count();
    ensure!(
        same * 10 >= count * 9,
        "{same} of {count} greedy rows are those of transformers, expected nine in ten"
    );
    let speed = |name, ours: usize, peer: usize, wanted| -> Result<Figure> {
        let (ours, peer) = (of(&runs[ours], "seconds")?, of(&runs[peer], "seconds")?);
        Ok(Figure::speed(name, ours, peer, wanted))
    };
    Ok(vec![
        speed("generate_vs_transformers", 0, 1, 1.5)?,
        speed("generate_vs_llamacpp_f16", 0, 2, 1.0)?,
        speed("generate_sampled_vs_transformers", 3, 4, 1.5)?,
        speed("generate_sampled_vs_llamacpp_f16", 3, 5, 1.0)?,
    ])
}

fn train(plan: &Plan<'_>) -> Result<Vec<Figure>> {
    let shop = plan.workshop;
    let steps = if plan.share == 1 { 22 } else { 8 };
    let job = jobs::training(&shop.scratch.join("text"), steps)?;
    let (mut ours, mut torch, mut pair) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        ours.push(
            shop.run(shop.ours("train", &job)?)?
                .number("tokens_per_second")?,
        );
        let mut peer = shop.script("training");
        peer.args(["--steps", &(steps - 2).to_string()]);
        peer.args(["--threads", &machine::threads().to_string()]);
        torch.push(shop.run(peer)?.number("tokens_per_second")?);
        let alone = || {
            let mut command = shop.ours("train", &job)?;
            command.env("RAYON_NUM_THREADS", "1");
            shop.start(command)
        };
        let (one, other) = (alone()?, alone()?);
        let speed = |run: Run| run.number("tokens_per_second");
        pair.push(speed(one.finish()?)? + speed(other.finish()?)?);
        let (a, b, c) = (ours[round - 1], torch[round - 1], pair[round - 1]);
        say(&format!(
            "round {round}: {a:.0} tokens/s, peer {b:.0}, ours as two processes of one thread {c:.0}"
        ))?;
    }
    let (ours, torch, pair) = (median(ours), median(torch), median(pair));
    let unit = "tokens/s";
    Ok(vec![
        Figure::share(("train_vs_torch", unit), ours, torch, Wanted::AtLeast(1.0)),
        Figure::share(
            ("train_two_processes_vs_one", unit),
            pair,
            ours,
            Wanted::Nothing,
        ),
    ])
}

fn weights(plan: &Plan<'_>) -> Result<Vec<Figure>> {
    let [model, half] = ["smollm2", "smollm2-bf16"].map(|name| plan.models.join(name));
    let runs = plan.take_turns(&[
        Side::us("lineage", json!({ "this": model, "other": half })),
        Side::us("digests", json!({ "model": model })),
    ])?;
    let rate = of(&runs[1], "bytes")? / of(&runs[1], "seconds")? / 1e9;
    let lineage = of(&runs[0], "seconds")?;
    Ok(vec![
        Figure::alone(("weight_lineage", "s"), lineage, Wanted::AtMost(10.0)),
        Figure::alone(("digests", "GB/s"), rate, Wanted::AtLeast(1.0)),
    ])
}
