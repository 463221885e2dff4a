use rand_chacha::ChaCha8Rng;

use crate::LabError;
use crate::network::{Cache, Network};
use crate::ops::softmax;
use crate::text::uniform;
use crate::tokenizer::{BEGIN_ID, END_ID};

const BATCH: usize = 256;

/// Draws `count` documents from a model, begin and end left out, at most `longest` tokens each. All
/// begin from nothing, so that rows of a batch have one length and share one cache. An empty draw is
/// drawn anew.
pub(crate) fn sample(
    network: &Network,
    count: usize,
    longest: usize,
    temperature: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Vec<u32>>, LabError> {
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count {
        let rows = batch(network, longest, temperature, rng)?;
        let before = drawn.len();
        let whole = rows.into_iter().filter(|row| !row.is_empty());
        drawn.extend(whole.take(count - before));
        if drawn.len() == before {
            return Err(LabError::Silent { drawn: BATCH });
        }
    }
    Ok(drawn)
}

fn batch(
    network: &Network,
    longest: usize,
    temperature: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Vec<u32>>, LabError> {
    let mut rows = vec![Vec::new(); BATCH];
    let mut last = vec![BEGIN_ID; BATCH];
    let mut open = vec![true; BATCH];
    let mut cache = Cache::default();
    for _ in 0..longest {
        let logits = network.logits(&last, BATCH, Some(&mut cache))?;
        for (row, logits) in logits.to_vec2::<f32>()?.into_iter().enumerate() {
            last[row] = draw(logits, temperature, uniform(rng));
            open[row] &= last[row] != END_ID && last[row] != BEGIN_ID;
            if open[row] {
                rows[row].push(last[row]);
            }
        }
        if !open.contains(&true) {
            break;
        }
    }
    Ok(rows)
}

/// The token at which the distribution function passes `at`, which lies in [0, 1).
fn draw(mut logits: Vec<f32>, temperature: f64, at: f64) -> u32 {
    logits.iter_mut().for_each(|x| *x /= temperature as f32);
    softmax(&mut logits);
    let mut mass = 0.0;
    let passed = logits.iter().position(|p| {
        mass += f64::from(*p);
        mass > at
    });
    // Rounding may leave the total a little below one.
    passed.unwrap_or(logits.len() - 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::initialise;
    use crate::network::tests::{network, tiny};
    use crate::text::{Stream, stream};

    #[test]
    fn draws_follow_the_distribution() {
        let mut rng = stream(5, Stream::Sample);
        let logits: Vec<f32> = [0.5_f32, 0.3, 0.2].iter().map(|p| p.ln()).collect();
        let mut counts = [0.0_f64; 3];
        for _ in 0..20_000 {
            counts[draw(logits.clone(), 1.0, uniform(&mut rng)) as usize] += 1.0;
        }
        // Standard deviation of a share is at most 0.0036.
        for (count, want) in counts.iter().zip([0.5, 0.3, 0.2]) {
            assert!((count / 20_000.0 - want).abs() < 0.015, "{counts:?}");
        }
    }

    #[test]
    fn same_seed_same_documents() {
        let vars = initialise(&tiny(), 31, &mut stream(4, Stream::Initialise)).expect("starts");
        let network = network(&tiny(), &vars);
        let run = |seed| {
            sample(&network, 20, 8, 1.0, &mut stream(seed, Stream::Sample)).expect("samples")
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(1).iter().all(|row| !row.is_empty() && row.len() <= 8));
    }
}
