use rand_chacha::ChaCha8Rng;

use crate::network::Network;
use crate::optimizer::{AdamW, rate_at};
use crate::parameters::{Layout, Tensor, initialise};
use crate::rows::Windows;
use crate::shards::{Batch, Shards};
use crate::text::{Stream, stream, uniform};
use crate::{LabError, Schedule, Shape};

/// Puts one more window into a batch.
type Draw<'a> = &'a mut dyn FnMut(&mut Batch);
/// Is told of an update: its number from 1, and its loss.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(u32, f64);

/// What a model is trained on.
#[derive(Debug)]
pub(crate) struct Material {
    /// Documents whose next token is the target.
    pub(crate) plain: Option<Windows>,
    /// Documents on which the teacher's distribution is the target.
    pub(crate) guided: Option<Windows>,
    /// Whose distribution it is.
    pub(crate) teacher: Option<Network>,
    /// Share of the windows that is guided.
    pub(crate) share: f64,
    /// Chooses among the two.
    pub(crate) rng: ChaCha8Rng,
}

impl Material {
    /// Trains `network` in place; the mean loss (nats a token) over the last tenth of the updates.
    /// `watch` is told of each update: its number from 1, and its loss.
    pub(crate) fn train(
        self,
        name: &str,
        network: &mut Network,
        schedule: &Schedule,
        watch: Watch<'_>,
    ) -> Result<f64, LabError> {
        let Self {
            mut plain,
            mut guided,
            teacher,
            share,
            mut rng,
        } = self;
        let mut draw = |batch: &mut Batch| {
            let wanted = uniform(&mut rng) < share;
            match (&mut plain, &mut guided) {
                (_, Some(pool)) if wanted => batch.push(pool.draw(), true),
                (Some(pool), _) => batch.push(pool.draw(), false),
                (None, Some(pool)) => batch.push(pool.draw(), true),
                (None, None) => {}
            }
        };
        train(name, network, teacher.as_ref(), schedule, &mut draw, watch)
    }
}

/// What is trained: parameters, and the loss of batches that it draws itself.
pub(crate) trait Learner {
    /// The mean loss (nats a token) of the next batch. Its gradient is the sum of [`Self::parts`]'
    /// afterwards.
    fn learn(&mut self) -> f64;

    /// The parameters, and gradients as [`AdamW::step`] takes them.
    fn parts(&mut self) -> (&mut [f32], &mut [Vec<f32>]);
}

/// Updates `learner`, whose parameters lie as `tensors` says; the mean loss over the last tenth of
/// the updates.
pub(crate) fn descend(
    name: &str,
    tensors: &[Tensor],
    schedule: &Schedule,
    learner: &mut dyn Learner,
    watch: Watch<'_>,
) -> Result<f64, LabError> {
    let mut optimizer = AdamW::new(tensors);
    let tail = (schedule.steps / 10).max(1);
    let mut tail_loss = 0.0;
    for step in 0..schedule.steps {
        let loss = learner.learn();
        let rate = rate_at(schedule, step);
        let norm = if loss.is_finite() {
            let (values, gradients) = learner.parts();
            optimizer.step(values, gradients, rate, schedule)?
        } else {
            f64::NAN
        };
        if !norm.is_finite() {
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

/// A whole network that learns from windows.
struct Whole<'a> {
    network: &'a mut Network,
    teacher: Option<&'a Network>,
    shards: Shards,
    batch: Batch,
    windows: usize,
    draw: Draw<'a>,
}

impl Learner for Whole<'_> {
    fn learn(&mut self) -> f64 {
        self.batch.clear();
        (0..self.windows).for_each(|_| (self.draw)(&mut self.batch));
        self.shards.run(self.network, self.teacher, &self.batch)
    }

    fn parts(&mut self) -> (&mut [f32], &mut [Vec<f32>]) {
        (&mut self.network.values, &mut self.shards.gradients)
    }
}

/// Trains `network` on the windows that the first closure draws, as [`Material::train`].
fn train(
    name: &str,
    network: &mut Network,
    teacher: Option<&Network>,
    schedule: &Schedule,
    draw: Draw<'_>,
    watch: Watch<'_>,
) -> Result<f64, LabError> {
    let tensors = network.layout.tensors.clone();
    let mut whole = Whole {
        shards: Shards::new(network, schedule.windows),
        network,
        teacher,
        batch: Batch::default(),
        windows: schedule.windows,
        draw,
    };
    descend(name, &tensors, schedule, &mut whole, watch)
}

/// Trains a model from its own initialisation on given windows, in their order and again from the
/// first; the loss (nats a token) of each update. `watch` is told of each update as it is made: its
/// number from 1, and its loss. Nothing is written: this is what the benches time.
///
/// # Errors
/// When a number of the shape or schedule cannot be trained with, a window does not hold
/// `shape.context + 1` tokens of the vocabulary, or training diverges.
pub fn train_windows(
    shape: &Shape,
    vocabulary: usize,
    schedule: &Schedule,
    seed: u64,
    windows: &[Vec<u32>],
    watch: &mut dyn FnMut(u32, f64),
) -> Result<Vec<f64>, LabError> {
    shape.check("shape")?;
    schedule.check("schedule")?;
    check_windows(shape, vocabulary, windows)?;
    let mut rng = stream(seed, Stream::Initialise);
    let values = initialise(shape, &Layout::new(shape, vocabulary), &mut rng);
    let mut network = Network::new(shape, vocabulary, values);
    let mut order = windows.iter().cycle();
    let mut draw = |batch: &mut Batch| {
        if let Some(window) = order.next() {
            batch.push(window, false);
        }
    };
    let mut losses = Vec::new();
    let mut both = |step, loss| {
        losses.push(loss);
        watch(step, loss);
    };
    train(
        "windows",
        &mut network,
        None,
        schedule,
        &mut draw,
        &mut both,
    )?;
    Ok(losses)
}

fn check_windows(shape: &Shape, vocabulary: usize, windows: &[Vec<u32>]) -> Result<(), LabError> {
    let wrong = |field, got, expected| LabError::Value {
        owner: "windows".into(),
        field,
        got,
        expected,
    };
    if windows.is_empty() {
        return Err(wrong("number", 0.0, "at least 1"));
    }
    let length = |w: &&Vec<u32>| w.len() != shape.context + 1;
    if let Some(window) = windows.iter().find(length) {
        let length = window.len() as f64;
        return Err(wrong("length", length, "context + 1"));
    }
    let outside = windows
        .iter()
        .flatten()
        .find(|t| **t as usize >= vocabulary);
    outside.map_or(Ok(()), |token| {
        Err(wrong("token", f64::from(*token), "below the vocabulary"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::tiny;

    const SCHEDULE: Schedule = Schedule {
        steps: 12,
        windows: 200,
        rate: 1e-2,
        warmup: 2,
        floor: 0.1,
        weight_decay: 0.01,
        clip: 1.0,
    };

    fn windows() -> Vec<Vec<u32>> {
        let window = |i: u32| (0..13).map(move |j| 2 + (i + j) % 29).collect();
        (0..300).map(window).collect()
    }

    #[test]
    fn given_windows_are_learned_the_same_on_any_number_of_threads() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let mut seen = Vec::new();
            let losses = pool.expect("threads").install(|| {
                let mut watch = |step, loss| seen.push((step, loss));
                train_windows(&tiny(), 31, &SCHEDULE, 1, &windows(), &mut watch)
            });
            let losses = losses.expect("trains");
            let told: Vec<(u32, f64)> = (1..).zip(losses.iter().copied()).collect();
            assert_eq!(seen, told);
            losses
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3));
        assert!(
            (one[0] - 31_f64.ln()).abs() < 0.5 && one[11] < one[0] - 0.5,
            "{one:?}"
        );
    }

    #[test]
    fn windows_that_do_not_fit_are_refused() {
        let refused = |windows: &[Vec<u32>]| {
            train_windows(&tiny(), 31, &SCHEDULE, 1, windows, &mut |_, _| ())
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(refused(&[]), "`windows`: number is 0, expected at least 1");
        let short = refused(&[vec![2; 13], vec![2; 12]]);
        assert_eq!(short, "`windows`: length is 12, expected context + 1");
        let outside = refused(&[vec![31; 13]]);
        assert_eq!(
            outside,
            "`windows`: token is 31, expected below the vocabulary"
        );
    }
}
