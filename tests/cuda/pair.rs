//! One model on the processor and on the card.

use std::path::Path;
use std::sync::Arc;

use filiation_checkpoint::{Checkpoint, Limits};
use filiation_model::{Decoder, DeviceChoice, Hidden};

use crate::CARD;

/// Largest difference of a state as a share of its layer's largest, and of a log-probability in
/// nats. It holds for weights in bf16 too: both sides widen them and compute in f32.
pub(crate) const TOLERANCE: f64 = 1e-3;

pub(crate) struct Pair {
    name: String,
    cpu: Decoder,
    card: Decoder,
}

impl Pair {
    pub(crate) fn open(folder: &Path) -> Self {
        let checkpoint = Checkpoint::open(folder, &Limits::default()).expect("a sound folder");
        let checkpoint = Arc::new(checkpoint);
        let load = |choice: DeviceChoice| {
            let device = choice.start().expect("this test needs a CUDA card");
            Decoder::load(checkpoint.config(), &checkpoint, &device).expect("loads")
        };
        Self {
            name: folder.display().to_string(),
            card: load(CARD),
            cpu: load(DeviceChoice::Cpu),
        }
    }

    /// States of every layer and log-probabilities of every position of `rows`, in one batch.
    pub(crate) fn agree(&self, rows: &[&[u32]]) {
        let layers: Vec<usize> = (0..=self.cpu.config().layers.len()).collect();
        let run = |decoder: &Decoder| decoder.hidden(rows, None, &layers).expect("runs");
        let (here, there) = (run(&self.cpu), run(&self.card));
        self.close("states", &states(&here), &states(&there));
        for layer in layers {
            let what = format!("layer {layer}");
            self.close(&what, &of_layer(&here, layer), &of_layer(&there, layer));
        }
        // Each token's successor in the packed rows; at a row's end any token does.
        let mut targets: Vec<u32> = rows.concat();
        targets.rotate_left(1);
        let score = |decoder: &Decoder, hidden: &Hidden| {
            let scored = decoder.logprobs(&hidden.states, &targets);
            scored.expect("targets inside the vocabulary")
        };
        let (here, there) = (score(&self.cpu, &here), score(&self.card, &there));
        for (here, there) in here.iter().zip(&there) {
            let off = (here - there).abs();
            // A NaN is not at most anything.
            assert!(off <= TOLERANCE, "{}: {here} and {there} nats", self.name);
        }
    }

    /// A row read token by token over a cache gives what it gives at once.
    pub(crate) fn steps_agree(&self, row: &[u32]) {
        let at_once = self.cpu.hidden(&[row], None, &[]).expect("runs");
        let mut cache = self.card.cache(1);
        let (first, rest) = row.split_at(row.len() / 2);
        let mut steps = Vec::new();
        for step in std::iter::once(first).chain(rest.chunks(1)) {
            let hidden = self.card.hidden(&[step], Some(&mut cache), &[]);
            steps.extend(states(&hidden.expect("runs")));
        }
        assert_eq!(cache.lengths(), [row.len()]);
        self.close("token by token", &states(&at_once), &steps);
    }

    fn close(&self, what: &str, here: &[f32], there: &[f32]) {
        assert_eq!(here.len(), there.len(), "{}, {what}", self.name);
        let largest = here.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        for (here, there) in here.iter().zip(there) {
            let off = f64::from((here - there).abs() / largest);
            assert!(
                off <= TOLERANCE,
                "{}, {what}: {here} and {there}",
                self.name
            );
        }
    }
}

fn states(hidden: &Hidden) -> Vec<f32> {
    let flat = hidden.states.flatten_all();
    flat.and_then(|flat| flat.to_vec1()).expect("f32")
}

fn of_layer(hidden: &Hidden, layer: usize) -> Vec<f32> {
    let flat = hidden.layers[layer].flatten_all();
    flat.and_then(|flat| flat.to_vec1()).expect("f32")
}
