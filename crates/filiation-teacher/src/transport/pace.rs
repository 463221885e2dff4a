//! When the next request may be sent.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use filiation_core::Digest;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

/// The rate that was agreed to, and what the endpoint asks to wait.
#[derive(Debug)]
pub(crate) struct Pace {
    limiter: Option<DefaultDirectRateLimiter>,
    until: Mutex<Option<Instant>>,
    first: Duration,
    longest: Duration,
}

impl Pace {
    pub(crate) fn new(per_minute: Option<NonZeroU32>, first: Duration, longest: Duration) -> Self {
        Self {
            limiter: per_minute.map(|n| {
                // Evenly, not all at the first moment of each minute.
                let quota = Quota::per_minute(n).allow_burst(NonZeroU32::MIN);
                RateLimiter::direct(quota)
            }),
            until: Mutex::new(None),
            first,
            longest,
        }
    }

    /// Returns when a request may be sent.
    pub(crate) async fn ready(&self) {
        loop {
            let until = *self.until();
            match until.filter(|until| *until > Instant::now()) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => break,
            }
        }
        if let Some(limiter) = &self.limiter {
            limiter.until_ready().await;
        }
    }

    /// Holds back every request: the endpoint asked for it.
    pub(crate) fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut held = self.until();
        *held = Some(held.map_or(until, |held| held.max(until)));
    }

    /// How long to wait after an attempt: a random part of a bound that doubles ("full jitter"), so
    /// that those who failed together do not come back together.
    pub(crate) fn backoff(&self, key: &Digest, attempt: u32) -> Duration {
        let bound = self
            .first
            .saturating_mul(1 << attempt.min(16))
            .min(self.longest);
        let mut seed = [0; 8];
        seed.copy_from_slice(&key.as_bytes()[..8]);
        let seed =
            u64::from_le_bytes(seed) ^ (u64::from(attempt) << 32) ^ u64::from(std::process::id());
        #[expect(clippy::cast_precision_loss, reason = "53 bits of 64")]
        let part = (mix(seed) >> 11) as f64 / (1_u64 << 53) as f64;
        bound.mul_f64(part)
    }

    fn until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.until
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

// SplitMix64 (Steele, Lea and Flood 2014).
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_spread_over_a_bound_that_doubles() {
        let pace = Pace::new(None, Duration::from_millis(500), Duration::from_secs(60));
        let keys: Vec<Digest> = (0..2000_u32)
            .map(|i| Digest::of(&i.to_le_bytes()))
            .collect();
        for attempt in [0, 3, 30] {
            let bound = (0.5 * f64::from(1_u32 << attempt.min(16))).min(60.0);
            let waits: Vec<f64> = keys
                .iter()
                .map(|k| pace.backoff(k, attempt).as_secs_f64())
                .collect();
            assert!(waits.iter().all(|w| (0.0..=bound).contains(w)));
            let mean = waits.iter().sum::<f64>() / waits.len() as f64 / bound;
            // Standard error 0.29 / √2000 = 0.0065.
            assert!((mean - 0.5).abs() < 0.035, "mean {mean} of the bound");
        }
    }
}
