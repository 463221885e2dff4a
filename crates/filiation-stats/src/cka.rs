//! Unbiased linear CKA: do two sets of features arrange the same items alike?
//!
//! HSIC is the U-statistic of Song et al. (JMLR 13, 2012), written with U-centred Gram matrices
//! (Székely and Rizzo, Ann. Statist. 42, 2014): zero diagonal, every row sums to zero, and
//! HSIC = ⟨A, B⟩ / (n (n − 3)). CKA divides by the norms, so it is the cosine of the two
//! U-centred matrices. The biased estimator gives 0.99 for independent features when there are
//! more features than items; this one gives 0 on average.

use ndarray::{Array2, ArrayView2};
use rand::Rng;
use rand::seq::SliceRandom;

/// The U-centred linear Gram matrix of n ≥ 4 items.
#[derive(Debug, Clone)]
pub struct CentredGram {
    gram: Array2<f32>,
    norm: f64,
}

impl CentredGram {
    /// From an n × features matrix, one row an item; any number of features.
    ///
    /// `None` for fewer than 4 items or a value that is not finite.
    pub fn linear(items: ArrayView2<'_, f32>) -> Option<Self> {
        Self::from_gram(items.dot(&items.t()))
    }

    /// From a Gram matrix, n × n and symmetric. Its diagonal does not matter.
    ///
    /// `None` for another shape, fewer than 4 items, or a value that is not finite.
    pub fn from_gram(mut gram: Array2<f32>) -> Option<Self> {
        let n = gram.nrows();
        if n < 4 || gram.ncols() != n {
            return None;
        }
        gram.diag_mut().fill(0.0);
        let sums: Vec<f64> = gram
            .rows()
            .into_iter()
            .map(|row| row.iter().map(|&k| f64::from(k)).sum())
            .collect();
        let (less_one, less_two) = (n as f64 - 1.0, n as f64 - 2.0);
        let grand = sums.iter().sum::<f64>() / (less_one * less_two);
        if !grand.is_finite() {
            return None;
        }
        let mut square = 0.0;
        for ((i, j), k) in gram.indexed_iter_mut() {
            if i != j {
                let centred = f64::from(*k) - (sums[i] + sums[j]) / less_two + grand;
                *k = centred as f32;
                square += centred * centred;
            }
        }
        square.is_finite().then(|| Self {
            gram,
            norm: square.sqrt(),
        })
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.gram.nrows()
    }

    /// Unbiased linear CKA with another set of features of the same items, in [-1, 1].
    ///
    /// `None` where the items differ in number or one side is constant.
    pub fn cka(&self, other: &Self) -> Option<f64> {
        if self.items() != other.items() {
            return None;
        }
        let inner: f64 = self
            .gram
            .rows()
            .into_iter()
            .zip(other.gram.rows())
            .map(|(a, b)| f64::from(a.dot(&b)))
            .sum();
        self.scaled(inner, other)
    }

    /// CKA after the items of `other` are reordered: item `i` meets `order[i]`.
    fn cka_reordered(&self, other: &Self, order: &[usize]) -> Option<f64> {
        let mut inner = 0.0;
        for (a, &from) in self.gram.rows().into_iter().zip(order) {
            let b = other.gram.row(from);
            inner += a
                .iter()
                .zip(order)
                .map(|(&x, &j)| f64::from(x * b[j]))
                .sum::<f64>();
        }
        self.scaled(inner, other)
    }

    fn scaled(&self, inner: f64, other: &Self) -> Option<f64> {
        let scale = self.norm * other.norm;
        (scale > 0.0).then(|| (inner / scale).clamp(-1.0, 1.0))
    }

    /// The permutation null: CKA over `draws` random pairings of the items.
    ///
    /// `None` where [`Self::cka`] is.
    pub fn permutation_null(
        &self,
        other: &Self,
        draws: usize,
        rng: &mut impl Rng,
    ) -> Option<Vec<f64>> {
        if self.items() != other.items() {
            return None;
        }
        let mut order: Vec<usize> = (0..self.items()).collect();
        (0..draws)
            .map(|_| {
                order.shuffle(rng);
                self.cka_reordered(other, &order)
            })
            .collect()
    }

    /// One-sided permutation p, (1 + #{null ≥ observed}) / (draws + 1).
    ///
    /// `None` where [`Self::cka`] is.
    pub fn p_value(&self, other: &Self, draws: usize, rng: &mut impl Rng) -> Option<f64> {
        let observed = self.cka(other)?;
        let null = self.permutation_null(other, draws, rng)?;
        let reached = null.iter().filter(|&&x| x >= observed).count();
        Some((1.0 + reached as f64) / (draws as f64 + 1.0))
    }
}

/// Unbiased linear CKA of two feature matrices with one row an item.
///
/// `None` for unequal or fewer than 4 rows, values that are not finite, or constant features.
pub fn unbiased_cka(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Option<f64> {
    CentredGram::linear(x)?.cka(&CentredGram::linear(y)?)
}

/// Standard deviation of the permutation null of [`unbiased_cka`] with `items` items:
/// √(2 / (n (n − 3))). Its mean is 0. Both are exact and the same for any data.
///
/// Why: the U-centred matrices are an irreducible representation of the permutations, of dimension
/// n(n − 3)/2, so by Schur's lemma E⟨A, πB⟩² = ‖A‖²‖B‖² / dimension. (The *shape* of the null does
/// depend on the data: a Gram matrix ruled by few items has a heavy tail.)
///
/// `None` for fewer than 4 items.
pub fn permutation_sd(items: usize) -> Option<f64> {
    let n = items as f64;
    (items >= 4).then(|| (2.0 / (n * (n - 3.0))).sqrt())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Standard normal by Box and Muller.
    fn gaussian(n: usize, features: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
        Array2::from_shape_fn((n, features), |_| {
            let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
            (radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()) as f32
        })
    }

    /// Values of `scripts/cka_reference.py`, which sums the U-statistic over 4-tuples of items.
    #[test]
    fn agrees_with_the_sum_over_tuples() {
        let x = Array2::from_shape_fn((9, 4), |(i, j)| {
            ((i * 7 + j * 3) % 11) as f32 - 5.0 + ((i * i + j) % 5) as f32 / 4.0
        });
        let y = Array2::from_shape_fn((9, 3), |(i, j)| {
            ((i * 5 + j * 8) % 13) as f32 - 6.0 + ((i + j * j * i) % 7) as f32 / 8.0
        });
        let got = unbiased_cka(x.view(), y.view()).expect("9 items");
        assert!((got - TUPLES).abs() < 1e-5, "{got}");
    }

    const TUPLES: f64 = 0.8097924893677659;

    /// The biased estimator says 0.986 here.
    #[test]
    fn independent_features_give_zero_where_the_biased_estimate_is_near_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<f64> = (0..400)
            .map(|_| {
                let x = gaussian(8, 576, &mut rng);
                let y = gaussian(8, 576, &mut rng);
                unbiased_cka(x.view(), y.view()).expect("8 items")
            })
            .collect();
        let mean = draws.iter().sum::<f64>() / 400.0;
        // sd of one draw is √(2/40) = 0.224, of the mean 0.0112.
        assert!(mean.abs() < 0.045, "{mean}");
    }

    /// And p is uniform on its steps, at so few items of so many features.
    #[test]
    fn p_of_eight_items_of_many_features_is_uniform() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (runs, draws) = (400, 99);
        let mut counts = [0_u32; 10];
        for _ in 0..runs {
            let x = CentredGram::linear(gaussian(8, 576, &mut rng).view()).expect("8 items");
            let y = CentredGram::linear(gaussian(8, 576, &mut rng).view()).expect("8 items");
            let p = x.p_value(&y, draws, &mut rng).expect("same items");
            // p is k/100 with k from 1 to 100.
            counts[((p * 100.0).round() as usize - 1) / 10] += 1;
        }
        let expected = f64::from(runs) / 10.0;
        let square = |c: &u32| (f64::from(*c) - expected).powi(2) / expected;
        let chi: f64 = counts.iter().map(square).sum();
        // Nine degrees of freedom: P(χ² > 27.88) = 0.001.
        assert!(chi < 27.88, "{chi} {counts:?}");
    }

    #[test]
    fn a_rotation_and_a_scale_change_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let x = gaussian(40, 2, &mut rng);
        let (sin, cos) = 0.7f32.sin_cos();
        let turn = ndarray::arr2(&[[3.0 * cos, 3.0 * sin], [-3.0 * sin, 3.0 * cos]]);
        let got = unbiased_cka(x.view(), x.dot(&turn).view()).expect("40 items");
        assert!((got - 1.0).abs() < 1e-5, "{got}");
    }

    #[test]
    fn null_has_mean_zero_and_the_stated_sd_on_skewed_data() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let x = gaussian(30, 5, &mut rng).mapv(|v| v.exp());
        let y = gaussian(30, 2, &mut rng).mapv(|v| v * v);
        let (x, y) = (CentredGram::linear(x.view()), CentredGram::linear(y.view()));
        let (x, y) = (x.expect("30 items"), y.expect("30 items"));
        let null = x
            .permutation_null(&y, 40_000, &mut rng)
            .expect("same items");
        let mean = null.iter().sum::<f64>() / null.len() as f64;
        let sd = (null.iter().map(|c| c * c).sum::<f64>() / null.len() as f64).sqrt();
        let stated = permutation_sd(30).expect("30 items");
        assert!(mean.abs() < 5.0 * stated / 200.0, "{mean}");
        assert!((sd / stated - 1.0).abs() < 0.05, "{sd} {stated}");
    }

    #[test]
    fn p_is_uniform_under_independence_and_least_under_identity() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut ps: Vec<f64> = (0..300)
            .map(|_| {
                let x = CentredGram::linear(gaussian(20, 30, &mut rng).view());
                let y = CentredGram::linear(gaussian(20, 10, &mut rng).view());
                let (x, y) = (x.expect("20 items"), y.expect("20 items"));
                x.p_value(&y, 199, &mut rng).expect("same items")
            })
            .collect();
        ps.sort_by(f64::total_cmp);
        let distance = ps
            .iter()
            .enumerate()
            .map(|(i, p)| (p - (i as f64 + 0.5) / 300.0).abs())
            .fold(0.0, f64::max);
        // Kolmogorov: P(D > 1.95/√300) = 0.001.
        assert!(distance < 0.113, "{distance}");
        let x = CentredGram::linear(gaussian(20, 30, &mut rng).view()).expect("20 items");
        assert_eq!(x.p_value(&x, 199, &mut rng), Some(1.0 / 200.0));
    }

    #[test]
    fn refuses_what_has_no_cka() {
        let x = Array2::from_elem((3, 2), 1.0f32);
        assert!(CentredGram::linear(x.view()).is_none());
        let constant = Array2::from_elem((6, 2), 1.0f32);
        assert_eq!(unbiased_cka(constant.view(), constant.view()), None);
        let nan = Array2::from_elem((6, 2), f32::NAN);
        assert!(CentredGram::linear(nan.view()).is_none());
        assert_eq!(permutation_sd(3), None);
    }
}
