//! MATCH: do two feed-forward parts have the same neurons, in whatever order?
//!
//! Zhu et al., "Independence tests for language models" (ICML 2025, arXiv 2502.12292): neurons
//! are matched twice, by what they read and by a second view (their gates). Models of independent
//! origin match at random each time, so the two matchings are uncorrelated; shared neurons match
//! alike twice, also after a permutation.

use filiation_stats::assignment::assign;
use filiation_stats::tails::student_t_at_least;
use ndarray::{Array2, ArrayView2, Axis};

use super::align::unit_columns;

/// Neurons of the model asked that are matched with all of the other's.
const NEURONS: usize = 384;

/// Hidden dimensions that all neurons are matched over once they are known to be shared: chance
/// cosines are then ±0.04 over both views, those of shared neurons near 1.
const ORDER_DIMENSIONS: usize = 256;

/// Fewest neurons that a rank correlation is stated for.
const LEAST: usize = 16;

/// Two views of each neuron over the same (aligned) hidden dimensions, rows of norm 1.
pub(super) struct Views {
    up: Array2<f32>,
    twin: Array2<f32>,
}

impl Views {
    /// From what neurons read and their second view, neurons × hidden dimensions.
    ///
    /// Columns are scaled alike first: otherwise a few outlying hidden dimensions, which trained
    /// models have whatever their origin, would decide both matchings.
    pub(super) fn new(up: Array2<f32>, twin: Array2<f32>) -> Self {
        Self {
            up: unit_rows(up),
            twin: unit_rows(twin),
        }
    }

    fn neurons(&self) -> usize {
        self.up.nrows()
    }
}

fn unit_rows(mut matrix: Array2<f32>) -> Array2<f32> {
    unit_columns(&mut matrix);
    for mut row in matrix.rows_mut() {
        let norm = row.dot(&row).sqrt();
        if norm > 0.0 {
            row /= norm;
        }
    }
    matrix
}

/// The outcome of MATCH on one pair of layers.
pub(super) struct Match {
    /// log10 of the one-sided p, at least −log10(m!) for m matched neurons.
    pub(super) log10_p: f64,
    /// Whether every matched neuron is its own counterpart.
    pub(super) in_place: bool,
    /// Neurons that both views match with the same one, and it.
    pub(super) agreed: Vec<(usize, usize)>,
}

/// MATCH on at most [`NEURONS`] neurons; `None` for too few.
pub(super) fn matching(this: &Views, other: &Views) -> Option<Match> {
    let m = NEURONS.min(this.neurons()).min(other.neurons());
    if m < LEAST {
        return None;
    }
    let rows: Vec<usize> = (0..m).map(|k| k * this.neurons() / m).collect();
    let by =
        |a: &Array2<f32>, b: &Array2<f32>| counterparts(a.select(Axis(0), &rows).view(), b.view());
    let up = by(&this.up, &other.up)?;
    let twin = by(&this.twin, &other.twin)?;
    let each = rows.iter().zip(up.iter().zip(&twin));
    Some(Match {
        log10_p: log10_p(&up, &twin)?,
        in_place: up == rows && twin == rows,
        agreed: each
            .filter(|(_, (a, b))| a == b)
            .map(|(&row, (&to, _))| (row, to))
            .collect(),
    })
}

/// The counterpart of each neuron by both views together; both models have as many neurons.
pub(super) fn order(this: &Views, other: &Views) -> Option<Vec<usize>> {
    let dimensions = this.up.ncols();
    let few = ORDER_DIMENSIONS.min(dimensions);
    let kept: Vec<usize> = (0..few).map(|k| k * dimensions / few).collect();
    let similarity = |a: &Array2<f32>, b: &Array2<f32>| {
        a.select(Axis(1), &kept).dot(&b.select(Axis(1), &kept).t())
    };
    assignment(similarity(&this.up, &other.up) + similarity(&this.twin, &other.twin))
}

fn counterparts(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Option<Vec<usize>> {
    assignment(a.dot(&b.t()))
}

/// The assignment of rows to columns with the greatest total similarity.
fn assignment(mut similarity: Array2<f32>) -> Option<Vec<usize>> {
    similarity.mapv_inplace(|c| 1.0 - c);
    let (rows, columns) = similarity.dim();
    let cost = similarity.as_standard_layout();
    assign(cost.as_slice()?, rows, columns)?
        .columns
        .into_iter()
        .collect()
}

/// log10 p of Spearman's rank correlation, one-sided for a positive one, by Student's t.
///
/// A perfect correlation has p = 1/m!, the least that m ranks can give.
fn log10_p(x: &[usize], y: &[usize]) -> Option<f64> {
    let m = x.len() as f64;
    let (x, y) = (ranks(x), ranks(y));
    let square: f64 = x
        .iter()
        .zip(&y)
        .map(|(&a, &b)| (a as f64 - b as f64).powi(2))
        .sum();
    let rho = 1.0 - 6.0 * square / (m * (m * m - 1.0));
    let floor = -(1..=x.len()).map(|k| (k as f64).log10()).sum::<f64>();
    let rest = 1.0 - rho * rho;
    if rest <= 0.0 {
        return Some(if rho > 0.0 { floor } else { 0.0 });
    }
    let p = student_t_at_least(rho * ((m - 2.0) / rest).sqrt(), m - 2.0).ok()?;
    Some(p.max(floor))
}

/// Ranks of distinct values.
fn ranks(values: &[usize]) -> Vec<usize> {
    let mut by_value: Vec<usize> = (0..values.len()).collect();
    by_value.sort_unstable_by_key(|&i| values[i]);
    let mut ranks = vec![0; values.len()];
    for (rank, i) in by_value.into_iter().enumerate() {
        ranks[i] = rank;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_is_that_of_spearman() {
        // scipy.stats.spearmanr(x, y, alternative="greater").pvalue.
        let x = [3, 0, 9, 4, 7, 1, 12, 5, 20, 6];
        let y = [4, 1, 6, 3, 9, 0, 30, 8, 5, 7];
        let got = log10_p(&x, &y).expect("a number");
        assert!((got - SPEARMAN_P.log10()).abs() < 1e-9, "{got}");
    }

    const SPEARMAN_P: f64 = 0.010_832_961_683_766_22;

    #[test]
    fn p_of_equal_orders_is_one_over_factorial() {
        let x: Vec<usize> = (0..16).collect();
        let got = log10_p(&x, &x).expect("a number");
        assert!((got + 13.320_619_8).abs() < 1e-6, "{got}");
        let back: Vec<usize> = (0..16).rev().collect();
        assert_eq!(log10_p(&x, &back), Some(0.0));
    }
}
