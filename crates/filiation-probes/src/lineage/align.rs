//! Which hidden dimension of one model is which of the other, by the embeddings of shared tokens.

use filiation_checkpoint::{CheckpointError, ModelWeights};
use filiation_stats::assignment::assign;
use ndarray::{Array2, Axis, Zip};

use super::layout;
use super::tensor::Tensor;

/// Most token rows that the assignment is made from, and most that it is checked on.
const ROWS: usize = 4096;
const HELD_OUT: usize = 2048;

/// Embedding rows of a token, in this and in other.
type Rows = (u32, u32);

/// Pairs of hidden dimensions, one for each dimension of the narrower model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hidden {
    /// Dimensions of the model asked, ascending.
    pub(super) this: Vec<usize>,
    /// Their counterparts.
    pub(super) other: Vec<usize>,
    /// −1 where the counterpart is flipped.
    pub(super) sign: Vec<f32>,
}

impl Hidden {
    fn identity(width: usize) -> Self {
        Self {
            this: (0..width).collect(),
            other: (0..width).collect(),
            sign: vec![1.0; width],
        }
    }

    /// Whether each dimension is its own counterpart.
    pub(super) fn is_identity(&self) -> bool {
        self.this == self.other && self.sign.iter().all(|&s| s > 0.0)
    }

    /// The paired columns of a matrix of the model asked, signs applied.
    pub(super) fn columns_of_this(&self, matrix: &Array2<f32>) -> Array2<f32> {
        let mut picked = matrix.select(Axis(1), &self.this);
        for (mut column, &sign) in picked.columns_mut().into_iter().zip(&self.sign) {
            column *= sign;
        }
        picked
    }

    /// The paired columns of a matrix of the other model.
    pub(super) fn columns_of_other(&self, matrix: &Array2<f32>) -> Array2<f32> {
        matrix.select(Axis(1), &self.other)
    }

    /// Sum of the signed correlations of the pairs in `correlation` (this × other).
    fn agreement(&self, correlation: &Array2<f32>) -> f64 {
        self.this
            .iter()
            .zip(&self.other)
            .zip(&self.sign)
            .map(|((&i, &j), &s)| f64::from(s * correlation[[i, j]]))
            .sum()
    }
}

/// The pairing that correlates the embeddings of `shared` tokens best (rows in this and in other).
///
/// A linear assignment on 1 − |r| over one part of the tokens. Where widths agree, it is held
/// against "each dimension is itself" on the other part, so that noise does not look like a
/// permutation.
pub(super) fn hidden(
    this: &dyn ModelWeights,
    other: &dyn ModelWeights,
    shared: &[Rows],
) -> Result<Hidden, CheckpointError> {
    let (fit, check) = split(shared);
    let of_fit = correlation(this, other, &fit)?;
    let (rows, columns) = of_fit.dim();
    let cost: Vec<f32> = of_fit.iter().map(|r| 1.0 - r.abs()).collect();
    let pairs = assign(&cost, rows, columns)
        .map(|a| a.columns)
        .unwrap_or_default();
    let mut matched = Hidden {
        this: Vec::new(),
        other: Vec::new(),
        sign: Vec::new(),
    };
    for (i, j) in pairs.into_iter().enumerate() {
        if let Some(j) = j {
            matched.this.push(i);
            matched.other.push(j);
            matched
                .sign
                .push(if of_fit[[i, j]] < 0.0 { -1.0 } else { 1.0 });
        }
    }
    if rows != columns {
        return Ok(matched);
    }
    let of_check = correlation(this, other, &check)?;
    let identity = Hidden::identity(rows);
    let keep = identity.agreement(&of_check) >= matched.agreement(&of_check);
    Ok(if keep { identity } else { matched })
}

/// Tokens to fit on and tokens to check on, spread evenly over all and disjoint.
fn split(shared: &[Rows]) -> (Vec<Rows>, Vec<Rows>) {
    let wanted = ROWS + HELD_OUT;
    let picked: Vec<_> = if shared.len() <= wanted {
        shared.to_vec()
    } else {
        (0..wanted)
            .map(|k| shared[k * shared.len() / wanted])
            .collect()
    };
    let check = picked.iter().skip(2).step_by(3).copied().collect();
    let fit = picked
        .iter()
        .enumerate()
        .filter(|(k, _)| k % 3 != 2)
        .map(|(_, pair)| *pair)
        .collect();
    (fit, check)
}

/// Pearson correlation of every hidden dimension of this with every one of other over `tokens`;
/// 0 for a dimension that is constant.
fn correlation(
    this: &dyn ModelWeights,
    other: &dyn ModelWeights,
    tokens: &[Rows],
) -> Result<Array2<f32>, CheckpointError> {
    let a = standardised(this, tokens.iter().map(|t| t.0))?;
    let b = standardised(other, tokens.iter().map(|t| t.1))?;
    let mut r = a.t().dot(&b);
    r.mapv_inplace(|x| if x.is_finite() { x } else { 0.0 });
    Ok(r)
}

/// The tokens' embedding rows, each column centred and of norm 1.
fn standardised(
    of: &dyn ModelWeights,
    rows: impl ExactSizeIterator<Item = u32>,
) -> Result<Array2<f32>, CheckpointError> {
    let embedding = Tensor::of(of, layout::embedding(of.config().architecture))?;
    let mut picked = Array2::zeros((rows.len(), of.config().width));
    for (mut into, row) in picked.rows_mut().into_iter().zip(rows) {
        let row = row as usize;
        into.assign(&embedding.rows(row..row + 1)?.row(0));
    }
    if let Some(mean) = picked.mean_axis(Axis(0)) {
        picked -= &mean;
    }
    unit_columns(&mut picked);
    Ok(picked)
}

/// Scales each column to norm 1; a column of zeros stays.
pub(super) fn unit_columns(matrix: &mut Array2<f32>) {
    let mut square = vec![0.0f64; matrix.ncols()];
    for row in matrix.rows() {
        for (sum, &x) in square.iter_mut().zip(row) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    let scale: ndarray::Array1<f32> = square
        .iter()
        .map(|&s| {
            if s > 0.0 {
                (1.0 / s.sqrt()) as f32
            } else {
                0.0
            }
        })
        .collect();
    for row in matrix.rows_mut() {
        Zip::from(row).and(&scale).for_each(|x, &s| *x *= s);
    }
}
