use std::f64::consts::LN_10;

use super::metrics::softplus;
use super::{Sample, Table};
use crate::LrError;
use crate::error::check_settings;

const MOST_STEPS: usize = 200;
const MOST_HALVINGS: i32 = 60;
/// The largest derivative, relative to the number of lineages, at which a fit is done.
const TOLERANCE: f64 = 1e-13;

/// Logistic regression of histories on scores, weighed by a prior (Brümmer and Doddington) and shrunk
/// towards LR = 1 as Morrison and Poh 2018 do: every row stands twice more in the data, once under
/// each label.
///
/// The minimum of Σ vᵢ·softplus(−sᵢ ηᵢ) + Σ uᵢ·κ/(2·df)·(softplus(−ηᵢ) + softplus(ηᵢ)) + λ/2·‖w‖²,
/// with ηᵢ = w·xᵢ + b + logit π and sᵢ = ±1. uᵢ are the weights of the rows, and vᵢ are uᵢ·N·π/N₁ for
/// H1 and uᵢ·N·(1 − π)/N₀ for H2, where N = N₁ + N₀ are the lineages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShrunkLogistic {
    /// Prior probability of H1 at which the fit is to be best, π; no part of the likelihood ratio.
    pub prior: f64,
    /// Strength of the shrinkage, κ. 0 gives the maximum of likelihood, which claims too much from few
    /// lineages.
    pub shrinkage: f64,
    /// Independent sources, df; the lineages of the rarer class where absent.
    pub sources: Option<f64>,
    /// Strength of a ridge on the weights, λ. It depends on the scale of the scores.
    pub ridge: f64,
}

impl Default for ShrunkLogistic {
    fn default() -> Self {
        Self {
            prior: 0.5,
            shrinkage: 1.0,
            sources: None,
            ridge: 0.0,
        }
    }
}

/// ln LR = weights · scores + intercept.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// One for each stream, nats a unit of its score.
    pub weights: Vec<f64>,
    /// Nats.
    pub intercept: f64,
}

impl Linear {
    /// The same, or LR = 1 throughout where a larger score would speak against H1: what a score means was
    /// decided before, and is not learned from a population.
    pub fn rising(self) -> Self {
        if self.weights.iter().all(|w| *w >= 0.0) {
            return self;
        }
        Self {
            weights: vec![0.0; self.weights.len()],
            intercept: 0.0,
        }
    }

    /// The log10 likelihood ratio of a row of scores.
    ///
    /// # Panics
    /// Where the row has not one score for each weight.
    pub fn llr(&self, row: &[f64]) -> f64 {
        assert_eq!(row.len(), self.weights.len(), "a row of another width");
        (dot(&self.weights, row) + self.intercept) / LN_10
    }
}

impl ShrunkLogistic {
    /// Fits one stream.
    ///
    /// # Errors
    /// As [`ShrunkLogistic::fit`].
    pub fn fit_one(&self, sample: &Sample) -> Result<Linear, LrError> {
        self.fit(&Table::of(sample)?)
    }

    /// Fits with no weight below 0: what a score means was decided before, and is not learned from a
    /// population. A column whose weight comes out negative is left out and told, by place; with none
    /// left LR is 1 throughout.
    ///
    /// # Errors
    /// As [`ShrunkLogistic::fit`].
    pub fn fit_rising(&self, table: &Table) -> Result<(Linear, Vec<usize>), LrError> {
        let mut used: Vec<usize> = (0..table.width()).collect();
        let mut left_out = Vec::new();
        let nothing = Linear {
            weights: vec![0.0; table.width()],
            intercept: 0.0,
        };
        while !used.is_empty() {
            let fit = self.fit(&table.columns(&used))?;
            let worst = fit.weights.iter().enumerate();
            match worst.min_by(|a, b| a.1.total_cmp(b.1)) {
                Some((at, weight)) if *weight < 0.0 => left_out.push(used.remove(at)),
                _ => {
                    let mut linear = nothing;
                    linear.intercept = fit.intercept;
                    for (at, weight) in used.iter().zip(fit.weights) {
                        linear.weights[*at] = weight;
                    }
                    left_out.sort_unstable();
                    return Ok((linear, left_out));
                }
            }
        }
        left_out.sort_unstable();
        Ok((nothing, left_out))
    }

    /// Fits by damped Newton steps.
    ///
    /// # Errors
    /// [`LrError::Setting`] for a setting out of range.
    pub fn fit(&self, table: &Table) -> Result<Linear, LrError> {
        let [n0, n1] = [false, true].map(|class| table.lineages(class));
        let sources = self.sources.unwrap_or_else(|| n1.min(n0));
        self.check(sources)?;
        let pseudo = self.shrinkage / (2.0 * sources);
        let total = n0 + n1;
        let terms: Vec<Term<'_>> = table
            .rows()
            .map(|(row, item)| {
                let [of_h2, of_h1] = if item.distilled {
                    [0.0, total * self.prior / n1]
                } else {
                    [total * (1.0 - self.prior) / n0, 0.0]
                };
                let weight = |of: f64| item.weight * (of + pseudo);
                Term {
                    row,
                    h1: weight(of_h1),
                    h2: weight(of_h2),
                }
            })
            .collect();
        let loss = Loss {
            terms,
            offset: (self.prior / (1.0 - self.prior)).ln(),
            ridge: self.ridge,
            width: table.width(),
        };
        let mut found = loss.minimise(TOLERANCE * total);
        let intercept = found.pop().unwrap_or_default();
        Ok(Linear {
            weights: found,
            intercept,
        })
    }

    fn check(&self, sources: f64) -> Result<(), LrError> {
        check_settings(&[
            (
                "prior",
                self.prior,
                self.prior > 0.0 && self.prior < 1.0,
                "above 0 and below 1",
            ),
            (
                "shrinkage",
                self.shrinkage,
                self.shrinkage >= 0.0,
                "at least 0",
            ),
            ("sources", sources, sources > 0.0, "above 0"),
            ("ridge", self.ridge, self.ridge >= 0.0, "at least 0"),
        ])
    }
}

/// A row with its weights as one of H1 and as one of H2.
struct Term<'a> {
    row: &'a [f64],
    h1: f64,
    h2: f64,
}

struct Loss<'a> {
    terms: Vec<Term<'a>>,
    offset: f64,
    ridge: f64,
    width: usize,
}

impl Loss<'_> {
    fn eta(&self, x: &[f64], row: &[f64]) -> f64 {
        dot(&x[..self.width], row) + x[self.width] + self.offset
    }

    fn value(&self, x: &[f64]) -> f64 {
        let data: f64 = self
            .terms
            .iter()
            .map(|t| {
                let eta = self.eta(x, t.row);
                t.h1 * softplus(-eta) + t.h2 * softplus(eta)
            })
            .sum();
        data + 0.5 * self.ridge * dot(&x[..self.width], &x[..self.width])
    }

    /// Gradient and Hessian (row by row).
    fn slopes(&self, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let n = self.width + 1;
        let (mut gradient, mut hessian) = (vec![0.0; n], vec![0.0; n * n]);
        let mut row = vec![1.0; n];
        for term in &self.terms {
            row[..self.width].copy_from_slice(term.row);
            let p = (-softplus(-self.eta(x, term.row))).exp();
            let slope = term.h2 * p - term.h1 * (1.0 - p);
            let bend = (term.h1 + term.h2) * p * (1.0 - p);
            for i in 0..n {
                gradient[i] += slope * row[i];
                for j in 0..n {
                    hessian[i * n + j] += bend * row[i] * row[j];
                }
            }
        }
        for i in 0..self.width {
            gradient[i] += self.ridge * x[i];
            hessian[i * n + i] += self.ridge;
        }
        (gradient, hessian)
    }

    fn minimise(&self, tolerance: f64) -> Vec<f64> {
        let mut x = vec![0.0; self.width + 1];
        let mut value = self.value(&x);
        for _ in 0..MOST_STEPS {
            let (gradient, hessian) = self.slopes(&x);
            if gradient.iter().all(|g| g.abs() <= tolerance) {
                break;
            }
            let step = solve(hessian, &gradient);
            let to = |size: f64| -> Vec<f64> {
                x.iter().zip(&step).map(|(x, s)| x - size * s).collect()
            };
            // Convex: a short enough step falls. Where rounding is all that is left of the value, the whole
            // step counts if it flattens the slope.
            let fallen = (0..MOST_HALVINGS)
                .map(|halvings| to(0.5_f64.powi(halvings)))
                .find(|next| self.value(next) < value);
            let steepness = |g: &[f64]| g.iter().fold(0.0_f64, |most, g| most.max(g.abs()));
            let flatter = || {
                let next = to(1.0);
                let flat = steepness(&self.slopes(&next).0) < steepness(&gradient);
                flat.then_some(next)
            };
            let Some(next) = fallen.or_else(flatter) else {
                break;
            };
            value = self.value(&next);
            x = next;
        }
        x
    }
}

/// Solves `matrix`·x = `right` for a symmetric matrix that is positive definite but for rounding.
fn solve(mut matrix: Vec<f64>, right: &[f64]) -> Vec<f64> {
    let n = right.len();
    // A direction in which nothing varies has no curvature; the least that counts keeps it at rest.
    let most = (0..n).map(|i| matrix[i * n + i]).fold(0.0, f64::max);
    let least = (most * 1e-14).max(f64::MIN_POSITIVE);
    // Cholesky.
    for j in 0..n {
        for k in 0..j {
            let factor = matrix[j * n + k];
            for i in j..n {
                matrix[i * n + j] -= matrix[i * n + k] * factor;
            }
        }
        let root = matrix[j * n + j].max(least).sqrt();
        for i in j..n {
            matrix[i * n + j] /= root;
        }
        matrix[j * n + j] = root;
    }
    let mut x = right.to_vec();
    for i in 0..n {
        for k in 0..i {
            x[i] -= matrix[i * n + k] * x[k];
        }
        x[i] /= matrix[i * n + i];
    }
    for i in (0..n).rev() {
        for k in i + 1..n {
            x[i] -= matrix[k * n + i] * x[k];
        }
        x[i] /= matrix[i * n + i];
    }
    x
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
