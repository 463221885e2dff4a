use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use rayon::prelude::*;

use super::{PANEL, Panels};
use crate::decoder::view::MatrixView;
use crate::source::Elements;

/// Bytes to which panels are aligned, so that no vector of one straddles two cache lines.
const LINE: usize = 64;

/// Inputs that are moved together: what they touch stays in the first-level cache.
const RUN: usize = 64;

/// A matrix (outputs, inputs) as it is multiplied by: panels of outputs, in each the inputs one after
/// the other, the outputs of the last filled up with zeros. Elements as they are stored.
#[derive(Debug)]
pub(in crate::decoder) struct Packed {
    inputs: usize,
    outputs: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    F32(Aligned<f32>),
    BF16(Aligned<u16>),
    F16(Aligned<u16>),
}

impl Packed {
    pub(in super::super) fn new(view: &MatrixView) -> Self {
        let values = match view.data.elements() {
            Elements::F32(x) => Values::F32(pack(x, view)),
            Elements::BF16(x) => Values::BF16(pack(x.reinterpret_cast(), view)),
            Elements::F16(x) => Values::F16(pack(x.reinterpret_cast(), view)),
        };
        Self {
            inputs: view.inputs,
            outputs: view.outputs,
            values,
        }
    }

    pub(in super::super) const fn inputs(&self) -> usize {
        self.inputs
    }

    pub(in super::super) const fn outputs(&self) -> usize {
        self.outputs
    }

    pub(in super::super) fn panels(&self) -> Panels<'_> {
        Panels {
            values: match &self.values {
                Values::F32(x) => Elements::F32(x.get()),
                Values::BF16(x) => Elements::BF16(x.get().reinterpret_cast()),
                Values::F16(x) => Elements::F16(x.get().reinterpret_cast()),
            },
            inputs: self.inputs,
            outputs: self.outputs,
            panel: self.inputs * PANEL,
            row: PANEL,
        }
    }

    /// All inputs of one output.
    ///
    /// # Panics
    /// Where there is no such output, or `out` is not of that many inputs.
    pub(in super::super) fn output(&self, output: usize, out: &mut [f32]) {
        assert!(output < self.outputs && out.len() == self.inputs);
        let panels = self.panels();
        let start = output / PANEL * panels.panel + output % PANEL;
        panels.values.widen_strided(start, PANEL, out);
    }
}

fn pack<T: Copy + Default + Send + Sync>(source: &[T], view: &MatrixView) -> Aligned<T> {
    let panels = view.outputs.div_ceil(PANEL);
    let mut packed = Aligned::new(panels * view.inputs * PANEL);
    if view.inputs == 0 {
        return packed;
    }
    packed
        .get_mut()
        .par_chunks_exact_mut(view.inputs * PANEL)
        .enumerate()
        .for_each(|(panel, packed)| {
            let first = panel * PANEL;
            let columns = PANEL.min(view.outputs - first);
            let start = view.offset + first * view.out_stride;
            for (i, run) in packed.chunks_mut(RUN * PANEL).enumerate() {
                let start = start + i * RUN * view.in_stride;
                if view.out_stride == 1 {
                    for (k, row) in run.chunks_exact_mut(PANEL).enumerate() {
                        let from = &source[start + k * view.in_stride..][..columns];
                        row[..columns].copy_from_slice(from);
                    }
                } else {
                    for column in 0..columns {
                        let start = start + column * view.out_stride;
                        for (k, row) in run.chunks_exact_mut(PANEL).enumerate() {
                            row[column] = source[start + k * view.in_stride];
                        }
                    }
                }
            }
        });
    packed
}

/// Values that begin at a cache line.
#[derive(Debug)]
pub(super) struct Aligned<T> {
    values: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    pub(super) fn new(len: usize) -> Self {
        let values = vec![T::default(); len + LINE / size_of::<T>()];
        // The elements stay where they are when the vector is moved.
        let start = values.as_ptr().align_offset(LINE).min(values.len() - len);
        Self { values, start, len }
    }

    fn get(&self) -> &[T] {
        &self.values[self.start..][..self.len]
    }

    pub(super) fn get_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..][..self.len]
    }
}
