use candle_core::Var;
use rand_chacha::ChaCha8Rng;

use crate::network::Network;
use crate::ops::{CrossEntropy, Targets, softmax};
use crate::optimizer::{AdamW, rate_at};
use crate::rows::Windows;
use crate::text::uniform;
use crate::tokenizer::BEGIN_ID;
use crate::{LabError, Schedule, Shape};

/// What a model is trained on.
#[derive(Debug)]
pub(crate) struct Material {
    /// Documents whose next token is the target.
    pub(crate) plain: Option<Windows>,
    /// Documents on which the teacher's distribution is the target.
    pub(crate) guided: Option<(Windows, Network)>,
    /// Share of the windows that is guided.
    pub(crate) share: f64,
    /// Chooses among the two.
    pub(crate) rng: ChaCha8Rng,
}

/// Windows of one update, their targets and which of them are guided.
struct Batch {
    inputs: Vec<u32>,
    targets: Vec<u32>,
    guided: Vec<bool>,
}

impl Material {
    fn batch(&mut self, windows: usize) -> Batch {
        let mut batch = Batch {
            inputs: Vec::new(),
            targets: Vec::new(),
            guided: Vec::new(),
        };
        for _ in 0..windows {
            let wanted = uniform(&mut self.rng) < self.share;
            let (window, guided) = match (&mut self.plain, &mut self.guided) {
                (_, Some((pool, _))) if wanted => (pool.draw(), true),
                (Some(pool), _) => (pool.draw(), false),
                (None, Some((pool, _))) => (pool.draw(), true),
                (None, None) => (Vec::new(), false),
            };
            let last = window.len().saturating_sub(1);
            batch.inputs.extend(&window[..last]);
            batch.targets.extend(window.iter().skip(1));
            batch.guided.push(guided);
        }
        batch
    }

    /// Targets as tokens, or, where a window is guided, as distributions.
    fn targets(&self, batch: &Batch) -> candle_core::Result<Targets> {
        let Some((_, teacher)) = self
            .guided
            .as_ref()
            .filter(|_| batch.guided.contains(&true))
        else {
            return Ok(Targets::Hard(batch.targets.clone()));
        };
        let logits = teacher.logits(&batch.inputs, batch.guided.len(), None)?;
        let vocabulary = logits.dim(1)?;
        let mut all = logits.flatten_all()?.to_vec1::<f32>()?;
        let tokens = batch.targets.len() / batch.guided.len();
        for (row, target) in all.chunks_mut(vocabulary).enumerate() {
            if batch.guided[row / tokens] {
                softmax(target);
            } else {
                target.fill(0.0);
                target[batch.targets[row] as usize] = 1.0;
            }
        }
        Ok(Targets::Soft(all))
    }
}

/// Trains `vars` in place; the mean loss (nats a token) over the last tenth of the updates.
/// `watch` is told of each update: its number from 1, and its loss.
pub(crate) fn train(
    name: &str,
    vars: &[(String, Var)],
    (shape, schedule): (&Shape, &Schedule),
    mut material: Material,
    watch: &mut dyn FnMut(u32, f64),
) -> Result<f64, LabError> {
    let shared = vars.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone()));
    let network = Network::new(shape, shared.collect())?;
    let mut optimizer = AdamW::new(vars);
    let tail = (schedule.steps / 10).max(1);
    let mut tail_loss = 0.0;
    for step in 0..schedule.steps {
        let batch = material.batch(schedule.windows);
        // A new document is no continuation of the one before it.
        let counts = |target: &u32| if *target == BEGIN_ID { 0.0 } else { 1.0 };
        let mut weights: Vec<f32> = batch.targets.iter().map(counts).collect();
        let total: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= total);
        let entropy = CrossEntropy::new(material.targets(&batch)?, weights);
        let logits = network.logits(&batch.inputs, schedule.windows, None)?;
        let loss = logits.apply_op1(entropy)?;
        let grads = loss.backward()?;
        let loss = f64::from(loss.to_scalar::<f32>()?);
        let norm = optimizer.step(&grads, rate_at(schedule, step), schedule)?;
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(LabError::NotFinite {
                model: name.into(),
                step: step + 1,
            });
        }
        if step + tail >= schedule.steps {
            tail_loss += loss / f64::from(tail);
        }
        watch(step + 1, loss);
    }
    Ok(tail_loss)
}
