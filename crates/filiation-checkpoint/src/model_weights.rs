//! Weights as tests on weights want them, whatever file they lie in.

use std::ops::Range;

use filiation_core::ModelIdentity;

use crate::config::ModelConfig;
use crate::{Checkpoint, CheckpointError, Dtype};

/// A model whose weights can be read, under the names and in the layout of transformers.
pub trait ModelWeights: Sync {
    /// What the model is.
    fn identity(&self) -> &ModelIdentity;

    /// Its configuration, which the shapes have been held against.
    fn config(&self) -> &ModelConfig;

    /// How tensor `name` is stored.
    ///
    /// # Errors
    /// Where there is none.
    fn stored(&self, name: &str) -> Result<Stored<'_>, CheckpointError>;

    /// Some rows of tensor `name`, row-major; of a vector, some elements. Exact for floats of 32
    /// bits and less without factors, and for codes as their format defines their values. Rows past
    /// the end are left out.
    ///
    /// # Errors
    /// Where there is no such tensor, or its bytes are unsound.
    fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, CheckpointError>;

    /// The lattices of the same rows, where the tensor is stored as codes.
    ///
    /// # Errors
    /// As [`Self::rows`].
    fn lattices(
        &self,
        name: &str,
        rows: Range<usize>,
    ) -> Result<Option<Lattices>, CheckpointError> {
        let _ = (name, rows);
        Ok(None)
    }

    /// Entries of the tokenizer and their ids, sorted by entry.
    ///
    /// # Errors
    /// [`CheckpointError::MissingFile`] where there is no tokenizer; others where it is unsound.
    fn vocabulary(&self) -> Result<Vec<(String, u32)>, CheckpointError>;

    /// Lets go of the memory that tensor `name` takes. It stays readable.
    fn release(&self, name: &str);
}

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Dimensions, outermost first.
    pub shape: &'a [usize],
    /// Type of its elements; `None` where they are codes on lattices.
    pub dtype: Option<Dtype>,
}

/// The values that codes can stand for, a run of consecutive elements of a row at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Lattices {
    /// Elements that share a lattice; rows hold a whole number of runs.
    pub run: usize,
    /// Those of the rows, row-major.
    pub each: Vec<Lattice>,
}

/// `lowest`, `lowest + step`, … up to `highest`, and how far a value can lie from the one that a
/// quantiser of the format gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lattice {
    /// Least value.
    pub lowest: f32,
    /// Greatest value.
    pub highest: f32,
    /// Between neighbours.
    pub step: f32,
    /// Beside half a step: by how much the stored scale differs from the one divided by.
    pub slack: f32,
    /// Beyond the lowest and the highest, where values are clipped.
    pub reach: f32,
    /// Whether a scale may have been fitted to the codes after they were found with another.
    pub fitted: Fitted,
}

/// Whether the step that is stored may be another than the one that codes were found with, as a
/// quantiser that weighs errors (by an importance matrix) does: it tries scales, and of the codes
/// of each takes the step that fits them best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitted {
    /// It is the same.
    Never,
    /// Codes were counted from 0.
    FromZero,
    /// Codes were counted from the least value, or from 0 where that is less.
    FromLeast,
}

/// Between these a fitted step may lie of the one that codes were found with.
const FITTED: (f64, f64) = (0.5, 2.0);

impl Lattices {
    /// Whether each of `stored`, values on these lattices, is the one of its lattice that lies
    /// nearest to its counterpart in `values`.
    ///
    /// Quantisers choose scales by what they like, and are not followed there; in the end they
    /// divide by the scale that they store, round to nearest and clip, which is what is held
    /// against the values. Where a step is [`Fitted`], some one step must make these codes of these
    /// values.
    pub fn round(&self, values: &[f32], stored: &[f32]) -> bool {
        let run = self.run.max(1);
        stored.len() == values.len()
            && stored.len() == run * self.each.len()
            && stored
                .chunks(run)
                .zip(values.chunks(run))
                .zip(&self.each)
                .all(|((stored, values), lattice)| {
                    lattice.rounds(values, stored) || lattice.is_fitted(values, stored)
                })
    }
}

impl Lattice {
    fn rounds(&self, values: &[f32], stored: &[f32]) -> bool {
        // Between two levels both are nearest, as far as f32 can tell.
        let size = self.lowest.abs().max(self.highest.abs());
        let within = 0.5 * self.step + self.slack + 8.0 * f32::EPSILON * size;
        let end = 0.25 * self.step;
        stored.iter().zip(values).all(|(&a, &b)| {
            let clipped = (a >= self.highest - end && b > a) || (a <= self.lowest + end && b < a);
            let reach = if clipped {
                within.max(self.reach)
            } else {
                within
            };
            (a - b).abs() <= reach
        })
    }

    // Code c of value x says that x / step · t lies within a half of c for the t by which the step
    // was off, beyond it at the ends. Each value bounds t; all must leave some.
    fn is_fitted(&self, values: &[f32], stored: &[f32]) -> bool {
        if self.fitted == Fitted::Never || self.step <= 0.0 {
            return false;
        }
        let step = f64::from(self.step);
        let least = values.iter().copied().fold(0.0, f32::min);
        let (origin, zero) = match self.fitted {
            Fitted::FromLeast => (f64::from(least), f64::from(self.lowest)),
            _ => (0.0, 0.0),
        };
        let code = |value: f64| ((value - zero) / step).round();
        let (first, last) = (code(self.lowest.into()), code(self.highest.into()));
        let (mut low, mut high) = FITTED;
        for (&a, &x) in stored.iter().zip(values) {
            let (c, u) = (code(a.into()), (f64::from(x) - origin) / step);
            // Ties, and what f32 makes of them.
            let half = 0.5 + 1e-5 * c.abs().max(1.0);
            let from = if c <= first {
                f64::NEG_INFINITY
            } else {
                c - half
            };
            let to = if c >= last { f64::INFINITY } else { c + half };
            let (from, to) = if u < 0.0 { (-to, -from) } else { (from, to) };
            if u == 0.0 || x.is_nan() {
                if x.is_nan() || c != 0.0 {
                    return false;
                }
                continue;
            }
            low = low.max(from / u.abs());
            high = high.min(to / u.abs());
        }
        low <= high
    }
}

impl ModelWeights for Checkpoint {
    fn identity(&self) -> &ModelIdentity {
        Self::identity(self)
    }

    fn config(&self) -> &ModelConfig {
        Self::config(self)
    }

    fn stored(&self, name: &str) -> Result<Stored<'_>, CheckpointError> {
        let view = self.tensor(name)?;
        Ok(Stored {
            shape: view.shape,
            dtype: view.packed.is_none().then_some(view.dtype),
        })
    }

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, CheckpointError> {
        Ok(self.tensor(name)?.rows(rows).to_f32())
    }

    fn lattices(
        &self,
        name: &str,
        rows: Range<usize>,
    ) -> Result<Option<Lattices>, CheckpointError> {
        let packed = self.tensor(name)?.rows(rows).packed;
        Ok(packed.map(crate::PackedView::lattices))
    }

    fn vocabulary(&self) -> Result<Vec<(String, u32)>, CheckpointError> {
        Ok(self.tokenizer()?.vocabulary())
    }

    fn release(&self, name: &str) {
        Self::release(self, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTERS: Lattice = Lattice {
        lowest: -0.5,
        highest: 0.5,
        step: 0.25,
        slack: 0.0,
        reach: 0.3,
        fitted: Fitted::Never,
    };

    fn round(values: &[f32], stored: &[f32]) -> bool {
        let lattices = Lattices {
            run: values.len(),
            each: vec![QUARTERS],
        };
        lattices.round(values, stored)
    }

    #[test]
    fn the_nearest_level_and_no_other() {
        assert!(round(&[0.12, 0.13, -0.4, 0.125], &[0.0, 0.25, -0.5, 0.0]));
        assert!(round(&[0.125, -0.375], &[0.25, -0.5]));
        assert!(!round(&[0.12, 0.2], &[0.25, 0.25]));
        assert!(!round(&[f32::NAN], &[0.0]));
    }

    #[test]
    fn clipping_is_bounded() {
        assert!(round(&[0.79, -0.79], &[0.5, -0.5]));
        assert!(!round(&[0.81, 0.0], &[0.5, 0.0]));
        // Beyond the ends, not before them.
        assert!(!round(&[0.3, 0.0], &[0.5, 0.0]));
    }

    /// The codes of one step, another step stored.
    #[test]
    fn a_step_that_was_fitted_afterwards() {
        let fitted = |fitted, step: f32, values: &[f32], codes: &[f32]| {
            let lattice = Lattice {
                lowest: -8.0 * step,
                highest: 7.0 * step,
                step,
                fitted,
                ..QUARTERS
            };
            let stored: Vec<f32> = codes.iter().map(|c| c * step).collect();
            let each = vec![lattice];
            let run = values.len();
            Lattices { run, each }.round(values, &stored)
        };
        // Found with a step of 1: 5.4 is 5, which steps of 1.1 and of 0.9 put 0.1 and 0.9 off.
        let (values, codes) = ([5.4, -1.4, 0.0, 7.9, -8.3], [5.0, -1.0, 0.0, 7.0, -8.0]);
        for step in [0.9, 1.0, 1.1] {
            assert!(fitted(Fitted::FromZero, step, &values, &codes), "{step}");
        }
        assert!(!fitted(Fitted::Never, 0.9, &values, &codes));
        // No step makes 2 of 5.4 and −1 of −1.4, or anything but 0 of 0.
        assert!(!fitted(
            Fitted::FromZero,
            1.0,
            &values,
            &[2.0, -1.0, 0.0, 7.0, -8.0]
        ));
        assert!(!fitted(
            Fitted::FromZero,
            1.0,
            &values,
            &[5.0, -1.0, 1.0, 7.0, -8.0]
        ));
        assert!(!fitted(Fitted::FromZero, 0.3, &values, &codes));
        assert!(!fitted(Fitted::FromZero, 1.0, &[f32::NAN], &[0.0]));
    }

    /// Lattices so short, or so few, that they say nothing.
    #[test]
    fn empty_lattices_explain_nothing() {
        let flat = Lattice {
            lowest: 0.0,
            highest: 0.0,
            step: 0.0,
            slack: 0.0,
            reach: 1e-3,
            fitted: Fitted::FromZero,
        };
        let of = |each| Lattices { run: 2, each };
        assert!(!of(vec![flat]).round(&[0.1, 0.0], &[0.0, 0.0]));
        assert!(!of(vec![]).round(&[0.1, 0.0], &[0.1, 0.0]));
        assert!(!of(vec![flat]).round(&[0.1], &[0.1]));
    }
}
