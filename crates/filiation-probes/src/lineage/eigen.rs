//! Eigenvalues of a small symmetric matrix.

use ndarray::{Array2, s};

/// Eigenvalues, largest first. Only the lower triangle is read.
///
/// Householder's reduction to tridiagonal form, then bisection on Sturm counts (Golub and Van
/// Loan, *Matrix Computations*, 8.3 and 8.4): each value is right to a few ulps of the largest.
pub(super) fn values(matrix: Array2<f64>) -> Vec<f64> {
    let (diagonal, beside) = tridiagonal(matrix);
    let n = diagonal.len();
    // Gershgorin: all eigenvalues lie within these.
    let reach = |i: usize| {
        let before = if i > 0 { beside[i - 1].abs() } else { 0.0 };
        before + beside.get(i).map_or(0.0, |x| x.abs())
    };
    let low = (0..n).map(|i| diagonal[i] - reach(i)).fold(0.0, f64::min);
    let high = (0..n).map(|i| diagonal[i] + reach(i)).fold(0.0, f64::max);
    (0..n)
        .map(|k| bisect(&diagonal, &beside, low, high, n - 1 - k))
        .collect()
}

/// Diagonal, and the entries beside it.
fn tridiagonal(mut a: Array2<f64>) -> (Vec<f64>, Vec<f64>) {
    let n = a.nrows();
    let mut beside = Vec::with_capacity(n.saturating_sub(1));
    for k in 0..n.saturating_sub(1) {
        let mut v = a.slice(s![k + 1.., k]).to_owned();
        let norm = v.dot(&v).sqrt();
        let alpha = if v[0] > 0.0 { -norm } else { norm };
        beside.push(alpha);
        v[0] -= alpha;
        let square = v.dot(&v);
        if square == 0.0 {
            continue;
        }
        // A ← H A H with H = 1 − 2 v vᵀ / |v|², as a change of rank two.
        let mut rest = a.slice_mut(s![k + 1.., k + 1..]);
        for i in 1..v.len() {
            for j in 0..i {
                rest[[j, i]] = rest[[i, j]];
            }
        }
        let mut p = rest.dot(&v) * (2.0 / square);
        let along = p.dot(&v) / square;
        p.scaled_add(-along, &v);
        for (i, mut row) in rest.rows_mut().into_iter().enumerate() {
            row.scaled_add(-v[i], &p);
            row.scaled_add(-p[i], &v);
        }
    }
    (a.diag().to_vec(), beside)
}

/// The eigenvalue with `below` others under it.
fn bisect(diagonal: &[f64], beside: &[f64], low: f64, high: f64, below: usize) -> f64 {
    let (mut low, mut high) = (low, high);
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if count_below(diagonal, beside, middle) > below {
            high = middle;
        } else {
            low = middle;
        }
    }
}

/// Eigenvalues under `x`, by the signs of the pivots of T − x.
fn count_below(diagonal: &[f64], beside: &[f64], x: f64) -> usize {
    let mut count = 0;
    let mut pivot = 1.0;
    for (i, d) in diagonal.iter().enumerate() {
        let coupling = if i > 0 { beside[i - 1] } else { 0.0 };
        pivot = d - x - coupling * coupling / pivot;
        if pivot == 0.0 {
            pivot = f64::MIN_POSITIVE;
        }
        count += usize::from(pivot < 0.0);
    }
    count
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn known_values() {
        // [[2, 1], [1, 2]] beside [3]: 3, 3, 1.
        let got = values(array![[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]);
        for (got, expected) in got.iter().zip([3.0, 3.0, 1.0]) {
            assert!((got - expected).abs() < 1e-12, "{got} for {expected}");
        }
        assert_eq!(values(Array2::zeros((3, 3))), [0.0, 0.0, 0.0]);
        assert_eq!(values(array![[7.0]]), [7.0]);
    }

    /// The second difference matrix of n: 2 − 2 cos(kπ/(n + 1)), turned by a random reflection.
    #[test]
    fn values_of_a_turned_matrix() {
        let n = 40;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut a = Array2::from_diag(&ndarray::Array1::from_elem(n, 2.0));
        for i in 1..n {
            a[[i, i - 1]] = -1.0;
            a[[i - 1, i]] = -1.0;
        }
        let mut v = ndarray::Array1::from_shape_fn(n, |_| rng.random::<f64>() - 0.5);
        v /= v.dot(&v).sqrt();
        let h = Array2::from_shape_fn((n, n), |(i, j)| {
            f64::from(u8::from(i == j)) - 2.0 * v[i] * v[j]
        });
        let got = values(h.dot(&a).dot(&h));
        for (k, got) in got.iter().rev().enumerate() {
            let angle = std::f64::consts::PI * (k + 1) as f64 / (n + 1) as f64;
            let expected = 2.0 - 2.0 * angle.cos();
            assert!((got - expected).abs() < 1e-12, "{got} for {expected}");
        }
    }
}
