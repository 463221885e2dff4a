//! The large singular values of a matrix, from a few random mixtures of its columns.
//!
//! The randomised range finder of Halko, Martinsson and Tropp (SIAM Review 53, 2011), with one
//! power iteration. For orthonormal Q the singular values of QᵀD are at most those of D, and what
//! D has outside Q is computed, not estimated: both ends of what is said are sure, chance decides
//! only how close they are.

use ndarray::{Array2, ArrayView2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::eigen;

/// Mixtures tried, until at most half of their singular values count.
const MIXTURES: [usize; 3] = [16, 64, 256];

/// Highest rank that is told from a dense change.
const MOST: usize = MIXTURES[2] / 2;

/// Seed of the mixtures: the same ones for every matrix, in every run.
const SEED: u64 = 0x10_3a;

/// What a matrix has above a floor, and below it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spectrum {
    /// Singular values above the floor that were found: there are at least as many.
    pub(super) above: usize,
    /// Sum of their squares.
    pub(super) above_square: f64,
    /// Sum of the squares of all that is left, including what was not found.
    pub(super) rest_square: f64,
}

/// Looks for the singular values of `matrix` above `floor`. Where the rest cannot be brought down
/// to `enough` by a change of rank at most [`MOST`], it ends early.
pub(super) fn above(matrix: &Array2<f32>, floor: f64, enough: f64) -> Spectrum {
    // The basis is built over the shorter side.
    let wide = if matrix.nrows() <= matrix.ncols() {
        matrix.view()
    } else {
        matrix.t()
    };
    let mut tried = 0;
    loop {
        let mixtures = MIXTURES[tried].min(wide.nrows());
        let basis = range(wide, mixtures);
        let within = basis.dot(&wide);
        let squares = squares(&within);
        let outside = square(&(&wide - &basis.t().dot(&within)));
        let count = squares.iter().filter(|&&s| s > floor * floor).count();
        let above_square: f64 = squares[..count].iter().sum();
        let below: f64 = squares[count..].iter().sum();
        let found = Spectrum {
            above: count,
            above_square,
            rest_square: outside + below,
        };
        // No value outside is larger than the least inside.
        let least = squares.last().copied().unwrap_or(0.0);
        let dense = outside - enough > MOST.saturating_sub(mixtures) as f64 * least;
        let settled = 2 * count <= mixtures || squares.len() < mixtures;
        tried += 1;
        if settled || dense || mixtures == wide.nrows() || tried == MIXTURES.len() {
            return found;
        }
    }
}

/// Orthonormal rows that span about what the columns of `matrix` span most of.
fn range(matrix: ArrayView2<'_, f32>, mixtures: usize) -> Array2<f32> {
    if mixtures == matrix.nrows() {
        return Array2::eye(mixtures);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let signs = Array2::from_shape_simple_fn((mixtures, matrix.ncols()), || {
        if rng.random::<bool>() { 1.0 } else { -1.0 }
    });
    let first = orthonormal(signs.dot(&matrix.t()));
    let back = orthonormal(first.dot(&matrix));
    orthonormal(back.dot(&matrix.t()))
}

/// Gram–Schmidt on the rows, twice over; rows that depend on earlier ones are left out.
fn orthonormal(mut rows: Array2<f32>) -> Array2<f32> {
    /// What is left of a dependent row is the rounding of `f32`.
    const DEPENDENT: f32 = 1e-5;
    let mut kept = 0;
    for i in 0..rows.nrows() {
        let mut row = rows.row(i).to_owned();
        let before = row.dot(&row).sqrt();
        for _ in 0..2 {
            let done = rows.slice(ndarray::s![..kept, ..]);
            let share = done.dot(&row);
            row -= &share.dot(&done);
        }
        let norm = row.dot(&row).sqrt();
        if norm > DEPENDENT * before {
            row /= norm;
            rows.row_mut(kept).assign(&row);
            kept += 1;
        }
    }
    rows.slice_move(ndarray::s![..kept, ..])
}

/// Squares of the singular values, largest first.
fn squares(matrix: &Array2<f32>) -> Vec<f64> {
    let exact = matrix.mapv(f64::from);
    let mut values = eigen::values(exact.dot(&exact.t()));
    values.iter_mut().for_each(|v| *v = v.max(0.0));
    values
}

fn square(matrix: &Array2<f32>) -> f64 {
    matrix.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::normal;
    use super::*;

    fn gaussian(rows: usize, columns: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
        let values = normal(rows * columns, rng);
        Array2::from_shape_vec((rows, columns), values).expect("as many values as places")
    }

    #[test]
    fn finds_what_stands_out_of_noise() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for (rows, columns, rank) in [(96, 200, 1), (200, 96, 8), (300, 300, 40)] {
            let a = gaussian(rows, rank, &mut rng);
            let b = gaussian(rank, columns, &mut rng);
            let noise = 0.1 * gaussian(rows, columns, &mut rng);
            let edge = 0.1 * ((rows as f64).sqrt() + (columns as f64).sqrt());
            let energy = 0.01 * (rows * columns) as f64;
            let found = above(&(a.dot(&b) + noise), 1.1 * edge, energy);
            assert_eq!(found.above, rank);
            let left = found.rest_square / energy;
            assert!(left > 0.5 && left < 1.03, "{left}");
        }
    }

    #[test]
    fn an_exact_rank_leaves_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let d = gaussian(80, 5, &mut rng).dot(&gaussian(5, 120, &mut rng));
        let found = above(&d, 1e-3, 0.0);
        assert_eq!(found.above, 5);
        assert!(found.rest_square < 1e-9 * found.above_square, "{found:?}");
    }

    #[test]
    fn noise_alone_is_dense() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let d = gaussian(300, 400, &mut rng);
        let all = square(&d);
        let found = above(&d, 0.1, 0.001 * all);
        assert!(found.above >= MIXTURES[0]);
        assert!(found.rest_square > 0.2 * all);
        let sum = found.above_square + found.rest_square;
        assert!((sum / all - 1.0).abs() < 1e-4, "{sum} of {all}");
    }
}
