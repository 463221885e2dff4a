//! A tensor of a model, read a few rows at a time.

use std::ops::Range;

use filiation_checkpoint::{CheckpointError, Dtype, Lattices, ModelWeights};
use ndarray::Array2;

/// A tensor that was found.
#[derive(Clone, Copy)]
pub(super) struct Tensor<'a> {
    of: &'a dyn ModelWeights,
    name: &'a str,
    /// Dimensions, outermost first.
    pub(super) shape: &'a [usize],
    /// Type of its elements; `None` where they are codes.
    pub(super) dtype: Option<Dtype>,
}

impl<'a> Tensor<'a> {
    pub(super) fn of(of: &'a dyn ModelWeights, name: &'a str) -> Result<Self, CheckpointError> {
        let stored = of.stored(name)?;
        Ok(Self {
            of,
            name,
            shape: stored.shape,
            dtype: stored.dtype,
        })
    }

    /// Rows; a vector's elements are rows of one.
    pub(super) fn height(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements of a row.
    pub(super) fn columns(&self) -> usize {
        self.shape.get(1).copied().unwrap_or(1)
    }

    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Some rows, `f32`; nothing else of it is read. Rows past the end are left out.
    pub(super) fn rows(&self, rows: Range<usize>) -> Result<Array2<f32>, CheckpointError> {
        let values = self.of.rows(self.name, rows)?;
        let columns = self.columns();
        let count = values.len().checked_div(columns).unwrap_or(0);
        Ok(Array2::from_shape_vec((count, columns), values)
            .expect("whole rows are as many values as places"))
    }

    pub(super) fn all(&self) -> Result<Array2<f32>, CheckpointError> {
        self.rows(0..self.height())
    }

    /// The lattices of some rows, where it is stored as codes.
    pub(super) fn lattices(&self, rows: Range<usize>) -> Result<Option<Lattices>, CheckpointError> {
        if self.dtype.is_some() {
            return Ok(None);
        }
        self.of.lattices(self.name, rows)
    }
}
