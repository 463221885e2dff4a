use rayon::prelude::*;

use super::product::{Strided, multiply};
use super::{Threads, kernels};
use crate::decoder::backend::AttentionShape;

/// Queries whose scores are held at once.
const BLOCK: usize = 64;

/// One sequence: the queries are its last tokens, keys and values are those of all its tokens.
pub(super) struct Sequence<'a> {
    pub(super) queries: &'a [f32],
    pub(super) keys: &'a [f32],
    pub(super) values: &'a [f32],
    pub(super) shape: &'a AttentionShape,
}

impl Sequence<'_> {
    const fn query_width(&self) -> usize {
        self.shape.heads * self.shape.head_dim
    }

    const fn key_width(&self) -> usize {
        self.shape.kv_heads * self.shape.head_dim
    }

    const fn count(&self) -> usize {
        self.queries.len() / self.query_width()
    }

    const fn past(&self) -> usize {
        self.keys.len() / self.key_width() - self.count()
    }

    fn rule(&self) -> (f32, Option<f32>) {
        (
            self.shape.scale as f32,
            self.shape.softcap.map(|c| c as f32),
        )
    }

    /// Mixed values of every query, (queries, heads · head_dim).
    pub(super) fn attend(&self, out: &mut [f32], scores: &mut Vec<f32>, threads: Threads) {
        let (width, hd) = (self.query_width(), self.shape.head_dim);
        if self.count() == 1 {
            return self.one(out, scores);
        }
        match threads {
            Threads::One => {
                for head in 0..self.shape.heads {
                    self.head(head, Strided::new(&mut *out, head * hd, width, 1), scores);
                }
            }
            Threads::All => {
                let heads: Vec<Vec<f32>> = (0..self.shape.heads)
                    .into_par_iter()
                    .map(|head| {
                        let mut mine = vec![0.0; self.count() * hd];
                        self.head(head, Strided::new(&mut mine, 0, hd, 1), &mut Vec::new());
                        mine
                    })
                    .collect();
                for (head, mine) in heads.iter().enumerate() {
                    for (row, mine) in out.chunks_exact_mut(width).zip(mine.chunks_exact(hd)) {
                        row[head * hd..][..hd].copy_from_slice(mine);
                    }
                }
            }
        }
    }

    fn one(&self, out: &mut [f32], scores: &mut Vec<f32>) {
        let (hd, stride) = (self.shape.head_dim, self.key_width());
        let first = self.shape.first(self.past());
        scores.resize(scores.len().max(self.past() + 1 - first), 0.0);
        let scores = &mut scores[..self.past() + 1 - first];
        let group = self.shape.heads / self.shape.kv_heads;
        for (head, out) in out.chunks_exact_mut(hd).enumerate() {
            let start = first * stride + head / group * hd;
            let kept = (&self.keys[start..], &self.values[start..]);
            let query = &self.queries[head * hd..][..hd];
            kernels::attend_one(query, kept, stride, scores, self.rule(), out);
        }
    }

    fn head(&self, head: usize, out: Strided<&mut [f32]>, scores: &mut Vec<f32>) {
        let (hd, stride) = (self.shape.head_dim, self.key_width());
        let column = head / (self.shape.heads / self.shape.kv_heads) * hd;
        for start in (0..self.count()).step_by(BLOCK) {
            let rows = BLOCK.min(self.count() - start);
            let first = self.shape.first(self.past() + start);
            let keys = self.past() + start + rows - first;
            scores.resize(scores.len().max(rows * keys), 0.0);
            let block = &mut scores[..rows * keys];
            let width = self.query_width();
            multiply(
                [rows, keys, hd],
                Strided::new(&mut *block, 0, keys, 1),
                Strided::new(self.queries, start * width + head * hd, width, 1),
                Strided::new(self.keys, first * stride + column, 1, stride),
                false,
                Threads::One,
            );
            for (i, row) in block.chunks_exact_mut(keys).enumerate() {
                self.mask(row, self.past() + start + i, first);
            }
            multiply(
                [rows, hd, keys],
                Strided::new(&mut *out.data, out.offset + start * out.row, out.row, 1),
                Strided::new(&*block, 0, keys, 1),
                Strided::new(self.values, first * stride + column, stride, 1),
                false,
                Threads::One,
            );
        }
    }

    /// Turns scores of the keys from `first` on into weights, zero where `position` does not see.
    fn mask(&self, row: &mut [f32], position: usize, first: usize) {
        let (from, to) = (self.shape.first(position) - first, position + 1 - first);
        row[..from].fill(0.0);
        row[to..].fill(0.0);
        let (scale, cap) = self.rule();
        kernels::attention_weights(&mut row[from..to], scale, cap);
    }
}
