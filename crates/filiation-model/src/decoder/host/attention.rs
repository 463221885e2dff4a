use rayon::prelude::*;

use super::product::{Isa, PANEL, Panels, Rows, multiply};
use super::{Threads, kernels};
use crate::decoder::backend::{AttentionShape, Span};
use crate::source::Elements;

/// Queries whose scores are held at once.
const BLOCK: usize = 64;

/// Keys and values of one layer of one sequence, a head after the other.
#[derive(Debug, Clone, Default)]
pub(in crate::decoder) struct Kept {
    heads: Vec<Head>,
}

/// Keys in panels, the dimensions one after the other in each; values (tokens, head_dim).
#[derive(Debug, Clone, Default)]
struct Head {
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// New keys or values of one head: row i begins at `i·stride`.
#[derive(Clone, Copy)]
struct Strided<'a> {
    values: &'a [f32],
    stride: usize,
}

/// The queries of one sequence that share a key and value head.
struct Group<'a> {
    shape: &'a AttentionShape,
    queries: Strided<'a>,
    keys: Strided<'a>,
    values: Strided<'a>,
    kept: Option<&'a mut Head>,
    /// Of each token what this group fills.
    out: Vec<&'a mut [f32]>,
}

/// What a head attends to.
#[derive(Clone, Copy)]
struct Memory<'a> {
    shape: &'a AttentionShape,
    /// In panels.
    keys: &'a [f32],
    values: Strided<'a>,
}

/// Mixed values of all queries, (tokens, heads · head_dim), into `out`.
pub(super) fn attend(
    [q, k, v]: [&[f32]; 3],
    spans: &[Span],
    kept: Option<Vec<&mut Kept>>,
    shape: &AttentionShape,
    out: &mut [f32],
    threads: Threads,
) {
    let groups = groups([q, k, v], spans, kept, shape, out);
    match threads {
        Threads::One => {
            let mut scores = Vec::new();
            groups
                .into_iter()
                .for_each(|group| group.attend(&mut scores));
        }
        Threads::All => groups
            .into_par_iter()
            .for_each_init(Vec::new, |scores, group| group.attend(scores)),
    }
}

fn groups<'a>(
    [q, k, v]: [&'a [f32]; 3],
    spans: &[Span],
    kept: Option<Vec<&'a mut Kept>>,
    shape: &'a AttentionShape,
    mut out: &'a mut [f32],
) -> Vec<Group<'a>> {
    let (hd, count) = (shape.head_dim, shape.kv_heads);
    let (width, kv_width) = (shape.heads * hd, count * hd);
    let share = width / count;
    let mut groups = Vec::with_capacity(spans.len() * count);
    let mut kept = kept.map(Vec::into_iter);
    for span in spans {
        let kept = kept.as_mut().and_then(Iterator::next);
        let (mine, rest) = out.split_at_mut(span.len * width);
        out = rest;
        if span.len == 0 {
            continue;
        }
        let mut heads = kept.map(|kept| {
            kept.heads.resize_with(count, Head::default);
            kept.heads.iter_mut()
        });
        let first = groups.len();
        for head in 0..count {
            let from = |values: &'a [f32], width: usize, share: usize| Strided {
                values: &values[span.start * width..][..span.len * width][head * share..],
                stride: width,
            };
            groups.push(Group {
                shape,
                queries: from(q, width, share),
                keys: from(k, kv_width, hd),
                values: from(v, kv_width, hd),
                kept: heads.as_mut().and_then(Iterator::next),
                out: Vec::with_capacity(span.len),
            });
        }
        for token in mine.chunks_exact_mut(width) {
            for (group, share) in groups[first..]
                .iter_mut()
                .zip(token.chunks_exact_mut(share))
            {
                group.out.push(share);
            }
        }
    }
    groups
}

impl Group<'_> {
    fn attend(mut self, scores: &mut Vec<f32>) {
        let (hd, new) = (self.shape.head_dim, self.out.len());
        let mut packed = Vec::new();
        let (past, keys, values) = match self.kept.take() {
            None => {
                extend(&mut packed, 0, self.keys, new, hd);
                (0, &packed, self.values)
            }
            Some(head) => {
                let past = head.values.len() / hd;
                extend(&mut head.keys, past, self.keys, new, hd);
                for value in self.values.values.chunks(self.values.stride) {
                    head.values.extend_from_slice(&value[..hd]);
                }
                let values = Strided {
                    values: &head.values,
                    stride: hd,
                };
                (past, &head.keys, values)
            }
        };
        let memory = Memory {
            shape: self.shape,
            keys,
            values,
        };
        if new == 1 {
            // One token: its heads are the rows.
            let mut rows: Vec<&mut [f32]> = self
                .out
                .iter_mut()
                .flat_map(|x| x.chunks_exact_mut(hd))
                .collect();
            let queries = Strided {
                stride: hd,
                ..self.queries
            };
            memory.block(queries, (past, 0), &mut rows, scores);
            return;
        }
        for head in 0..self.shape.heads / self.shape.kv_heads {
            for (i, out) in self.out.chunks_mut(BLOCK).enumerate() {
                let queries = Strided {
                    values: &self.queries.values[i * BLOCK * self.queries.stride + head * hd..],
                    ..self.queries
                };
                let mut rows: Vec<&mut [f32]> = out
                    .iter_mut()
                    .map(|token| &mut token[head * hd..][..hd])
                    .collect();
                memory.block(queries, (past + i * BLOCK, 1), &mut rows, scores);
            }
        }
    }
}

impl Memory<'_> {
    /// Mixed values of a few queries; `(position, step)` is the position of the first and the
    /// distance to that of the next.
    fn block(
        &self,
        queries: Strided<'_>,
        (position, step): (usize, usize),
        out: &mut [&mut [f32]],
        scores: &mut Vec<f32>,
    ) {
        let hd = self.shape.head_dim;
        let rows = out.len();
        let end = position + (rows - 1) * step + 1;
        let first_panel = self.shape.first(position) / PANEL;
        let first = first_panel * PANEL;
        let keys = end - first;
        scores.resize(scores.len().max(rows * keys), 0.0);
        let scores = &mut scores[..rows * keys];
        let isa = Isa::best();
        let panels = Panels {
            values: Elements::F32(&self.keys[first_panel * hd * PANEL..]),
            inputs: hd,
            outputs: keys,
            panel: hd * PANEL,
            row: PANEL,
        };
        let a = Rows {
            values: queries.values,
            stride: queries.stride,
            count: rows,
        };
        let mut score_rows: Vec<&mut [f32]> = scores.chunks_exact_mut(keys).collect();
        multiply(isa, a, panels, 0..panels.count(), false, &mut score_rows);
        for (i, row) in score_rows.into_iter().enumerate() {
            self.weigh(row, position + i * step, first);
        }
        // Zero weights leave a chain as it is, so that it begins at the first key that is seen.
        let panels = Panels {
            values: Elements::F32(&self.values.values[first * self.values.stride..]),
            inputs: keys,
            outputs: hd,
            panel: PANEL,
            row: self.values.stride,
        };
        let a = Rows {
            values: scores,
            stride: keys,
            count: rows,
        };
        multiply(isa, a, panels, 0..panels.count(), false, out);
    }

    /// Turns scores of the keys from `first` on into weights, zero where `position` does not see.
    fn weigh(&self, row: &mut [f32], position: usize, first: usize) {
        let (from, to) = (self.shape.first(position) - first, position + 1 - first);
        row[..from].fill(0.0);
        row[to..].fill(0.0);
        let cap = self.shape.softcap.map(|c| c as f32);
        kernels::attention_weights(&mut row[from..to], self.shape.scale as f32, cap);
    }
}

/// Adds `count` keys to panels that hold `past`.
fn extend(panels: &mut Vec<f32>, past: usize, keys: Strided<'_>, count: usize, hd: usize) {
    panels.resize((past + count).div_ceil(PANEL) * PANEL * hd, 0.0);
    for (i, key) in keys.values.chunks(keys.stride).take(count).enumerate() {
        let at = past + i;
        let column = &mut panels[at / PANEL * PANEL * hd + at % PANEL..];
        for (place, x) in column.iter_mut().step_by(PANEL).zip(&key[..hd]) {
            *place = *x;
        }
    }
}
