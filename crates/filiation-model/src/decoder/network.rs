use std::ops::Range;

use filiation_checkpoint::config::{Activation, ModelConfig};

use super::backend::{AttentionShape, Backend, Linear, Normaliser, Outcome};
use super::rotary::Rotary;
use super::stream::{Blocks, Table};

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
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) embedding: Table<B>,
    pub(super) embedding_scale: f64,
    pub(super) positions: Option<B::Matrix>,
    pub(super) blocks: Blocks<B>,
    pub(super) norm: Normaliser<B>,
    pub(super) head: Table<B>,
    pub(super) activation: Activation,
    pub(super) parallel: bool,
    pub(super) logit_softcap: Option<f64>,
}

/// What attention needs of some tokens, and what its output is added to.
pub(super) struct Projected<B: Backend> {
    pub(super) residual: B::Buffer,
    pub(super) queries: B::Buffer,
    pub(super) keys: B::Buffer,
    pub(super) values: B::Buffer,
}

/// What one sequence keeps: an entry a layer.
pub(super) struct KeptRow<B: Backend> {
    pub(super) layers: Vec<B::Kept>,
    pub(super) length: usize,
    /// Tokens that there will be at most, as far as is known.
    pub(super) room: usize,
}

impl<B: Backend> KeptRow<B> {
    pub(super) fn new(layers: usize, room: usize) -> Self {
        Self {
            layers: (0..layers).map(|_| B::Kept::default()).collect(),
            length: 0,
            room,
        }
    }
}

impl<B: Backend> Network<B> {
    /// Logits of final states, final cap included.
    pub(super) fn logits(&self, on: &B, states: &B::Buffer) -> Outcome<B::Buffer> {
        let logits = match &self.head {
            Table::Held(head) => on.linear(states, head)?,
            Table::Stored(stored) => {
                let part = |rows: Range<usize>| {
                    let columns = rows.len();
                    Ok((on.linear(states, &stored.ready(on, rows)?)?, columns))
                };
                let parts = stored.parts().map(part).collect::<Outcome<Vec<_>>>()?;
                on.beside(parts)?
            }
        };
        match self.logit_softcap {
            None => Ok(logits),
            Some(cap) => on.softcap(logits, cap),
        }
    }

    /// Embeddings of tokens, learned positions included.
    pub(super) fn embed(&self, on: &B, ids: &[u32], positions: &[usize]) -> Outcome<B::Buffer> {
        let scale = self.embedding_scale;
        let x = match &self.embedding {
            Table::Held(table) => on.gather(&table.weight, ids, scale)?,
            Table::Stored(stored) => on.buffer(stored.gather(ids, scale)?, self.width)?,
        };
        let Some(table) = &self.positions else {
            return Ok(x);
        };
        let positions: Vec<u32> = positions.iter().map(|p| *p as u32).collect();
        let learned = on.gather(table, &positions, 1.0)?;
        let sum = on.add(x, &learned)?;
        on.recycle(learned);
        Ok(sum)
    }

    /// What a block reads off its input `x` for attention. Where only some tokens are `read`
    /// after it, the others have keys and values alone.
    pub(super) fn project(
        &self,
        on: &B,
        block: &Block<B>,
        x: B::Buffer,
        positions: &[usize],
        read: Option<&[Range<usize>]>,
    ) -> Outcome<Projected<B>> {
        let normed = match &block.around_attention.before {
            None => None,
            Some(norm) => Some(on.normalise(&x, norm)?),
        };
        let input = normed.as_ref().unwrap_or(&x);
        let keys = block.turned(on, input, &block.key, &block.key_norm, positions)?;
        let values = on.linear(input, &block.value)?;
        let query = |input, positions: &[usize]| {
            block.turned(on, input, &block.query, &block.query_norm, positions)
        };
        let (queries, residual) = match read {
            None => (query(input, positions)?, None),
            Some(read) => {
                let width = self.width;
                let pick = |x| {
                    let parts: Vec<_> = read.iter().map(|rows| (x, rows.clone())).collect();
                    on.pick(&parts, width)
                };
                let few = pick(input)?;
                let at: Vec<usize> = read.iter().cloned().flatten().collect();
                let positions: Vec<usize> = at.iter().map(|i| positions[*i]).collect();
                let queries = query(&few, &positions)?;
                on.recycle(few);
                (queries, Some(pick(&x)?))
            }
        };
        normed.into_iter().for_each(|normed| on.recycle(normed));
        let residual = residual.unwrap_or(x);
        Ok(Projected {
            residual,
            queries,
            keys,
            values,
        })
    }

    /// The output of a block from the tokens that attention has mixed.
    pub(super) fn finish(
        &self,
        on: &B,
        block: &Block<B>,
        residual: B::Buffer,
        mixed: B::Buffer,
    ) -> Outcome<B::Buffer> {
        let a = on.linear(&mixed, &block.output)?;
        on.recycle(mixed);
        let a = block.around_attention.after(on, a)?;
        let feed_forward = |x: &B::Buffer| {
            let around = &block.around_feed_forward;
            let f = match &around.before {
                None => block.feed_forward(on, x, self.activation)?,
                Some(norm) => {
                    let normed = on.normalise(x, norm)?;
                    let f = block.feed_forward(on, &normed, self.activation)?;
                    on.recycle(normed);
                    f
                }
            };
            around.after(on, f)
        };
        let (x, f) = if self.parallel {
            let f = feed_forward(&residual)?;
            (on.add(residual, &a)?, f)
        } else {
            let x = on.add(residual, &a)?;
            let f = feed_forward(&x)?;
            (x, f)
        };
        on.recycle(a);
        let x = on.add(x, &f)?;
        on.recycle(f);
        Ok(x)
    }
}

impl<B: Backend> Sandwich<B> {
    fn after(&self, on: &B, y: B::Buffer) -> Outcome<B::Buffer> {
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
    /// Queries or keys of `x`, normalised and turned by their positions.
    fn turned(
        &self,
        on: &B,
        x: &B::Buffer,
        map: &Linear<B>,
        norm: &Option<Normaliser<B>>,
        positions: &[usize],
    ) -> Outcome<B::Buffer> {
        let mut y = on.linear(x, map)?;
        if let Some(norm) = norm {
            let normed = on.normalise(&y, norm)?;
            on.recycle(std::mem::replace(&mut y, normed));
        }
        match &self.rotary {
            None => Ok(y),
            Some(rotary) => on.rotate(y, self.shape.head_dim, rotary, positions),
        }
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
