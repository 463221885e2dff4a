//! The processor: plain slices, weights packed once for the products they are in.
//!
//! No result depends on the other rows, on the number of threads or on the processor's instructions.

mod attention;
mod head;
mod kernels;
mod product;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use filiation_checkpoint::config::Activation;
use rayon::prelude::*;

use super::backend::{AttentionShape, Backend, KeyValues, Linear, Normaliser, Outcome, Run};
use super::rotary::Rotary;
use super::view::MatrixView;
use attention::Kept;
use head::Scored;
pub(super) use head::{PART, Share};
pub use product::Product;
use product::{Packed, Rows, product};

/// Whether one operation may use every thread, or others run beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    One,
    All,
}

/// One worker, with the buffers it uses again.
pub(super) struct Host {
    threads: Threads,
    pool: RefCell<Vec<Vec<f32>>>,
}

impl Host {
    pub(super) const fn new(threads: Threads) -> Self {
        Self {
            threads,
            pool: RefCell::new(Vec::new()),
        }
    }

    /// A buffer whose contents are to be overwritten.
    fn take(&self, len: usize) -> Vec<f32> {
        let mut pool = self.pool.borrow_mut();
        // The smallest that is large enough, so that a small request does not use up a large one;
        // nor does it keep one that is far too large.
        let best = (0..pool.len())
            .filter(|i| (len..=2 * len).contains(&pool[*i].capacity()))
            .min_by_key(|i| pool[*i].capacity());
        let mut buffer = best.map_or_else(Vec::new, |i| pool.swap_remove(i));
        buffer.resize(len, 0.0);
        buffer
    }

    /// Calls `each` on every run of `width` values and its index.
    fn each(&self, x: &mut [f32], width: usize, each: impl Fn(usize, &mut [f32]) + Sync) {
        match self.threads {
            Threads::One => x
                .chunks_mut(width)
                .enumerate()
                .for_each(|(i, x)| each(i, x)),
            Threads::All => x
                .par_chunks_mut(width)
                .with_min_len(8)
                .enumerate()
                .for_each(|(i, x)| each(i, x)),
        }
    }

    /// Log-probability, nats, of `targets[i]` under the logits of row i of `states`.
    pub(super) fn logprobs(
        &self,
        (states, targets): (&[f32], &[u32]),
        head: &Linear<Self>,
        softcap: Option<f64>,
    ) -> Vec<f64> {
        scored(states, targets, (head, 0), softcap).logprobs(self.threads)
    }

    /// As [`Self::logprobs`], of the part of the head that begins at id `first`: adds to the shares
    /// of each row.
    pub(super) fn shares(
        &self,
        (states, targets): (&[f32], &[u32]),
        head: (&Linear<Self>, usize),
        softcap: Option<f64>,
        shares: &mut [Vec<Share>],
    ) {
        scored(states, targets, head, softcap).extend(shares, self.threads);
    }
}

fn scored<'a>(
    states: &'a [f32],
    targets: &'a [u32],
    (head, first): (&'a Linear<Host>, usize),
    softcap: Option<f64>,
) -> Scored<'a> {
    Scored {
        states,
        targets,
        head: &head.weight,
        first,
        softcap: softcap.map(|cap| cap as f32),
    }
}

/// The log-probability that the shares of all parts of the head give.
pub(super) fn logprob(shares: Vec<Share>) -> f64 {
    head::logprob(shares.into_iter())
}

/// The largest of `logits`; NaN where one is NaN or +∞.
pub(crate) fn top(logits: &[f32]) -> f32 {
    kernels::top(logits)
}

/// weights ← e^((logit − top)·scale); their sum.
pub(crate) fn tempered(logits: &[f32], top: f32, scale: f32, weights: &mut [f32]) -> f32 {
    kernels::tempered(logits, top, scale, weights)
}

impl Backend for Host {
    type Buffer = Vec<f32>;
    type Matrix = Arc<Packed>;
    type Vector = Vec<f32>;
    type Kept = Kept;

    fn matrix(&self, view: MatrixView) -> Outcome<Arc<Packed>> {
        let packed = Packed::new(&view);
        view.data.release();
        Ok(Arc::new(packed))
    }

    fn vector(&self, values: Vec<f32>) -> Outcome<Vec<f32>> {
        Ok(values)
    }

    fn gather(&self, table: &Arc<Packed>, ids: &[u32], scale: f64) -> Outcome<Vec<f32>> {
        let mut out = self.take(ids.len() * table.inputs());
        self.each(&mut out, table.inputs(), |i, row| {
            table.output(ids[i] as usize, row);
            if scale != 1.0 {
                row.iter_mut().for_each(|x| *x *= scale as f32);
            }
        });
        Ok(out)
    }

    fn buffer(&self, values: Vec<f32>, _width: usize) -> Outcome<Vec<f32>> {
        Ok(values)
    }

    fn beside(&self, parts: Vec<(Vec<f32>, usize)>) -> Outcome<Vec<f32>> {
        let width = parts.iter().map(|(_, width)| width).sum::<usize>().max(1);
        let mut out = self.take(parts.iter().map(|(x, _)| x.len()).sum());
        let mut from = 0;
        for (x, count) in parts {
            let rows = x.chunks_exact(count.max(1));
            for (out, row) in out.chunks_exact_mut(width).zip(rows) {
                out[from..from + count].copy_from_slice(row);
            }
            from += count;
            self.recycle(x);
        }
        Ok(out)
    }

    fn linear(&self, x: &Vec<f32>, map: &Linear<Self>) -> Outcome<Vec<f32>> {
        let (inputs, outputs) = (map.weight.inputs(), map.weight.outputs());
        let count = x.len() / inputs;
        let mut out = self.take(count * outputs);
        if let Some(bias) = &map.bias {
            self.each(&mut out, outputs, |_, row| row.copy_from_slice(bias));
        }
        let rows = Rows {
            values: x,
            stride: inputs,
            count,
        };
        let resume = map.bias.is_some();
        product(rows, map.weight.panels(), resume, &mut out, self.threads);
        Ok(out)
    }

    fn normalise(&self, x: &Vec<f32>, norm: &Normaliser<Self>) -> Outcome<Vec<f32>> {
        let mut out = self.take(x.len());
        let bias = norm.bias.as_deref();
        self.each(&mut out, norm.width, |i, row| {
            let x = &x[i * norm.width..][..norm.width];
            kernels::normalise(
                x,
                row,
                norm.centred,
                norm.epsilon as f32,
                &norm.weight,
                bias,
            );
        });
        Ok(out)
    }

    fn rotate(
        &self,
        mut x: Vec<f32>,
        head_dim: usize,
        rotary: &Rotary,
        positions: &[usize],
    ) -> Outcome<Vec<f32>> {
        if positions.is_empty() {
            return Ok(x);
        }
        let (half, width) = (rotary.half(), x.len() / positions.len());
        let end = positions.iter().max().map_or(0, |p| p + 1);
        rotary.with_table(end, |table| {
            self.each(&mut x, width, |i, row| {
                let angles = &table[positions[i] * 2 * half..][..2 * half];
                kernels::rotate(row, head_dim, half, angles);
            });
        });
        Ok(x)
    }

    fn attend(
        &self,
        q: &Vec<f32>,
        runs: &[Run<'_, Self>],
        shape: &AttentionShape,
    ) -> Outcome<Vec<f32>> {
        let count: usize = runs.iter().map(|run| run.queries.len()).sum();
        let mut out = self.take(count * shape.query_width());
        attention::attend(q, runs, shape, &mut out, self.threads);
        Ok(out)
    }

    fn keep(
        &self,
        kept: &mut Kept,
        new: &[KeyValues<'_, Self>],
        room: usize,
        shape: &AttentionShape,
    ) -> Outcome<()> {
        kept.extend(new, room, shape);
        Ok(())
    }

    fn pick(&self, parts: &[(&Vec<f32>, Range<usize>)], width: usize) -> Outcome<Vec<f32>> {
        let count: usize = parts.iter().map(|(_, rows)| rows.len()).sum();
        let mut out = self.take(count * width);
        out.clear();
        for (buffer, rows) in parts {
            out.extend_from_slice(&buffer[rows.start * width..rows.end * width]);
        }
        Ok(out)
    }

    fn activate(
        &self,
        mut gate: Vec<f32>,
        up: Option<&Vec<f32>>,
        activation: Activation,
    ) -> Outcome<Vec<f32>> {
        const RUN: usize = 4096;
        self.each(&mut gate, RUN, |i, gate| {
            let up = up.map(|up| &up[i * RUN..][..gate.len()]);
            kernels::activate(gate, up, activation);
        });
        Ok(gate)
    }

    fn add(&self, mut x: Vec<f32>, y: &Vec<f32>) -> Outcome<Vec<f32>> {
        const RUN: usize = 4096;
        self.each(&mut x, RUN, |i, x| {
            kernels::add(x, &y[i * RUN..][..x.len()]);
        });
        Ok(x)
    }

    fn softcap(&self, mut x: Vec<f32>, cap: f64) -> Outcome<Vec<f32>> {
        self.each(&mut x, 4096, |_, x| kernels::softcap(x, cap as f32));
        Ok(x)
    }

    fn recycle(&self, buffer: Vec<f32>) {
        self.pool.borrow_mut().push(buffer);
    }
}
