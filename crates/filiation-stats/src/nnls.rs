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
        while target.iter().any(|t| *t <= 0.0) {
            let step = used.iter().zip(&target).filter(|(_, t)| **t <= 0.0);
            let step = step.map(|(&j, t)| x[j] / (x[j] - t));
            let step = step.fold(1.0_f64, |least, s| if s < least { s } else { least });
            for (&j, t) in used.iter().zip(&target) {
                x[j] += step * (t - x[j]);
            }
            let floor = TOLERANCE * x.iter().fold(0.0_f64, |most, v| most.max(*v));
            used.retain(|&j| x[j] > floor);
            for (j, value) in x.iter_mut().enumerate() {
                if !used.contains(&j) {
                    *value = 0.0;
                }
            }
            match self.solve(used) {
                Some(next) => target = next,
                None => return,
            }
        }
        for (&j, t) in used.iter().zip(&target) {
            x[j] = *t;
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
