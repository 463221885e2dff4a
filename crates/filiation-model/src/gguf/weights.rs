//! GGUF weights for tests on weights: names, rows and norms as transformers has them.

use std::ops::Range;

use filiation_checkpoint::config::ModelConfig;
use filiation_checkpoint::{CheckpointError, Dtype, Lattices, ModelWeights, Stored};
use filiation_core::ModelIdentity;

use candle_core::quantized::GgmlDType;

use super::names::Change;
use super::{Gguf, lattice, tokenizer};
use crate::error::LoadError;
use crate::source::WeightSource;

impl ModelWeights for Gguf {
    fn identity(&self) -> &ModelIdentity {
        Self::identity(self)
    }

    fn config(&self) -> &ModelConfig {
        Self::config(self)
    }

    fn stored(&self, name: &str) -> Result<Stored<'_>, CheckpointError> {
        let (_, info, _) = self.find_tensor(name).map_err(reader)?;
        let dtype = match info.dtype {
            GgmlDType::F32 => Some(Dtype::F32),
            GgmlDType::F16 => Some(Dtype::F16),
            GgmlDType::BF16 => Some(Dtype::BF16),
            _ => None,
        };
        Ok(Stored {
            shape: &info.shape,
            dtype,
        })
    }

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, CheckpointError> {
        let (_, info, _) = self.find_tensor(name).map_err(reader)?;
        let end = rows.end.min(info.shape.first().copied().unwrap_or(1));
        let start = rows.start.min(end);
        let data = WeightSource::rows(self, name, start..end).map_err(reader)?;
        Ok(data.to_f32())
    }

    fn lattices(
        &self,
        name: &str,
        rows: Range<usize>,
    ) -> Result<Option<Lattices>, CheckpointError> {
        let (_, info, change) = self.find_tensor(name).map_err(reader)?;
        let (Some(run), &[height, _]) = (lattice::run(info.dtype), &info.shape[..]) else {
            return Ok(None);
        };
        let heads = match change {
            Change::QueryHeads => self.config.heads,
            Change::KeyHeads => self.config.kv_heads,
            Change::None => 0,
            // Norms are vectors of F32; what is added to codes moves their lattices.
            Change::PlusOne => return Ok(None),
        };
        let row_bytes = info.bytes / height.max(1);
        let end = rows.end.min(height);
        let mut each = Vec::new();
        for row in rows.start.min(end)..end {
            let start = info.start + row_bytes * stored_row(row, height, heads);
            let bytes = &self.map.bytes()[start..start + row_bytes];
            for block in bytes.chunks_exact(info.dtype.type_size()) {
                lattice::of_block(info.dtype, block, &mut each);
            }
        }
        Ok(Some(Lattices { run, each }))
    }

    fn vocabulary(&self) -> Result<Vec<(String, u32)>, CheckpointError> {
        let metadata = self.metadata().map_err(reader)?;
        if metadata.get(tokenizer::TOKENS).is_none() {
            return Err(CheckpointError::MissingFile {
                file: self.path.join(tokenizer::TOKENS),
                needed_by: "every test on text".into(),
            });
        }
        let entries = tokenizer::entries(&metadata);
        let mut entries = entries.map_err(|p| reader(self.problem(p)))?;
        entries.sort();
        Ok(entries)
    }

    fn release(&self, name: &str) {
        if let Ok((_, info, _)) = self.find_tensor(name) {
            self.map.release(info.start..info.start + info.bytes);
        }
    }
}

/// Where the row of a query or key projection lies whose heads' rows are interleaved.
const fn stored_row(row: usize, height: usize, heads: usize) -> usize {
    if heads == 0 {
        return row;
    }
    let size = height / heads;
    let (head, inside) = (row / size, row % size);
    head * size + 2 * (inside % (size / 2)) + inside / (size / 2)
}

fn reader(error: LoadError) -> CheckpointError {
    match error {
        LoadError::Checkpoint(error) => error,
        error => CheckpointError::Reader {
            cause: Box::new(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use candle_core::quantized::{QStorage, QTensor};
    use candle_core::{Device, Tensor};
    use filiation_checkpoint::{Fitted, Lattice};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const CODES: [GgmlDType; 11] = [
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q2K,
        GgmlDType::Q3K,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
        GgmlDType::Q8K,
    ];

    /// About normal, some rows wider than others, a few outliers.
    fn weights(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let each = (0..count).map(|i| {
            let normal = (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
            let wide = [1.0, 0.1, 0.003, 4.0][i / 64 % 4];
            let outlier = if rng.random_range(0..500) == 0 {
                8.0
            } else {
                1.0
            };
            0.02 * normal * wide * outlier
        });
        each.collect()
    }

    /// The values of a tensor quantised by candle, and its lattices.
    fn quantised(values: &[f32], dtype: GgmlDType) -> (Vec<f32>, Lattices) {
        let tensor = Tensor::new(values, &Device::Cpu).expect("a tensor");
        let codes = QTensor::quantize(&tensor, dtype).expect("whole blocks");
        let bytes = codes.data().expect("bytes of the processor").into_owned();
        let storage = QStorage::from_data(Cow::Borrowed(&bytes), &Device::Cpu, dtype);
        let again = QTensor::new(storage.expect("whole blocks"), values.len()).expect("a tensor");
        let stored = again.dequantize(&Device::Cpu).and_then(|t| t.to_vec1());
        let mut each = Vec::new();
        for block in bytes.chunks_exact(dtype.type_size()) {
            lattice::of_block(dtype, block, &mut each);
        }
        let run = lattice::run(dtype).expect("codes");
        (stored.expect("values"), Lattices { run, each })
    }

    #[test]
    fn stored_values_lie_on_their_lattices() {
        let values = weights(1 << 14, 1);
        for dtype in CODES {
            let (stored, lattices) = quantised(&values, dtype);
            assert_eq!(
                stored.len(),
                lattices.run * lattices.each.len(),
                "{dtype:?}"
            );
            for (values, lattice) in stored.chunks(lattices.run).zip(&lattices.each) {
                for value in values {
                    let place = (value - lattice.lowest) / lattice.step.max(f32::MIN_POSITIVE);
                    let off = (place - place.round()).abs();
                    assert!(off < 1e-3, "{dtype:?}: {value} on {lattice:?}");
                    assert!(*value >= lattice.lowest && *value <= lattice.highest);
                }
            }
        }
    }

    #[test]
    fn codes_are_made_of_their_values_and_of_no_others() {
        let values = weights(1 << 14, 2);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let moved: Vec<f32> = values
            .iter()
            .map(|x| x * (1.0 + 0.03 * (rng.random::<f32>() - 0.5)))
            .collect();
        for dtype in CODES {
            let (stored, lattices) = quantised(&values, dtype);
            assert!(lattices.round(&values, &stored), "{dtype:?}");
            assert!(!lattices.round(&moved, &stored), "{dtype:?}");
            let (other, _) = quantised(&moved, dtype);
            assert!(!lattices.round(&values, &other), "{dtype:?}");
        }
    }

    /// Codes of the step, among some about the plain one, that loses least by `weights`, and the step
    /// that fits them best, in F16: how the older types are made with an importance matrix.
    fn weighed(
        values: &[f32],
        weights: &[f32],
        codes: (f32, f32),
        affine: bool,
    ) -> (Vec<f32>, [u8; 4]) {
        let (first, last) = codes;
        let least = if affine {
            values.iter().copied().fold(0.0, f32::min)
        } else {
            0.0
        };
        let widest = values
            .iter()
            .fold(0f32, |m, x| if x.abs() > m.abs() { *x } else { m });
        let span = if affine {
            values.iter().copied().fold(0.0, f32::max) - least
        } else {
            widest
        };
        let mut best: Option<(f64, Vec<f32>, f32)> = None;
        for trial in -9..=9 {
            let levels = if affine { last } else { first };
            let step = span / (levels + 0.1 * trial as f32);
            let all: Vec<f32> = values
                .iter()
                .map(|x| ((x - least) / step).round().clamp(first, last))
                .collect();
            let sums = all.iter().zip(values).zip(weights).fold(
                (0.0, 0.0),
                |s: (f64, f64), ((c, x), w)| {
                    (
                        s.0 + f64::from(w * c * (x - least)),
                        s.1 + f64::from(w * c * c),
                    )
                },
            );
            let gain = sums.0 * sums.0 / sums.1;
            if best.as_ref().is_none_or(|(most, ..)| gain > *most) {
                best = Some((gain, all, (sums.0 / sums.1) as f32));
            }
        }
        let (_, all, step) = best.expect("some step");
        let (step, origin) = (half::f16::from_f32(step), half::f16::from_f32(least));
        let stored = all
            .iter()
            .map(|c| c * step.to_f32() + origin.to_f32())
            .collect();
        let (a, b) = (step.to_le_bytes(), origin.to_le_bytes());
        (stored, [a[0], a[1], b[0], b[1]])
    }

    #[test]
    fn codes_that_an_importance_matrix_weighed_are_made_of_their_values_too() {
        let values: Vec<f32> = weights(1 << 14, 4);
        let importance: Vec<f32> = weights(32, 5).iter().map(|w| 1e-4 + w * w).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let moved: Vec<f32> = values
            .iter()
            .map(|x| x * (1.0 + 0.03 * (rng.random::<f32>() - 0.5)))
            .collect();
        for (dtype, codes, affine) in [
            (GgmlDType::Q4_0, (-8.0, 7.0), false),
            (GgmlDType::Q5_0, (-16.0, 15.0), false),
            (GgmlDType::Q4_1, (0.0, 15.0), true),
            (GgmlDType::Q5_1, (0.0, 31.0), true),
        ] {
            let (mut stored, mut each) = (Vec::new(), Vec::new());
            for values in values.chunks(32) {
                let (of_block, head) = weighed(values, &importance, codes, affine);
                stored.extend(of_block);
                lattice::of_block(dtype, &head, &mut each);
            }
            let plain = each.iter().map(|l| Lattice {
                fitted: Fitted::Never,
                ..*l
            });
            let plain = Lattices {
                run: 32,
                each: plain.collect(),
            };
            assert!(
                !plain.round(&values, &stored),
                "{dtype:?}: nothing was fitted"
            );
            let lattices = Lattices { run: 32, each };
            assert!(lattices.round(&values, &stored), "{dtype:?}");
            assert!(!lattices.round(&moved, &stored), "{dtype:?}");
        }
    }

    #[test]
    fn rows_are_found_where_the_converter_put_them() {
        // Two heads of four rows: 0 2 1 3 of each.
        let stored: Vec<usize> = (0..8).map(|row| stored_row(row, 8, 2)).collect();
        assert_eq!(stored, [0, 2, 1, 3, 4, 6, 5, 7]);
        assert_eq!(stored_row(5, 8, 0), 5);
    }
}
