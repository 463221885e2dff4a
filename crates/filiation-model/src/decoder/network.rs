use filiation_checkpoint::config::{Activation, ModelConfig};

use super::backend::{AttentionShape, Backend, Linear, Normaliser, Outcome, Span};
use super::rotary::Rotary;
use crate::LoadError;

/// Normalisations around one half of a block.
pub(super) struct Sandwich<B: Backend> {
    pub(super) before: Option<Normaliser<B>>,
    pub(super) after: Option<Normaliser<B>>,
}

/// One layer.
pub(super) struct Block<B: Backend> {
    pub(super) query: Linear<B>,
    pub(super) key: Linear<B>,
    pub(super) value: Linear<B>,
    pub(super) output: Linear<B>,
    pub(super) query_norm: Option<Normaliser<B>>,
    pub(super) key_norm: Option<Normaliser<B>>,
    pub(super) rotary: Option<std::sync::Arc<Rotary>>,
    pub(super) shape: AttentionShape,
    pub(super) gate: Option<Linear<B>>,
    pub(super) up: Linear<B>,
    pub(super) down: Linear<B>,
    pub(super) around_attention: Sandwich<B>,
    pub(super) around_feed_forward: Sandwich<B>,
}

/// A decoder of the layers that its configuration describes.
pub(super) struct Network<B: Backend> {
    pub(super) embedding: B::Matrix,
    pub(super) embedding_scale: f64,
    pub(super) positions: Option<B::Matrix>,
    pub(super) blocks: Vec<Block<B>>,
    pub(super) norm: Normaliser<B>,
    pub(super) head: Linear<B>,
    pub(super) activation: Activation,
    pub(super) parallel: bool,
    pub(super) logit_softcap: Option<f64>,
}

/// Final states, and those of the layers asked for, in the order asked.
pub(super) struct States<B: Backend> {
    pub(super) last: B::Buffer,
    pub(super) layers: Vec<B::Buffer>,
}

/// What one sequence keeps: an entry a layer.
pub(super) struct KeptRow<B: Backend> {
    pub(super) layers: Vec<B::Kept>,
    pub(super) length: usize,
}

impl<B: Backend> KeptRow<B> {
    pub(super) fn new(layers: usize) -> Self {
        Self {
            layers: (0..layers).map(|_| B::Kept::default()).collect(),
            length: 0,
        }
    }
}

impl<B: Backend> Network<B> {
    /// Runs packed sequences. With `kept`, each continues where its entry ends.
    pub(super) fn run(
        &self,
        on: &B,
        rows: &[&[u32]],
        mut kept: Option<&mut [KeptRow<B>]>,
        keep: &[usize],
    ) -> Outcome<States<B>> {
        let spans = spans(rows, kept.as_deref());
        let positions: Vec<usize> = spans.iter().flat_map(|s| s.past..s.past + s.len).collect();
        let mut x = self.embed(on, &rows.concat(), &positions)?;
        let mut layers: Vec<Option<B::Buffer>> = keep.iter().map(|_| None).collect();
        let last = self.blocks.len();
        for (at, block) in self.blocks.iter().enumerate() {
            store(on, &x, at, keep, &mut layers)?;
            let kept = kept
                .as_deref_mut()
                .map(|rows| rows.iter_mut().map(|row| &mut row.layers[at]).collect());
            x = self.block(on, block, x, &spans, &positions, kept)?;
        }
        let states = on.normalise(&x, &self.norm)?;
        on.recycle(x);
        store(on, &states, last, keep, &mut layers)?;
        if let Some(rows) = kept {
            for (row, span) in rows.iter_mut().zip(&spans) {
                row.length += span.len;
            }
        }
        let layers = layers.into_iter().flatten().collect();
        Ok(States {
            last: states,
            layers,
        })
    }

    /// Logits of final states, final cap included.
    pub(super) fn logits(&self, on: &B, states: &B::Buffer) -> Outcome<B::Buffer> {
        let logits = on.linear(states, &self.head)?;
        match self.logit_softcap {
            None => Ok(logits),
            Some(cap) => on.softcap(logits, cap),
        }
    }

    fn embed(&self, on: &B, ids: &[u32], positions: &[usize]) -> Outcome<B::Buffer> {
        let x = on.gather(&self.embedding, ids, self.embedding_scale)?;
        let Some(table) = &self.positions else {
            return Ok(x);
        };
        let positions: Vec<u32> = positions.iter().map(|p| *p as u32).collect();
        let learned = on.gather(table, &positions, 1.0)?;
        let sum = on.add(x, &learned)?;
        on.recycle(learned);
        Ok(sum)
    }

    fn block(
        &self,
        on: &B,
        block: &Block<B>,
        x: B::Buffer,
        spans: &[Span],
        positions: &[usize],
        kept: Option<Vec<&mut B::Kept>>,
    ) -> Outcome<B::Buffer> {
        let attention = |x: &B::Buffer| block.attention(on, x, spans, positions, kept);
        let feed_forward = |x: &B::Buffer| block.feed_forward(on, x, self.activation);
        if self.parallel {
            let a = block.around_attention.wrap(on, &x, attention)?;
            let f = block.around_feed_forward.wrap(on, &x, feed_forward)?;
            let x = on.add(x, &a)?;
            let x = on.add(x, &f)?;
            on.recycle(a);
            on.recycle(f);
            return Ok(x);
        }
        let a = block.around_attention.wrap(on, &x, attention)?;
        let x = on.add(x, &a)?;
        on.recycle(a);
        let f = block.around_feed_forward.wrap(on, &x, feed_forward)?;
        let x = on.add(x, &f)?;
        on.recycle(f);
        Ok(x)
    }
}

impl<B: Backend> Sandwich<B> {
    fn wrap(
        &self,
        on: &B,
        x: &B::Buffer,
        inner: impl FnOnce(&B::Buffer) -> Outcome<B::Buffer>,
    ) -> Outcome<B::Buffer> {
        let y = match &self.before {
            None => inner(x)?,
            Some(norm) => {
                let normed = on.normalise(x, norm)?;
                let y = inner(&normed)?;
                on.recycle(normed);
                y
            }
        };
        match &self.after {
            None => Ok(y),
            Some(norm) => {
                let normed = on.normalise(&y, norm)?;
                on.recycle(y);
                Ok(normed)
            }
        }
    }
}

impl<B: Backend> Block<B> {
    fn attention(
        &self,
        on: &B,
        x: &B::Buffer,
        spans: &[Span],
        positions: &[usize],
        kept: Option<Vec<&mut B::Kept>>,
    ) -> Outcome<B::Buffer> {
        let turned = |map: &Linear<B>, norm: &Option<Normaliser<B>>| {
            let mut y = on.linear(x, map)?;
            if let Some(norm) = norm {
                let normed = on.normalise(&y, norm)?;
                on.recycle(std::mem::replace(&mut y, normed));
            }
            match &self.rotary {
                None => Ok::<_, LoadError>(y),
                Some(rotary) => on.rotate(y, self.shape.head_dim, rotary, positions),
            }
        };
        let q = turned(&self.query, &self.query_norm)?;
        let k = turned(&self.key, &self.key_norm)?;
        let v = on.linear(x, &self.value)?;
        let mixed = on.attend([&q, &k, &v], spans, kept, &self.shape)?;
        for buffer in [q, k, v] {
            on.recycle(buffer);
        }
        let y = on.linear(&mixed, &self.output)?;
        on.recycle(mixed);
        Ok(y)
    }

    fn feed_forward(&self, on: &B, x: &B::Buffer, activation: Activation) -> Outcome<B::Buffer> {
        let up = on.linear(x, &self.up)?;
        let inner = match &self.gate {
            None => on.activate(up, None, activation)?,
            Some(gate) => {
                let gate = on.linear(x, gate)?;
                let inner = on.activate(gate, Some(&up), activation)?;
                on.recycle(up);
                inner
            }
        };
        let y = on.linear(&inner, &self.down)?;
        on.recycle(inner);
        Ok(y)
    }
}

fn spans<B: Backend>(rows: &[&[u32]], kept: Option<&[KeptRow<B>]>) -> Vec<Span> {
    let mut start = 0;
    rows.iter()
        .enumerate()
        .map(|(i, row)| {
            let span = Span {
                start,
                len: row.len(),
                past: kept.map_or(0, |kept| kept[i].length),
            };
            start += row.len();
            span
        })
        .collect()
}

fn store<B: Backend>(
    on: &B,
    x: &B::Buffer,
    at: usize,
    keep: &[usize],
    layers: &mut [Option<B::Buffer>],
) -> Outcome<()> {
    for (wanted, slot) in keep.iter().zip(layers) {
        if *wanted == at {
            *slot = Some(on.copy(x)?);
        }
    }
    Ok(())
}

impl AttentionShape {
    pub(super) fn new(config: &ModelConfig, layer: usize) -> Self {
        Self {
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            scale: config.attention_scale,
            softcap: config.attention_softcap,
            window: config.layers[layer].window,
        }
    }
}
