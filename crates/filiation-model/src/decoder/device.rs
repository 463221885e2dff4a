//! Any candle device, by candle's own operations.

use std::ops::Range;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::ops;
use filiation_checkpoint::config::Activation;

use super::backend::{AttentionShape, Backend, KeyValues, Linear, Normaliser, Outcome, Run, Seen};
use super::network::Network;
use super::rotary::Rotary;
use super::view::MatrixView;
use crate::source::Elements;

/// A candle device. Weights keep their 16 bits there; each is widened for the product it is in.
pub(super) struct OnDevice {
    device: Device,
}

/// Keys and values of one layer of one sequence, (tokens, kv_heads · head_dim).
#[derive(Default, Clone)]
pub(super) struct Kept(Option<(Tensor, Tensor)>);

impl OnDevice {
    pub(super) const fn new(device: Device) -> Self {
        Self { device }
    }

    /// As the decoder's `logprobs`, `chunk` rows at a time.
    pub(super) fn logprobs(
        &self,
        network: &Network<Self>,
        states: &Tensor,
        targets: &[u32],
        chunk: usize,
    ) -> Outcome<Vec<f64>> {
        let mut out = Vec::with_capacity(targets.len());
        for (i, targets) in targets.chunks(chunk).enumerate() {
            let rows = states.narrow(0, i * chunk, targets.len())?;
            let logits = network.logits(self, &rows)?;
            let ids = Tensor::new(targets, &self.device)?.unsqueeze(1)?;
            let scored = ops::log_softmax(&logits, 1)?.gather(&ids, 1)?;
            let scored: Vec<f32> = scored.flatten_all()?.to_vec1()?;
            out.extend(scored.into_iter().map(f64::from));
        }
        Ok(out)
    }

    /// −∞ where query i (row) does not see key j (column); zero elsewhere.
    fn mask(&self, past: usize, count: usize, shape: &AttentionShape) -> Outcome<Tensor> {
        let total = past + count;
        let values: Vec<f32> = (past..total)
            .flat_map(|position| {
                let seen = shape.first(position)..position + 1;
                (0..total).map(move |key| {
                    if seen.contains(&key) {
                        0.0
                    } else {
                        f32::NEG_INFINITY
                    }
                })
            })
            .collect();
        Ok(Tensor::from_vec(values, (count, total), &self.device)?)
    }

    /// Attention of the last tokens of a sequence to all of them.
    fn sequence(
        &self,
        [q, k, v]: [&Tensor; 3],
        past: usize,
        shape: &AttentionShape,
    ) -> Outcome<Tensor> {
        let (hd, group) = (shape.head_dim, shape.heads / shape.kv_heads);
        let (count, total) = (q.dim(0)?, k.dim(0)?);
        let q = q.reshape((count, shape.heads, hd))?.transpose(0, 1)?;
        let each = |x: &Tensor| -> Outcome<Tensor> {
            let x = x.reshape((total, shape.kv_heads, hd))?.transpose(0, 1)?;
            let x = x.unsqueeze(1)?.expand((shape.kv_heads, group, total, hd))?;
            Ok(x.reshape((shape.heads, total, hd))?)
        };
        let (k, v) = (each(k)?, each(v)?);
        let scores = q.contiguous()?.matmul(&k.transpose(1, 2)?.contiguous()?)?;
        let mut scores = (scores * shape.scale)?;
        if let Some(cap) = shape.softcap {
            scores = self.softcap(scores, cap)?;
        }
        let scores = scores.broadcast_add(&self.mask(past, count, shape)?)?;
        let mixed = ops::softmax_last_dim(&scores)?.matmul(&v)?;
        Ok(mixed.transpose(0, 1)?.reshape((count, shape.heads * hd))?)
    }
}

/// Rows of several tensors, one after the other.
fn rows<'a>(mut parts: impl Iterator<Item = (&'a Tensor, Range<usize>)>) -> Outcome<Tensor> {
    let parts = parts
        .by_ref()
        .map(|(x, rows)| x.i(rows))
        .collect::<Result<Vec<_>, _>>()?;
    match &parts[..] {
        [one] => Ok(one.clone()),
        _ => Ok(Tensor::cat(&parts, 0)?),
    }
}

impl Backend for OnDevice {
    type Buffer = Tensor;
    type Matrix = Tensor;
    type Vector = Tensor;
    type Kept = Kept;

    fn matrix(&self, view: MatrixView) -> Outcome<Tensor> {
        let shape = (view.outputs, view.inputs);
        let lie_so = view.in_stride == 1 && view.out_stride == view.inputs;
        let outputs: Vec<usize> = (0..view.outputs).collect();
        let whole = if lie_so {
            view.clone()
        } else {
            view.select(&outputs)
        };
        let range = whole.offset..whole.offset + view.outputs * view.inputs;
        let tensor = match whole.data.elements() {
            Elements::F32(x) => Tensor::from_slice(&x[range], shape, &self.device)?,
            Elements::BF16(x) => Tensor::from_slice(&x[range], shape, &self.device)?,
            Elements::F16(x) => Tensor::from_slice(&x[range], shape, &self.device)?,
        };
        view.data.release();
        Ok(tensor)
    }

    fn vector(&self, values: Vec<f32>) -> Outcome<Tensor> {
        let width = values.len();
        Ok(Tensor::from_vec(values, width, &self.device)?)
    }

    fn gather(&self, table: &Tensor, ids: &[u32], scale: f64) -> Outcome<Tensor> {
        let ids = Tensor::new(ids, &self.device)?;
        let rows = table.index_select(&ids, 0)?.to_dtype(DType::F32)?;
        // As the processor does: in f32.
        Ok((rows * f64::from(scale as f32))?)
    }

    fn buffer(&self, values: Vec<f32>, width: usize) -> Outcome<Tensor> {
        let shape = (values.len() / width, width);
        Ok(Tensor::from_vec(values, shape, &self.device)?)
    }

    fn beside(&self, parts: Vec<(Tensor, usize)>) -> Outcome<Tensor> {
        let parts: Vec<Tensor> = parts.into_iter().map(|(x, _)| x).collect();
        Ok(Tensor::cat(&parts, 1)?)
    }

    fn linear(&self, x: &Tensor, map: &Linear<Self>) -> Outcome<Tensor> {
        let weight = map.weight.to_dtype(DType::F32)?;
        let y = x.matmul(&weight.t()?)?;
        match &map.bias {
            None => Ok(y),
            Some(bias) => Ok(y.broadcast_add(bias)?),
        }
    }

    fn normalise(&self, x: &Tensor, norm: &Normaliser<Self>) -> Outcome<Tensor> {
        let runs = x.reshape(((), norm.width))?;
        let runs = if norm.centred {
            runs.broadcast_sub(&runs.mean_keepdim(1)?)?
        } else {
            runs
        };
        let square = (runs.sqr()?.mean_keepdim(1)? + norm.epsilon)?.sqrt()?;
        let y = runs.broadcast_div(&square)?.broadcast_mul(&norm.weight)?;
        let y = match &norm.bias {
            None => y,
            Some(bias) => y.broadcast_add(bias)?,
        };
        Ok(y.reshape(x.shape())?)
    }

    fn rotate(
        &self,
        x: Tensor,
        head_dim: usize,
        rotary: &Rotary,
        positions: &[usize],
    ) -> Outcome<Tensor> {
        let (half, tokens) = (rotary.half(), positions.len());
        if tokens == 0 {
            return Ok(x);
        }
        let end = positions.iter().max().map_or(0, |p| p + 1);
        let angles: Vec<f32> = rotary.with_table(end, |table| {
            let row = |p: &usize| table[p * 2 * half..][..2 * half].to_vec();
            positions.iter().flat_map(row).collect()
        });
        let angles = Tensor::from_vec(angles, (tokens, 1, 2 * half), &self.device)?;
        let (cos, sin) = (angles.narrow(2, 0, half)?, angles.narrow(2, half, half)?);
        let heads = x.reshape((tokens, (), head_dim))?;
        let (a, b) = (heads.narrow(2, 0, half)?, heads.narrow(2, half, half)?);
        let low = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let high = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        let mut parts = vec![low, high];
        if 2 * half < head_dim {
            parts.push(heads.narrow(2, 2 * half, head_dim - 2 * half)?);
        }
        Ok(Tensor::cat(&parts, 2)?.reshape(x.shape())?)
    }

    fn attend(
        &self,
        q: &Tensor,
        runs: &[Run<'_, Self>],
        shape: &AttentionShape,
    ) -> Outcome<Tensor> {
        let mut parts = Vec::with_capacity(runs.len());
        for run in runs {
            let seen = ..run.position + run.queries.len();
            let (keys, values) = match &run.seen {
                Seen::Packed(parts) => (
                    rows(parts.iter().map(|part| (part.keys, part.rows.clone())))?.i(seen)?,
                    rows(parts.iter().map(|part| (part.values, part.rows.clone())))?.i(seen)?,
                ),
                Seen::Kept(Kept(Some((keys, values)))) => (keys.i(seen)?, values.i(seen)?),
                Seen::Kept(Kept(None)) => continue,
            };
            let q = q.i(run.queries.clone())?;
            parts.push(self.sequence([&q, &keys, &values], run.position, shape)?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    fn keep(
        &self,
        kept: &mut Kept,
        new: &[KeyValues<'_, Self>],
        _room: usize,
        _shape: &AttentionShape,
    ) -> Outcome<()> {
        let mut keys = rows(new.iter().map(|part| (part.keys, part.rows.clone())))?;
        let mut values = rows(new.iter().map(|part| (part.values, part.rows.clone())))?;
        if let Some((old_keys, old_values)) = kept.0.take() {
            keys = Tensor::cat(&[&old_keys, &keys], 0)?;
            values = Tensor::cat(&[&old_values, &values], 0)?;
        }
        kept.0 = Some((keys, values));
        Ok(())
    }

    fn pick(&self, parts: &[(&Tensor, Range<usize>)], width: usize) -> Outcome<Tensor> {
        if parts.is_empty() {
            return Ok(Tensor::zeros((0, width), DType::F32, &self.device)?);
        }
        rows(parts.iter().map(|(x, rows)| (*x, rows.clone())))
    }

    fn activate(
        &self,
        gate: Tensor,
        up: Option<&Tensor>,
        activation: Activation,
    ) -> Outcome<Tensor> {
        let y = match activation {
            Activation::Silu => gate.silu()?,
            Activation::Gelu => gate.gelu_erf()?,
            Activation::GeluTanh => gate.gelu()?,
            Activation::Relu => gate.relu()?,
        };
        match up {
            None => Ok(y),
            Some(up) => Ok((y * up)?),
        }
    }

    fn add(&self, x: Tensor, y: &Tensor) -> Outcome<Tensor> {
        Ok((x + y)?)
    }

    fn softcap(&self, x: Tensor, cap: f64) -> Outcome<Tensor> {
        Ok(((x / cap)?.tanh()? * cap)?)
    }
}
