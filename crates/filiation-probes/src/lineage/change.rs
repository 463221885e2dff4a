//! What differs between two tensors once dimensions and neurons have been put in the same order.

use std::ops::Range;

use filiation_checkpoint::TensorView;
use ndarray::{Array2, Axis as Dimension};
use rayon::prelude::*;

use super::align::Hidden;
use super::heads::Heads;
use super::layout::{self, Axis};
use super::rounding::{self, Made};

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
        this: &TensorView<'_>,
        other: &TensorView<'_>,
        axes: (Axis, Axis),
        alignment: &Alignment<'_>,
    ) -> Option<Self> {
        if this.shape != other.shape || this.shape.is_empty() || this.shape.len() > 2 {
            return None;
        }
        let rows = this.shape[0];
        let columns = this.shape.get(1).copied().unwrap_or(1);
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

/// Two matrices of equal shape, the other's axes moved as `alignment` says.
pub(super) fn aligned(
    this: &TensorView<'_>,
    other: &TensorView<'_>,
    axes: (Axis, Axis),
    alignment: &Alignment<'_>,
) -> Option<(Array2<f32>, Array2<f32>)> {
    let orders = Orders::of(this, other, axes, alignment)?;
    let all = 0..orders.rows;
    Some((
        layout::rows_of(this, all.clone()),
        reordered(other, all, &orders),
    ))
}

/// The change from `other` to `this`, axes moved as `alignment` says; `None` where shapes differ.
pub(super) fn between(
    this: &TensorView<'_>,
    other: &TensorView<'_>,
    axes: (Axis, Axis),
    alignment: &Alignment<'_>,
) -> Option<Change> {
    let orders = Orders::of(this, other, axes, alignment)?;
    let (rows, columns) = (orders.rows, orders.columns);
    // A vector is one row of blocks, so it is compared whole.
    let (block, row) = if columns == 1 {
        (rows, rows)
    } else {
        (ROWS, columns)
    };
    let starts: Vec<usize> = (0..rows).step_by(block.max(1)).collect();
    let change = starts
        .into_par_iter()
        .map(|start| {
            let end = (start + block).min(rows);
            let a = layout::rows_of(this, start..end);
            let b = reordered(other, start..end, &orders);
            difference(&a, &b, row)
        })
        .reduce(|| Change::NONE, Change::and);
    Some(change)
}

fn reordered(view: &TensorView<'_>, range: Range<usize>, orders: &Orders) -> Array2<f32> {
    let mut rows = match &orders.by_row {
        None => layout::rows_of(view, range),
        Some(order) => {
            let mut rows = layout::rows_of(view, 0..view.shape[0])
                .select(Dimension(0), &order.index[range.clone()]);
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
    rows
}

fn difference(a: &Array2<f32>, b: &Array2<f32>, row: usize) -> Change {
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
        made: rounding::made(a, b, row),
    }
}
