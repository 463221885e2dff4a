//! Which attention head of one model is which of the other.
//!
//! Key heads are matched by their projections, then query heads within matched groups: a model
//! computes the same with its groups, and the heads of a group, in any order.

use filiation_checkpoint::config::{Architecture, ModelConfig};
use filiation_stats::assignment::assign;
use ndarray::{Array2, s};

/// Counterparts of the heads of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heads {
    query: Vec<usize>,
    key: Vec<usize>,
    size: usize,
    interleaved: bool,
}

impl Heads {
    /// By query and key projections over aligned hidden dimensions; `None` where each head is its
    /// own counterpart.
    pub(super) fn matched(
        config: &ModelConfig,
        this: (&Array2<f32>, &Array2<f32>),
        other: (&Array2<f32>, &Array2<f32>),
    ) -> Option<Self> {
        let size = config.head_dim;
        let each = config.heads / config.kv_heads;
        let all: Vec<usize> = (0..config.kv_heads).collect();
        let key = best(this.1, other.1, &all, &all, size)?;
        let mut query = vec![0; config.heads];
        for (group, &counterpart) in key.iter().enumerate() {
            let mine: Vec<usize> = (group * each..(group + 1) * each).collect();
            let theirs: Vec<usize> = (counterpart * each..(counterpart + 1) * each).collect();
            let order = best(this.0, other.0, &mine, &theirs, size)?;
            for (head, k) in mine.into_iter().zip(order) {
                query[head] = theirs[k];
            }
        }
        let moved = !(query.is_sorted() && key.is_sorted());
        moved.then_some(Self {
            query,
            key,
            size,
            interleaved: config.architecture == Architecture::GptNeoX,
        })
    }

    /// Positions along an axis of query outputs.
    pub(super) fn queries(&self) -> Vec<usize> {
        spread(&self.query, self.size, 0)
    }

    /// Positions along an axis of key or value outputs.
    pub(super) fn keys(&self) -> Vec<usize> {
        spread(&self.key, self.size, 0)
    }

    /// Positions along an axis of queries, keys and values: one after the other, or head by head.
    pub(super) fn fused(&self) -> Vec<usize> {
        if self.interleaved {
            return spread(&self.query, 3 * self.size, 0);
        }
        let (q, kv) = (self.query.len() * self.size, self.key.len() * self.size);
        let mut all = self.queries();
        all.extend(spread(&self.key, self.size, q));
        all.extend(spread(&self.key, self.size, q + kv));
        all
    }
}

fn spread(heads: &[usize], size: usize, offset: usize) -> Vec<usize> {
    heads
        .iter()
        .flat_map(|head| (0..size).map(move |i| offset + head * size + i))
        .collect()
}

/// The assignment of heads `mine` to heads `theirs` with the greatest total cosine.
fn best(
    a: &Array2<f32>,
    b: &Array2<f32>,
    mine: &[usize],
    theirs: &[usize],
    size: usize,
) -> Option<Vec<usize>> {
    let norm = |m: &Array2<f32>, head: usize| {
        let block = m.slice(s![head * size..(head + 1) * size, ..]);
        block
            .iter()
            .map(|&x| f64::from(x) * f64::from(x))
            .sum::<f64>()
            .sqrt()
    };
    let mut cost = Vec::with_capacity(mine.len() * theirs.len());
    for &i in mine {
        let x = a.slice(s![i * size..(i + 1) * size, ..]);
        for &j in theirs {
            let y = b.slice(s![j * size..(j + 1) * size, ..]);
            let inner: f64 = x
                .rows()
                .into_iter()
                .zip(y.rows())
                .map(|(x, y)| f64::from(x.dot(&y)))
                .sum();
            let scale = norm(a, i) * norm(b, j);
            cost.push(if scale > 0.0 {
                1.0 - inner / scale
            } else {
                1.0
            });
        }
    }
    assign(&cost, mine.len(), theirs.len())?
        .columns
        .into_iter()
        .collect()
}
