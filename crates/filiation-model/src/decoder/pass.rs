//! One pass of many rows through the layers: all rows pass through a layer before the next.

use std::ops::Range;

use super::backend::{Backend, KeyValues, Outcome, Run, Seen};
use super::crew::Crew;
use super::layout::{Chunk, Layout, Span};
use super::network::{Block, KeptRow, Network};

/// Final states, and those of the layers asked for, of the tokens that are read.
pub(super) struct States<B: Backend> {
    pub(super) last: B::Buffer,
    pub(super) layers: Vec<B::Buffer>,
}

/// Rows of tokens and what is read of them.
pub(super) struct Input<'a> {
    pub(super) rows: &'a [&'a [u32]],
    /// Tokens of each row whose states are read.
    pub(super) read: &'a [Range<usize>],
    /// Layers whose states are read too.
    pub(super) keep: &'a [usize],
}

/// The tokens that are read, as rows of what the chunks hold.
struct Reads {
    /// Of each chunk, the tokens that anybody reads, relative to its first.
    chunks: Vec<Vec<Range<usize>>>,
    /// Of each span, the first that is read and its place among those of its chunk.
    spans: Vec<(Range<usize>, usize)>,
    /// What is read, in order: span, and tokens relative to its first.
    order: Vec<(usize, Range<usize>)>,
}

/// Keys and values of each chunk.
type Packed<B> = [(<B as Backend>::Buffer, <B as Backend>::Buffer)];

struct Pass<'a, B: Backend, C> {
    network: &'a Network<B>,
    crew: &'a C,
    layout: Layout,
    reads: Reads,
}

/// States of what `input` reads. With `kept`, each row continues where its entry ends.
pub(super) fn run<B: Backend, C: Crew<B>>(
    network: &Network<B>,
    crew: &C,
    input: &Input<'_>,
    mut kept: Option<&mut [KeptRow<B>]>,
    chunk: impl Fn(usize) -> usize,
) -> Outcome<States<B>> {
    let past: Vec<usize> = match kept.as_deref() {
        None => vec![0; input.rows.len()],
        Some(kept) => kept.iter().map(|row| row.length).collect(),
    };
    let layout = Layout::new(input.rows, &past, chunk);
    let reads = Reads::new(&layout, input.read);
    let pass = Pass {
        network,
        crew,
        layout,
        reads,
    };
    let mut layers: Vec<Option<B::Buffer>> = input.keep.iter().map(|_| None).collect();
    let mut store = |at: usize, x: &[B::Buffer], narrow: bool| {
        for (wanted, slot) in input.keep.iter().zip(&mut layers) {
            if *wanted == at {
                *slot = Some(pass.collect(x, narrow)?);
            }
        }
        Ok::<_, crate::LoadError>(())
    };
    let mut x = pass.embed()?;
    let count = network.layers;
    network.blocks.each(crew, |at, block| {
        store(at, &x, false)?;
        let input = std::mem::take(&mut x);
        x = pass.layer(at, block, input, kept.as_deref_mut(), at + 1 == count)?;
        Ok(())
    })?;
    let states = crew.each(x, |on, x| on.normalise(&x, &network.norm))?;
    store(count, &states, true)?;
    let last = pass.collect(&states, true)?;
    for (row, new) in kept.into_iter().flatten().zip(input.rows) {
        row.length += new.len();
    }
    Ok(States {
        last,
        layers: layers.into_iter().flatten().collect(),
    })
}

impl<B: Backend, C: Crew<B>> Pass<'_, B, C> {
    fn embed(&self) -> Outcome<Vec<B::Buffer>> {
        let chunks: Vec<&Chunk> = self.layout.chunks.iter().collect();
        self.crew.each(chunks, |on, chunk| {
            let ids = &self.layout.ids[chunk.tokens.clone()];
            let positions = &self.layout.positions[chunk.tokens.clone()];
            self.network.embed(on, ids, positions)
        })
    }

    /// All chunks through one block. After the last one only what is read is left.
    fn layer(
        &self,
        at: usize,
        block: &Block<B>,
        x: Vec<B::Buffer>,
        mut kept: Option<&mut [KeptRow<B>]>,
        last: bool,
    ) -> Outcome<Vec<B::Buffer>> {
        let parts = x.into_iter().enumerate().collect();
        let projected = self.crew.each(parts, |on, (i, x)| {
            let positions = &self.layout.positions[self.layout.chunks[i].tokens.clone()];
            let read = last.then(|| &self.reads.chunks[i][..]);
            self.network.project(on, block, x, positions, read)
        })?;
        let mut packed = Vec::with_capacity(projected.len());
        let mut parts = Vec::with_capacity(projected.len());
        for (i, part) in projected.into_iter().enumerate() {
            packed.push((part.keys, part.values));
            parts.push((i, part.residual, part.queries));
        }
        if let Some(kept) = kept.as_deref_mut() {
            let rows = kept.iter_mut().enumerate().collect();
            self.crew.each(rows, |on, (row, kept)| {
                let Some(end) = self.layout.ends[row] else {
                    return Ok(());
                };
                let new = self.key_values(&packed, end);
                on.keep(&mut kept.layers[at], &new, kept.room, &block.shape)
            })?;
        }
        let kept = kept.as_deref();
        let x = self.crew.each(parts, |on, (i, residual, queries)| {
            let runs = self.runs(i, &packed, kept.map(|kept| (at, kept)), last);
            if runs.is_empty() {
                return Ok(residual);
            }
            let mixed = self.attend(on, &queries, runs, block)?;
            // What outlives a worker's turn is not for its stock.
            drop(queries);
            self.network.finish(on, block, residual, mixed)
        })?;
        Ok(x)
    }

    /// The runs of queries of a chunk.
    fn runs<'p>(
        &self,
        chunk: usize,
        packed: &'p Packed<B>,
        kept: Option<(usize, &'p [KeptRow<B>])>,
        last: bool,
    ) -> Vec<Run<'p, B>> {
        let chunk = &self.layout.chunks[chunk];
        let mut runs = Vec::with_capacity(chunk.spans.len());
        for at in chunk.spans.clone() {
            let span = &self.layout.spans[at];
            let (mut queries, mut position) = (local(span, chunk), span.position);
            if last {
                let (read, place) = &self.reads.spans[at];
                queries = *place..place + read.len();
                position += read.start;
            }
            if queries.is_empty() {
                continue;
            }
            let seen = match (kept, span.row) {
                (Some((layer, kept)), Some(row)) => Seen::Kept(&kept[row].layers[layer]),
                _ => Seen::Packed(self.key_values(packed, at)),
            };
            runs.push(Run {
                queries,
                position,
                seen,
            });
        }
        runs
    }

    /// Keys and values of the sequence that ends with `span`, as few parts as can be.
    fn key_values<'p>(&self, packed: &'p Packed<B>, span: usize) -> Vec<KeyValues<'p, B>> {
        let mut parts: Vec<KeyValues<'p, B>> = Vec::new();
        let mut before = None;
        for at in self.layout.path(span) {
            let chunk = self.layout.chunk_of(at);
            let rows = local(&self.layout.spans[at], &self.layout.chunks[chunk]);
            match parts.last_mut() {
                Some(part) if before == Some(chunk) && part.rows.end == rows.start => {
                    part.rows.end = rows.end;
                }
                _ => {
                    let (keys, values) = &packed[chunk];
                    parts.push(KeyValues { keys, values, rows });
                }
            }
            before = Some(chunk);
        }
        parts
    }

    /// Attention of one chunk; where it is the only one, its runs side by side.
    fn attend(
        &self,
        on: &B,
        queries: &B::Buffer,
        mut runs: Vec<Run<'_, B>>,
        block: &Block<B>,
    ) -> Outcome<B::Buffer> {
        let hands = self.crew.hands();
        if self.layout.chunks.len() > 1 || runs.len() < 2 || hands < 2 {
            return on.attend(queries, &runs, &block.shape);
        }
        let share = runs.len().div_ceil(hands);
        let mut groups = Vec::with_capacity(hands);
        while !runs.is_empty() {
            let rest = runs.split_off(share.min(runs.len()));
            groups.push(std::mem::replace(&mut runs, rest));
        }
        let mixed = self.crew.each(groups, |on, runs| {
            let count: usize = runs.iter().map(|run| run.queries.len()).sum();
            Ok((on.attend(queries, &runs, &block.shape)?, count))
        })?;
        let parts: Vec<_> = mixed.iter().map(|(x, count)| (x, 0..*count)).collect();
        let whole = on.pick(&parts, block.shape.query_width())?;
        mixed.into_iter().for_each(|(x, _)| on.recycle(x));
        Ok(whole)
    }

    /// What is read, in order, of the states in `x`.
    fn collect(&self, x: &[B::Buffer], narrow: bool) -> Outcome<B::Buffer> {
        let part = |(at, read): &(usize, Range<usize>)| {
            let chunk = self.layout.chunk_of(*at);
            let start = if narrow {
                let (hull, place) = &self.reads.spans[*at];
                place + read.start - hull.start
            } else {
                local(&self.layout.spans[*at], &self.layout.chunks[chunk]).start + read.start
            };
            (&x[chunk], start..start + read.len())
        };
        let parts: Vec<_> = self.reads.order.iter().map(part).collect();
        let gathered = self
            .crew
            .each(vec![parts], |on, parts| on.pick(&parts, self.network.width))?;
        Ok(gathered
            .into_iter()
            .next()
            .unwrap_or_else(|| unreachable!("one part gives one")))
    }
}

/// The tokens of a span, relative to the first of its chunk.
fn local(span: &Span, chunk: &Chunk) -> Range<usize> {
    span.tokens.start - chunk.tokens.start..span.tokens.end - chunk.tokens.start
}

impl Reads {
    fn new(layout: &Layout, read: &[Range<usize>]) -> Self {
        let mut spans = vec![(0..0, 0); layout.spans.len()];
        let mut order = Vec::new();
        for (end, read) in layout.ends.iter().zip(read) {
            let Some(end) = *end else { continue };
            let path = layout.path(end);
            let base = layout.spans[path[0]].position;
            for at in path {
                let span = &layout.spans[at];
                let first = span.position - base;
                let from = read.start.max(first);
                let to = read.end.min(first + span.tokens.len());
                if from >= to {
                    continue;
                }
                let part = from - first..to - first;
                let hull: &mut Range<usize> = &mut spans[at].0;
                *hull = if hull.start == hull.end {
                    part.clone()
                } else {
                    hull.start.min(part.start)..hull.end.max(part.end)
                };
                order.push((at, part));
            }
        }
        let mut chunks = Vec::with_capacity(layout.chunks.len());
        for chunk in &layout.chunks {
            let mut place = 0;
            let mut rows = Vec::new();
            for at in chunk.spans.clone() {
                let (hull, start) = &mut spans[at];
                *start = place;
                place += hull.len();
                let first = local(&layout.spans[at], chunk).start;
                if hull.start < hull.end {
                    rows.push(first + hull.start..first + hull.end);
                }
            }
            chunks.push(rows);
        }
        Self {
            chunks,
            spans,
            order,
        }
    }
}
