//! Weights that are made when they are needed and dropped after.

use std::ops::Range;
use std::sync::Arc;

use filiation_checkpoint::config::ModelConfig;

use super::backend::{Backend, Linear, Outcome};
use super::crew::Crew;
use super::load::{Loader, Rotaries};
use super::network::Block;
use super::view::MatrixView;
use crate::source::WeightSource;

/// Rows of a table that are read before the file's pages are let go of.
const ROWS: usize = 64;

/// Where weights come from whenever they are needed.
pub(super) type Source = Arc<dyn WeightSource + Send + Sync>;

/// The layers.
pub(super) enum Blocks<B: Backend> {
    Held(Vec<Block<B>>),
    Streamed(Stream),
}

/// Layers that are made one after the other.
pub(super) struct Stream {
    pub(super) config: ModelConfig,
    pub(super) source: Source,
    pub(super) rotaries: Rotaries,
    /// Whether the next is made while one runs.
    pub(super) ahead: bool,
}

/// A matrix with a row for each token: embedding or head.
pub(super) enum Table<B: Backend> {
    Held(Linear<B>),
    Stored(Stored),
}

/// A table whose rows are read when they are needed.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) source: Source,
    pub(super) name: String,
    pub(super) rows: usize,
    pub(super) width: usize,
    /// Rows that are made ready at a time.
    pub(super) part: usize,
}

impl<B: Backend> Blocks<B> {
    /// Calls `run` with each layer in order.
    pub(super) fn each<C: Crew<B>>(
        &self,
        crew: &C,
        mut run: impl FnMut(usize, &Block<B>) -> Outcome<()> + Send,
    ) -> Outcome<()> {
        let stream = match self {
            Self::Held(blocks) => {
                let mut blocks = blocks.iter().enumerate();
                return blocks.try_for_each(|(at, block)| run(at, block));
            }
            Self::Streamed(stream) => stream,
        };
        let count = stream.config.layers.len();
        let make = |at: usize| {
            let layer = |on: &B, at| {
                Loader::new(&stream.config, &*stream.source, on).block(at, &stream.rotaries)
            };
            Ok::<_, crate::LoadError>(crew.each(vec![at], layer)?.pop())
        };
        let mut block = make(0)?;
        for at in 0..count {
            let next = (at + 1 < count).then_some(at + 1);
            let now = block.take();
            let mut go = || now.as_ref().map_or(Ok(()), |block| run(at, block));
            block = match next {
                Some(next) if stream.ahead => {
                    let (ran, made) = rayon::join(go, || make(next));
                    ran?;
                    made?
                }
                next => {
                    go()?;
                    drop(now);
                    next.map_or(Ok(None), make)?
                }
            };
        }
        Ok(())
    }
}

impl Stored {
    /// Rows `ids`, times `scale`.
    pub(super) fn gather(&self, ids: &[u32], scale: f64) -> Outcome<Vec<f32>> {
        let mut out = vec![0.0; ids.len() * self.width];
        for (ids, out) in ids.chunks(ROWS).zip(out.chunks_mut(ROWS * self.width)) {
            let mut last = None;
            for (id, row) in ids.iter().zip(out.chunks_exact_mut(self.width)) {
                let id = *id as usize;
                let data = self.source.rows(&self.name, id..id + 1)?;
                data.elements().widen(0, row);
                last = Some(data);
            }
            last.into_iter().for_each(|data| data.release());
        }
        if scale != 1.0 {
            out.iter_mut().for_each(|x| *x *= scale as f32);
        }
        Ok(out)
    }

    /// The parts in which the table is made ready.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let (rows, part) = (self.rows, self.part.max(1));
        (0..rows)
            .step_by(part)
            .map(move |start| start..rows.min(start + part))
    }

    /// Some rows, ready.
    pub(super) fn ready<B: Backend>(&self, on: &B, rows: Range<usize>) -> Outcome<Linear<B>> {
        let count = rows.len();
        let data = self.source.rows(&self.name, rows)?;
        Ok(Linear {
            weight: on.matrix(MatrixView::rows(data, count, self.width))?,
            bias: None,
        })
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
