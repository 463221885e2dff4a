//! What a distiller does to a teacher's texts who does not want to be found.

use rand_chacha::ChaCha8Rng;

use crate::kernels::softmax;
use crate::network::{Network, Trace};
use crate::sampler::{Cache, draw};
use crate::text::uniform;
use crate::tokenizer::BEGIN_ID;

/// Share of the tokens that are drawn anew.
const REWORDED: f64 = 1.0 / 3.0;

/// The `count` documents whose mean log-probability a token is largest under `network`, in their order.
pub(crate) fn filtered(network: &Network, documents: Vec<Vec<u32>>, count: usize) -> Vec<Vec<u32>> {
    let mut ranked: Vec<(f64, usize)> = documents
        .iter()
        .enumerate()
        .map(|(at, document)| {
            let mut total = 0.0;
            walk(network, document, &mut |row, token| {
                softmax(row, 1.0);
                total += f64::from(row[token as usize].max(f32::MIN_POSITIVE)).ln();
                token
            });
            (total / document.len() as f64, at)
        })
        .collect();
    // Ties by place: the same on every machine.
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.truncate(count);
    let mut kept: Vec<usize> = ranked.into_iter().map(|(_, at)| at).collect();
    kept.sort_unstable();
    let mut documents: Vec<Option<Vec<u32>>> = documents.into_iter().map(Some).collect();
    kept.into_iter()
        .filter_map(|at| documents[at].take())
        .collect()
}

/// The documents with a third of their tokens drawn from `network`, each after what then stands before it. A
/// control token is no word: there the old one stays.
pub(crate) fn reworded(
    network: &Network,
    documents: &[Vec<u32>],
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<u32>> {
    let reword = |document: &Vec<u32>| {
        walk(network, document, &mut |row, token| {
            let (chosen, at) = (uniform(rng) < REWORDED, uniform(rng));
            let new = if chosen { draw(row, 1.0, at) } else { token };
            if crate::tokenizer::is_control(new) {
                token
            } else {
                new
            }
        })
    };
    documents.iter().map(reword).collect()
}

/// A document token by token: `choose` is given the logits of the next token and the one that stands
/// there, and says which it shall be. Each row depends on what was chosen before.
fn walk(
    network: &Network,
    document: &[u32],
    choose: &mut dyn FnMut(&mut [f32], u32) -> u32,
) -> Vec<u32> {
    let mut trace = Trace::new(&network.shape, 1);
    let mut cache = Cache::new(network, 1, document.len());
    let mut logits = vec![0.0; network.vocabulary];
    let mut last = BEGIN_ID;
    let mut chosen = Vec::with_capacity(document.len());
    for token in document {
        cache.step(network, &[last], &[0], &mut trace);
        network.logits(&trace.hidden[..network.shape.hidden], &mut logits);
        last = choose(&mut logits, *token);
        chosen.push(last);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::{network, tiny};
    use crate::text::{Stream, stream};

    fn documents() -> Vec<Vec<u32>> {
        (0..12_u32)
            .map(|i| (0..8).map(|j| 2 + (i + j * (1 + i / 9)) % 9).collect())
            .collect()
    }

    fn log_probability(network: &Network, document: &[u32]) -> f64 {
        let mut total = 0.0;
        walk(network, document, &mut |row, token| {
            softmax(row, 1.0);
            total += f64::from(row[token as usize]).ln();
            token
        });
        total
    }

    #[test]
    fn the_likeliest_half_is_kept_in_its_order() {
        let network = network(&tiny(), 4);
        let all = documents();
        let kept = filtered(&network, all.clone(), 6);
        assert_eq!(kept.len(), 6);
        let least = kept
            .iter()
            .map(|d| log_probability(&network, d))
            .fold(f64::INFINITY, f64::min);
        let dropped = all.iter().filter(|d| !kept.contains(d));
        for document in dropped {
            assert!(log_probability(&network, document) <= least);
        }
        let places: Vec<_> = kept
            .iter()
            .map(|k| all.iter().position(|d| d == k))
            .collect();
        assert!(places.is_sorted());
    }

    #[test]
    fn about_a_third_of_the_tokens_is_new_and_no_control_token() {
        let network = network(&tiny(), 4);
        let all = documents();
        let run = |seed| reworded(&network, &all, &mut stream(seed, Stream::Hide));
        let new = run(3);
        assert_eq!(new, run(3));
        assert_ne!(new, run(4));
        let pairs = all.iter().flatten().zip(new.iter().flatten());
        let changed = pairs.filter(|(a, b)| a != b).count();
        // Of 96 a third is 32; a draw may hit the old token.
        assert!((12..=48).contains(&changed), "{changed}");
        assert!(
            new.iter()
                .flatten()
                .all(|t| !crate::tokenizer::is_control(*t))
        );
        assert!(all.iter().zip(&new).all(|(a, b)| a.len() == b.len()));
    }
}
