use filiation_core::{Mark, Marking};
use rand::RngCore;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::LabError;
use crate::attention::{Heads, attend_one};
use crate::kernels::{rotate, softmax};
use crate::network::{Block, Network, Trace};
use crate::text::uniform;
use crate::tokenizer::{BEGIN_ID, END_ID};

/// Temperature, and the mark that the documents bear.
pub(crate) type How<'a> = (f64, Option<&'a dyn Mark>);

/// Documents that are drawn together.
const GROUP: usize = 128;

/// Draws `count` documents from a model, begin and end left out, at most `longest` tokens each. Each
/// begins from nothing, with random numbers of its own. Empty draws are passed over.
///
/// # Errors
/// [`LabError::Silent`] when a whole round of draws is empty.
pub(crate) fn sample(
    network: &Network,
    count: usize,
    longest: usize,
    how: How<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Vec<u32>>, LabError> {
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count {
        let before = drawn.len();
        let groups = (count - before).div_ceil(GROUP);
        let seeds: Vec<[u64; GROUP]> = (0..groups)
            .map(|_| [(); GROUP].map(|()| rng.next_u64()))
            .collect();
        let rows: Vec<Vec<Vec<u32>>> = (seeds.par_iter())
            .map(|seeds| group(network, seeds, longest, how))
            .collect();
        let whole = rows.into_iter().flatten().filter(|row| !row.is_empty());
        drawn.extend(whole.take(count - before));
        if drawn.len() == before {
            return Err(LabError::Silent {
                drawn: groups * GROUP,
            });
        }
    }
    Ok(drawn)
}

/// A document for each seed. Those that have ended leave the batch.
fn group(
    network: &Network,
    seeds: &[u64],
    longest: usize,
    (temperature, mark): How<'_>,
) -> Vec<Vec<u32>> {
    let begun = |seed| mark.map(|mark| mark.begin(&[BEGIN_ID], seed));
    let mut markings: Vec<_> = seeds.iter().map(|seed| begun(*seed)).collect();
    let mut streams: Vec<ChaCha8Rng> = seeds
        .iter()
        .map(|s| ChaCha8Rng::seed_from_u64(*s))
        .collect();
    let mut documents = vec![Vec::with_capacity(longest); seeds.len()];
    let mut open: Vec<usize> = (0..seeds.len()).collect();
    let mut last = vec![BEGIN_ID; seeds.len()];
    let mut trace = Trace::new(&network.shape, seeds.len());
    let mut logits = vec![0.0; seeds.len() * network.vocabulary];
    let mut cache = Cache::new(network, seeds.len(), longest);
    while !open.is_empty() && cache.seen < longest {
        cache.step(network, &last, &open, &mut trace);
        let hidden = &trace.hidden[..open.len() * network.shape.hidden];
        let logits = &mut logits[..open.len() * network.vocabulary];
        network.logits(hidden, logits);
        last.clear();
        let mut rows = logits.chunks_exact_mut(network.vocabulary);
        open.retain(|document| {
            let at = uniform(&mut streams[*document]);
            let marking = markings[*document].as_deref_mut();
            let token = rows.next().map_or(END_ID, |row| match marking {
                Some(marking) => draw_marked(row, temperature, at, marking),
                None => draw(row, temperature, at),
            });
            let ended = token == END_ID || token == BEGIN_ID;
            if !ended {
                documents[*document].push(token);
                last.push(token);
            }
            !ended
        });
    }
    documents
}

/// The token at which the distribution function passes `at`, which lies in [0, 1). Uses up `logits`.
pub(crate) fn draw(logits: &mut [f32], temperature: f64, at: f64) -> u32 {
    softmax(logits, (1.0 / temperature) as f32);
    let mut mass = 0.0;
    let passed = logits.iter().position(|p| {
        mass += f64::from(*p);
        mass > at
    });
    // Rounding may leave the total a little below one.
    passed.unwrap_or(logits.len() - 1) as u32
}

/// The same, as `marking` tilts or chooses it.
fn draw_marked(logits: &mut [f32], temperature: f64, at: f64, marking: &mut dyn Marking) -> u32 {
    marking.shift(logits);
    softmax(logits, (1.0 / temperature) as f32);
    let mut weights: Vec<f64> = logits.iter().map(|p| f64::from(*p)).collect();
    let token = marking.weigh(&mut weights).unwrap_or_else(|| {
        let at = at * weights.iter().sum::<f64>();
        let mut mass = 0.0;
        let passed = weights.iter().position(|p| {
            mass += p;
            mass > at
        });
        passed.unwrap_or(weights.len() - 1) as u32
    });
    marking.took(token);
    token
}

/// Keys and values of the positions seen, of some documents that began together.
pub(crate) struct Cache {
    heads: Heads,
    /// Positions that there is room for.
    room: usize,
    seen: usize,
    /// For each layer, document and head: a row of positions for each value of a key.
    keys: Vec<Vec<f32>>,
    /// For each layer, document and head: a row of values for each position.
    values: Vec<Vec<f32>>,
    scores: Vec<f32>,
}

impl Cache {
    pub(crate) fn new(network: &Network, documents: usize, room: usize) -> Self {
        let heads = Heads::of(&network.shape);
        let layer = vec![0.0; documents * heads.kv_heads * heads.size * room];
        Self {
            heads,
            room,
            seen: 0,
            keys: vec![layer.clone(); network.shape.layers],
            values: vec![layer; network.shape.layers],
            scores: vec![0.0; room],
        }
    }

    /// One more token of each document in `open`.
    pub(crate) fn step(
        &mut self,
        network: &Network,
        ids: &[u32],
        open: &[usize],
        trace: &mut Trace,
    ) {
        let angles = &network.angles(self.seen)[..self.heads.size];
        network.run(ids, trace, &mut |layer, block, _| {
            self.attend(layer, block, open, angles);
        });
        self.seen += 1;
    }

    fn attend(&mut self, layer: usize, block: &mut Block, open: &[usize], angles: &[f32]) {
        let Heads {
            heads,
            kv_heads,
            size,
            ..
        } = self.heads;
        let (width, room, seen) = (self.heads.width(), self.room, self.seen);
        let rows = block
            .qkv
            .chunks_exact_mut(width)
            .zip(block.mixed.chunks_exact_mut(heads * size));
        for ((qkv, mixed), document) in rows.zip(open) {
            rotate(qkv, width, heads + kv_heads, size / 2, angles, 1.0);
            let mine = document * kv_heads * size * room..(document + 1) * kv_heads * size * room;
            let (keys, values) = (
                &mut self.keys[layer][mine.clone()],
                &mut self.values[layer][mine],
            );
            let (queries, kept) = qkv.split_at(heads * size);
            let (new_keys, new_values) = kept.split_at(kv_heads * size);
            for (row, key) in keys.chunks_exact_mut(room).zip(new_keys) {
                row[seen] = *key;
            }
            for (head, value) in values
                .chunks_exact_mut(room * size)
                .zip(new_values.chunks_exact(size))
            {
                head[seen * size..][..size].copy_from_slice(value);
            }
            let outs = queries.chunks_exact(size).zip(mixed.chunks_exact_mut(size));
            for (head, (query, out)) in outs.enumerate() {
                let at = head / (heads / kv_heads) * room * size..;
                let scores = &mut self.scores[..=seen];
                let (keys, values) = (&keys[at.clone()], &values[at]);
                attend_one(query, keys, values, room, scores, self.heads.scale, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::{IDS, network, tiny};
    use crate::text::{Stream, stream};

    #[test]
    fn draws_follow_the_distribution() {
        let mut rng = stream(5, Stream::Sample);
        let logits: Vec<f32> = [0.5_f32, 0.3, 0.2].iter().map(|p| p.ln()).collect();
        let mut counts = [0.0_f64; 3];
        for _ in 0..20_000 {
            counts[draw(&mut logits.clone(), 1.0, uniform(&mut rng)) as usize] += 1.0;
        }
        // Standard deviation of a share is at most 0.0036.
        for (count, want) in counts.iter().zip([0.5, 0.3, 0.2]) {
            assert!((count / 20_000.0 - want).abs() < 0.015, "{counts:?}");
        }
    }

    #[test]
    fn same_seed_same_documents_on_any_number_of_threads() {
        let network = network(&tiny(), 4);
        let run = |seed, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let mut rng = stream(seed, Stream::Sample);
            // Three groups, and more where draws were empty.
            let draw = || sample(&network, 300, 8, (1.0, None), &mut rng).expect("samples");
            pool.expect("threads").install(draw)
        };
        let one = run(1, 1);
        assert!(one == run(1, 2) && one == run(1, 3));
        assert_ne!(one, run(2, 2));
        assert_eq!(one.len(), 300);
        assert!(one.iter().all(|row| !row.is_empty() && row.len() <= 8));
    }

    #[test]
    fn cached_steps_give_the_hidden_rows_of_the_whole() {
        let network = network(&tiny(), 4);
        let mut whole = Trace::new(&tiny(), 12);
        network.forward(&IDS, 6, &mut whole);
        let mut trace = Trace::new(&tiny(), 2);
        let mut cache = Cache::new(&network, 3, 6);
        for position in 0..6 {
            // Documents 0 and 2 are open until 2 ends; a row's place in the batch changes nothing.
            let (ids, open) = if position < 4 {
                (vec![IDS[6 + position], IDS[position]], vec![0, 2])
            } else {
                (vec![IDS[6 + position]], vec![0])
            };
            cache.step(&network, &ids, &open, &mut trace);
            for (row, document) in open.iter().enumerate() {
                let want = (if *document == 0 { 6 } else { 0 }) + position;
                for j in 0..16 {
                    let (got, want) = (trace.hidden[row * 16 + j], whole.hidden[want * 16 + j]);
                    assert!(
                        (got - want).abs() < 1e-5,
                        "{document} at {position}: {got}, {want}"
                    );
                }
            }
        }
    }
}
