//! Two fused operations with their own backward pass: over the vocabulary and over attention
//! scores, where candle's own chains of element-wise passes cost most.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// What a row of logits is held against.
#[derive(Debug, Clone)]
pub(crate) enum Targets {
    /// A token each row.
    Hard(Vec<u32>),
    /// A distribution over the vocabulary each row.
    Soft(Vec<f32>),
}

/// `sum_r weight_r * H(target_r, softmax(logits_r))` over rows of logits `(rows, vocabulary)`, nats.
#[derive(Debug)]
pub(crate) struct CrossEntropy {
    targets: Targets,
    weights: Vec<f32>,
}

impl CrossEntropy {
    /// One weight a row.
    pub(crate) const fn new(targets: Targets, weights: Vec<f32>) -> Self {
        Self { targets, weights }
    }

    fn row_loss(&self, row: usize, logits: &[f32]) -> f64 {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mass: f32 = logits.iter().map(|x| (x - top).exp()).sum();
        let log_mass = f64::from(top) + f64::from(mass).ln();
        let expected = match &self.targets {
            Targets::Hard(ids) => f64::from(logits[ids[row] as usize]),
            Targets::Soft(all) => {
                let target = &all[row * logits.len()..(row + 1) * logits.len()];
                let products = target.iter().zip(logits);
                products.map(|(p, x)| f64::from(p * x)).sum()
            }
        };
        f64::from(self.weights[row]) * (log_mass - expected)
    }

    /// `weight * (softmax(logits) - target)`, in place.
    fn row_gradient(&self, row: usize, logits: &mut [f32], scale: f32) {
        let weight = self.weights[row] * scale;
        softmax(logits);
        match &self.targets {
            Targets::Hard(ids) => logits[ids[row] as usize] -= 1.0,
            Targets::Soft(all) => {
                let target = &all[row * logits.len()..(row + 1) * logits.len()];
                logits.iter_mut().zip(target).for_each(|(x, p)| *x -= p);
            }
        }
        logits.iter_mut().for_each(|x| *x *= weight);
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (logits, width) = rows(storage, layout)?;
        let losses: Vec<f64> = (logits.par_chunks(width).enumerate())
            .map(|(row, logits)| self.row_loss(row, logits))
            .collect();
        let total = losses.iter().sum::<f64>() as f32;
        Ok((CpuStorage::F32(vec![total]), Shape::from(())))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad_res: &Tensor) -> Result<Option<Tensor>> {
        let scale = grad_res.to_scalar::<f32>()?;
        let width = arg.dim(1)?;
        let mut logits = arg.flatten_all()?.to_vec1::<f32>()?;
        (logits.par_chunks_mut(width).enumerate())
            .for_each(|(row, logits)| self.row_gradient(row, logits, scale));
        Tensor::from_vec(logits, arg.shape(), arg.device()).map(Some)
    }
}

/// Softmax of `scale * scores` over the last dimension of `(…, queries, keys)`, where the last query
/// sees every key and each earlier one sees one key less.
#[derive(Debug)]
pub(crate) struct CausalSoftmax {
    /// Multiplies the scores first.
    pub(crate) scale: f32,
}

impl CustomOp1 for CausalSoftmax {
    fn name(&self) -> &'static str {
        "causal-softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (scores, keys) = rows(storage, layout)?;
        let queries = layout.dims()[layout.dims().len() - 2];
        let mut out = scores.to_vec();
        out.par_chunks_mut(keys).enumerate().for_each(|(row, out)| {
            let (seen, hidden) = out.split_at_mut(keys - queries + row % queries + 1);
            seen.iter_mut().for_each(|x| *x *= self.scale);
            softmax(seen);
            hidden.fill(0.0);
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, arg: &Tensor, res: &Tensor, grad_res: &Tensor) -> Result<Option<Tensor>> {
        let keys = arg.dim(candle_core::D::Minus1)?;
        let probs = res.flatten_all()?.to_vec1::<f32>()?;
        let mut grads = grad_res.flatten_all()?.to_vec1::<f32>()?;
        let pairs = grads.par_chunks_mut(keys).zip(probs.par_chunks(keys));
        pairs.for_each(|(grads, probs)| {
            let mean: f32 = grads.iter().zip(probs).map(|(g, p)| g * p).sum();
            let both = grads.iter_mut().zip(probs);
            both.for_each(|(g, p)| *g = self.scale * p * (*g - mean));
        });
        Tensor::from_vec(grads, arg.shape(), arg.device()).map(Some)
    }
}

/// In place, over all of `values`.
pub(crate) fn softmax(values: &mut [f32]) {
    let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|x| *x = (*x - top).exp());
    let mass: f32 = values.iter().sum();
    values.iter_mut().for_each(|x| *x /= mass);
}

/// The contiguous f32 data and the size of its last dimension.
fn rows<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<(&'a [f32], usize)> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!(
            "expected contiguous data, got strides {:?}",
            layout.stride()
        );
    };
    let width = layout.dims().last().copied().unwrap_or(1);
    Ok((&storage.as_slice::<f32>()?[start..end], width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// Largest difference of the gradient to central differences of `f`.
    fn check(values: &[f32], shape: &[usize], f: impl Fn(&Tensor) -> Tensor) -> f64 {
        let at = |v: &[f32]| Tensor::from_slice(v, shape, &Device::Cpu).expect("tensor");
        let var = Var::from_tensor(&at(values)).expect("var");
        let grads = f(&var).backward().expect("backward");
        let grad = grads
            .get(&var)
            .expect("a gradient")
            .flatten_all()
            .expect("flat");
        let grad = grad.to_vec1::<f32>().expect("f32");
        let scalar = |v: &[f32]| f64::from(f(&at(v)).to_scalar::<f32>().expect("scalar"));
        let difference = |i: usize| {
            let step = 1e-2;
            let moved = |by: f32| {
                let mut v = values.to_vec();
                v[i] += by;
                scalar(&v)
            };
            (moved(step) - moved(-step)) / (2.0 * f64::from(step))
        };
        (0..values.len())
            .map(|i| (difference(i) - f64::from(grad[i])).abs())
            .fold(0.0, f64::max)
    }

    const VALUES: [f32; 12] = [
        0.3, -1.2, 0.8, 0.1, 2.0, -0.4, 0.0, 0.9, -2.1, 0.7, 0.2, -0.6,
    ];

    #[test]
    fn cross_entropy_has_the_right_gradient() {
        let soft = vec![
            0.1, 0.2, 0.3, 0.4, 0.7, 0.1, 0.1, 0.1, 0.25, 0.25, 0.25, 0.25,
        ];
        for targets in [Targets::Hard(vec![2, 0, 3]), Targets::Soft(soft)] {
            let weights = vec![0.5, 0.0, 1.5];
            let loss = |x: &Tensor| {
                x.apply_op1(CrossEntropy::new(targets.clone(), weights.clone()))
                    .expect("loss")
            };
            assert!(check(&VALUES, &[3, 4], loss) < 2e-3);
        }
    }

    #[test]
    fn cross_entropy_of_equal_logits_is_log_of_the_vocabulary() {
        let logits = Tensor::zeros((2, 8), candle_core::DType::F32, &Device::Cpu).expect("zeros");
        let op = CrossEntropy::new(Targets::Hard(vec![1, 7]), vec![0.5, 0.5]);
        let loss = logits.apply_op1(op).expect("loss");
        let loss = loss.to_scalar::<f32>().expect("scalar");
        assert!((loss - 8_f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn causal_softmax_has_the_right_gradient_and_hides_the_future() {
        let weight = [
            0.4_f32, -0.3, 1.1, 0.6, 0.2, -0.9, 0.5, 1.3, -0.2, 0.8, 0.1, 0.7,
        ];
        let probs = |x: &Tensor| x.apply_op1(CausalSoftmax { scale: 0.7 }).expect("softmax");
        let loss = |x: &Tensor| {
            let w = Tensor::from_slice(&weight, x.shape(), &Device::Cpu).expect("weights");
            (probs(x) * w).expect("product").sum_all().expect("sum")
        };
        // Two heads; two queries over three keys, as with one cached position.
        assert!(check(&VALUES, &[2, 2, 3], loss) < 2e-3);
        let x = Tensor::from_slice(&VALUES, (2, 2, 3), &Device::Cpu).expect("tensor");
        let rows: Vec<Vec<Vec<f32>>> = probs(&x).to_vec3().expect("rows");
        for head in rows {
            assert_eq!(head[0][2], 0.0);
            assert!(head[1][2] > 0.0);
            head.iter()
                .for_each(|row| assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6));
        }
    }
}
