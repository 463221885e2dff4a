//! The fastest matrix product to be had here, and what a model's arithmetic comes to.

use std::time::Instant;

use anyhow::{Context, Result};
use filiation_checkpoint::config::ModelConfig;
use serde_json::{Value, json};

use crate::machine;

/// A way to multiply square matrices on every core.
struct Way {
    name: &'static str,
    /// Whether each thread has a product of its own.
    apart: bool,
    multiply: fn(&mut Square),
}

const WAYS: [Way; 2] = [
    Way {
        name: "gemm, one product on all threads",
        apart: false,
        multiply: Square::shared,
    },
    Way {
        name: "gemm, one product a thread",
        apart: true,
        multiply: Square::apart,
    },
];

/// f32 matrices, one set a thread.
struct Square {
    side: usize,
    sets: Vec<[Vec<f32>; 3]>,
}

/// Operations a second of the fastest way.
pub(crate) fn peak(job: &Value) -> Result<Value> {
    let side = usize::try_from(job["side"].as_u64().context("no `side`")?)?;
    let seconds = job["seconds"].as_f64().context("no `seconds`")?;
    let threads = machine::threads();
    let values: Vec<f32> = (0..side * side)
        .map(|i| (i % 61) as f32 / 61.0 - 0.5)
        .collect();
    let set = || [values.clone(), values.clone(), vec![0.0; side * side]];
    let mut square = Square {
        side,
        sets: (0..threads).map(|_| set()).collect(),
    };
    let mut best = (0.0, "");
    for way in WAYS {
        let products = if way.apart { threads } else { 1 };
        let work = 2.0 * (side as f64).powi(3) * products as f64;
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < seconds {
            let one = Instant::now();
            (way.multiply)(&mut square);
            let speed = work / one.elapsed().as_secs_f64();
            if speed > best.0 {
                best = (speed, way.name);
            }
        }
    }
    Ok(json!({ "flops": best.0, "by": best.1 }))
}

impl Square {
    fn shared(&mut self) {
        let threads = self.sets.len();
        multiply(
            self.side,
            &mut self.sets[0],
            gemm::Parallelism::Rayon(threads),
        );
    }

    fn apart(&mut self) {
        let side = self.side;
        std::thread::scope(|scope| {
            for set in &mut self.sets {
                scope.spawn(move || multiply(side, set, gemm::Parallelism::None));
            }
        });
    }
}

#[expect(
    unsafe_code,
    reason = "the crate `gemm` takes pointers; each matrix has side² values"
)]
fn multiply(side: usize, [a, b, c]: &mut [Vec<f32>; 3], parallelism: gemm::Parallelism) {
    let step = side as isize;
    // SAFETY: the three matrices are row-major, side × side, and apart from each other.
    unsafe {
        gemm::gemm(
            side,
            side,
            side,
            c.as_mut_ptr(),
            1,
            step,
            false,
            a.as_ptr(),
            1,
            step,
            b.as_ptr(),
            1,
            step,
            0.0_f32,
            1.0_f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Operations of scoring every position of `rows` rows of `length` tokens: two a weight and token,
/// and causal attention.
pub(crate) fn operations(config: &ModelConfig, rows: usize, length: usize) -> f64 {
    let heads = config.heads * config.head_dim;
    let qkv = config.width * (heads + 2 * config.kv_heads * config.head_dim);
    let feed_forward = (2 + usize::from(config.gated)) * config.width * config.feed_forward;
    let layer = qkv + heads * config.width + feed_forward;
    let weights = config.layers.len() * layer + config.vocabulary * config.width;
    let attention = config.layers.len() * 2 * heads * length * (length + 1);
    rows as f64 * (2.0 * weights as f64 * length as f64 + attention as f64)
}
