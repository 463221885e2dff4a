//! Next tokens from logits: the most likely, or drawn.

use filiation_core::{Marking, Sampling};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::decoder::{tempered, top};

/// Weights whose sum is taken in f32.
const RUN: usize = 1024;
/// Classes that the weights from one down to zero fall into.
const CLASSES: usize = 1 + (1.0_f32.to_bits() >> 20) as usize;

/// Draws the tokens of one answer. Its randomness comes from the answer's own seed, so nothing
/// else in a batch can move it.
pub(crate) struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
    marking: Option<Box<dyn Marking>>,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling) -> Self {
        Self {
            sampling,
            rng: ChaCha8Rng::seed_from_u64(sampling.seed),
            marking: None,
        }
    }

    /// The same, its tokens marked.
    pub(crate) fn marked(self, marking: Option<Box<dyn Marking>>) -> Self {
        Self { marking, ..self }
    }

    /// A token for `logits`; `None` where one is NaN or none is finite.
    pub(crate) fn next(&mut self, logits: &[f32]) -> Option<u32> {
        let best = argmax(logits)?;
        if let Some(mut marking) = self.marking.take() {
            let mut shifted = logits.to_vec();
            marking.shift(&mut shifted);
            let token = self.next_marked(&shifted, &mut *marking);
            token.into_iter().for_each(|token| marking.took(token));
            self.marking = Some(marking);
            return token;
        }
        let Some(scale) = self.scale() else {
            return Some(best);
        };
        let top = logits[best as usize];
        let mut weights = vec![0.0; logits.len()];
        let runs = logits.chunks(RUN).zip(weights.chunks_mut(RUN));
        let sums: Vec<f64> = runs
            .map(|(logits, weights)| f64::from(tempered(logits, top, scale, weights)))
            .collect();
        let total: f64 = sums.iter().sum();
        let u: f64 = self.rng.random();
        let drawn = if self.sampling.top_p < 1.0 {
            let kept = nucleus(&weights, total, self.sampling.top_p);
            let mass = kept
                .iter()
                .map(|&(_, weight)| f64::from(weight))
                .sum::<f64>();
            invert(kept.into_iter(), u * mass)
        } else {
            let (mut run, mut left) = (0, u * total);
            while run + 1 < sums.len() && sums[run] <= left {
                left -= sums[run];
                run += 1;
            }
            let start = run * RUN;
            let weights = weights[start..].iter().copied().take(RUN);
            invert((start as u32..).zip(weights), left)
        };
        Some(drawn.unwrap_or(best))
    }

    /// One over the temperature; `None` where the most likely token is taken.
    fn scale(&self) -> Option<f32> {
        let temperature = self.sampling.temperature;
        let scale = (1.0 / temperature) as f32;
        (temperature > 0.0 && scale.is_finite()).then_some(scale)
    }

    /// As [`Self::next`] for logits that were shifted; in double precision, since a mark looks at
    /// every weight.
    fn next_marked(&mut self, logits: &[f32], marking: &mut dyn Marking) -> Option<u32> {
        let best = argmax(logits)?;
        let Some(scale) = self.scale() else {
            return Some(best);
        };
        let mut tempered_weights = vec![0.0; logits.len()];
        let top = logits[best as usize];
        for (logits, weights) in logits.chunks(RUN).zip(tempered_weights.chunks_mut(RUN)) {
            tempered(logits, top, scale, weights);
        }
        let mut weights: Vec<f64> = tempered_weights.iter().map(|w| f64::from(*w)).collect();
        if self.sampling.top_p < 1.0 {
            let total = weights.iter().sum();
            weights.fill(0.0);
            for (id, weight) in nucleus(&tempered_weights, total, self.sampling.top_p) {
                weights[id as usize] = f64::from(weight);
            }
        }
        // One number a token, whoever chooses it.
        let u: f64 = self.rng.random();
        let chosen = marking.weigh(&mut weights);
        let total: f64 = weights.iter().sum();
        let drawn = || invert((0..).zip(weights.iter().copied()), u * total);
        Some(chosen.or_else(drawn).unwrap_or(best))
    }
}

/// The most likely token, ties by lower id; `None` where a logit is NaN or none is finite.
pub(crate) fn argmax(logits: &[f32]) -> Option<u32> {
    let top = top(logits);
    if !top.is_finite() {
        return None;
    }
    let run = logits.chunks(RUN).position(|run| run.contains(&top))?;
    let rest = &logits[run * RUN..];
    let at = rest.iter().position(|&logit| logit == top)?;
    Some((run * RUN + at) as u32)
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

/// The smallest set of tokens with at least `top_p` of the mass, ties by lower id, in the order of
/// their ids. No weight is above one.
fn nucleus(weights: &[f32], total: f64, top_p: f64) -> Vec<(u32, f32)> {
    // Tokens below this together hold less than 1 − top_p: they cannot be needed.
    let floor = ((1.0 - top_p) * total / weights.len() as f64) as f32;
    let mut kept: Vec<(u32, f32)> = (0..)
        .zip(weights.iter().copied())
        .filter(|&(_, weight)| weight > 0.0 && weight >= floor * 0.999)
        .collect();
    // Classes of like weight, an eighth of a power of two wide: only one must be sorted.
    let class = |weight: f32| ((1.0_f32.to_bits() - weight.min(1.0).to_bits()) >> 20) as usize;
    let mut masses = [0.0; CLASSES];
    for &(_, weight) in &kept {
        masses[class(weight)] += f64::from(weight);
    }
    let wanted = top_p * total;
    let mut mass = 0.0;
    let last = masses.iter().position(|more| {
        mass += more;
        mass >= wanted && mass > 0.0
    });
    let Some(last) = last else { return kept };
    mass -= masses[last];
    let mut edge: Vec<(u32, f32)> = kept
        .iter()
        .copied()
        .filter(|&(_, weight)| class(weight) == last)
        .collect();
    edge.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let least = edge.iter().find(|(_, weight)| {
        mass += f64::from(*weight);
        mass >= wanted
    });
    if let Some(&(id, least)) = least.or(edge.last()) {
        kept.retain(|&(i, weight)| weight > least || (weight == least && i <= id));
    }
    kept
}

// The first token at which the running weight passes `target`.
fn invert<W: Into<f64>>(weights: impl Iterator<Item = (u32, W)>, target: f64) -> Option<u32> {
    let mut sum = 0.0;
    let mut last = None;
    for (id, weight) in weights {
        let weight = weight.into();
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
        let weights = logits.map(|l| l.exp() * 2.0);
        let total = weights.iter().map(|w| f64::from(*w)).sum();
        let ids = |top_p| {
            nucleus(&weights, total, top_p)
                .into_iter()
                .map(|(id, _)| id)
        };
        assert!(ids(0.70).eq([1, 3]));
        assert!(ids(0.80).eq([1, 2, 3]));
        assert!(ids(0.0).eq([1]));
        let shares = shares(&logits, 1.0, 0.7, 20_000);
        assert_eq!((shares[0], shares[2]), (0.0, 0.0));
        assert!((shares[1] - 2.0 / 3.0).abs() < 0.02, "{shares:?}");
    }

    #[test]
    fn the_nucleus_is_that_of_a_sorted_list() {
        let mut draw = ChaCha8Rng::seed_from_u64(3);
        for round in 0..300 {
            let count = draw.random_range(1..400);
            // Few values, so that there are ties; some round to zero.
            let mut weight = |_| match round % 3 {
                0 => (-(draw.random_range(0..40_u32) as f32)).exp(),
                1 => draw.random_range(1..9_u32) as f32 / 8.0,
                _ => (-200.0 * draw.random::<f32>()).exp(),
            };
            let mut weights: Vec<f32> = (0..count).map(&mut weight).collect();
            weights[count / 2] = 1.0;
            let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            let top_p: f64 = draw.random();
            let mut sorted: Vec<(u32, f32)> = (0..).zip(weights.iter().copied()).collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let found = nucleus(&weights, total, top_p);
            let mass = |set: &[(u32, f32)]| set.iter().map(|w| f64::from(w.1)).sum::<f64>();
            let mut expected = sorted[..found.len()].to_vec();
            expected.sort_unstable_by_key(|(id, _)| *id);
            assert_eq!(found, expected, "round {round}");
            assert!(mass(&found) >= top_p * total * (1.0 - 1e-12));
            let fewer = &sorted[..found.len() - 1];
            assert!(mass(fewer) < top_p * total * (1.0 + 1e-12), "round {round}");
        }
    }

    #[test]
    fn a_draw_looks_beyond_the_first_run() {
        let mut logits = vec![-50.0_f32; 3 * RUN];
        for (i, share) in [(10, 0.2_f32), (RUN + 5, 0.3), (3 * RUN - 1, 0.5)] {
            logits[i] = share.ln();
        }
        let shares = shares(&logits, 1.0, 1.0, 20_000);
        for (i, share) in [(10, 0.2), (RUN + 5, 0.3), (3 * RUN - 1, 0.5)] {
            assert!(
                (shares[i] - share).abs() < 0.02,
                "{} for {share}",
                shares[i]
            );
        }
    }

    #[test]
    fn a_temperature_of_nothing_is_greedy() {
        let logits = [1.0_f32, 3.0, 3.0];
        for temperature in [0.0, 1e-320, -1.0, f64::NAN] {
            assert_eq!(sampler(temperature, 1.0, 1).next(&logits), Some(1));
        }
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
