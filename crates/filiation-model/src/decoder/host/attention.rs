use rayon::prelude::*;

use super::product::{Isa, PANEL, Panels, Rows, multiply};
use super::{Host, Threads, kernels};
use crate::decoder::backend::{AttentionShape, KeyValues, Run, Seen};
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

/// The queries of one run that share a key and value head.
struct Group<'a> {
    shape: &'a AttentionShape,
    queries: Strided<'a>,
    /// Position of the first.
    position: usize,
    source: Source<'a>,
    /// Of each token what this group fills.
    out: Vec<&'a mut [f32]>,
}

/// Where keys and values of one head lie.
#[derive(Clone, Copy)]
enum Source<'a> {
    Kept(&'a Head),
    Packed(&'a [KeyValues<'a, Host>], usize),
}

/// What a head attends to.
#[derive(Clone, Copy)]
struct Memory<'a> {
    shape: &'a AttentionShape,
    /// In panels.
    keys: &'a [f32],
    values: Strided<'a>,
}

impl Kept {
    /// Adds keys and values, with room for `room` tokens in all.
    pub(super) fn extend(
        &mut self,
        new: &[KeyValues<'_, Host>],
        room: usize,
        shape: &AttentionShape,
    ) {
        let (hd, width) = (shape.head_dim, shape.key_width());
        self.heads.resize_with(shape.kv_heads, Head::default);
        for (at, head) in self.heads.iter_mut().enumerate() {
            let values = (room * hd).saturating_sub(head.values.len());
            head.values.reserve_exact(values);
            let keys = (room.div_ceil(PANEL) * PANEL * hd).saturating_sub(head.keys.len());
            head.keys.reserve_exact(keys);
            for part in new {
                let [keys, values] = columns(part, at, hd, width);
                extend(
                    &mut head.keys,
                    head.values.len() / hd,
                    keys,
                    part.rows.len(),
                    hd,
                );
                for value in values.values.chunks(width) {
                    head.values.extend_from_slice(&value[..hd]);
                }
            }
        }
    }
}

/// Keys and values of one head.
fn columns<'a>(
    part: &KeyValues<'a, Host>,
    head: usize,
    hd: usize,
    width: usize,
) -> [Strided<'a>; 2] {
    [part.keys, part.values].map(|all| Strided {
        values: &all[part.rows.start * width..part.rows.end * width][head * hd..],
        stride: width,
    })
}

/// Mixed values of all runs of queries, one after the other, into `out`.
pub(super) fn attend(
    q: &[f32],
    runs: &[Run<'_, Host>],
    shape: &AttentionShape,
    out: &mut [f32],
    threads: Threads,
) {
    let groups = groups(q, runs, shape, out);
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
    q: &'a [f32],
    runs: &'a [Run<'a, Host>],
    shape: &'a AttentionShape,
    mut out: &'a mut [f32],
) -> Vec<Group<'a>> {
    let (width, count) = (shape.query_width(), shape.kv_heads);
    let share = width / count;
    let mut groups = Vec::with_capacity(runs.len() * count);
    for run in runs {
        let (mine, rest) = out.split_at_mut(run.queries.len() * width);
        out = rest;
        if mine.is_empty() {
            continue;
        }
        let queries = &q[run.queries.start * width..run.queries.end * width];
        let first = groups.len();
        groups.extend((0..count).map(|head| Group {
            shape,
            queries: Strided {
                values: &queries[head * share..],
                stride: width,
            },
            position: run.position,
            source: match &run.seen {
                Seen::Kept(kept) => Source::Kept(&kept.heads[head]),
                Seen::Packed(parts) => Source::Packed(parts, head),
            },
            out: Vec::with_capacity(run.queries.len()),
        }));
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
        let (hd, past) = (self.shape.head_dim, self.position);
        let count = self.out.len();
        let (mut packed, mut gathered) = (Vec::new(), Vec::new());
        let (keys, values) = match self.source {
            Source::Kept(head) => {
                let values = Strided {
                    values: &head.values,
                    stride: hd,
                };
                (&head.keys, values)
            }
            Source::Packed(parts, head) => {
                let width = self.shape.key_width();
                let mut known = 0;
                for part in parts {
                    let [keys, _] = columns(part, head, hd, width);
                    let seen = part.rows.len().min(past + count - known);
                    extend(&mut packed, known, keys, seen, hd);
                    known += seen;
                }
                let values = match parts {
                    [whole] => columns(whole, head, hd, width)[1],
                    parts => {
                        for part in parts {
                            let [_, values] = columns(part, head, hd, width);
                            for value in values.values.chunks(width) {
                                gathered.extend_from_slice(&value[..hd]);
                            }
                        }
                        Strided {
                            values: &gathered,
                            stride: hd,
                        }
                    }
                };
                (&packed, values)
            }
        };
        let memory = Memory {
            shape: self.shape,
            keys,
            values,
        };
        if count == 1 {
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
