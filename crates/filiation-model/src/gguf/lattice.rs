//! The values that the codes of a block can stand for.
//!
//! All types end alike: a value is divided by the scale of its run, rounded to nearest and clipped
//! to the codes there are. The older types divide by the scale before it is stored in F16, k-quants
//! by the one that is stored. With an importance matrix the older types keep the codes of one scale and store
//! the one that fits them best ([`Fitted`]); k-quants find their codes anew with what they store.

use candle_core::quantized::GgmlDType;
use filiation_checkpoint::{Fitted, Lattice};
use half::f16;

/// Values that share a lattice; `None` for types that are no codes.
pub(super) const fn run(dtype: GgmlDType) -> Option<usize> {
    Some(match dtype {
        GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1 => 32,
        GgmlDType::Q8_0 | GgmlDType::Q4K | GgmlDType::Q5K => 32,
        GgmlDType::Q2K | GgmlDType::Q3K | GgmlDType::Q6K => 16,
        GgmlDType::Q8K => 256,
        GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 | GgmlDType::Q8_1 => return None,
    })
}

/// Appends the lattices of one block, run by run.
pub(super) fn of_block(dtype: GgmlDType, block: &[u8], out: &mut Vec<Lattice>) {
    match dtype {
        GgmlDType::Q4_0 => out.push(symmetric(half(block, 0), -8, 7)),
        GgmlDType::Q5_0 => out.push(symmetric(half(block, 0), -16, 15)),
        // Its scale is never fitted, with or without an importance matrix.
        GgmlDType::Q8_0 => out.push(Lattice {
            fitted: Fitted::Never,
            ..symmetric(half(block, 0), -127, 127)
        }),
        GgmlDType::Q4_1 => out.push(affine(half(block, 0), half(block, 2), 15)),
        GgmlDType::Q5_1 => out.push(affine(half(block, 0), half(block, 2), 31)),
        GgmlDType::Q8K => {
            let scale = block
                .first_chunk()
                .map_or(f32::NAN, |b| f32::from_le_bytes(*b));
            let mut lattice = symmetric(scale, -128, 127);
            lattice.slack = 0.0;
            lattice.fitted = Fitted::Never;
            out.push(lattice);
        }
        GgmlDType::Q2K => {
            let unit = (half(block, 80), half(block, 82));
            let each = block[..16].iter().map(|s| (s & 15, s >> 4));
            out.extend(each.map(|parts| nested(unit, parts, 3)));
        }
        GgmlDType::Q3K => {
            let unit = half(block, 108);
            let each = (0..16).map(|j| i16::from(scale_of_six_bits(&block[96..108], j)) - 32);
            out.extend(each.map(|scale| nested_symmetric(unit, scale, -4, 3)));
        }
        GgmlDType::Q4K | GgmlDType::Q5K => {
            let codes = if dtype == GgmlDType::Q4K { 15 } else { 31 };
            let unit = (half(block, 0), half(block, 2));
            let each = (0..8).map(|j| scale_and_least(&block[4..16], j));
            out.extend(each.map(|parts| nested(unit, parts, codes)));
        }
        GgmlDType::Q6K => {
            let unit = half(block, 208);
            let each = block[192..208].iter().map(|&s| i16::from(s as i8));
            out.extend(each.map(|scale| nested_symmetric(unit, scale, -32, 31)));
        }
        GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 | GgmlDType::Q8_1 => {}
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    let bytes = [block[at], block[at + 1]];
    f16::from_le_bytes(bytes).to_f32()
}

/// Most that a number can have moved on its way to this one in F16.
fn rounded(x: f32) -> f32 {
    (x.abs() * (-11f32).exp2()).max((-25f32).exp2())
}

/// Codes from `first` to `last` times one scale. The greatest value by size gets the code `first`,
/// one of the other sign and the same size would need one more than `last`.
fn symmetric(scale: f32, first: i16, last: i16) -> Lattice {
    let (a, b) = (f32::from(first) * scale, f32::from(last) * scale);
    let step = scale.abs();
    let slack = f32::from(-first) * rounded(scale);
    Lattice {
        lowest: a.min(b),
        highest: a.max(b),
        step,
        slack,
        reach: step + slack,
        fitted: Fitted::FromZero,
    }
}

/// Codes 0 to `last` times a scale on top of the least value of the block: nothing is clipped.
fn affine(scale: f32, least: f32, last: i16) -> Lattice {
    let slack = f32::from(last) * rounded(scale) + rounded(least);
    let other = least + f32::from(last) * scale;
    Lattice {
        lowest: least.min(other),
        highest: least.max(other),
        step: scale.abs(),
        slack,
        reach: 0.0,
        fitted: Fitted::FromLeast,
    }
}

/// As [`affine`] where scale and least value are whole multiples of units that a large block shares.
///
/// The search for the scale may clip values to lose less elsewhere, and multiples are rounded: a
/// run whose scale is below half the unit has but one value left. What is clipped lies within what
/// the codes would span, were the scale one unit larger.
fn nested(unit: (f32, f32), parts: (u8, u8), last: u8) -> Lattice {
    let (step, least) = (unit.0 * f32::from(parts.0), -(unit.1 * f32::from(parts.1)));
    let last = f32::from(last);
    Lattice {
        lowest: least.min(least + last * step),
        highest: least.max(least + last * step),
        step: step.abs(),
        slack: 0.0,
        reach: last * (step.abs() + unit.0.abs()) + unit.1.abs(),
        fitted: Fitted::Never,
    }
}

/// As [`symmetric`] where the scale is a whole multiple of a unit; see [`nested`].
fn nested_symmetric(unit: f32, scale: i16, first: i16, last: i16) -> Lattice {
    let step = unit * f32::from(scale);
    let (a, b) = (f32::from(first) * step, f32::from(last) * step);
    Lattice {
        lowest: a.min(b),
        highest: a.max(b),
        step: step.abs(),
        slack: 0.0,
        reach: f32::from(last - first) * (step.abs() + unit.abs()),
        fitted: Fitted::Never,
    }
}

/// Scale and least value of run `j` of eight: 6 bits each, the upper two of the later four kept
/// beside those of the earlier.
fn scale_and_least(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        return (packed[j] & 63, packed[j + 4] & 63);
    }
    let upper = |at: usize| (packed[at] >> 6) << 4;
    (
        packed[j + 4] & 15 | upper(j - 4),
        packed[j + 4] >> 4 | upper(j),
    )
}

/// Scale of run `j` of sixteen: four bits in the first eight bytes, two in the last four.
fn scale_of_six_bits(packed: &[u8], j: usize) -> i8 {
    let lower = if j < 8 {
        packed[j] & 15
    } else {
        packed[j - 8] >> 4
    };
    let upper = packed[8 + j % 4] >> (2 * (j / 4)) & 3;
    (lower | upper << 4) as i8
}
