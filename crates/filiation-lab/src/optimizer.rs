use std::ops::Range;

use rayon::prelude::*;

use crate::kernels::{add, widest};
use crate::parameters::Tensor;
use crate::{LabError, Schedule};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.95;
const EPSILON: f32 = 1e-8;

/// Parameters that one task updates.
const PART: usize = 1 << 14;

/// AdamW (Loshchilov and Hutter, 2019) with the gradient's norm clipped. Decay on matrices only.
#[derive(Debug)]
pub(crate) struct AdamW {
    tensors: Vec<Tensor>,
    first: Vec<f32>,
    second: Vec<f32>,
    squares: Vec<f64>,
    steps: i32,
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

/// What one update multiplies by.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    clip: f32,
    rate: f32,
    decay: f32,
    unbias1: f32,
    unbias2: f32,
}

impl AdamW {
    /// For parameters that lie as `tensors` says, one behind the other.
    pub(crate) fn new(tensors: &[Tensor]) -> Self {
        let count = tensors.last().map_or(0, |tensor| tensor.span.end);
        Self {
            tensors: tensors.to_vec(),
            first: vec![0.0; count],
            second: vec![0.0; count],
            squares: vec![0.0; count.div_ceil(PART)],
            steps: 0,
        }
    }

    /// One update by the sum of `gradients`, which all hold NaN where nothing was written yet; the
    /// sum's norm before clipping.
    ///
    /// # Errors
    /// [`LabError::NoGradient`] when a parameter has none.
    pub(crate) fn step(
        &mut self,
        values: &mut [f32],
        gradients: &mut [Vec<f32>],
        rate: f64,
        schedule: &Schedule,
    ) -> Result<f64, LabError> {
        let Some((sum, others)) = gradients.split_first_mut() else {
            return Ok(0.0);
        };
        (sum.par_chunks_mut(PART).zip(&mut self.squares).enumerate()).for_each(
            |(part, (sum, square))| {
                let span = part * PART..part * PART + sum.len();
                others
                    .iter()
                    .for_each(|other| add(sum, &other[span.clone()]));
                *square = sum_of_squares(sum);
            },
        );
        if self.steps == 0 {
            self.require_all(sum)?;
        }
        self.steps += 1;
        let norm = self.squares.iter().sum::<f64>().sqrt();
        let factors = Factors {
            clip: (schedule.clip / norm.max(schedule.clip)) as f32,
            rate: rate as f32,
            decay: schedule.weight_decay as f32,
            unbias1: 1.0 / (1.0 - BETA1.powi(self.steps)),
            unbias2: 1.0 / (1.0 - BETA2.powi(self.steps)),
        };
        let moments = (self.first.par_chunks_mut(PART)).zip(self.second.par_chunks_mut(PART));
        let parts = values.par_chunks_mut(PART).zip(sum.par_chunks(PART));
        let tensors = &self.tensors;
        (parts.zip(moments).enumerate()).for_each(
            |(part, ((values, gradient), (first, second)))| {
                for (span, decays) in pieces(tensors, part * PART, values.len()) {
                    let decay = if decays { factors.decay } else { 0.0 };
                    let factors = Factors { decay, ..factors };
                    let moments = (&mut first[span.clone()], &mut second[span.clone()]);
                    update(&mut values[span.clone()], &gradient[span], moments, factors);
                }
            },
        );
        Ok(norm)
    }

    /// Whether each tensor has a gradient somewhere.
    fn require_all(&self, gradient: &[f32]) -> Result<(), LabError> {
        let without = |t: &&Tensor| gradient[t.span.clone()].iter().all(|g| g.is_nan());
        match self.tensors.iter().find(without) {
            Some(tensor) => Err(LabError::NoGradient {
                tensor: tensor.name.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// The pieces of `count` parameters from `start` on that lie in one tensor each, counted from
/// `start`, and whether it is a matrix.
fn pieces(
    tensors: &[Tensor],
    start: usize,
    count: usize,
) -> impl Iterator<Item = (Range<usize>, bool)> {
    let touched = tensors.partition_point(|t| t.span.end <= start);
    let inside = move |t: &&Tensor| t.span.start < start + count;
    tensors[touched..].iter().take_while(inside).map(move |t| {
        let from = t.span.start.saturating_sub(start);
        (from..(t.span.end - start).min(count), t.dims.len() > 1)
    })
}

widest! {
    fn sum_of_squares(x: &[f32]) -> f64 {
        let mut lanes = [0.0_f64; 16];
        let (chunks, rest) = x.as_chunks::<16>();
        for chunk in chunks {
            for i in 0..16 {
                lanes[i] += f64::from(chunk[i]) * f64::from(chunk[i]);
            }
        }
        let rest = rest.iter().map(|x| f64::from(*x).powi(2));
        lanes.iter().sum::<f64>() + rest.sum::<f64>()
    }
}

widest! {
    fn update(
        values: &mut [f32],
        gradient: &[f32],
        moments: (&mut [f32], &mut [f32]),
        by: Factors,
    ) {
        let moments = moments.0.iter_mut().zip(moments.1);
        for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
            let gradient = gradient * by.clip;
            *first = BETA1 * *first + (1.0 - BETA1) * gradient;
            *second = BETA2 * *second + (1.0 - BETA2) * gradient * gradient;
            let step = (*first * by.unbias1) / ((*second * by.unbias2).sqrt() + EPSILON);
            *value -= by.rate * (step + by.decay * *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::tiny;
    use crate::parameters::Layout;

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
        let layout = Layout::new(&tiny(), 31);
        let mut values = vec![1.0; layout.len()];
        // Two shards whose sum is 50 and -50 in turns.
        let half = |i: usize| if i.is_multiple_of(2) { 25.0 } else { -25.0 };
        let mut gradients = vec![(0..layout.len()).map(half).collect::<Vec<f32>>(); 2];
        let mut adam = AdamW::new(&layout.tensors);
        let norm = (adam.step(&mut values, &mut gradients, 0.1, &SCHEDULE)).expect("steps");
        assert!((norm / (50.0 * (layout.len() as f64).sqrt()) - 1.0).abs() < 1e-9);
        let want = |i: usize| if i.is_multiple_of(2) { 0.9 } else { 1.1 };
        let off = (values.iter().enumerate()).map(|(i, v)| (v - want(i)).abs());
        assert!(off.fold(0.0, f32::max) < 1e-5);
    }

    #[test]
    fn only_matrices_decay() {
        let layout = Layout::new(&tiny(), 2_000);
        assert!(layout.len() > 2 * PART, "several parts");
        let mut values = vec![1.0; layout.len()];
        let mut gradients = vec![vec![0.0; layout.len()]];
        let schedule = Schedule {
            weight_decay: 0.5,
            ..SCHEDULE
        };
        let mut adam = AdamW::new(&layout.tensors);
        (adam.step(&mut values, &mut gradients, 0.1, &schedule)).expect("steps");
        for tensor in &layout.tensors {
            let want = if tensor.dims.len() > 1 { 0.95 } else { 1.0 };
            for value in &values[tensor.span.clone()] {
                assert!((value - want).abs() < 1e-6, "{}: {value}", tensor.name);
            }
        }
    }
}
