//! The processor: plain slices, weights read where they lie, matrix products by gemm.

mod attention;
mod kernels;
mod product;

use std::cell::RefCell;
use std::ops::Range;

use filiation_checkpoint::config::Activation;
use rayon::prelude::*;

use super::backend::{AttentionShape, Backend, KeyValues, Linear, Normaliser, Outcome, Run, Seen};
use super::rotary::Rotary;
use super::view::MatrixView;
use crate::source::Elements;
use attention::Sequence;
use product::{Strided, multiply};

/// Outputs of a 16-bit matrix that are widened at once.
const PANEL: usize = 256;

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
    scores: RefCell<Vec<f32>>,
}

/// Keys and values of one layer of one sequence, (tokens, kv_heads · head_dim).
#[derive(Default, Clone)]
pub(super) struct Kept {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Host {
    pub(super) const fn new(threads: Threads) -> Self {
        Self {
            threads,
            pool: RefCell::new(Vec::new()),
            scores: RefCell::new(Vec::new()),
        }
    }

    /// A buffer whose contents are to be overwritten.
    fn take(&self, len: usize) -> Vec<f32> {
        let mut pool = self.pool.borrow_mut();
        // The smallest that is large enough, so that a small request does not use up a large one.
        let best = (0..pool.len())
            .filter(|i| pool[*i].capacity() >= len)
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

    /// out ← out + x·Wᵀ for the whole of a 16-bit matrix, a panel at a time.
    fn panels(&self, x: &[f32], view: &MatrixView, out: &mut [f32]) {
        let (inputs, outputs) = (view.inputs, view.outputs);
        let rows = x.len() / inputs;
        let mut panel = self.take(PANEL.min(outputs) * inputs);
        for start in (0..outputs).step_by(PANEL) {
            let count = PANEL.min(outputs - start);
            let panel = &mut panel[..count * inputs];
            let (row, column) = self.widen(view, start, count, panel);
            multiply(
                [rows, count, inputs],
                Strided::new(&mut *out, start, outputs, 1),
                Strided::new(x, 0, inputs, 1),
                Strided::new(&*panel, 0, row, column),
                true,
                self.threads,
            );
        }
        self.recycle(panel);
    }

    /// Fills `panel` with outputs `start..start + count`; how far apart inputs and outputs then lie.
    fn widen(
        &self,
        view: &MatrixView,
        start: usize,
        count: usize,
        panel: &mut [f32],
    ) -> (usize, usize) {
        let elements = view.data.elements();
        let offset = view.offset + start * view.out_stride;
        if view.in_stride == 1 {
            self.each(panel, view.inputs, |o, row| {
                elements.widen(offset + o * view.out_stride, row);
            });
            (1, view.inputs)
        } else {
            self.each(panel, count, |i, row| {
                elements.widen_strided(offset + i * view.in_stride, view.out_stride, row);
            });
            (count, 1)
        }
    }
}

/// Rows from which `gemm` takes its general path for every panel of `outputs` columns. Its paths for
/// one row, and for products of up to 256 elements, round otherwise, and what a row gives may not
/// depend on how many others there are.
fn least_rows(outputs: usize) -> usize {
    let narrowest = match outputs % PANEL {
        0 => PANEL,
        rest => rest,
    };
    (256 / narrowest + 1).max(2)
}

/// Log-probability of one target a row of logits.
pub(super) fn logprobs(logits: &[f32], targets: &[u32]) -> Vec<f64> {
    let vocabulary = logits.len() / targets.len().max(1);
    targets
        .iter()
        .zip(logits.chunks_exact(vocabulary.max(1)))
        .map(|(target, row)| kernels::logprob(row, *target as usize))
        .collect()
}

impl Backend for Host {
    type Buffer = Vec<f32>;
    type Matrix = MatrixView;
    type Vector = Vec<f32>;
    type Kept = Kept;

    fn matrix(&self, view: MatrixView) -> Outcome<MatrixView> {
        Ok(view)
    }

    fn vector(&self, values: Vec<f32>) -> Outcome<Vec<f32>> {
        Ok(values)
    }

    fn gather(&self, table: &MatrixView, ids: &[u32], scale: f64) -> Outcome<Vec<f32>> {
        let mut out = self.take(ids.len() * table.inputs);
        let elements = table.data.elements();
        for (row, id) in out.chunks_exact_mut(table.inputs).zip(ids) {
            let start = table.offset + *id as usize * table.out_stride;
            elements.widen_strided(start, table.in_stride, row);
            if scale != 1.0 {
                row.iter_mut().for_each(|x| *x *= scale as f32);
            }
        }
        Ok(out)
    }

    fn linear(&self, x: &Vec<f32>, map: &Linear<Self>) -> Outcome<Vec<f32>> {
        let view = &map.weight;
        let rows = x.len() / view.inputs;
        let least = least_rows(view.outputs);
        if rows < least {
            let mut padded = x.clone();
            padded.resize(least * view.inputs, 0.0);
            let mut out = self.linear(&padded, map)?;
            out.truncate(rows * view.outputs);
            return Ok(out);
        }
        let mut out = self.take(rows * view.outputs);
        let elements = view.data.elements();
        let narrow = !matches!(elements, Elements::F32(_));
        match &map.bias {
            Some(bias) => self.each(&mut out, view.outputs, |_, row| row.copy_from_slice(bias)),
            None if narrow => out.fill(0.0),
            None => {}
        }
        match elements {
            Elements::F32(weight) => multiply(
                [rows, view.outputs, view.inputs],
                Strided::new(&mut out, 0, view.outputs, 1),
                Strided::new(x, 0, view.inputs, 1),
                Strided::new(weight, view.offset, view.in_stride, view.out_stride),
                map.bias.is_some(),
                self.threads,
            ),
            Elements::BF16(_) | Elements::F16(_) => self.panels(x, view, &mut out),
        }
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
        let (qw, kw) = (shape.query_width(), shape.key_width());
        let count: usize = runs.iter().map(|run| run.queries.len()).sum();
        let mut out = self.take(count * qw);
        let mut rest = &mut out[..];
        let mut scores = self.scores.borrow_mut();
        let longest = runs.iter().map(|run| run.position + run.queries.len());
        let longest = longest.max().unwrap_or(0) * kw;
        let [mut keys, mut values] = [self.take(longest), self.take(longest)];
        for run in runs {
            let (mine, others) = rest.split_at_mut(run.queries.len() * qw);
            rest = others;
            let seen = (run.position + run.queries.len()) * kw;
            let (keys, values) = match &run.seen {
                Seen::Kept(kept) => (&kept.keys[..seen], &kept.values[..seen]),
                Seen::Packed(parts) => match &parts[..] {
                    [part] => {
                        let from = part.rows.start * kw;
                        (&part.keys[from..][..seen], &part.values[from..][..seen])
                    }
                    parts => {
                        keys.clear();
                        values.clear();
                        for part in parts {
                            let rows = part.rows.start * kw..part.rows.end * kw;
                            keys.extend_from_slice(&part.keys[rows.clone()]);
                            values.extend_from_slice(&part.values[rows]);
                        }
                        (&keys[..seen], &values[..seen])
                    }
                },
            };
            Sequence {
                queries: &q[run.queries.start * qw..run.queries.end * qw],
                keys,
                values,
                shape,
            }
            .attend(mine, &mut scores, self.threads);
        }
        self.recycle(keys);
        self.recycle(values);
        Ok(out)
    }

    fn keep(
        &self,
        kept: &mut Kept,
        new: &[KeyValues<'_, Self>],
        room: usize,
        width: usize,
    ) -> Outcome<()> {
        let room = room * width;
        kept.keys
            .reserve_exact(room.saturating_sub(kept.keys.len()));
        kept.values
            .reserve_exact(room.saturating_sub(kept.values.len()));
        for part in new {
            let rows = part.rows.start * width..part.rows.end * width;
            kept.keys.extend_from_slice(&part.keys[rows.clone()]);
            kept.values.extend_from_slice(&part.values[rows]);
        }
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
        kernels::add(&mut x, y);
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
