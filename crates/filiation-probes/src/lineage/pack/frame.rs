//! Puts the responses of two models to the same tokens in the same frame.
//!
//! Embeddings of tokens lie close to each other in every model, so the responses to them are alike
//! whatever the weights. With the Gram matrix G of centred embeddings, (G + λ)^(−½) makes of the
//! tokens nearly orthonormal directions, the ones nearest to them (Löwdin, 1950): the responses are
//! then those of a model's weights to fixed directions, whatever basis the model uses.

use ndarray::{Array1, Array2, Axis};

/// Share of the mean eigenvalue that is added to all: directions that tokens hardly span are left
/// as short as they are, rather than blown up with what noise they hold.
const RIDGE: f64 = 0.01;

/// Most Newton steps; about fifteen are taken.
const STEPS: usize = 60;

/// (C + λ)^(−½) for the centred `gram` C of some tokens. `None` where all tokens are one.
pub(super) fn of(gram: &Array2<f64>) -> Option<Array2<f64>> {
    let n = gram.nrows();
    let mut ridged = centred_both(gram);
    let mean = ridged.diag().sum() / n as f64;
    if !(mean.is_finite() && mean > 0.0) {
        return None;
    }
    ridged.diag_mut().mapv_inplace(|x| x + RIDGE * mean);
    inverse_root(ridged)
}

/// The inverse square root of a positive definite matrix by the coupled iteration of Newton and
/// Schulz: Y → ½ Y (3 − Z Y), Z → ½ (3 − Z Y) Z from Y = A / ‖A‖, Z = 1.
fn inverse_root(matrix: Array2<f64>) -> Option<Array2<f64>> {
    let n = matrix.nrows();
    let norm = matrix.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (mut y, mut z) = (matrix / norm, Array2::<f64>::eye(n));
    for _ in 0..STEPS {
        let mut half = z.dot(&y) * -0.5;
        half.diag_mut().mapv_inplace(|x| x + 1.5);
        y = y.dot(&half);
        z = half.dot(&z);
        // Where Z Y is 1, the factor is 1.
        half.diag_mut().mapv_inplace(|x| x - 1.0);
        let left = half.iter().map(|x| x * x).sum::<f64>().sqrt();
        if !left.is_finite() {
            return None;
        }
        if left < 1e-9 {
            return Some(z / norm.sqrt());
        }
    }
    None
}

/// Rows and columns centred.
fn centred_both(gram: &Array2<f64>) -> Array2<f64> {
    let n = gram.nrows() as f64;
    let means: Array1<f64> = gram.sum_axis(Axis(0)) / n;
    let grand = means.sum() / n;
    let mut centred = gram.clone();
    for ((i, j), x) in centred.indexed_iter_mut() {
        *x += grand - means[i] - means[j];
    }
    centred
}

/// Responses, tokens × outputs, in the frame.
pub(super) fn responses(frame: &Array2<f64>, responses: &Array2<f64>) -> Array2<f64> {
    let means = responses.sum_axis(Axis(0)) / responses.nrows() as f64;
    frame.dot(&(responses - &means))
}

/// The Gram matrix of responses, tokens × tokens, in the frame.
pub(super) fn gram(frame: &Array2<f64>, gram: &Array2<f64>) -> Array2<f64> {
    frame.dot(&centred_both(gram)).dot(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_root_undoes_the_matrix() {
        let a = Array2::from_shape_fn((12, 30), |(i, j)| ((i * 31 + j * 7) % 17) as f64 - 8.0);
        let mut gram = a.dot(&a.t());
        gram.diag_mut().mapv_inplace(|x| x + 1.0);
        let root = inverse_root(gram.clone()).expect("positive definite");
        let one = root.dot(&gram).dot(&root) - Array2::<f64>::eye(12);
        assert!(one.iter().all(|x| x.abs() < 1e-6), "{one}");
    }

    #[test]
    fn one_token_has_no_frame() {
        assert_eq!(of(&Array2::ones((8, 8))), None);
        assert_eq!(of(&Array2::from_elem((8, 8), f64::NAN)), None);
    }
}
