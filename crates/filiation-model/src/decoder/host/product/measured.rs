use std::sync::Arc;
use std::time::Instant;

use super::{Packed, Rows, product};
use crate::decoder::host::Threads;
use crate::decoder::view::MatrixView;
use crate::source::{SharedBytes, WeightData};

/// A product of the kind that decoders on the processor consist of, for benches to time.
#[derive(Debug)]
pub struct Product {
    rows: Vec<f32>,
    weights: Packed,
    out: Vec<f32>,
}

struct Halves(Vec<u16>);

impl SharedBytes for Halves {
    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

fn values(count: usize) -> impl Iterator<Item = f32> {
    (0..count).map(|i| (i % 61) as f32 / 64.0 - 0.5)
}

impl Product {
    /// (`rows`, `inputs`) times the transpose of (`outputs`, `inputs`); the weights in bfloat16 if
    /// `narrow`, else in f32.
    pub fn new(rows: usize, inputs: usize, outputs: usize, narrow: bool) -> Self {
        let weights = values(outputs * inputs);
        let data = if narrow {
            let bits = weights.map(|x| half::bf16::from_f32(x).to_bits());
            WeightData::BF16(Arc::new(Halves(bits.collect())))
        } else {
            WeightData::Owned(Arc::new(weights.collect()))
        };
        Self {
            rows: values(rows * inputs).collect(),
            weights: Packed::new(&MatrixView::rows(data, outputs, inputs)),
            out: vec![0.0; rows * outputs],
        }
    }

    /// Computes it once, by all threads.
    pub fn run(&mut self) {
        let stride = self.weights.inputs();
        let rows = Rows {
            values: &self.rows,
            stride,
            count: self.rows.len() / stride,
        };
        let panels = self.weights.panels();
        product(rows, panels, false, &mut self.out, Threads::All);
    }

    /// Multiplications and additions of one computation.
    pub fn operations(&self) -> f64 {
        2.0 * self.out.len() as f64 * self.weights.inputs() as f64
    }

    /// The best rate, in operations a second, of one run or of as many as take `seconds`.
    pub fn rate(&mut self, seconds: f64) -> f64 {
        let begun = Instant::now();
        let mut best = f64::INFINITY;
        loop {
            let start = Instant::now();
            self.run();
            best = best.min(start.elapsed().as_secs_f64());
            if begun.elapsed().as_secs_f64() >= seconds {
                return self.operations() / best;
            }
        }
    }

    /// The best rate of this machine on large products in f32, operations a second.
    pub fn peak() -> f64 {
        [(576, 1536), (1536, 576), (576, 576)]
            .map(|(inputs, outputs)| Self::new(1024, inputs, outputs, false).rate(0.5))
            .into_iter()
            .fold(0.0, f64::max)
    }
}
