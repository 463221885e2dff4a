//! What the network is tested against: the same decoder in f64 on candle tensors, differentiated by
//! candle. Several of candle's operations drop gradients without a word (`softmax_last_dim`,
//! `ops::rms_norm`, `rotary_emb::rope`); only operations with a backward pass stand here.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::ops::{log_softmax, silu, softmax};
use candle_nn::rotary_emb::rope_slow;

use crate::Shape;
use crate::network::Network;
use crate::shards::Batch;
use crate::tokenizer::BEGIN_ID;

/// A network's parameters as candle variables.
pub(crate) struct Oracle {
    shape: Shape,
    weights: BTreeMap<String, Var>,
}

impl Oracle {
    pub(crate) fn new(network: &Network) -> Result<Self> {
        let tensors = network.layout.tensors.iter().map(|t| {
            let values: Vec<f64> = (network.values[t.span.clone()].iter())
                .map(|v| f64::from(*v))
                .collect();
            let var = Var::from_vec(values, t.dims.clone(), &Device::Cpu)?;
            Ok((t.name.clone(), var))
        });
        Ok(Self {
            shape: network.shape.clone(),
            weights: tensors.collect::<Result<_>>()?,
        })
    }

    /// Loss of a batch and the gradient of each parameter by name.
    pub(crate) fn gradients(
        &self,
        teacher: Option<&Self>,
        batch: &Batch,
    ) -> Result<(f64, BTreeMap<String, Vec<f64>>)> {
        let (rows, windows) = (batch.targets.len(), batch.guided.len());
        let logits = self.logits(&batch.inputs, windows)?;
        let vocabulary = logits.dim(1)?;
        let mut goals = vec![vec![0.0; vocabulary]; rows];
        for (goal, target) in goals.iter_mut().zip(&batch.targets) {
            goal[*target as usize] = 1.0;
        }
        if let Some(teacher) = teacher {
            let taught = softmax(&teacher.logits(&batch.inputs, windows)?, D::Minus1)?;
            for (row, taught) in taught.to_vec2::<f64>()?.into_iter().enumerate() {
                if batch.guided[row * windows / rows] {
                    goals[row] = taught;
                }
            }
        }
        let counted = batch.targets.iter().filter(|t| **t != BEGIN_ID).count() as f64;
        for (goal, target) in goals.iter_mut().zip(&batch.targets) {
            let weight = if *target == BEGIN_ID {
                0.0
            } else {
                1.0 / counted
            };
            goal.iter_mut().for_each(|p| *p *= weight);
        }
        let goals = Tensor::new(goals, &Device::Cpu)?;
        let loss = (log_softmax(&logits, D::Minus1)? * goals)?
            .sum_all()?
            .neg()?;
        let grads = loss.backward()?;
        let gradient = |(name, var): (&String, &Var)| {
            let grad = grads
                .get(var)
                .unwrap_or_else(|| panic!("no gradient for {name}"));
            Ok((name.clone(), grad.flatten_all()?.to_vec1::<f64>()?))
        };
        let all = self.weights.iter().map(gradient).collect::<Result<_>>()?;
        Ok((loss.to_scalar::<f64>()?, all))
    }

    /// Logits `(batch * tokens, vocabulary)` of `batch` windows of equal length, one after the other
    /// in `ids`.
    fn logits(&self, ids: &[u32], batch: usize) -> Result<Tensor> {
        let embedding = self.weight("model.embed_tokens");
        let ids = Tensor::from_slice(ids, ids.len(), &Device::Cpu)?;
        let mut x = embedding.index_select(&ids, 0)?;
        for layer in 0..self.shape.layers {
            let normed = self.norm(&x, &format!("model.layers.{layer}.input_layernorm"))?;
            x = (x + self.attention(layer, &normed, batch)?)?;
            let name = format!("model.layers.{layer}.post_attention_layernorm");
            let gated = self.gated(layer, &self.norm(&x, &name)?)?;
            x = (x + gated)?;
        }
        self.norm(&x, "model.norm")?.matmul(&embedding.t()?)
    }

    fn weight(&self, name: &str) -> &Tensor {
        self.weights[&format!("{name}.weight")].as_tensor()
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        x.matmul(&self.weight(name).t()?)
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
        let root = (mean_square + self.shape.norm_eps)?.sqrt()?;
        x.broadcast_div(&root)?.broadcast_mul(self.weight(name))
    }

    fn gated(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let name = |part: &str| format!("model.layers.{layer}.mlp.{part}_proj");
        let gate = silu(&self.linear(x, &name("gate"))?)?;
        let up = self.linear(x, &name("up"))?;
        self.linear(&(gate * up)?, &name("down"))
    }

    fn attention(&self, layer: usize, x: &Tensor, batch: usize) -> Result<Tensor> {
        let (heads, kv_heads) = (self.shape.heads, self.shape.kv_heads);
        let (head, tokens) = (self.shape.head_dim(), x.dim(0)? / batch);
        let split = |part: &str, heads: usize| {
            let name = format!("model.layers.{layer}.self_attn.{part}_proj");
            let projected = self.linear(x, &name)?;
            let projected = projected.reshape((batch, tokens, heads, head))?;
            projected.transpose(1, 2)?.contiguous()
        };
        let angles = self.angles(tokens)?;
        let (cos, sin) = (angles.cos()?, angles.sin()?);
        let q = rope_slow(&split("q", heads)?, &cos, &sin)?;
        let k = rope_slow(&split("k", kv_heads)?, &cos, &sin)?;
        let (k, v) = (repeat(&k, heads)?, repeat(&split("v", kv_heads)?, heads)?);
        let hidden = |i| (0..tokens).map(move |j| if j > i { -1e9 } else { 0.0 });
        let hidden = Tensor::from_iter((0..tokens).flat_map(hidden), &Device::Cpu)?;
        let scores = (q.contiguous()?.matmul(&k.transpose(2, 3)?)? / (head as f64).sqrt())?;
        let scores = scores.broadcast_add(&hidden.reshape((tokens, tokens))?)?;
        let mixed = softmax(&scores, D::Minus1)?.matmul(&v)?;
        let joined = mixed.transpose(1, 2)?.contiguous()?;
        let joined = joined.reshape((batch * tokens, heads * head))?;
        self.linear(&joined, &format!("model.layers.{layer}.self_attn.o_proj"))
    }

    fn angles(&self, tokens: usize) -> Result<Tensor> {
        let half = self.shape.head_dim() / 2;
        let position = Tensor::arange(0, tokens as u32, &Device::Cpu)?.to_dtype(DType::F64)?;
        let frequency = |i| self.shape.rope_theta.powf(-(i as f64) / half as f64);
        let frequencies = Tensor::from_iter((0..half).map(frequency), &Device::Cpu)?;
        let positions = position.reshape((tokens, 1))?;
        positions.matmul(&frequencies.reshape((1, half))?)
    }
}

/// Each key or value head as often as query heads share it.
fn repeat(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, kv_heads, tokens, head) = x.dims4()?;
    x.unsqueeze(2)?
        .broadcast_as((batch, kv_heads, heads / kv_heads, tokens, head))?
        .contiguous()?
        .reshape((batch, heads, tokens, head))
}
