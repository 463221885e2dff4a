//! Loss and gradient of a batch, its windows cut into shards that threads work on one by one. The
//! cut depends on the batch alone, and sums have a fixed order: any number of threads gives the same
//! bytes.

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use crate::backward::{Gradient, Slopes};
use crate::head::{Goals, Logits};
use crate::network::{Network, Trace};
use crate::tokenizer::BEGIN_ID;

/// Most shards of a batch; each has a gradient of its own.
const MOST: usize = 8;
/// A shard has at least this many rows, if it can.
const LEAST_ROWS: usize = 192;
/// Rows of a shard that go through the network together, about.
const PIECE_ROWS: usize = 256;

/// Windows of one update, their targets and which of them are guided by the teacher.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) inputs: Vec<u32>,
    pub(crate) targets: Vec<u32>,
    pub(crate) guided: Vec<bool>,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.inputs.clear();
        self.targets.clear();
        self.guided.clear();
    }

    /// One more window: its tokens but the last are read, those but the first are the targets.
    pub(crate) fn push(&mut self, window: &[u32], guided: bool) {
        self.inputs.extend(&window[..window.len() - 1]);
        self.targets.extend(&window[1..]);
        self.guided.push(guided);
    }
}

/// Buffers of one thread.
#[derive(Debug)]
struct Room {
    trace: Trace,
    slopes: Slopes,
    logits: Logits,
    taught: Option<Trace>,
}

/// The gradients of the shards of a batch of `windows` windows, and the buffers they are made in.
#[derive(Debug)]
pub(crate) struct Shards {
    windows: usize,
    tokens: usize,
    /// Windows of a piece.
    piece: usize,
    /// NaN where nothing was written yet.
    pub(crate) gradients: Vec<Vec<f32>>,
    losses: Vec<f64>,
    rooms: Mutex<Vec<Room>>,
}

impl Shards {
    pub(crate) fn new(network: &Network, windows: usize) -> Self {
        let tokens = network.shape.context;
        let shards = (windows * tokens / LEAST_ROWS).clamp(1, MOST).min(windows);
        Self {
            windows,
            tokens,
            piece: (PIECE_ROWS / tokens).max(1),
            gradients: vec![vec![f32::NAN; network.values.len()]; shards],
            losses: vec![0.0; shards],
            rooms: Mutex::new(Vec::new()),
        }
    }

    /// The mean loss of `batch`, nats a token; its gradient is the sum of `gradients` afterwards.
    pub(crate) fn run(
        &mut self,
        network: &Network,
        teacher: Option<&Network>,
        batch: &Batch,
    ) -> f64 {
        let counted = batch.targets.iter().filter(|t| **t != BEGIN_ID).count();
        let weight = 1.0 / counted as f32;
        let (windows, shards) = (self.windows, self.gradients.len());
        let this = (self.piece, self.tokens, &self.rooms);
        (self
            .gradients
            .par_iter_mut()
            .zip(&mut self.losses)
            .enumerate())
        .for_each(|(shard, (gradient, loss))| {
            let (piece, tokens, rooms) = this;
            let mut room =
                take(rooms).unwrap_or_else(|| Room::new(network, teacher, piece * tokens));
            *loss = 0.0;
            let (from, to) = (shard * windows / shards, (shard + 1) * windows / shards);
            for first in (from..to).step_by(piece) {
                let part = Part {
                    batch,
                    tokens,
                    windows: first..to.min(first + piece),
                    weight,
                };
                let mut gradient = Gradient {
                    values: gradient,
                    adds: first > from,
                };
                *loss += room.run(network, teacher, &part, &mut gradient);
            }
            give(rooms, room);
        });
        self.losses.iter().sum()
    }
}

fn take(rooms: &Mutex<Vec<Room>>) -> Option<Room> {
    rooms.lock().unwrap_or_else(|e| e.into_inner()).pop()
}

fn give(rooms: &Mutex<Vec<Room>>, room: Room) {
    rooms.lock().unwrap_or_else(|e| e.into_inner()).push(room);
}

/// Windows of a batch that go through the network together.
struct Part<'a> {
    batch: &'a Batch,
    tokens: usize,
    windows: Range<usize>,
    weight: f32,
}

impl Room {
    fn new(network: &Network, teacher: Option<&Network>, rows: usize) -> Self {
        Self {
            trace: Trace::new(&network.shape, rows),
            slopes: Slopes::new(network, rows),
            logits: Logits::new(network.vocabulary, rows, teacher.is_some()),
            taught: teacher.map(|t| Trace::new(&t.shape, rows)),
        }
    }

    /// The part's share of the loss; its gradient goes into `gradient`.
    fn run(
        &mut self,
        network: &Network,
        teacher: Option<&Network>,
        part: &Part<'_>,
        gradient: &mut Gradient<'_>,
    ) -> f64 {
        let rows = part.windows.start * part.tokens..part.windows.end * part.tokens;
        let ids = &part.batch.inputs[rows.clone()];
        let guided = &part.batch.guided[part.windows.clone()];
        let mut taught = None;
        if let (Some(teacher), Some(trace)) = (teacher, &mut self.taught)
            && guided.contains(&true)
        {
            teacher.forward(ids, part.tokens, trace);
            taught = Some((teacher, &trace.hidden[..]));
        }
        let goals = Goals {
            targets: &part.batch.targets[rows],
            weight: part.weight,
            guided,
            tokens: part.tokens,
            teacher: taught,
        };
        network.forward(ids, part.tokens, &mut self.trace);
        let n = ids.len() * network.shape.hidden;
        let (hidden, to_hidden) = (&self.trace.hidden[..n], &mut self.slopes.normed[..n]);
        let to_embedding = &mut gradient.values[network.layout.embedding.clone()];
        let to_embedding = (to_embedding, gradient.adds);
        let loss = network.score(hidden, &goals, &mut self.logits, to_hidden, to_embedding);
        network.backward(
            ids,
            part.tokens,
            &mut self.trace,
            &mut self.slopes,
            gradient,
        );
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::{network, tiny};
    use crate::optimizer::AdamW;
    use crate::oracle::Oracle;
    use crate::text::{Stream, stream, uniform};
    use crate::{LabError, Schedule, Shape};

    /// Windows of random tokens, some of which begin documents; every third is guided.
    fn batch(shape: &Shape, windows: usize) -> Batch {
        let mut rng = stream(9, Stream::Order);
        let mut batch = Batch::default();
        for i in 0..windows {
            let token = |_| (uniform(&mut rng) * 31.0) as u32;
            let window: Vec<u32> = (0..=shape.context).map(token).collect();
            batch.push(&window, i % 3 == 1);
        }
        batch
    }

    fn sum(shards: &Shards) -> Vec<f32> {
        let mut total = shards.gradients[0].clone();
        for other in &shards.gradients[1..] {
            total.iter_mut().zip(other).for_each(|(t, g)| *t += g);
        }
        total
    }

    fn check(shape: &Shape, windows: usize, teacher: Option<&Network>) {
        let network = network(shape, 3);
        let batch = batch(shape, windows);
        let mut shards = Shards::new(&network, windows);
        // The second run finds the buffers as the first left them.
        shards.run(&network, teacher, &batch);
        let loss = shards.run(&network, teacher, &batch);
        let oracle = Oracle::new(&network).expect("oracle");
        let teacher = teacher.map(|t| Oracle::new(t).expect("oracle"));
        let (want, gradients) = oracle
            .gradients(teacher.as_ref(), &batch)
            .expect("gradients");
        assert!((loss - want).abs() < 1e-5, "loss {loss}, expected {want}");
        let total = sum(&shards);
        for tensor in &network.layout.tensors {
            let want = &gradients[&tensor.name];
            let size = want.iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!(size > 1e-6, "{}: gradient vanishes", tensor.name);
            let pairs = total[tensor.span.clone()].iter().zip(want);
            let off: f64 = pairs.map(|(g, w)| (f64::from(*g) - w).powi(2)).sum();
            let off = off.sqrt() / size;
            assert!(off < 2e-5, "{}: off by {off:e} of its size", tensor.name);
        }
    }

    #[test]
    fn gradients_are_those_of_automatic_differentiation() {
        check(&tiny(), 1, None);
        // Eight shards of two pieces, the last of which is short.
        check(&tiny(), 200, None);
        // Blocks of queries, the last of which is short; no shared key heads; odd sizes.
        let long = Shape {
            layers: 1,
            kv_heads: 4,
            intermediate: 37,
            context: 75,
            ..tiny()
        };
        check(&long, 3, None);
    }

    #[test]
    fn gradients_towards_a_teacher_are_those_of_automatic_differentiation() {
        let narrow = Shape {
            layers: 1,
            hidden: 8,
            heads: 2,
            ..tiny()
        };
        check(&tiny(), 40, Some(&network(&narrow, 8)));
    }

    #[test]
    fn a_step_along_the_gradient_moves_the_loss_as_far_as_it_says() {
        let mut network = network(&tiny(), 3);
        let batch = batch(&tiny(), 4);
        let mut shards = Shards::new(&network, 4);
        shards.run(&network, None, &batch);
        let gradient = sum(&shards);
        let start = network.values.clone();
        for tensor in network.layout.tensors.clone() {
            let part = &gradient[tensor.span.clone()];
            let square: f64 = part.iter().map(|g| f64::from(g * g)).sum();
            let step = 1e-2 / square.sqrt();
            let mut moved = |sign: f64| {
                let values = network.values[tensor.span.clone()].iter_mut();
                for ((value, start), g) in values.zip(&start[tensor.span.clone()]).zip(part) {
                    *value = start + (sign * step) as f32 * g;
                }
                let loss = shards.run(&network, None, &batch);
                network.values.copy_from_slice(&start);
                loss
            };
            let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
            let name = &tensor.name;
            assert!(
                (slope / square - 1.0).abs() < 0.02,
                "{name}: {slope} for {square}"
            );
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        let network = network(&tiny(), 3);
        let batch = batch(&tiny(), 200);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads").install(|| {
                let mut shards = Shards::new(&network, 200);
                assert_eq!(shards.gradients.len(), MOST);
                let loss = shards.run(&network, None, &batch);
                (loss, sum(&shards))
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3));
    }

    #[test]
    fn a_parameter_whose_gradient_is_not_written_is_named() {
        const SCHEDULE: Schedule = Schedule {
            steps: 1,
            windows: 40,
            rate: 0.1,
            warmup: 0,
            floor: 0.1,
            weight_decay: 0.0,
            clip: 1.0,
        };
        let start = network(&tiny(), 3);
        for tensor in &start.layout.tensors {
            let mut network = start.clone();
            let mut shards = Shards::new(&network, 40);
            shards.run(&network, None, &batch(&tiny(), 40));
            // As fresh buffers are where no backward pass writes.
            shards.gradients[1][tensor.span.clone()].fill(f32::NAN);
            let mut adam = AdamW::new(&network.layout.tensors);
            let (values, gradients) = (&mut network.values, &mut shards.gradients);
            let error = adam
                .step(values, gradients, 0.1, &SCHEDULE)
                .expect_err("refused");
            assert!(matches!(error, LabError::NoGradient { tensor: t } if t == tensor.name));
            assert_eq!(network.values, start.values, "moved all the same");
        }
    }
}
