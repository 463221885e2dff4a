//! Products of activations with packed matrices.
//!
//! Every element of a product is one chain of fused multiply-adds over the inputs in their order,
//! started at zero or at the bias. Where the inputs are taken in parts, the chain goes on from what
//! the last part left. So an element depends on its row and its output alone: not on the other
//! rows, on the tile it falls in, on the number of threads or on the processor's instructions.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(all(test, target_os = "linux"))]
mod bounds_tests;
mod measured;
mod packed;
mod portable;
#[cfg(test)]
mod tests;
mod tile;

use std::ops::Range;

use rayon::prelude::*;

use super::{Threads, kernels};
use crate::source::Elements;
pub use measured::Product;
use packed::Aligned;
pub(super) use packed::Packed;
pub(super) use tile::Isa;
use tile::Tile;

/// Outputs of a panel. Three of the widest vectors: with eight rows they leave just enough registers
/// for the factors.
pub(super) const PANEL: usize = 48;

/// Inputs taken at a time, as [`Isa::depth`], where a panel is widened first and shares the cache with
/// what it is widened from.
const WIDENED_DEPTH: usize = 96;

/// Rows that pass over a panel before the next: few enough for all their inputs and this panel to
/// stay in the second-level cache.
const ROWS: usize = 64;

/// The same where each panel must be widened first, which is worth doing less often.
const WIDENED_ROWS: usize = 128;

/// Fewer rows than this read a panel faster without being told what comes next.
const ROWS_AHEAD: usize = 4;

/// Multiply-adds that are worth a task of their own.
const TASK: usize = 1 << 18;

/// The left factor: row i begins at `i·stride`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    pub(super) count: usize,
}

/// The right factor: inputs of output `o` lie `row` apart, from `o / PANEL · panel + o % PANEL` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panels<'a> {
    pub(super) values: Elements<'a>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) panel: usize,
    pub(super) row: usize,
}

/// Inputs `from..from + depth` of one panel.
#[derive(Debug, Clone, Copy)]
struct Slice {
    panel: usize,
    from: usize,
    depth: usize,
}

impl Panels<'_> {
    pub(super) const fn count(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    const fn is_narrow(&self) -> bool {
        !matches!(self.values, Elements::F32(_))
    }

    fn columns(&self, panel: usize) -> usize {
        PANEL.min(self.outputs - panel * PANEL)
    }

    fn range(&self, slice: Slice) -> Range<usize> {
        let start = slice.panel * self.panel + slice.from * self.row;
        start..start + (slice.depth - 1) * self.row + self.columns(slice.panel)
    }

    /// All of `panels`, in the order in which one block of rows passes over them.
    fn slices(&self, most: usize, panels: Range<usize>) -> impl Iterator<Item = Slice> {
        let parts = self.inputs.div_ceil(most);
        panels.flat_map(move |panel| {
            shares(self.inputs, parts).map(move |part| Slice {
                panel,
                from: part.start,
                depth: part.len(),
            })
        })
    }
}

impl<'a> Panels<'a> {
    /// The elements of `slice`, widened into `scratch` where they are not f32.
    fn widened<'b>(&self, slice: Slice, scratch: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        let range = self.range(slice);
        match self.values {
            Elements::F32(values) => &values[range],
            Elements::BF16(values) => {
                let scratch = &mut scratch[..range.len()];
                kernels::widen(&values[range], scratch);
                scratch
            }
            Elements::F16(_) => {
                let scratch = &mut scratch[..range.len()];
                self.values.widen(range.start, scratch);
                scratch
            }
        }
    }
}

/// `count` as `parts` ranges of nearly the same length. Every tile asks for some, so that one division
/// must do for all.
fn shares(count: usize, parts: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let (each, more) = (count / parts.max(1), count % parts.max(1));
    (0..parts).map(move |i| {
        let start = i * each + i.min(more);
        start..start + each + usize::from(i < more)
    })
}

/// out ← a·bᵀ for the outputs in `panels`, or out + a·bᵀ where the chains are to `resume` from what
/// is in `out`; a row of `out` begins at the first of those outputs.
///
/// # Panics
/// Where a factor or a row of `out` is too short.
pub(super) fn multiply(
    isa: Isa,
    a: Rows<'_>,
    b: Panels<'_>,
    panels: Range<usize>,
    resume: bool,
    out: &mut [&mut [f32]],
) {
    assert_eq!(out.len(), a.count, "a row of the product is missing");
    if b.inputs == 0 && !resume {
        out.iter_mut().for_each(|row| row.fill(0.0));
    }
    let (most, wide) = if b.is_narrow() {
        (WIDENED_ROWS, WIDENED_DEPTH * PANEL)
    } else {
        (ROWS, 0)
    };
    let mut scratch = Aligned::new(wide);
    let blocks = a.count.div_ceil(most);
    // Whether other rows read the panels again, from a cache.
    let again = blocks > 1;
    let depth = if b.is_narrow() {
        WIDENED_DEPTH
    } else {
        isa.depth(again)
    };
    for block in shares(a.count, blocks) {
        let tiles = block.len().div_ceil(isa.rows());
        let mut slices = b.slices(depth, panels.clone()).peekable();
        while let Some(slice) = slices.next() {
            let next = slices.peek().filter(|_| block.len() >= ROWS_AHEAD);
            let ahead = next.map_or(&[][..], |next| b.values.bytes(b.range(*next)));
            let values = b.widened(slice, scratch.get_mut());
            let at = (slice.panel - panels.start) * PANEL;
            let columns = b.columns(slice.panel);
            let groups = columns.div_ceil(isa.columns());
            let mut lines = shares(ahead.len(), groups * tiles);
            let mut tile = |rows: Range<usize>, group: usize| {
                let rows = block.start + rows.start..block.start + rows.end;
                let column = group * isa.columns();
                let tile = Tile {
                    depth: slice.depth,
                    a: &a.values[rows.start * a.stride + slice.from..],
                    a_stride: a.stride,
                    b: &values[column..],
                    b_stride: b.row,
                    columns: isa.columns().min(columns - column),
                    resume: resume || slice.from > 0,
                    ahead: &ahead[lines.next().unwrap_or_default()],
                };
                tile.run(isa, &mut out[rows], at + column);
            };
            let rows = shares(block.len(), tiles);
            if again {
                // All rows pass over one group of columns before the next: a group is what the
                // first-level cache holds on to.
                (0..groups).for_each(|group| rows.clone().for_each(|rows| tile(rows, group)));
            } else {
                // What comes from memory for this block alone comes best in its own order.
                rows.for_each(|rows| (0..groups).for_each(|group| tile(rows.clone(), group)));
            }
        }
    }
}

/// As [`multiply`] for all panels, into a whole matrix (rows, outputs), by the threads allowed.
pub(super) fn product(a: Rows<'_>, b: Panels<'_>, resume: bool, out: &mut [f32], threads: Threads) {
    if out.is_empty() {
        return;
    }
    let isa = Isa::best();
    let tasks = match threads {
        Threads::One => 1,
        Threads::All => {
            let work = a.count * b.inputs * b.outputs / TASK;
            let most = (4 * rayon::current_num_threads()).min(b.count());
            work.clamp(1, most)
        }
    };
    let panels: Vec<_> = shares(b.count(), tasks).collect();
    let parts = by_columns(out, b.outputs, &panels);
    let run = |(panels, mut part): (Range<usize>, Vec<&mut [f32]>)| {
        multiply(isa, a, b, panels, resume, &mut part);
    };
    if tasks == 1 {
        panels.into_iter().zip(parts).for_each(run);
    } else {
        panels.into_par_iter().zip(parts).for_each(run);
    }
}

/// The rows of `out`, cut where the ranges of panels meet: those of each range.
fn by_columns<'a>(
    out: &'a mut [f32],
    width: usize,
    panels: &[Range<usize>],
) -> Vec<Vec<&'a mut [f32]>> {
    let mut parts: Vec<Vec<_>> = panels
        .iter()
        .map(|_| Vec::with_capacity(out.len() / width))
        .collect();
    for mut row in out.chunks_exact_mut(width) {
        for (range, part) in panels.iter().zip(&mut parts) {
            let columns = (range.len() * PANEL).min(row.len());
            let (mine, rest) = row.split_at_mut(columns);
            part.push(mine);
            row = rest;
        }
    }
    parts
}
