//! What differs between two tensors once dimensions and neurons have been put in the same order.

use std::ops::Range;

use filiation_checkpoint::{CheckpointError, Lattices};
use ndarray::{Array2, Axis as Dimension};
use rayon::prelude::*;

use super::align::Hidden;
use super::heads::Heads;
use super::layout::Axis;
use super::rounding::{self, Made};
use super::tensor::Tensor;

/// Rows compared at once: bounds memory on large embeddings.
const ROWS: usize = 4096;

/// The order in which the other model's positions are read.
pub(super) struct Alignment<'a> {
    /// Hidden dimensions, one for each of both models.
    pub(super) hidden: &'a Hidden,
    /// Counterpart of each neuron; `None` where each is its own.
    pub(super) neurons: Option<&'a [usize]>,
    /// Counterparts of the heads; `None` where each is its own.
    pub(super) heads: Option<&'a Heads>,
}

/// Difference of two tensors of equal shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    /// Σ (w − w')².
    pub(super) square: f64,
    /// Σ w'².
    pub(super) reference: f64,
    /// What explains the difference.
    pub(super) made: Made,
}

impl Change {
    const NONE: Self = Self {
        square: 0.0,
        reference: 0.0,
        made: Made::Equal,
    };

    /// Of two parts together.
    pub(super) fn and(self, part: Self) -> Self {
        let made = match (self.made, part.made) {
            (Made::Equal, other) | (other, Made::Equal) => other,
            (Made::Changed, _) | (_, Made::Changed) => Made::Changed,
            (Made::Quantised, _) | (_, Made::Quantised) => Made::Quantised,
            (Made::Cast, Made::Cast) => Made::Cast,
        };
        Self {
            square: self.square + part.square,
            reference: self.reference + part.reference,
            made,
        }
    }

    /// ‖W − W'‖ / ‖W'‖; 1 where W' is zero and W is not.
    pub(super) fn relative(&self) -> f64 {
        if self.reference > 0.0 {
            (self.square / self.reference).sqrt()
        } else {
            f64::from(u8::from(self.square > 0.0))
        }
    }
}

/// Positions along one axis of the other tensor, in the order of this one.
struct Order {
    index: Vec<usize>,
    sign: Option<Vec<f32>>,
}

impl Order {
    /// `None` where nothing moves.
    fn along(axis: Axis, length: usize, alignment: &Alignment<'_>) -> Option<Self> {
        let hidden = alignment.hidden;
        let unsigned = |index: Vec<usize>| Self { index, sign: None };
        match axis {
            Axis::Fixed => None,
            Axis::Hidden | Axis::HiddenScale if hidden.is_identity() => None,
            Axis::Hidden => Some(Self {
                index: hidden.other.clone(),
                sign: Some(hidden.sign.clone()),
            }),
            Axis::HiddenScale => Some(unsigned(hidden.other.clone())),
            Axis::Neuron => alignment.neurons.map(|order| unsigned(order.to_vec())),
            Axis::NeuronTwice => alignment.neurons.map(|order| {
                let up = order.iter().map(|i| i + length / 2);
                unsigned(order.iter().copied().chain(up).collect())
            }),
            // A norm over one head's dimensions is shared by all heads: nothing moves.
            Axis::Queries => alignment
                .heads
                .map(|h| unsigned(h.queries()))
                .filter(|o| o.index.len() == length),
            Axis::Keys => alignment
                .heads
                .map(|h| unsigned(h.keys()))
                .filter(|o| o.index.len() == length),
            Axis::Fused => alignment.heads.map(|h| unsigned(h.fused())),
        }
    }

    /// The order that undoes this one.
    fn inverse(&self) -> Self {
        let mut index = vec![0; self.index.len()];
        for (to, &from) in self.index.iter().enumerate() {
            index[from] = to;
        }
        let sign = self
            .sign
            .as_ref()
            .map(|sign| index.iter().map(|&to| sign[to]).collect());
        Self { index, sign }
    }

    /// Whether it names every position of an axis of `length` once over.
    fn fits(&self, length: usize) -> bool {
        self.index.len() == length && self.index.iter().all(|&i| i < length)
    }
}

/// How rows and columns of a tensor of the other model are put in order.
struct Orders {
    rows: usize,
    columns: usize,
    by_row: Option<Order>,
    by_column: Option<Order>,
}

impl Orders {
    /// `None` where shapes differ or an order does not fit them.
    fn of(
        this: &Tensor<'_>,
        other: &Tensor<'_>,
        axes: (Axis, Axis),
        alignment: &Alignment<'_>,
    ) -> Option<Self> {
        if this.shape != other.shape || this.shape.is_empty() || this.shape.len() > 2 {
            return None;
        }
        let (rows, columns) = (this.height(), this.columns());
        let by_row = Order::along(axes.0, rows, alignment);
        let by_column = Order::along(axes.1, columns, alignment);
        let fits = |order: &Option<Order>, length| order.as_ref().is_none_or(|o| o.fits(length));
        (fits(&by_row, rows) && fits(&by_column, columns)).then_some(Self {
            rows,
            columns,
            by_row,
            by_column,
        })
    }
}

impl Orders {
    /// How the tensor of this model is put in the order of the other.
    fn inverse(&self) -> Self {
        Self {
            rows: self.rows,
            columns: self.columns,
            by_row: self.by_row.as_ref().map(Order::inverse),
            by_column: self.by_column.as_ref().map(Order::inverse),
        }
    }

    /// Rows that are compared at once, and how many values a row of blocks has.
    fn blocks(&self) -> (Vec<Range<usize>>, usize) {
        // A vector is one row of blocks, so it is compared whole.
        let (block, row) = if self.columns == 1 {
            (self.rows, self.rows)
        } else {
            (ROWS, self.columns)
        };
        let starts = (0..self.rows).step_by(block.max(1));
        let ranges = starts.map(|start| start..(start + block).min(self.rows));
        (ranges.collect(), row)
    }
}

/// A matrix and its counterpart, of equal shape.
pub(super) type Aligned = (Array2<f32>, Array2<f32>);

/// Two matrices of equal shape, the other's axes moved as `alignment` says.
pub(super) fn aligned(
    this: &Tensor<'_>,
    other: &Tensor<'_>,
    axes: (Axis, Axis),
    alignment: &Alignment<'_>,
) -> Result<Option<Aligned>, CheckpointError> {
    let Some(orders) = Orders::of(this, other, axes, alignment) else {
        return Ok(None);
    };
    let all = 0..orders.rows;
    Ok(Some((
        this.rows(all.clone())?,
        reordered(other, all, &orders)?,
    )))
}

/// The change from `other` to `this`, axes moved as `alignment` says; `None` where shapes differ.
pub(super) fn between(
    this: &Tensor<'_>,
    other: &Tensor<'_>,
    axes: (Axis, Axis),
    alignment: &Alignment<'_>,
) -> Result<Option<Change>, CheckpointError> {
    let Some(orders) = Orders::of(this, other, axes, alignment) else {
        return Ok(None);
    };
    let (ranges, row) = orders.blocks();
    let mut change = ranges
        .par_iter()
        .map(|range| {
            let a = this.rows(range.clone())?;
            let b = reordered(other, range.clone(), &orders)?;
            let lattices = this.lattices(range.clone())?;
            Ok(difference(&a, &b, row, lattices.as_ref()))
        })
        .try_reduce(|| Change::NONE, |a, b| Ok(a.and(b)))?;
    if !change.made.is_rounding() && is_made_of(other, this, &orders.inverse())? {
        change.made = Made::Quantised;
    }
    Ok(Some(change))
}

/// Whether `codes` are those that a quantiser gives the values of `of`.
fn is_made_of(
    codes: &Tensor<'_>,
    of: &Tensor<'_>,
    orders: &Orders,
) -> Result<bool, CheckpointError> {
    if codes.dtype.is_some() {
        return Ok(false);
    }
    for range in orders.blocks().0 {
        let Some(lattices) = codes.lattices(range.clone())? else {
            return Ok(false);
        };
        let stored = codes.rows(range.clone())?;
        let values = reordered(of, range, orders)?;
        let (stored, values) = (stored.as_slice(), values.as_slice());
        let pair = stored.zip(values);
        if !pair.is_some_and(|(a, b)| lattices.round(b, a)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn reordered(
    tensor: &Tensor<'_>,
    range: Range<usize>,
    orders: &Orders,
) -> Result<Array2<f32>, CheckpointError> {
    let mut rows = match &orders.by_row {
        None => tensor.rows(range)?,
        Some(order) => {
            let all = tensor.all()?;
            let mut rows = all.select(Dimension(0), &order.index[range.clone()]);
            if let Some(sign) = &order.sign {
                for (mut row, &sign) in rows.rows_mut().into_iter().zip(&sign[range]) {
                    row *= sign;
                }
            }
            rows
        }
    };
    if let Some(order) = &orders.by_column {
        let mut moved = Array2::zeros(rows.raw_dim());
        for (mut to, from) in moved.rows_mut().into_iter().zip(rows.rows()) {
            match &order.sign {
                Some(sign) => to
                    .iter_mut()
                    .zip(&order.index)
                    .zip(sign)
                    .for_each(|((to, &j), &s)| *to = s * from[j]),
                None => to
                    .iter_mut()
                    .zip(&order.index)
                    .for_each(|(to, &j)| *to = from[j]),
            }
        }
        rows = moved;
    }
    Ok(rows)
}

fn difference(a: &Array2<f32>, b: &Array2<f32>, row: usize, lattices: Option<&Lattices>) -> Change {
    let (a, b) = (a.as_slice().unwrap_or(&[]), b.as_slice().unwrap_or(&[]));
    let (mut square, mut reference) = (0.0, 0.0);
    // Sums of a thousand stay exact enough in f32 and become vector instructions.
    for (a, b) in a.chunks(1024).zip(b.chunks(1024)) {
        let (mut s, mut r) = ([0f32; 16], [0f32; 16]);
        for (a, b) in a.chunks(16).zip(b.chunks(16)) {
            for (k, (&a, &b)) in a.iter().zip(b).enumerate() {
                s[k] += (a - b) * (a - b);
                r[k] += b * b;
            }
        }
        square += f64::from(s.iter().sum::<f32>());
        reference += f64::from(r.iter().sum::<f32>());
    }
    Change {
        square,
        reference,
        made: rounding::made(a, b, row, lattices),
    }
}
