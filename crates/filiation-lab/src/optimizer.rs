use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use rayon::prelude::*;

use crate::{LabError, Schedule};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.95;
const EPSILON: f32 = 1e-8;

/// AdamW (Loshchilov and Hutter, 2019) with the gradient's norm clipped. Decay on matrices only.
#[derive(Debug)]
pub(crate) struct AdamW {
    slots: Vec<Slot>,
    steps: i32,
}

#[derive(Debug)]
struct Slot {
    name: String,
    var: Var,
    first: Vec<f32>,
    second: Vec<f32>,
}

/// Rate at `step` (from 0): linear warm-up, then half a cosine down to `floor * rate`.
pub(crate) fn rate_at(schedule: &Schedule, step: u32) -> f64 {
    let (step, warmup) = (f64::from(step), f64::from(schedule.warmup));
    if step < warmup {
        return schedule.rate * (step + 1.0) / warmup;
    }
    let left = (f64::from(schedule.steps) - warmup).max(1.0);
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * (step - warmup) / left).cos());
    schedule.rate * (schedule.floor + (1.0 - schedule.floor) * cosine)
}

impl AdamW {
    pub(crate) fn new(vars: &[(String, Var)]) -> Self {
        let slots = vars.iter().map(|(name, var)| Slot {
            name: name.clone(),
            var: var.clone(),
            first: vec![0.0; var.elem_count()],
            second: vec![0.0; var.elem_count()],
        });
        Self {
            slots: slots.collect(),
            steps: 0,
        }
    }

    /// One update; the gradient's norm before clipping.
    ///
    /// # Errors
    /// [`LabError::NoGradient`] when a parameter has none.
    pub(crate) fn step(
        &mut self,
        grads: &GradStore,
        rate: f64,
        schedule: &Schedule,
    ) -> Result<f64, LabError> {
        let mut all = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let grad = grads.get(&slot.var).ok_or_else(|| LabError::NoGradient {
                tensor: slot.name.clone(),
            })?;
            all.push(grad.flatten_all()?.to_vec1::<f32>()?);
        }
        let square = |grad: &Vec<f32>| grad.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
        let norm = all.iter().map(square).sum::<f64>().sqrt();
        let scale = (schedule.clip / norm.max(schedule.clip)) as f32;
        self.steps += 1;
        let steps = self.steps;
        let jobs: Vec<_> = self.slots.iter_mut().zip(all).collect();
        jobs.into_par_iter()
            .try_for_each(|(slot, grad)| slot.update(&grad, scale, rate as f32, steps, schedule))?;
        Ok(norm)
    }
}

impl Slot {
    fn update(
        &mut self,
        grad: &[f32],
        scale: f32,
        rate: f32,
        steps: i32,
        schedule: &Schedule,
    ) -> candle_core::Result<()> {
        let (unbias1, unbias2) = (1.0 - BETA1.powi(steps), 1.0 - BETA2.powi(steps));
        let matrix = self.var.rank() > 1;
        let decay = if matrix {
            schedule.weight_decay as f32
        } else {
            0.0
        };
        let mut values = self.var.flatten_all()?.to_vec1::<f32>()?;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((value, grad), (first, second)) in values.iter_mut().zip(grad).zip(moments) {
            let grad = grad * scale;
            *first = BETA1 * *first + (1.0 - BETA1) * grad;
            *second = BETA2 * *second + (1.0 - BETA2) * grad * grad;
            let move_by = (*first / unbias1) / ((*second / unbias2).sqrt() + EPSILON);
            *value -= rate * (move_by + decay * *value);
        }
        self.var.set(&Tensor::from_vec(
            values,
            self.var.shape(),
            self.var.device(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    const SCHEDULE: Schedule = Schedule {
        steps: 110,
        windows: 1,
        rate: 0.1,
        warmup: 10,
        floor: 0.1,
        weight_decay: 0.0,
        clip: 1.0,
    };

    #[test]
    fn rate_rises_then_falls_to_the_floor() {
        assert!((rate_at(&SCHEDULE, 0) - 0.01).abs() < 1e-12);
        assert!((rate_at(&SCHEDULE, 10) - 0.1).abs() < 1e-12);
        assert!((rate_at(&SCHEDULE, 60) - 0.055).abs() < 1e-12);
        assert!((rate_at(&SCHEDULE, 110) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn first_step_is_the_rate_whatever_the_gradients_size() {
        let var = Var::from_slice(&[1.0_f32, -2.0], 2, &Device::Cpu).expect("var");
        let mut adam = AdamW::new(&[("x".into(), var.clone())]);
        let loss = (var.as_tensor() * 50.0)
            .and_then(|x| x.sum_all())
            .expect("loss");
        let grads = loss.backward().expect("backward");
        let norm = adam.step(&grads, 0.1, &SCHEDULE).expect("steps");
        assert!((norm - 50.0 * 2_f64.sqrt()).abs() < 1e-6);
        let after = var.to_vec1::<f32>().expect("values");
        assert!((after[0] - 0.9).abs() < 1e-6 && (after[1] + 2.1).abs() < 1e-6);
    }

    #[test]
    fn a_parameter_without_a_gradient_is_named() {
        let seen = Var::from_slice(&[1.0_f32], 1, &Device::Cpu).expect("var");
        let unseen = Var::from_slice(&[1.0_f32], 1, &Device::Cpu).expect("var");
        let mut adam = AdamW::new(&[("seen".into(), seen.clone()), ("unseen".into(), unseen)]);
        let grads = seen
            .sqr()
            .and_then(|x| x.sum_all()?.backward())
            .expect("backward");
        let error = adam.step(&grads, 0.1, &SCHEDULE).expect_err("refused");
        assert!(matches!(error, LabError::NoGradient { tensor } if tensor == "unseen"));
    }
}
