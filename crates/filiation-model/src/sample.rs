//! Next tokens from logits: the most likely, or drawn.

use filiation_core::Sampling;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws the tokens of one answer. Its randomness comes from the answer's own seed, so nothing
/// else in a batch can move it.
pub(crate) struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling) -> Self {
        Self {
            sampling,
            rng: ChaCha8Rng::seed_from_u64(sampling.seed),
        }
    }

    /// A token for `logits`; `None` where one is NaN or none is finite.
    pub(crate) fn next(&mut self, logits: &[f32]) -> Option<u32> {
        let best = argmax(logits)?;
        let temperature = self.sampling.temperature;
        if temperature.is_nan() || temperature <= 0.0 {
            return Some(best);
        }
        let top = f64::from(logits[best as usize]);
        let weights: Vec<f64> = logits
            .iter()
            .map(|&l| ((f64::from(l) - top) / temperature).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        let u: f64 = self.rng.random();
        let drawn = if self.sampling.top_p < 1.0 {
            let kept = nucleus(&weights, total, self.sampling.top_p);
            let mass = kept.iter().map(|&id| weights[id as usize]).sum::<f64>();
            invert(kept.iter().map(|&id| (id, weights[id as usize])), u * mass)
        } else {
            invert((0..).zip(weights.iter().copied()), u * total)
        };
        Some(drawn.unwrap_or(best))
    }
}

/// The most likely token, ties by lower id; `None` where a logit is NaN or none is finite.
pub(crate) fn argmax(logits: &[f32]) -> Option<u32> {
    let mut best = (f32::NEG_INFINITY, None);
    for (id, &logit) in logits.iter().enumerate() {
        if logit.is_nan() || logit == f32::INFINITY {
            return None;
        }
        if logit > best.0 {
            best = (logit, Some(id as u32));
        }
    }
    best.1
}

/// The `k` most likely tokens, most likely first, ties by lower id.
pub(crate) fn top_k(logits: &[f32], k: usize) -> Vec<u32> {
    let order = |&a: &u32, &b: &u32| {
        logits[b as usize]
            .total_cmp(&logits[a as usize])
            .then(a.cmp(&b))
    };
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    if (1..ids.len()).contains(&k) {
        ids.select_nth_unstable_by(k - 1, order);
    }
    ids.truncate(k);
    ids.sort_unstable_by(order);
    ids
}

/// log Σ exp of `logits`, nats, in f64.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let top = f64::from(top);
    top + logits
        .iter()
        .map(|&l| (f64::from(l) - top).exp())
        .sum::<f64>()
        .ln()
}

/// The smallest set of tokens with at least `top_p` of the mass, most likely first.
fn nucleus(weights: &[f64], total: f64, top_p: f64) -> Vec<u32> {
    // Tokens below this together hold less than 1 − top_p: they cannot be needed.
    let floor = (1.0 - top_p) * total / weights.len() as f64;
    let mut ids: Vec<u32> = (0..weights.len() as u32)
        .filter(|&id| weights[id as usize] >= floor)
        .collect();
    ids.sort_unstable_by(|&a, &b| {
        weights[b as usize]
            .total_cmp(&weights[a as usize])
            .then(a.cmp(&b))
    });
    let mut mass = 0.0;
    let needed = ids.iter().position(|&id| {
        mass += weights[id as usize];
        mass >= top_p * total
    });
    ids.truncate(needed.map_or(ids.len(), |last| last + 1));
    ids
}

// The first token at which the running weight passes `target`.
fn invert(weights: impl Iterator<Item = (u32, f64)>, target: f64) -> Option<u32> {
    let mut sum = 0.0;
    let mut last = None;
    for (id, weight) in weights {
        sum += weight;
        if weight > 0.0 {
            last = Some(id);
        }
        if sum > target {
            return Some(id);
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f64, top_p: f64, seed: u64) -> Sampler {
        Sampler::new(Sampling {
            temperature,
            top_p,
            seed,
        })
    }

    /// Shares of each token in `draws` draws.
    fn shares(logits: &[f32], temperature: f64, top_p: f64, draws: u32) -> Vec<f64> {
        let mut sampler = sampler(temperature, top_p, 7);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..draws {
            counts[sampler.next(logits).expect("finite logits") as usize] += 1.0;
        }
        counts.iter().map(|c| c / f64::from(draws)).collect()
    }

    #[test]
    fn draws_follow_the_tempered_distribution() {
        let logits = [0.5_f32, -1.0, 2.0, 0.0];
        let temperature = 0.7;
        let weights = logits.map(|l| (f64::from(l) / temperature).exp());
        let total: f64 = weights.iter().sum();
        let draws = 20_000;
        for (share, weight) in shares(&logits, temperature, 1.0, draws).iter().zip(weights) {
            let p = weight / total;
            let deviation = (p * (1.0 - p) / f64::from(draws)).sqrt();
            assert!((share - p).abs() < 5.0 * deviation, "{share} for {p}");
        }
    }

    #[test]
    fn the_nucleus_is_the_smallest_set_with_the_mass() {
        // Probabilities 0.5, 0.25, 0.15, 0.1.
        let logits = [0.1_f32, 0.5, 0.15, 0.25].map(f32::ln);
        let weights = logits.map(|l| f64::from(l).exp());
        let total = weights.iter().sum();
        assert_eq!(nucleus(&weights, total, 0.70), [1, 3]);
        assert_eq!(nucleus(&weights, total, 0.80), [1, 3, 2]);
        assert_eq!(nucleus(&weights, total, 0.0), [1]);
        let shares = shares(&logits, 1.0, 0.7, 20_000);
        assert_eq!((shares[0], shares[2]), (0.0, 0.0));
        assert!((shares[1] - 2.0 / 3.0).abs() < 0.02, "{shares:?}");
    }

    #[test]
    fn greedy_and_top_k_break_ties_by_lower_id() {
        let logits = [1.0_f32, 3.0, 3.0, 2.0, 2.0];
        assert_eq!(sampler(0.0, 1.0, 1).next(&logits), Some(1));
        assert_eq!(top_k(&logits, 4), [1, 2, 3, 4]);
        assert_eq!(top_k(&logits, 9), [1, 2, 3, 4, 0]);
        assert!(top_k(&logits, 0).is_empty());
    }

    #[test]
    fn nan_is_never_drawn() {
        for temperature in [0.0, 1.0] {
            let mut sampler = sampler(temperature, 1.0, 1);
            assert_eq!(sampler.next(&[0.0, f32::NAN]), None);
            assert_eq!(sampler.next(&[f32::NEG_INFINITY; 3]), None);
        }
    }

    #[test]
    fn the_sum_of_exponentials_does_not_overflow() {
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2_f64.ln())).abs() < 1e-9);
    }
}
