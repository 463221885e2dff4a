//! Scoring on a device, beside the peer on the same one, by rows that are asked for at a time.

use anyhow::{Result, bail, ensure};
use filiation_checkpoint::{Checkpoint, Limits};
use filiation_model::DeviceChoice;
use serde_json::json;

use crate::figures::{Plan, Side, of, same_mean};
use crate::report::{Figure, Wanted};
use crate::{jobs, machine, product};

/// Tokens of a row.
const LENGTH: usize = 256;

/// Rows at a time, and the figures of each: tokens a second beside the peer's, and operations a second
/// beside those of the fastest matrix product, which is the roof for so many rows.
const BATCHES: [(usize, &str, &str); 3] = [
    (1, "device_score_1_row", "device_score_1_row_of_peak"),
    (8, "device_score_8_rows", "device_score_8_rows_of_peak"),
    (64, "device_score_64_rows", "device_score_64_rows_of_peak"),
];

pub(crate) fn score(plan: &Plan<'_>, device: DeviceChoice) -> Result<Vec<Figure>> {
    ensure!(
        device != DeviceChoice::Metal,
        "the peer sums in f64, which Metal does not have"
    );
    let device = device.to_string();
    let threads = machine::threads();
    let count = 64 / plan.share;
    let rows = jobs::rows(&plan.models.join("smollm2"), count, LENGTH)?;
    let job = |model: &str, batch: usize| {
        json!({
            "model": plan.models.join(model),
            "rows": rows,
            "batch": batch.min(count),
            "device": device,
            "threads": threads,
        })
    };
    let mut sides = Vec::new();
    for (batch, ..) in BATCHES {
        sides.push(Side::us("score", job("smollm2", batch)));
        sides.push(Side::peer("scoring", job("smollm2", batch)));
    }
    sides.push(Side::us("score", job("smollm2-bf16", 64)));
    sides.push(Side::peer(
        "product",
        json!({ "device": device, "seconds": 2.0, "threads": threads }),
    ));
    let runs = plan.take_turns(&sides)?;
    let Some(([half, peak], pairs)) = runs
        .split_last_chunk::<2>()
        .map(|(pairs, last)| (last, pairs))
    else {
        bail!("no side took a turn");
    };
    let config = Checkpoint::open(&plan.models.join("smollm2"), &Limits::default())?;
    let work = product::operations(config.config(), count, LENGTH);
    let tokens = (count * LENGTH) as f64;
    let peak = of(peak, "flops")?;
    let mut figures = Vec::new();
    let told = Wanted::Nothing;
    for ((_, speed, of_peak), pair) in BATCHES.into_iter().zip(pairs.chunks_exact(2)) {
        same_mean(&pair[0], &pair[1], 1e-3)?;
        let (us, them) = (of(&pair[0], "seconds")?, of(&pair[1], "seconds")?);
        figures.push(Figure::share(
            (speed, "tokens/s"),
            tokens / us,
            tokens / them,
            told,
        ));
        figures.push(Figure::share(
            (of_peak, "GFLOP/s"),
            work / us / 1e9,
            peak / 1e9,
            told,
        ));
    }
    let f32_peer = of(&pairs[pairs.len() - 1], "seconds")?;
    // Rounding to 16 bits moves the mean by less than 0.01.
    same_mean(half, &pairs[pairs.len() - 1], 2e-2)?;
    let half = of(half, "seconds")?;
    figures.push(Figure::share(
        ("device_score_64_rows_bf16_vs_f32", "tokens/s"),
        tokens / half,
        tokens / f32_peer,
        told,
    ));
    Ok(figures)
}
