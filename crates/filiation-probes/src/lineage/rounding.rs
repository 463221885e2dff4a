//! Is a tensor another one, stored with fewer bits? Decided by exact tests, not by size of change:
//! 4-bit rounding moves weights further than a fine-tune does.

use filiation_checkpoint::Lattices;
use half::{bf16, f16};

/// Values that share a scale in most block quantisers, and in all of them. A run of 16 that a wide
/// scale has flattened to one level shows no lattice, its 32 do.
const BLOCKS: [usize; 2] = [32, 16];

/// Most steps of a lattice: 8 bits.
const STEPS: u32 = 255;

/// What makes one tensor of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// Nothing: the values are equal.
    Equal,
    /// A cast of one of the two to BF16 or F16.
    Cast,
    /// Rounding to a lattice with a scale a block: 8-bit or 4-bit quantisation.
    Quantised,
    /// Something else.
    Changed,
}

impl Made {
    /// Whether the two tensors are one up to rounding.
    pub(super) const fn is_rounding(self) -> bool {
        !matches!(self, Self::Changed)
    }
}

/// What makes `this` of `other` (or `other` of `this`, for casts). Rows have `row` values; blocks
/// lie within rows, in the order of `this`. `lattices` are those that `this` is stored on, where it
/// is stored as codes.
pub(super) fn made(this: &[f32], other: &[f32], row: usize, lattices: Option<&Lattices>) -> Made {
    if this == other {
        return Made::Equal;
    }
    let casts: [fn(f32) -> f32; 2] = [
        |x| bf16::from_f32(x).to_f32(),
        |x| f16::from_f32(x).to_f32(),
    ];
    let is =
        |a: &[f32], b: &[f32], cast: fn(f32) -> f32| a.iter().zip(b).all(|(&a, &b)| a == cast(b));
    if casts
        .iter()
        .any(|&c| is(this, other, c) || is(other, this, c))
    {
        return Made::Cast;
    }
    // Lattices that are known need not be guessed, nor with what tolerance.
    let quantised = match lattices {
        Some(lattices) => lattices.round(other, this),
        None => is_quantised(this, other, row),
    };
    if quantised {
        return Made::Quantised;
    }
    Made::Changed
}

/// Whether in each block `this` lies on a lattice of at most [`STEPS`] steps, and each value is
/// the lattice's nearest to that of `other`.
fn is_quantised(this: &[f32], other: &[f32], row: usize) -> bool {
    let [wide, narrow] = BLOCKS;
    if row < narrow || !this.len().is_multiple_of(row) {
        return false;
    }
    let storage = storage_error(this);
    let rounded = |(a, b): (&[f32], &[f32])| {
        block_is_rounded(a, b, storage)
            || blocks(a, narrow)
                .zip(blocks(b, narrow))
                .all(|(a, b)| block_is_rounded(a, b, storage))
    };
    this.chunks_exact(row)
        .zip(other.chunks_exact(row))
        .all(|(a, b)| blocks(a, wide).zip(blocks(b, wide)).all(rounded))
}

/// Runs of `size` values; the last is longer where the row is no multiple.
fn blocks(row: &[f32], size: usize) -> impl Iterator<Item = &[f32]> {
    let count = (row.len() / size).max(1);
    (0..count).map(move |k| {
        let end = if k + 1 == count {
            row.len()
        } else {
            (k + 1) * size
        };
        &row[k * size..end]
    })
}

/// Relative rounding of the values as stored: that of BF16 where all are BF16 values. Scales are
/// kept in F16 by most formats, so no less than that of F16.
fn storage_error(values: &[f32]) -> f32 {
    if values.iter().all(|v| v.to_bits() & 0xffff == 0) {
        (-8f32).exp2()
    } else {
        (-11f32).exp2()
    }
}

fn block_is_rounded(this: &[f32], other: &[f32], storage: f32) -> bool {
    let (low, high) = this
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &x| {
            (l.min(x), h.max(x))
        });
    let fuzz = storage * low.abs().max(high.abs());
    let step = match lattice_step(this, low, high, fuzz) {
        Some(step) => step,
        // One level only: nothing shows the step, so nothing but storage may differ.
        None if low == high => 0.0,
        None => return false,
    };
    this.iter().zip(other).all(|(&a, &b)| {
        // Beyond the outermost level a quantiser clips; up to one step is its own doing.
        let clipped = (a == high && b > a) || (a == low && b < a);
        let reach = if clipped { 1.0 } else { 0.5 };
        (a - b).abs() <= step * (reach + 0.01) + 2.0 * fuzz
    })
}

/// The widest step, at most [`STEPS`] between lowest and highest, that all values are whole
/// multiples of, within `fuzz` and a hundredth of the step. For values on no lattice the chance
/// is below 0.3¹⁴ for each number of steps, and all blocks of a tensor must pass.
fn lattice_step(values: &[f32], low: f32, high: f32, fuzz: f32) -> Option<f32> {
    if low == high {
        return None;
    }
    // No step is wider than the least gap.
    let mut sorted = [0.0; 2 * BLOCKS[0]];
    let sorted = &mut sorted[..values.len()];
    sorted.copy_from_slice(values);
    sorted.sort_unstable_by(f32::total_cmp);
    let gap = sorted
        .windows(2)
        .map(|w| w[1] - w[0])
        .filter(|&gap| gap > 0.0)
        .fold(f32::INFINITY, f32::min);
    let range = high - low;
    let first = (range / (gap * 1.02 + 2.0 * fuzz)) as u32;
    for steps in first.max(1)..=STEPS {
        let step = range / steps as f32;
        let slack = 0.01 + 2.0 * fuzz / step;
        if slack > 0.15 {
            return None;
        }
        let per = 1.0 / step;
        // Truncation of a positive number plus a half rounds it; `round` is a call on plain x86-64.
        let on = |&x: &f32| {
            let place = (x - low) * per;
            (place - (place + 0.5) as u32 as f32).abs() <= slack
        };
        if values.iter().all(on) {
            return Some(step);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use filiation_checkpoint::{Fitted, Lattice};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn made(this: &[f32], other: &[f32], row: usize) -> Made {
        super::made(this, other, row, None)
    }

    fn weights(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|_| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() / 100.0 - 0.06)
            .collect()
    }

    /// Symmetric quantiser with one scale a block of 32, scale kept in F16 (the form of Q8_0).
    fn symmetric(values: &[f32], levels: f32) -> Vec<f32> {
        values
            .chunks(32)
            .flat_map(|block| {
                let scale = block.iter().fold(0f32, |m, x| m.max(x.abs())) / levels;
                let stored = f16::from_f32(scale).to_f32();
                block.iter().map(move |x| (x / scale).round() * stored)
            })
            .collect()
    }

    /// Quantiser with scale and minimum a block of 32, 4 bits (the form of Q4_1).
    fn affine(values: &[f32]) -> Vec<f32> {
        values
            .chunks(32)
            .flat_map(|block| {
                let low = block.iter().copied().fold(f32::INFINITY, f32::min);
                let high = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let scale = (high - low) / 15.0;
                let kept = (f16::from_f32(scale).to_f32(), f16::from_f32(low).to_f32());
                block
                    .iter()
                    .map(move |x| ((x - low) / scale).round() * kept.0 + kept.1)
            })
            .collect()
    }

    fn noisy(values: &[f32], relative: f32, seed: u64) -> Vec<f32> {
        let noise = weights(values.len(), seed);
        values
            .iter()
            .zip(noise)
            .map(|(x, e)| x + relative * e)
            .collect()
    }

    #[test]
    fn knows_casts_both_ways() {
        let w = weights(4096, 1);
        let low: Vec<f32> = w.iter().map(|&x| bf16::from_f32(x).to_f32()).collect();
        assert_eq!(made(&w, &w, 64), Made::Equal);
        assert_eq!(made(&low, &w, 64), Made::Cast);
        assert_eq!(made(&w, &low, 64), Made::Cast);
        let low: Vec<f32> = w.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
        assert_eq!(made(&low, &w, 64), Made::Cast);
    }

    #[test]
    fn knows_eight_and_four_bits() {
        let w = weights(64 * 256, 2);
        for quantised in [symmetric(&w, 127.0), symmetric(&w, 7.0), affine(&w)] {
            assert_eq!(made(&quantised, &w, 256), Made::Quantised);
        }
        let stored: Vec<f32> = affine(&w)
            .iter()
            .map(|&x| f16::from_f32(x).to_f32())
            .collect();
        assert_eq!(made(&stored, &w, 256), Made::Quantised);
    }

    /// An outlier widens the scale until its neighbours fall on one level.
    #[test]
    fn knows_four_bits_beside_outliers() {
        let mut w = weights(64 * 256, 10);
        w.iter_mut()
            .step_by(32)
            .for_each(|x| *x = 40.0 * x.abs() + 0.3);
        assert_eq!(made(&symmetric(&w, 7.0), &w, 256), Made::Quantised);
        assert_eq!(made(&noisy(&w, 0.02, 11), &w, 256), Made::Changed);
    }

    #[test]
    fn quantised_again_on_another_lattice_is_still_rounding() {
        let w = affine(&weights(64 * 256, 3));
        assert_eq!(made(&symmetric(&w, 127.0), &w, 256), Made::Quantised);
    }

    #[test]
    fn noise_is_no_rounding_however_small() {
        let w = weights(64 * 256, 4);
        for relative in [0.02, 0.002, 0.0002] {
            assert_eq!(made(&noisy(&w, relative, 5), &w, 256), Made::Changed);
        }
        // Nor where the original is on a lattice and noise stays within its half steps.
        let w = affine(&w);
        assert_eq!(made(&noisy(&w, 0.02, 6), &w, 256), Made::Changed);
    }

    #[test]
    fn a_changed_model_quantised_is_no_rounding_of_the_original() {
        let w = weights(64 * 256, 7);
        assert_eq!(made(&affine(&noisy(&w, 0.05, 8)), &w, 256), Made::Changed);
        assert_eq!(
            made(&symmetric(&noisy(&w, 0.01, 9), 127.0), &w, 256),
            Made::Changed
        );
    }

    /// A quantiser with one scale for 256 values and a 4-bit one for each 16 of them, which clips;
    /// values and lattices.
    fn nested(values: &[f32]) -> (Vec<f32>, Lattices) {
        let mut each = Vec::new();
        let mut stored = Vec::new();
        for values in values.chunks(256) {
            let spans = values.chunks(16).map(|v| {
                let low = v.iter().copied().fold(0.0, f32::min);
                (low, 0.9 * (v.iter().copied().fold(0.0, f32::max) - low))
            });
            let spans: Vec<(f32, f32)> = spans.collect();
            let unit = spans.iter().fold(0f32, |m, s| m.max(s.1)) / 3.0 / 15.0;
            for (values, (low, span)) in values.chunks(16).zip(spans) {
                let step = (span / 3.0 / unit).round() * unit;
                each.push(Lattice {
                    lowest: low,
                    highest: low + 3.0 * step,
                    step,
                    slack: 0.0,
                    reach: 1.5 * (step + unit),
                    fitted: Fitted::Never,
                });
                let code = |x: &f32| match step > 0.0 {
                    true => ((x - low) / step).round().clamp(0.0, 3.0),
                    false => 0.0,
                };
                stored.extend(values.iter().map(|x| low + code(x) * step));
            }
        }
        (stored, Lattices { run: 16, each })
    }

    #[test]
    fn knows_two_bits_by_their_lattices() {
        let w = weights(64 * 256, 20);
        let (stored, lattices) = nested(&w);
        let by = |values: &[f32]| super::made(&stored, values, 256, Some(&lattices));
        assert_eq!(by(&w), Made::Quantised);
        assert_eq!(by(&noisy(&w, 0.001, 21)), Made::Changed);
        assert_eq!(by(&weights(64 * 256, 22)), Made::Changed);
    }
}
