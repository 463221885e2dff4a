use std::collections::BTreeMap;

use candle_core::{D, Device, Result, Tensor, Var};
use candle_nn::rotary_emb::rope_slow;
use rand_chacha::ChaCha8Rng;

use crate::Shape;
use crate::ops::CausalSoftmax;
use crate::text::uniform;

/// Name and dimensions of every parameter, in the order of a forward pass.
pub(crate) fn parameters(shape: &Shape, vocabulary: usize) -> Vec<(String, Vec<usize>)> {
    let (d, ff) = (shape.hidden, shape.intermediate);
    let kv = shape.kv_heads * shape.head_dim();
    let mut all = vec![("model.embed_tokens.weight".to_owned(), vec![vocabulary, d])];
    for layer in 0..shape.layers {
        for (name, dims) in [
            ("input_layernorm", vec![d]),
            ("self_attn.q_proj", vec![d, d]),
            ("self_attn.k_proj", vec![kv, d]),
            ("self_attn.v_proj", vec![kv, d]),
            ("self_attn.o_proj", vec![d, d]),
            ("post_attention_layernorm", vec![d]),
            ("mlp.gate_proj", vec![ff, d]),
            ("mlp.up_proj", vec![ff, d]),
            ("mlp.down_proj", vec![d, ff]),
        ] {
            all.push((format!("model.layers.{layer}.{name}.weight"), dims));
        }
    }
    all.push(("model.norm.weight".to_owned(), vec![d]));
    all
}

/// Seeded starting values: norms 1, matrices normal with standard deviation `0.5 / sqrt(inputs)`,
/// those that write into the residual stream smaller by `sqrt(2 * layers)`.
pub(crate) fn initialise(
    shape: &Shape,
    vocabulary: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<(String, Var)>> {
    let filled = parameters(shape, vocabulary)
        .into_iter()
        .map(|(name, dims)| {
            let count = dims.iter().product();
            let inputs = dims.last().copied().unwrap_or(1) as f64;
            let writes = name.contains("o_proj") || name.contains("down_proj");
            let depth = if writes {
                2.0 * shape.layers as f64
            } else {
                1.0
            };
            let deviation = 0.5 / (inputs * depth).sqrt();
            let values: Vec<f32> = if dims.len() == 1 {
                vec![1.0; count]
            } else {
                (0..count)
                    .map(|_| (normal(rng) * deviation) as f32)
                    .collect()
            };
            Ok((name, Var::from_vec(values, dims, &Device::Cpu)?))
        });
    filled.collect()
}

/// Box-Muller, one of the pair.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// A Llama decoder whose forward pass has a backward pass everywhere.
#[derive(Debug)]
pub(crate) struct Network {
    shape: Shape,
    weights: BTreeMap<String, Tensor>,
    cos: Tensor,
    sin: Tensor,
}

/// Keys and values of the positions seen, a pair a layer, `(batch, kv heads, positions, head)`.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    layers: Vec<(Tensor, Tensor)>,
    positions: usize,
}

impl Network {
    /// A network over the named weights. Tensors of variables are shared with them, so that an
    /// update of the variable is seen here.
    pub(crate) fn new(shape: &Shape, weights: BTreeMap<String, Tensor>) -> Result<Self> {
        let half = shape.head_dim() / 2;
        let angle = |position: usize, i: usize| {
            let frequency = shape.rope_theta.powf(-(i as f64) / half as f64);
            (position as f64 * frequency) as f32
        };
        let angles: Vec<f32> = (0..shape.context)
            .flat_map(|p| (0..half).map(move |i| (p, i)))
            .map(|(p, i)| angle(p, i))
            .collect();
        let angles = Tensor::from_vec(angles, (shape.context, half), &Device::Cpu)?;
        Ok(Self {
            shape: shape.clone(),
            weights,
            cos: angles.cos()?,
            sin: angles.sin()?,
        })
    }

    /// Logits `(batch * tokens, vocabulary)` of `batch` rows of equal length, one after the other
    /// in `ids`. With a cache, the rows continue what it holds.
    pub(crate) fn logits(
        &self,
        ids: &[u32],
        batch: usize,
        mut cache: Option<&mut Cache>,
    ) -> Result<Tensor> {
        let embedding = self.weight("model.embed_tokens")?;
        let ids = Tensor::from_slice(ids, ids.len(), &Device::Cpu)?;
        let mut x = embedding.index_select(&ids, 0)?;
        for layer in 0..self.shape.layers {
            let normed = self.norm(&x, &format!("model.layers.{layer}.input_layernorm"))?;
            let attended = self.attention(layer, &normed, batch, cache.as_deref_mut())?;
            x = (x + attended)?;
            let name = format!("model.layers.{layer}.post_attention_layernorm");
            let gated = self.gated(layer, &self.norm(&x, &name)?)?;
            x = (x + gated)?;
        }
        if let Some(cache) = cache {
            cache.positions += x.dim(0)? / batch;
        }
        self.norm(&x, "model.norm")?.matmul(&embedding.t()?)
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        let missing = || candle_core::Error::Msg(format!("no tensor `{name}.weight`"));
        self.weights
            .get(&format!("{name}.weight"))
            .ok_or_else(missing)
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        x.matmul(&self.weight(name)?.t()?)
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
        let root = (mean_square + self.shape.norm_eps)?.sqrt()?;
        x.broadcast_div(&root)?.broadcast_mul(self.weight(name)?)
    }

    fn gated(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let name = |part: &str| format!("model.layers.{layer}.mlp.{part}_proj");
        let gate = self.linear(x, &name("gate"))?.silu()?;
        let up = self.linear(x, &name("up"))?;
        self.linear(&(gate * up)?, &name("down"))
    }

    fn attention(
        &self,
        layer: usize,
        x: &Tensor,
        batch: usize,
        cache: Option<&mut Cache>,
    ) -> Result<Tensor> {
        let (heads, kv_heads) = (self.shape.heads, self.shape.kv_heads);
        let (head, tokens) = (self.shape.head_dim(), x.dim(0)? / batch);
        let split = |part: &str, heads: usize| {
            let name = format!("model.layers.{layer}.self_attn.{part}_proj");
            let projected = self
                .linear(x, &name)?
                .reshape((batch, tokens, heads, head))?;
            projected.transpose(1, 2)?.contiguous()
        };
        let start = cache.as_ref().map_or(0, |c| c.positions);
        let cos = self.cos.narrow(0, start, tokens)?;
        let sin = self.sin.narrow(0, start, tokens)?;
        let q = rope_slow(&split("q", heads)?, &cos, &sin)?;
        let mut k = rope_slow(&split("k", kv_heads)?, &cos, &sin)?;
        let mut v = split("v", kv_heads)?;
        if let Some(cache) = cache {
            (k, v) = cache.extend(layer, k, v)?;
        }
        let (k, v) = (repeat(&k, heads)?, repeat(&v, heads)?);
        let scale = (head as f32).sqrt().recip();
        let scores = q.contiguous()?.matmul(&k.transpose(2, 3)?)?;
        let mixed = scores.apply_op1(CausalSoftmax { scale })?.matmul(&v)?;
        let joined = mixed.transpose(1, 2)?.contiguous()?;
        let joined = joined.reshape((batch * tokens, heads * head))?;
        self.linear(&joined, &format!("model.layers.{layer}.self_attn.o_proj"))
    }
}

impl Cache {
    fn extend(&mut self, layer: usize, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        let pair = match self.layers.get(layer) {
            Some((old_k, old_v)) => (Tensor::cat(&[old_k, &k], 2)?, Tensor::cat(&[old_v, &v], 2)?),
            None => (k, v),
        };
        match self.layers.get_mut(layer) {
            Some(slot) => *slot = pair.clone(),
            None => self.layers.push(pair.clone()),
        }
        Ok(pair)
    }
}

/// Each key or value head as often as query heads share it.
fn repeat(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, kv_heads, tokens, head) = x.dims4()?;
    let times = heads / kv_heads;
    if times == 1 {
        return x.contiguous();
    }
    x.unsqueeze(2)?
        .broadcast_as((batch, kv_heads, times, tokens, head))?
        .contiguous()?
        .reshape((batch, heads, tokens, head))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ops::{CrossEntropy, Targets};
    use crate::text::{Stream, stream};

    pub(crate) fn tiny() -> Shape {
        Shape {
            layers: 2,
            hidden: 16,
            heads: 4,
            kv_heads: 2,
            intermediate: 24,
            context: 12,
            rope_theta: 10_000.0,
            norm_eps: 1e-5,
        }
    }

    pub(crate) fn network(shape: &Shape, vars: &[(String, Var)]) -> Network {
        let weights = vars.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone()));
        Network::new(shape, weights.collect()).expect("builds")
    }

    const IDS: [u32; 12] = [0, 5, 9, 3, 7, 30, 0, 2, 2, 11, 19, 4];

    #[test]
    fn every_parameter_gets_the_right_gradient() {
        let vars = initialise(&tiny(), 31, &mut stream(3, Stream::Initialise)).expect("starts");
        let network = network(&tiny(), &vars);
        let loss = || {
            let logits = network.logits(&IDS, 2, None).expect("forward");
            let targets = Targets::Hard(vec![5, 9, 3, 7, 30, 1, 2, 2, 11, 19, 4, 1]);
            logits
                .apply_op1(CrossEntropy::new(targets, vec![1.0; 12]))
                .expect("loss")
        };
        let grads = loss().backward().expect("backward");
        for (name, var) in &vars {
            let grad = grads
                .get(var)
                .unwrap_or_else(|| panic!("no gradient for {name}"));
            let grad: Vec<f32> = grad.flatten_all().and_then(|g| g.to_vec1()).expect("f32");
            let values: Vec<f32> = var.flatten_all().and_then(|v| v.to_vec1()).expect("f32");
            // Along its own gradient, a small step moves the loss by step * |gradient|^2.
            let square: f64 = grad.iter().map(|g| f64::from(g * g)).sum();
            assert!(square > 1e-10, "{name}: gradient vanishes");
            let step = 1e-2 / square.sqrt();
            let moved = |sign: f64| {
                let at = values
                    .iter()
                    .zip(&grad)
                    .map(|(v, g)| v + (sign * step) as f32 * g);
                let at = Tensor::from_vec(at.collect(), var.shape(), &Device::Cpu).expect("at");
                var.set(&at).expect("set");
                f64::from(loss().to_scalar::<f32>().expect("scalar"))
            };
            let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
            let back = Tensor::from_vec(values.clone(), var.shape(), &Device::Cpu).expect("back");
            var.set(&back).expect("set");
            assert!(
                (slope / square - 1.0).abs() < 0.02,
                "{name}: {slope} for {square}"
            );
        }
    }

    #[test]
    fn cached_steps_give_the_logits_of_the_whole() {
        let vars = initialise(&tiny(), 31, &mut stream(4, Stream::Initialise)).expect("starts");
        let network = network(&tiny(), &vars);
        let whole = network
            .logits(&IDS, 2, None)
            .and_then(|l| l.to_vec2::<f32>())
            .expect("whole");
        let mut cache = Cache::default();
        for position in 0..6 {
            let ids = [IDS[position], IDS[6 + position]];
            let step = network.logits(&ids, 2, Some(&mut cache)).expect("step");
            for (row, got) in step.to_vec2::<f32>().expect("rows").iter().enumerate() {
                let want = &whole[row * 6 + position];
                let off = got
                    .iter()
                    .zip(want)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                assert!(off < 1e-5, "row {row}, position {position}: {off}");
            }
        }
    }
}
