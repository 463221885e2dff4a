//! Matrices stored as whole numbers of a few bits, packed into words of 32, with a scale and a zero
//! for each group of inputs: (code − zero) · scale.
//!
//! Three ways are in use. GPTQ's packs codes along inputs and zeros along outputs, and its scales are
//! (group, output); its first format stores each zero less one. AWQ's packs both along outputs, eight
//! in the order 0, 2, 4, 6, 1, 3, 5, 7. `compressed-tensors` packs codes along inputs of the matrix as
//! it is, and its scales are (output, group).

use std::ops::Range;

use rayon::prelude::*;

use crate::model_weights::{Fitted, Lattice, Lattices};

/// How the tensors of such matrices lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Zeros are stored less `less`.
    Gptq {
        less: u8,
    },
    Awq,
    Rows,
}

/// Where in a word AWQ keeps the code of each of eight outputs.
const AWQ_PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// A matrix in this form: what it is, and what its tensors are called.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) way: Way,
    pub(crate) bits: usize,
    /// Outputs and inputs.
    pub(crate) shape: Vec<usize>,
    /// Inputs that share scale and zero, where these follow each other.
    pub(crate) group: usize,
    pub(crate) codes: String,
    pub(crate) scales: String,
    /// Without, every zero is half of what the bits hold.
    pub(crate) zeros: Option<String>,
    /// Tensors that say how it lies, and hold no numbers of it: groups of inputs, its shape.
    pub(crate) beside: Vec<String>,
    /// The group of each input, where they do not follow each other.
    pub(crate) groups: Option<Vec<u32>>,
}

/// A matrix in this form, in place.
#[derive(Debug, Clone, Copy)]
pub struct PackedView<'a> {
    pub(crate) of: &'a Packed,
    pub(crate) codes: &'a [u8],
    /// One a group and output, or an output and group, widened.
    pub(crate) scales: Scales<'a>,
    pub(crate) zeros: Option<&'a [u8]>,
    /// The outputs that are seen.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// Scales as they are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scales<'a> {
    pub(crate) dtype: crate::Dtype,
    pub(crate) data: &'a [u8],
}

impl Scales<'_> {
    fn at(&self, index: usize) -> f32 {
        let size = self.dtype.size();
        let mut one = [0.0];
        self.dtype
            .widen(&self.data[index * size..(index + 1) * size], &mut one);
        one[0]
    }
}

/// Code number `index` of a run of words that lie `stride` apart, from word `start` on.
fn code(words: &[u8], bits: usize, index: usize, start: usize, stride: usize) -> u32 {
    let (word, shift) = (index * bits / 32, index * bits % 32);
    let read = |at: usize| {
        let at = 4 * (start + at * stride);
        let bytes = words.get(at..at + 4);
        bytes.map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    };
    let mut wide = u64::from(read(word));
    if shift + bits > 32 {
        wide |= u64::from(read(word + 1)) << 32;
    }
    (wide >> shift) as u32 & ((1 << bits) - 1)
}

impl Packed {
    pub(crate) fn outputs(&self) -> usize {
        self.shape[0]
    }

    pub(crate) fn inputs(&self) -> usize {
        self.shape[1]
    }

    /// How many groups there are.
    pub(crate) fn count(&self) -> usize {
        self.inputs().div_ceil(self.group)
    }

    /// All tensors that stand for it.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        let all = [Some(&self.codes), Some(&self.scales), self.zeros.as_ref()];
        let all = all.into_iter().flatten().chain(&self.beside);
        all.map(String::as_str)
    }

    fn group_of(&self, input: usize) -> usize {
        self.groups
            .as_ref()
            .map_or(input / self.group, |g| g[input] as usize)
    }

    /// Inputs of a row that share a group and lie together, the same number all along the row.
    fn run(&self) -> usize {
        match &self.groups {
            None if self.inputs().is_multiple_of(self.group) => self.group,
            _ => 1,
        }
    }
}

impl PackedView<'_> {
    /// Elements that are seen.
    pub(crate) fn len(&self) -> usize {
        self.count * self.of.inputs()
    }

    pub(crate) fn rows(self, rows: Range<usize>) -> Self {
        let end = rows.end.min(self.count);
        let start = rows.start.min(end);
        Self {
            first: self.first + start,
            count: end - start,
            ..self
        }
    }

    fn code(&self, output: usize, input: usize) -> u32 {
        let (outputs, inputs, bits) = (self.of.outputs(), self.of.inputs(), self.of.bits);
        match self.of.way {
            Way::Gptq { .. } => code(self.codes, bits, input, output, outputs),
            Way::Awq => code(self.codes, bits, input * outputs + awq(output), 0, 1),
            Way::Rows => code(
                self.codes,
                bits,
                input,
                output * (inputs * bits).div_ceil(32),
                1,
            ),
        }
    }

    fn scale_and_zero(&self, output: usize, group: usize) -> (f32, f32) {
        let (outputs, bits) = (self.of.outputs(), self.of.bits);
        let half = || 1_u32 << (bits - 1);
        match self.of.way {
            Way::Gptq { less } => {
                let row = group * (outputs * bits).div_ceil(32);
                let stored = self.zeros.map(|z| code(z, bits, output, row, 1));
                let zero = stored.map_or_else(half, |stored| stored + u32::from(less));
                (self.scales.at(group * outputs + output), zero as f32)
            }
            Way::Awq => {
                let stored = self
                    .zeros
                    .map(|z| code(z, bits, group * outputs + awq(output), 0, 1));
                let zero = stored.unwrap_or_else(half);
                (self.scales.at(group * outputs + output), zero as f32)
            }
            Way::Rows => {
                let groups = self.of.count();
                let stored = self.zeros.map(|z| code(z, bits, output, group, groups));
                let zero = stored.unwrap_or_else(half);
                (self.scales.at(output * groups + group), zero as f32)
            }
        }
    }

    /// The values of the outputs that are seen, row-major.
    pub(crate) fn to_f32(self) -> Vec<f32> {
        let inputs = self.of.inputs();
        let mut out = vec![0.0; self.len()];
        if inputs == 0 {
            return out;
        }
        out.par_chunks_mut(inputs)
            .enumerate()
            .for_each(|(row, out)| {
                let output = self.first + row;
                let of_groups = (0..self.of.count()).map(|g| self.scale_and_zero(output, g));
                let of_groups: Vec<(f32, f32)> = of_groups.collect();
                for (input, out) in out.iter_mut().enumerate() {
                    let (scale, zero) = of_groups[self.of.group_of(input)];
                    *out = (self.code(output, input) as f32 - zero) * scale;
                }
            });
        out
    }

    /// What its codes can stand for. A quantiser divides by the scale before that is stored in 16
    /// bits, and its zero is rounded, so that the ends may lie half a step off.
    pub(crate) fn lattices(self) -> Lattices {
        let run = self.of.run();
        let last = ((1_u32 << self.of.bits) - 1) as f32;
        let mut each = Vec::with_capacity(self.len() / run.max(1));
        for row in 0..self.count {
            for input in (0..self.of.inputs()).step_by(run.max(1)) {
                let group = self.of.group_of(input);
                let (scale, zero) = self.scale_and_zero(self.first + row, group);
                let (a, b) = (-zero * scale, (last - zero) * scale);
                let step = scale.abs();
                let slack = zero.max(last - zero) * step * (-11f32).exp2();
                each.push(Lattice {
                    lowest: a.min(b),
                    highest: a.max(b),
                    step,
                    slack,
                    reach: step + slack,
                    fitted: Fitted::Never,
                });
            }
        }
        Lattices { run, each }
    }
}

/// The place among codes of one input, in words of eight, that AWQ gives an output.
const fn awq(output: usize) -> usize {
    output / 8 * 8 + AWQ_PLACES[output % 8]
}
