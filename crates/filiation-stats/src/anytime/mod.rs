//! Evidence that may be watched as it grows: e-processes, e-values and confidence sequences.
//!
//! An e-process is a wealth that starts at 1 and whose expectation under the null is at most 1 at
//! any stopping time. It ever reaches 1/α with probability at most α (Ville), so that one may stop
//! whenever one likes. What is bet on the next value depends on the past alone.
//!
//! Tests hold each against the sum over all paths of a small null, and against values that
//! `tests/reference/anytime.py` works out from the formulas.

mod betting;
mod categorical;
mod composite;
mod e_values;
mod ranks;
mod rates;
mod sequence;
mod two_sample;

pub use betting::Betting;
pub use categorical::{Categorical, smoothed};
pub use composite::Composite;
pub use e_values::{average_log10_e, e_bh, log10_e_of_p, log10_e_of_p_power};
pub use ranks::RankBetting;
pub use rates::RateBetting;
pub use sequence::MeanSequence;
pub use two_sample::TwoSample;

use std::f64::consts::LN_10;

/// Where a gambler stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wealth {
    /// Bets made.
    pub steps: u32,
    /// log10 of the wealth: the e-value of stopping now.
    pub log10_e: f64,
    /// log10 of the greatest wealth so far: 10^−this bounds the p-value of the whole path.
    pub log10_best: f64,
}

/// A wealth in the making.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Purse {
    steps: u32,
    ln_wealth: f64,
    ln_best: f64,
}

impl Purse {
    fn set(&mut self, ln_wealth: f64) -> Wealth {
        self.steps += 1;
        self.ln_wealth = ln_wealth;
        self.ln_best = self.ln_best.max(ln_wealth);
        self.wealth()
    }

    fn multiply(&mut self, factor: f64) -> Wealth {
        self.set(self.ln_wealth + factor.ln())
    }

    fn wealth(&self) -> Wealth {
        Wealth {
            steps: self.steps,
            log10_e: self.ln_wealth / LN_10,
            log10_best: self.ln_best / LN_10,
        }
    }
}

/// ln of the mean of e^x.
fn ln_mean_exp(x: &[f64]) -> f64 {
    let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !most.is_finite() {
        return most;
    }
    let sum: f64 = x.iter().map(|v| (v - most).exp()).sum();
    most + (sum / x.len() as f64).ln()
}

/// The sum over all paths of `length` outcomes of probability times wealth.
#[cfg(test)]
fn expected(
    length: usize,
    probabilities: &dyn Fn(usize) -> Vec<f64>,
    wealth: &dyn Fn(&[usize]) -> f64,
) -> f64 {
    fn walk(
        path: &mut Vec<usize>,
        mass: f64,
        length: usize,
        probabilities: &dyn Fn(usize) -> Vec<f64>,
        wealth: &dyn Fn(&[usize]) -> f64,
    ) -> f64 {
        if path.len() == length {
            return mass * wealth(path);
        }
        let mut sum = 0.0;
        for (outcome, p) in probabilities(path.len()).into_iter().enumerate() {
            path.push(outcome);
            sum += walk(path, mass * p, length, probabilities, wealth);
            path.pop();
        }
        sum
    }
    walk(&mut Vec::new(), 1.0, length, probabilities, wealth)
}
