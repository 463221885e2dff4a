//! Covariance from few samples of many features, and products in its metric.

use crate::StatsError;
use crate::error::{require, require_finite, require_least};

/// The Ledoit–Wolf estimate (J. Multivar. Anal. 88, 2004) of a covariance, (1 − δ) S + δ μ I with
/// the S of n samples (divisor n), from their inner products alone: the features themselves, of
/// which there may be any number, are not needed.
#[derive(Debug, Clone, PartialEq)]
pub struct LedoitWolf {
    /// δ, in [0, 1].
    pub shrinkage: f64,
    /// μ: the mean variance of a feature.
    pub scale: f64,
    samples: usize,
    /// (a I + c G)⁻¹ with G the samples' inner products: what Woodbury's identity needs.
    inner: Vec<f64>,
}

impl LedoitWolf {
    /// From `gram`, the n × n inner products (row-major) of n ≥ 2 centred samples of `features`
    /// features. Centring is the caller's: the samples sum to zero.
    ///
    /// # Errors
    /// [`StatsError`] for fewer than two samples, a matrix of another size, values that are not
    /// finite, samples that are all alike, or a shrinkage of zero.
    pub fn new(gram: &[f64], samples: usize, features: usize) -> Result<Self, StatsError> {
        require_least("samples", samples, 2)?;
        require_least("features", features, 1)?;
        if gram.len() != samples * samples {
            return Err(StatsError::Length {
                name: "gram",
                got: gram.len(),
                expected: samples * samples,
            });
        }
        require_finite("gram", gram)?;
        let (n, p) = (samples as f64, features as f64);
        let norms: Vec<f64> = (0..samples).map(|i| gram[i * samples + i]).collect();
        let trace = norms.iter().sum::<f64>() / n;
        if trace <= 0.0 {
            return Err(StatsError::Constant { name: "gram" });
        }
        let scale = trace / p;
        // ‖S‖², and the mean square of what one sample says of S.
        let square = gram.iter().map(|g| g * g).sum::<f64>() / (n * n);
        let fourth = norms.iter().map(|g| g * g).sum::<f64>() / n;
        let distance = (square - p * scale * scale) / p;
        let error = ((fourth - square) / (p * n)).min(distance);
        let shrinkage = if distance > 0.0 && error > 0.0 {
            error / distance
        } else {
            // Nothing but the mean variance is seen, or S itself is exact.
            f64::from(u8::from(distance <= 0.0))
        };
        let (a, c) = (shrinkage * scale, (1.0 - shrinkage) / n);
        require(a > 0.0, "shrinkage", shrinkage, "above 0")?;
        let mut inner = vec![0.0; samples * samples];
        for i in 0..samples {
            for j in 0..samples {
                inner[i * samples + j] = c * gram[i * samples + j];
            }
            inner[i * samples + i] += a;
        }
        Ok(Self {
            shrinkage,
            scale,
            samples,
            inner: inverse(inner, samples)?,
        })
    }

    /// uᵀ Σ⁻¹ v, from uᵀv and the inner products of `u` and `v` with each of the samples.
    ///
    /// # Errors
    /// [`StatsError::Length`] unless there is one for every sample.
    pub fn product(&self, plain: f64, u: &[f64], v: &[f64]) -> Result<f64, StatsError> {
        for (name, side) in [("u", u), ("v", v)] {
            if side.len() != self.samples {
                return Err(StatsError::Length {
                    name,
                    got: side.len(),
                    expected: self.samples,
                });
            }
        }
        let a = self.shrinkage * self.scale;
        let c = (1.0 - self.shrinkage) / self.samples as f64;
        let rows = self.inner.chunks_exact(self.samples);
        let taken: f64 = u
            .iter()
            .zip(rows)
            .map(|(x, row)| x * row.iter().zip(v).map(|(m, y)| m * y).sum::<f64>())
            .sum();
        Ok((plain - c * taken) / a)
    }
}

// Gauss–Jordan; the matrix is symmetric and positive definite, so that no pivot is zero.
fn inverse(mut m: Vec<f64>, n: usize) -> Result<Vec<f64>, StatsError> {
    for k in 0..n {
        let pivot = m[k * n + k];
        require(pivot > 0.0, "gram", pivot, "positive definite")?;
        m[k * n + k] = 1.0;
        for j in 0..n {
            m[k * n + j] /= pivot;
        }
        for i in (0..n).filter(|i| *i != k) {
            let factor = m[i * n + k];
            m[i * n + k] = 0.0;
            for j in 0..n {
                m[i * n + j] -= factor * m[k * n + j];
            }
        }
    }
    Ok(m)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The numbers of `scripts/displacement_reference.py`.
    pub(crate) fn numbers(n: usize) -> Vec<f64> {
        let mut state = 12_345_u64;
        let next = |_| {
            state = (1_103_515_245 * state + 12_345) % (1 << 31);
            state as f64 / f64::from(1 << 30) / 2.0 - 0.5
        };
        (0..n).map(next).collect()
    }

    fn dot(x: &[f64], y: &[f64]) -> f64 {
        x.iter().zip(y).map(|(a, b)| a * b).sum()
    }

    fn centred(samples: usize, features: usize) -> Vec<Vec<f64>> {
        let all = numbers(samples * features);
        let mut rows: Vec<Vec<f64>> = all.chunks_exact(features).map(<[f64]>::to_vec).collect();
        for j in 0..features {
            let mean = rows.iter().map(|r| r[j]).sum::<f64>() / samples as f64;
            let stretch = if j == 1 { 5.0 } else { 1.0 };
            rows.iter_mut().for_each(|r| r[j] = stretch * (r[j] - mean));
        }
        rows
    }

    fn gram(rows: &[Vec<f64>]) -> Vec<f64> {
        let cells = rows.iter().flat_map(|x| rows.iter().map(|y| dot(x, y)));
        cells.collect()
    }

    #[test]
    fn agrees_with_scikit_learn() {
        let all = numbers(400);
        for (samples, features, shrinkage, product) in [
            (4, 50, 0.318_328_910_638_795_7, 4.667_151_352_851_716),
            (10, 30, 0.262_909_124_678_805_84, 0.657_301_177_361_167_3),
            (40, 5, 0.032_792_228_280_875_65, 0.525_674_819_015_311),
        ] {
            let rows = centred(samples, features);
            let fit = LedoitWolf::new(&gram(&rows), samples, features).expect("samples that vary");
            assert!((fit.shrinkage - shrinkage).abs() < 1e-12, "{fit:?}");
            let (u, v) = (&all[200..200 + features], &all[300..300 + features]);
            let with = |side: &[f64]| rows.iter().map(|r| dot(r, side)).collect::<Vec<_>>();
            let got = fit.product(dot(u, v), &with(u), &with(v)).expect("as many");
            assert!(
                (got - product).abs() < 1e-11 * product.abs().max(1.0),
                "{got}"
            );
        }
    }

    #[test]
    fn what_has_no_spread_is_refused() {
        assert!(LedoitWolf::new(&[1.0], 1, 3).is_err());
        assert!(LedoitWolf::new(&[0.0; 4], 2, 3).is_err());
        assert!(LedoitWolf::new(&[1.0; 3], 2, 3).is_err());
        assert!(LedoitWolf::new(&[f64::NAN; 4], 2, 3).is_err());
        // Two centred samples are one direction, of which the estimate is certain.
        assert!(LedoitWolf::new(&[1.0, -1.0, -1.0, 1.0], 2, 3).is_err());
        let three = [2.0, -1.0, -1.0, -1.0, 2.0, -1.0, -1.0, -1.0, 2.0];
        let fit = LedoitWolf::new(&three, 3, 9).expect("three that differ");
        assert!(fit.product(1.0, &[0.0], &[0.0; 3]).is_err());
    }
}
