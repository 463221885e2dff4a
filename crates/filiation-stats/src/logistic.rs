//! Multinomial logistic regression with an L2 penalty over sparse rows, by L-BFGS.

use crate::StatsError;
use crate::error::{require, require_least};

/// Corrections that L-BFGS keeps.
const MEMORY: usize = 8;
const MOST_STEPS: usize = 200;
const MOST_HALVINGS: usize = 40;

/// Rows of which most entries are zero.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseRows {
    width: usize,
    starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl SparseRows {
    /// No rows of `width` entries.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            starts: vec![0],
            entries: Vec::new(),
        }
    }

    /// Adds a row of (column, value).
    ///
    /// # Errors
    /// [`StatsError::Domain`] for a column beyond the width or a value that is not finite.
    pub fn push(&mut self, row: &[(u32, f32)]) -> Result<(), StatsError> {
        for &(column, value) in row {
            let inside = (column as usize) < self.width;
            require(inside, "column", f64::from(column), "below the width")?;
            require(
                value.is_finite(),
                "value",
                f64::from(value),
                "a finite number",
            )?;
        }
        self.entries.extend_from_slice(row);
        self.starts.push(self.entries.len());
        Ok(())
    }

    /// How many rows there are.
    pub const fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[(u32, f32)] {
        &self.entries[self.starts[i]..self.starts[i + 1]]
    }
}

/// ln p(class | x) = b_class + w_class · x, normalised over the classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Softmax {
    classes: usize,
    /// `[column][class]`, then the intercepts.
    parameters: Vec<f64>,
}

/// How to fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logistic {
    /// Weight of ½ Σ w² beside the mean loss.
    pub penalty: f64,
    /// Converged when no derivative of the penalised mean loss exceeds this.
    pub tolerance: f64,
}

impl Logistic {
    /// The minimum of: mean over the rows `which` of −ln p(label | row), plus `penalty`/2 · Σ w².
    /// Intercepts are not penalised. The minimum is unique but for a shift of all intercepts, which
    /// changes no probability; `start` only shortens the way to it.
    ///
    /// # Errors
    /// [`StatsError`] for a penalty or tolerance that is not positive, a label out of range, a
    /// class without rows, or fewer than two classes.
    pub fn fit(
        &self,
        rows: &SparseRows,
        labels: &[usize],
        classes: usize,
        which: &[usize],
        start: Option<&Softmax>,
    ) -> Result<Softmax, StatsError> {
        for (name, got) in [("penalty", self.penalty), ("tolerance", self.tolerance)] {
            let positive = got > 0.0 && got.is_finite();
            require(positive, name, got, "a positive number")?;
        }
        require_least("classes", classes, 2)?;
        if labels.len() != rows.len() {
            return Err(StatsError::Length {
                name: "labels",
                got: labels.len(),
                expected: rows.len(),
            });
        }
        for class in 0..classes {
            let of_class = which.iter().filter(|&&i| labels[i] == class).count();
            require_least("rows of a class", of_class, 1)?;
        }
        for &i in which {
            let known = labels[i] < classes;
            require(known, "label", labels[i] as f64, "below `classes`")?;
        }
        let used = Columns::of(rows, which);
        let loss = Loss {
            rows: &used.rows,
            labels: &which.iter().map(|&i| labels[i]).collect::<Vec<_>>(),
            classes,
            penalty: self.penalty,
        };
        let full = rows.width * classes + classes;
        let start = start.filter(|s| s.classes == classes && s.parameters.len() == full);
        let first = used.gather(start.map(|s| &s.parameters[..]), classes);
        let found = minimise(&loss, first, self.tolerance);
        Ok(Softmax {
            classes,
            parameters: used.scatter(&found, rows.width, classes),
        })
    }
}

/// The rows to fit with only the columns they use: the weight of any other column is zero at the
/// minimum.
struct Columns {
    rows: SparseRows,
    /// Full column of each kept one.
    full: Vec<u32>,
}

impl Columns {
    fn of(rows: &SparseRows, which: &[usize]) -> Self {
        const UNSEEN: u32 = u32::MAX;
        let mut place = vec![UNSEEN; rows.width];
        let mut full = Vec::new();
        let mut kept = SparseRows::new(0);
        for &i in which {
            for &(column, value) in rows.row(i) {
                let at = &mut place[column as usize];
                if *at == UNSEEN {
                    *at = full.len() as u32;
                    full.push(column);
                }
                kept.entries.push((*at, value));
            }
            kept.starts.push(kept.entries.len());
        }
        kept.width = full.len();
        Self { rows: kept, full }
    }

    fn gather(&self, from: Option<&[f64]>, classes: usize) -> Vec<f64> {
        let mut kept = vec![0.0; self.full.len() * classes + classes];
        if let Some(from) = from {
            for (to, &column) in kept.chunks_exact_mut(classes).zip(&self.full) {
                to.copy_from_slice(&from[column as usize * classes..][..classes]);
            }
            let intercepts = kept.len() - classes;
            kept[intercepts..].copy_from_slice(&from[from.len() - classes..]);
        }
        kept
    }

    fn scatter(&self, from: &[f64], width: usize, classes: usize) -> Vec<f64> {
        let mut all = vec![0.0; width * classes + classes];
        for (weights, &column) in from.chunks_exact(classes).zip(&self.full) {
            all[column as usize * classes..][..classes].copy_from_slice(weights);
        }
        all[width * classes..].copy_from_slice(&from[from.len() - classes..]);
        all
    }
}

impl Softmax {
    /// ln p of every class for a row.
    pub fn ln_probabilities(&self, row: &[(u32, f32)]) -> Vec<f64> {
        let mut scores = vec![0.0; self.classes];
        ln_softmax(&self.parameters, row, &mut scores);
        scores
    }
}

fn ln_softmax(parameters: &[f64], row: &[(u32, f32)], scores: &mut [f64]) {
    let classes = scores.len();
    scores.copy_from_slice(&parameters[parameters.len() - classes..]);
    for &(column, value) in row {
        let weights = &parameters[column as usize * classes..][..classes];
        for (score, weight) in scores.iter_mut().zip(weights) {
            *score += weight * f64::from(value);
        }
    }
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|s| (s - top).exp()).sum();
    let all = top + sum.ln();
    scores.iter_mut().for_each(|s| *s -= all);
}

struct Loss<'a> {
    rows: &'a SparseRows,
    labels: &'a [usize],
    classes: usize,
    penalty: f64,
}

impl Loss<'_> {
    /// The loss at `x`; its gradient goes to `gradient`.
    fn at(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let (classes, n) = (self.classes, self.rows.len() as f64);
        let intercepts = x.len() - classes;
        gradient.fill(0.0);
        let mut scores = vec![0.0; classes];
        let mut loss = 0.0;
        for (i, &label) in self.labels.iter().enumerate() {
            let row = self.rows.row(i);
            ln_softmax(x, row, &mut scores);
            loss -= scores[label];
            for (class, score) in scores.iter_mut().enumerate() {
                *score = (score.exp() - f64::from(u8::from(class == label))) / n;
                gradient[intercepts + class] += *score;
            }
            for &(column, value) in row {
                let slopes = &mut gradient[column as usize * classes..][..classes];
                for (slope, score) in slopes.iter_mut().zip(&scores) {
                    *slope += score * f64::from(value);
                }
            }
        }
        let mut squares = 0.0;
        for (slope, weight) in gradient[..intercepts].iter_mut().zip(x) {
            *slope += self.penalty * weight;
            squares += weight * weight;
        }
        loss / n + 0.5 * self.penalty * squares
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn add(to: &mut [f64], by: f64, direction: &[f64]) {
    to.iter_mut().zip(direction).for_each(|(t, d)| *t += by * d);
}

/// One remembered step: movement, change of gradient, 1/(movement · change).
type Step = (Vec<f64>, Vec<f64>, f64);

fn minimise(loss: &Loss<'_>, mut x: Vec<f64>, tolerance: f64) -> Vec<f64> {
    let mut gradient = vec![0.0; x.len()];
    let mut value = loss.at(&x, &mut gradient);
    let mut steps: Vec<Step> = Vec::new();
    for _ in 0..MOST_STEPS {
        if gradient.iter().all(|g| g.abs() <= tolerance) {
            break;
        }
        let direction = descent(&gradient, &steps);
        let slope = dot(&gradient, &direction);
        let mut next_gradient = vec![0.0; x.len()];
        let mut size = if steps.is_empty() {
            1.0 / dot(&gradient, &gradient).sqrt().max(1.0)
        } else {
            1.0
        };
        // Armijo: halve until the loss falls enough. The loss is convex, so it does.
        let mut found = None;
        for _ in 0..MOST_HALVINGS {
            let mut next = x.clone();
            add(&mut next, size, &direction);
            let lower = loss.at(&next, &mut next_gradient);
            if lower <= value + 1e-4 * size * slope {
                found = Some((next, lower));
                break;
            }
            size *= 0.5;
        }
        let Some((next, lower)) = found else { break };
        let moved: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = next_gradient
            .iter()
            .zip(&gradient)
            .map(|(a, b)| a - b)
            .collect();
        let curvature = dot(&moved, &change);
        if curvature > 0.0 {
            if steps.len() == MEMORY {
                steps.remove(0);
            }
            steps.push((moved, change, 1.0 / curvature));
        }
        (x, gradient, value) = (next, next_gradient, lower);
    }
    x
}

// The two-loop recursion (Nocedal 1980).
fn descent(gradient: &[f64], steps: &[Step]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(steps.len());
    for (moved, change, inverse) in steps.iter().rev() {
        let share = inverse * dot(moved, &direction);
        add(&mut direction, -share, change);
        shares.push(share);
    }
    if let Some((_, change, inverse)) = steps.last() {
        let scale = 1.0 / (inverse * dot(change, change));
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((moved, change, inverse), share) in steps.iter().zip(shares.iter().rev()) {
        let back = inverse * dot(change, &direction);
        add(&mut direction, share - back, moved);
    }
    direction
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    // The rows of scripts/logistic_reference.py.
    fn sample() -> (SparseRows, Vec<usize>) {
        let mut rows = SparseRows::new(4);
        let mut labels = Vec::new();
        for i in 0..30_u32 {
            let row: Vec<(u32, f32)> = (0..4)
                .map(|j| (j, ((i * (7 + j) + j * j * 3) % 11) as f32 / 4.0 - 1.25))
                .filter(|(_, v)| *v > -0.9)
                .collect();
            rows.push(&row).expect("four columns");
            labels.push((i * i + i / 4) as usize % 3);
        }
        (rows, labels)
    }

    #[test]
    fn agrees_with_scikit_learn() {
        let (rows, labels) = sample();
        let all: Vec<usize> = (0..30).collect();
        for (penalty, want) in REFERENCE {
            let how = Logistic {
                penalty,
                tolerance: 1e-6,
            };
            let fit = how
                .fit(&rows, &labels, 3, &all, None)
                .expect("three classes");
            let got = fit.ln_probabilities(rows.row(4));
            for (g, w) in got.iter().zip(want) {
                assert!(
                    (g - w).abs() < 5e-5,
                    "{penalty}: {got:?}, expected {want:?}"
                );
            }
            let warm = how.fit(&rows, &labels, 3, &all, Some(&fit)).expect("again");
            let again = warm.ln_probabilities(rows.row(4));
            assert!(again.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    /// Penalty and ln p of row 4, printed by scripts/logistic_reference.py.
    const REFERENCE: [(f64, [f64; 3]); 2] = [
        (0.1, [-0.679_939_041, -1.446_416_198, -1.355_029_542]),
        (0.002, [-0.451_824_349, -1.678_419_826, -1.732_367_390]),
    ];

    #[test]
    fn finds_the_truth_of_a_large_sample() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let truth = [[1.0, -0.5], [-1.0, 0.25], [0.0, 0.25]];
        let mut rows = SparseRows::new(2);
        let mut labels = Vec::new();
        for _ in 0..40_000 {
            let x = [0, 1].map(|_| rng.random_range(-1.5..1.5_f64));
            let weights = truth.map(|w| (w[0] * x[0] + w[1] * x[1]).exp());
            let mut left = rng.random_range(0.0..weights.iter().sum::<f64>());
            let class = weights.iter().position(|w| {
                left -= w;
                left < 0.0
            });
            labels.push(class.unwrap_or(2));
            rows.push(&[(0, x[0] as f32), (1, x[1] as f32)])
                .expect("two columns");
        }
        let all: Vec<usize> = (0..rows.len()).collect();
        let how = Logistic {
            penalty: 1e-6,
            tolerance: 1e-6,
        };
        let fit = how
            .fit(&rows, &labels, 3, &all, None)
            .expect("three classes");
        let got = fit.ln_probabilities(&[(0, 1.0)]);
        // Differences of ln p at x = (1, 0) are differences of the first weights.
        assert!((got[0] - got[1] - 2.0).abs() < 0.08, "{got:?}");
        assert!((got[0] - got[2] - 1.0).abs() < 0.08, "{got:?}");
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let (rows, labels) = sample();
        let all: Vec<usize> = (0..30).collect();
        let fit = |classes, penalty| {
            let how = Logistic {
                penalty,
                tolerance: 1e-6,
            };
            how.fit(&rows, &labels, classes, &all, None)
        };
        assert!(fit(3, 0.0).is_err());
        assert!(fit(1, 0.1).is_err());
        assert!(fit(2, 0.1).is_err());
        assert!(fit(4, 0.1).is_err());
        assert!(SparseRows::new(2).push(&[(2, 1.0)]).is_err());
        assert!(SparseRows::new(2).push(&[(0, f32::NAN)]).is_err());
    }
}
