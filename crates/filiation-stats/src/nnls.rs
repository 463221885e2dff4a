//! Least squares with coefficients that are not negative.

use crate::StatsError;
use crate::error::require_finite;

/// Relative size below which a gradient or a pivot counts as zero.
const TOLERANCE: f64 = 1e-10;

/// The x ≥ 0 with the least ‖Ax − b‖, from `gram` = AᵀA (n × n, row-major) and `moments` = Aᵀb:
/// the active-set method of Lawson and Hanson (1974).
///
/// Where A has dependent columns the answer is a basic one: the columns in use are independent.
///
/// # Errors
/// [`StatsError`] for a Gram matrix of another size, or values that are not finite.
pub fn nnls(gram: &[f64], moments: &[f64]) -> Result<Vec<f64>, StatsError> {
    let n = moments.len();
    if gram.len() != n * n {
        return Err(StatsError::Length {
            name: "gram",
            got: gram.len(),
            expected: n * n,
        });
    }
    require_finite("gram", gram)?;
    require_finite("moments", moments)?;
    let problem = Problem { gram, moments, n };
    let scale = moments.iter().fold(0.0_f64, |most, m| most.max(m.abs()));
    let mut x = vec![0.0; n];
    let mut used: Vec<usize> = Vec::new();
    let mut barred = vec![false; n];
    // Each round lowers the residual, so that no set of columns comes twice.
    for _ in 0..10 * n.max(1) {
        let gradient = problem.gradient(&x);
        let free = (0..n).filter(|j| !used.contains(j) && !barred[*j]);
        let steepest = free.max_by(|a, b| gradient[*a].total_cmp(&gradient[*b]));
        let Some(enter) = steepest.filter(|j| gradient[*j] > TOLERANCE * scale) else {
            break;
        };
        used.push(enter);
        let Some(first) = problem.solve(&used) else {
            // It is a combination of those in use: it adds nothing.
            used.pop();
            barred[enter] = true;
            continue;
        };
        problem.walk(&mut x, &mut used, first);
        barred.fill(false);
    }
    Ok(x)
}

struct Problem<'a> {
    gram: &'a [f64],
    moments: &'a [f64],
    n: usize,
}

impl Problem<'_> {
    // Aᵀ(b − Ax): how steeply the residual falls with each coefficient.
    fn gradient(&self, x: &[f64]) -> Vec<f64> {
        let row = |j: usize| &self.gram[j * self.n..(j + 1) * self.n];
        let at = |j: usize| row(j).iter().zip(x).map(|(g, v)| g * v).sum::<f64>();
        (0..self.n).map(|j| self.moments[j] - at(j)).collect()
    }

    /// Goes from `x` to the least squares over `used`, dropping columns that would turn negative.
    fn walk(&self, x: &mut [f64], used: &mut Vec<usize>, mut target: Vec<f64>) {
        loop {
            // How far one may go before a coefficient reaches zero, and which does.
            let mut first: Option<(usize, f64)> = None;
            for (place, (&j, t)) in used.iter().zip(&target).enumerate() {
                let step = if x[j] > *t { x[j] / (x[j] - t) } else { 0.0 };
                if *t <= 0.0 && first.is_none_or(|(_, least)| step < least) {
                    first = Some((place, step));
                }
            }
            let step = first.map_or(1.0, |(_, step)| step);
            for (&j, t) in used.iter().zip(&target) {
                x[j] += step * (t - x[j]);
            }
            let Some((place, _)) = first else { return };
            x[used.remove(place)] = 0.0;
            match self.solve(used) {
                Some(next) => target = next,
                None => return,
            }
        }
    }

    /// Least squares over the columns `used`, by Cholesky; `None` where they are dependent.
    fn solve(&self, used: &[usize]) -> Option<Vec<f64>> {
        let m = used.len();
        let mut lower = vec![0.0; m * m];
        for i in 0..m {
            for j in 0..=i {
                let dot: f64 = (0..j).map(|k| lower[i * m + k] * lower[j * m + k]).sum();
                let left = self.gram[used[i] * self.n + used[j]] - dot;
                if i == j {
                    let whole = self.gram[used[i] * self.n + used[i]];
                    if left <= TOLERANCE * whole || left <= 0.0 {
                        return None;
                    }
                    lower[i * m + i] = left.sqrt();
                } else {
                    lower[i * m + j] = left / lower[j * m + j];
                }
            }
        }
        let mut y = vec![0.0; m];
        for i in 0..m {
            let dot: f64 = (0..i).map(|k| lower[i * m + k] * y[k]).sum();
            y[i] = (self.moments[used[i]] - dot) / lower[i * m + i];
        }
        for i in (0..m).rev() {
            let dot: f64 = (i + 1..m).map(|k| lower[k * m + i] * y[k]).sum();
            y[i] = (y[i] - dot) / lower[i * m + i];
        }
        Some(y)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shrinkage::tests::numbers;

    fn products(a: &[f64], b: &[f64], columns: usize) -> (Vec<f64>, Vec<f64>) {
        let column = |j: usize| {
            a.iter()
                .skip(j)
                .step_by(columns)
                .copied()
                .collect::<Vec<_>>()
        };
        let all: Vec<Vec<f64>> = (0..columns).map(column).collect();
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
        let gram = all.iter().flat_map(|x| all.iter().map(move |y| dot(x, y)));
        (gram.collect(), all.iter().map(|x| dot(x, b)).collect())
    }

    #[test]
    fn agrees_with_scipy() {
        let all = numbers(400);
        for (rows, columns, want) in [
            (12, 5, vec![0.0, 0.0, 0.0, 0.0, 0.292_918_266_033_734_05]),
            (
                8,
                8,
                vec![
                    0.0,
                    0.0,
                    0.235_305_717_753_076_77,
                    0.993_336_296_528_344_7,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                ],
            ),
            (30, 4, vec![0.0, 0.0, 0.0, 0.015_836_073_491_077_414]),
        ] {
            let b = &all[400 - rows..];
            let (gram, moments) = products(&all[..rows * columns], b, columns);
            let got = nnls(&gram, &moments).expect("finite");
            for (g, w) in got.iter().zip(&want) {
                assert!((g - w).abs() < 1e-9, "{got:?} {want:?}");
            }
        }
    }

    #[test]
    fn columns_that_sum_to_zero_have_a_basic_answer() {
        // Three directions of a plane, and a target between the first two.
        let a = [1.0, -0.5, -0.5, 0.0, 1.0, -1.0];
        let (gram, moments) = products(&a, &[0.3, 0.6], 3);
        let x = nnls(&gram, &moments).expect("finite");
        assert_eq!(x.iter().filter(|v| **v == 0.0).count(), 1, "{x:?}");
        assert!((x[0] - 0.6).abs() < 1e-12 && (x[1] - 0.6).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_problem_is_refused() {
        assert!(nnls(&[1.0, 2.0], &[1.0, 1.0]).is_err());
        assert!(nnls(&[f64::NAN], &[1.0]).is_err());
        assert_eq!(nnls(&[], &[]), Ok(vec![]));
        assert_eq!(nnls(&[0.0], &[0.0]), Ok(vec![0.0]));
    }

    proptest! {
        #[test]
        fn no_coefficient_could_do_better(a in proptest::collection::vec(-1.0..1.0_f64, 40), b in proptest::collection::vec(-1.0..1.0_f64, 8)) {
            let (gram, moments) = products(&a, &b, 5);
            let x = nnls(&gram, &moments).expect("finite");
            let problem = Problem { gram: &gram, moments: &moments, n: 5 };
            for (v, g) in x.iter().zip(problem.gradient(&x)) {
                prop_assert!(*v >= 0.0);
                prop_assert!(g < 1e-8, "{g}");
                prop_assert!(*v == 0.0 || g.abs() < 1e-8, "{v} {g}");
            }
        }
    }
}
