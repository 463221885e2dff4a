use std::fmt;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

/// Type of a tensor's elements, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    BF16,
    /// 8 bits: 4 exponent (bias 7), 3 mantissa; no infinities, NaN is all ones.
    F8E4M3,
    /// 8 bits: 5 exponent (bias 15), 2 mantissa; infinities and NaNs as IEEE.
    F8E5M2,
    /// IEEE binary64.
    F64,
    /// Signed 64 bits.
    I64,
    /// Signed 32 bits.
    I32,
    /// Signed 16 bits.
    I16,
    /// Signed 8 bits.
    I8,
    /// Unsigned 64 bits.
    U64,
    /// Unsigned 32 bits.
    U32,
    /// Unsigned 16 bits.
    U16,
    /// Unsigned 8 bits.
    U8,
    /// One byte, zero or one.
    Bool,
}

const TABLE: [(Dtype, &str, usize); 15] = [
    (Dtype::F32, "F32", 4),
    (Dtype::F16, "F16", 2),
    (Dtype::BF16, "BF16", 2),
    (Dtype::F8E4M3, "F8_E4M3", 1),
    (Dtype::F8E5M2, "F8_E5M2", 1),
    (Dtype::F64, "F64", 8),
    (Dtype::I64, "I64", 8),
    (Dtype::I32, "I32", 4),
    (Dtype::I16, "I16", 2),
    (Dtype::I8, "I8", 1),
    (Dtype::U64, "U64", 8),
    (Dtype::U32, "U32", 4),
    (Dtype::U16, "U16", 2),
    (Dtype::U8, "U8", 1),
    (Dtype::Bool, "BOOL", 1),
];

/// Elements converted by one task: small enough to share among cores, large enough to pay for it.
pub(crate) const BLOCK: usize = 1 << 16;

impl Dtype {
    pub(crate) const NAMES: &'static str =
        "F32, F16, BF16, F8_E4M3, F8_E5M2, F64, I64, I32, I16, I8, U64, U32, U16, U8, BOOL";

    /// The name that safetensors headers use.
    pub const fn as_str(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// Bytes of an element, which is also how elements are aligned.
    pub const fn size(self) -> usize {
        TABLE[self as usize].2
    }

    /// Whether the elements are floating-point numbers.
    pub const fn is_float(self) -> bool {
        self as usize <= Self::F64 as usize
    }

    /// Whether the elements are 8-bit floats.
    pub const fn is_fp8(self) -> bool {
        matches!(self, Self::F8E4M3 | Self::F8E5M2)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Each element of `data` as `f32`, rounded to nearest where it does not fit. Exact for floats
    /// of 32 bits and less.
    pub(crate) fn widen(self, data: &[u8], out: &mut [f32]) {
        debug_assert_eq!(data.len(), out.len() * self.size());
        data.par_chunks(BLOCK * self.size())
            .zip(out.par_chunks_mut(BLOCK))
            .for_each(|(data, out)| self.widen_block(data, out));
    }

    fn widen_block(self, data: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => each(data, out, f32::from_le_bytes),
            Self::F16 => widen_f16(data, out),
            Self::BF16 => each(data, out, |b| bf16::from_le_bytes(b).to_f32()),
            Self::F8E4M3 => each(data, out, |[b]| E4M3[usize::from(b)]),
            Self::F8E5M2 => each(data, out, |[b]| E5M2[usize::from(b)]),
            Self::F64 => each(data, out, |b| f64::from_le_bytes(b) as f32),
            Self::I64 => each(data, out, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => each(data, out, |b| i32::from_le_bytes(b) as f32),
            Self::I16 => each(data, out, |b| i16::from_le_bytes(b).into()),
            Self::I8 => each(data, out, |b| i8::from_le_bytes(b).into()),
            Self::U64 => each(data, out, |b| u64::from_le_bytes(b) as f32),
            Self::U32 => each(data, out, |b| u32::from_le_bytes(b) as f32),
            Self::U16 => each(data, out, |b| u16::from_le_bytes(b).into()),
            Self::U8 => each(data, out, |[b]| b.into()),
            Self::Bool => each(data, out, |[b]| f32::from(u8::from(b != 0))),
        }
    }

    /// First element of `data` that is NaN or infinite.
    pub(crate) fn first_not_finite(self, data: &[u8]) -> Option<usize> {
        match self {
            Self::F32 => first(data, |b| u32::from_le_bytes(b) & 0x7f80_0000 == 0x7f80_0000),
            Self::F16 => first(data, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
            Self::BF16 => first(data, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
            Self::F8E4M3 => first(data, |[b]| b & 0x7f == 0x7f),
            Self::F8E5M2 => first(data, |[b]| b & 0x7c == 0x7c),
            Self::F64 => first(data, |b| !f64::from_le_bytes(b).is_finite()),
            _ => None,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn each<const N: usize>(data: &[u8], out: &mut [f32], to: impl Fn([u8; N]) -> f32) {
    for (bytes, out) in data.as_chunks::<N>().0.iter().zip(out) {
        *out = to(*bytes);
    }
}

// `half` converts slices with the CPU's instruction but single values, mostly, without.
fn widen_f16(data: &[u8], out: &mut [f32]) {
    let mut buffer = [f16::ZERO; 1024];
    for (data, out) in data.chunks(2048).zip(out.chunks_mut(1024)) {
        let halves = &mut buffer[..out.len()];
        for (bytes, half) in data.as_chunks::<2>().0.iter().zip(&mut *halves) {
            *half = f16::from_le_bytes(*bytes);
        }
        halves.convert_to_f32_slice(out);
    }
}

// Blocks without early exit become vector instructions; only a block that has a hit is searched.
fn first<const N: usize>(data: &[u8], hit: impl Fn([u8; N]) -> bool) -> Option<usize> {
    let elements = data.as_chunks::<N>().0;
    for (i, block) in elements.chunks(1024).enumerate() {
        if block.iter().fold(false, |any, b| any | hit(*b)) {
            return block.iter().position(|b| hit(*b)).map(|j| 1024 * i + j);
        }
    }
    None
}

static E4M3: [f32; 256] = fp8_table(4);
static E5M2: [f32; 256] = fp8_table(5);

/// All values of an 8-bit float with `exponent` bits, by its definition (Micikevicius et al. 2022,
/// arXiv 2209.05433): ±2^(e−bias)·(1+m/2^k), and ±2^(1−bias)·m/2^k where e = 0.
const fn fp8_table(exponent: u32) -> [f32; 256] {
    let mantissa = 7 - exponent;
    let bias = (1 << (exponent - 1)) - 1;
    let mut table = [0.0; 256];
    let mut bits = 0_u32;
    while bits < 256 {
        let e = (bits >> mantissa) & ((1 << exponent) - 1);
        let m = bits & ((1 << mantissa) - 1);
        let top = e == (1 << exponent) - 1;
        let magnitude = if exponent == 5 && top {
            if m == 0 { f32::INFINITY } else { f32::NAN }
        } else if exponent == 4 && bits & 0x7f == 0x7f {
            f32::NAN
        } else if e == 0 {
            m as f32 * power_of_two(1 - bias - mantissa as i32)
        } else {
            ((1 << mantissa) + m) as f32 * power_of_two(e as i32 - bias - mantissa as i32)
        };
        table[bits as usize] = if bits >> 7 == 1 {
            -magnitude
        } else {
            magnitude
        };
        bits += 1;
    }
    table
}

const fn power_of_two(e: i32) -> f32 {
    f32::from_bits(((e + 127) as u32) << 23)
}

#[cfg(test)]
mod tests;
