//! What rounding alone puts between two tensors: how large, and how large in any one direction.

use filiation_checkpoint::Dtype;
use half::{bf16, f16};
use ndarray::Array2;

/// How far noise alone passes its edge once in a million times, in units of its scale there: the
/// quantile of the Tracy–Widom law of order 1 at 1 − 10⁻⁶.
const ABOVE_EDGE: f64 = 6.3;

/// The same for the normal law.
const ABOVE_MEAN: f64 = 4.753;

/// Floating-point format that a tensor's values have been rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Precision {
    /// Bits of the significand, the hidden one included.
    bits: u32,
    /// Least exponent of a normal number.
    least: i32,
}

impl Precision {
    const BRAIN: Self = Self {
        bits: 8,
        least: -126,
    };
    const HALF: Self = Self {
        bits: 11,
        least: -14,
    };
    const SINGLE: Self = Self {
        bits: 24,
        least: -126,
    };

    /// Of values stored as `dtype`; `None` where they are no floats of 16 bits or more. Values that
    /// all fit 16 bits were rounded to these, whatever they are stored in.
    pub(super) fn of(values: &Array2<f32>, dtype: Dtype) -> Option<Self> {
        let fit = |cast: fn(f32) -> f32| values.iter().all(|&x| cast(x) == x);
        match dtype {
            Dtype::BF16 => Some(Self::BRAIN),
            Dtype::F16 if fit(|x| bf16::from_f32(x).to_f32()) => Some(Self::BRAIN),
            Dtype::F16 => Some(Self::HALF),
            Dtype::F32 | Dtype::F64 if fit(|x| bf16::from_f32(x).to_f32()) => Some(Self::BRAIN),
            Dtype::F32 | Dtype::F64 if fit(|x| f16::from_f32(x).to_f32()) => Some(Self::HALF),
            Dtype::F32 | Dtype::F64 => Some(Self::SINGLE),
            _ => None,
        }
    }

    /// The one with fewer bits.
    fn coarser(self, other: Self) -> Self {
        if self.bits <= other.bits { self } else { other }
    }

    /// Distance of `x` to its neighbours: the unit in its last place.
    fn unit(self, x: f32) -> f64 {
        let exponent = ((x.to_bits() >> 23) & 0xff) as i32 - 127;
        power(exponent.max(self.least) - self.bits as i32 + 1)
    }
}

/// 2^exponent, within the normal numbers of `f64`.
fn power(exponent: i32) -> f64 {
    f64::from_bits(((1023 + i64::from(exponent)) as u64) << 52)
}

/// How much of W − W' rounding explains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rounding {
    /// Largest singular value.
    pub(super) floor: f64,
    /// Square of the Frobenius norm.
    pub(super) square: f64,
}

/// What the rounding of `this` and of `other` makes of a change, if their errors are independent
/// and uniform within half a unit in the last place.
///
/// An error then has variance u²/12. Singular values of a matrix of independent errors end at
/// max √(Σ of a row) + max √(Σ of a column), which is Bai and Yin's σ (√m + √n) (Ann. Probab. 21,
/// 1993) for errors of unequal size (Bandeira and van Handel, Ann. Probab. 44, 2016); beyond it
/// they reach by Johnstone's scale (Ann. Statist. 29, 2001).
///
/// Both count as rounded to the coarser format, since a model is often cast to it before a change is
/// added and the sum rounded again. The change itself counts as rounded to BF16, which it is often
/// computed in: that moves it by a thousandth of its size.
pub(super) fn of(this: (&Array2<f32>, Precision), other: (&Array2<f32>, Precision)) -> Rounding {
    let (m, n) = this.0.dim();
    let coarser = this.1.coarser(other.1);
    let mut columns = vec![0.0; n];
    let (mut widest_row, mut total, mut fourth) = (0f64, 0.0, 0.0);
    for (a, b) in this.0.rows().into_iter().zip(other.0.rows()) {
        let mut row = 0.0;
        for ((&a, &b), column) in a.iter().zip(b).zip(&mut columns) {
            let (a_unit, b_unit) = (coarser.unit(a), coarser.unit(b));
            let change = Precision::BRAIN.unit(a - b);
            let variance = (a_unit * a_unit + b_unit * b_unit + change * change) / 12.0;
            row += variance;
            *column += variance;
            fourth += variance * variance;
        }
        widest_row = widest_row.max(row);
        total += row;
    }
    let widest_column = columns.into_iter().fold(0.0, f64::max);
    let edge = widest_row.sqrt() + f64::sqrt(widest_column);
    let (m, n) = ((m as f64).sqrt(), (n as f64).sqrt());
    let scale = (m + n) * (1.0 / m + 1.0 / n).cbrt() / (m + n).powi(2);
    // The fourth moment of a uniform error is 9/5 of its squared variance.
    let spread = (0.8 * fourth).sqrt();
    Rounding {
        floor: edge * (1.0 + ABOVE_EDGE * scale).sqrt(),
        square: total + ABOVE_MEAN * spread,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::super::spectrum;
    use super::super::synthetic::normal;
    use super::*;

    fn weights(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values = normal(rows * columns, &mut rng);
        Array2::from_shape_vec((rows, columns), values).expect("as many values as places") * 0.02
    }

    #[test]
    fn units_are_those_of_the_formats() {
        let next =
            |x: f32| f64::from(bf16::from_bits(bf16::from_f32(x).to_bits() + 1).to_f32() - x);
        for x in [1.0f32, 1.5, 0.0078125, 3.0e-5] {
            let x = bf16::from_f32(x).to_f32();
            assert_eq!(Precision::BRAIN.unit(x), next(x));
            assert_eq!(Precision::BRAIN.unit(-x), next(x));
        }
        let least = f64::from(f16::from_bits(1).to_f32());
        assert_eq!(Precision::HALF.unit(0.0), least);
        assert_eq!(Precision::HALF.unit(1e-7), least);
        assert_eq!(Precision::SINGLE.unit(1.0), f64::from(f32::EPSILON));
    }

    #[test]
    fn precision_is_that_of_the_values() {
        let w = weights(8, 8, 1);
        assert_eq!(Precision::of(&w, Dtype::F32), Some(Precision::SINGLE));
        let low = w.mapv(|x| bf16::from_f32(x).to_f32());
        assert_eq!(Precision::of(&low, Dtype::F32), Some(Precision::BRAIN));
        let low = w.mapv(|x| f16::from_f32(x).to_f32());
        assert_eq!(Precision::of(&low, Dtype::F32), Some(Precision::HALF));
        assert_eq!(Precision::of(&low, Dtype::I8), None);
    }

    /// Two roundings stay under their floor, and close to it.
    #[test]
    fn rounding_reaches_its_floor_and_no_further() {
        for (seed, (rows, columns)) in [(64, 64), (48, 320), (256, 200)].into_iter().enumerate() {
            let w = weights(rows, columns, seed as u64);
            for cast in [
                |x: f32| bf16::from_f32(x).to_f32(),
                |x: f32| f16::from_f32(x).to_f32(),
            ] {
                let change = 0.05 * weights(rows, columns, 9);
                let stored = (w.mapv(cast) + &change).mapv(cast);
                let precision = Precision::of(&stored, Dtype::F32).expect("floats");
                let rounding = of((&stored, precision), (&w, Precision::SINGLE));
                let error = stored - &w - &change;
                let found = spectrum::above(&error, rounding.floor, rounding.square);
                assert_eq!(found.above, 0, "{rows} × {columns}");
                let ratio = found.rest_square / rounding.square;
                assert!(ratio > 0.8 && ratio < 1.0, "{rows} × {columns}: {ratio}");
                let largest = spectrum::above(&error, 0.7 * rounding.floor, 0.0);
                assert!(largest.above > 0, "{rows} × {columns}");
            }
        }
    }
}
