//! Log-probabilities of targets without the logits of a whole vocabulary at once.

use std::ops::Range;

use rayon::prelude::*;

use super::product::{Isa, PANEL, Packed, Panels, Rows, multiply};
use super::{Threads, kernels};

/// Rows of a task. All pass over a step of the vocabulary before the next, so that it comes from
/// memory once for them all.
const ROWS: usize = 512;

/// Rows of a task whose logits are held at once.
const HELD: usize = 128;

/// Panels whose logits are held at once: with [`HELD`] rows 384 KiB, which stay in the second-level
/// cache. A sum goes over this much of the vocabulary before it joins the others, so that it depends
/// on the vocabulary alone.
const STEP: usize = 16;

/// Outputs of a head in which it can be taken part by part.
pub(in crate::decoder) const PART: usize = STEP * PANEL;

/// Rows of states, the id that each should give, and the head.
pub(super) struct Scored<'a> {
    pub(super) states: &'a [f32],
    pub(super) targets: &'a [u32],
    pub(super) head: &'a Packed,
    /// Id of the head's first output, a multiple of [`PART`].
    pub(super) first: usize,
    pub(super) softcap: Option<f32>,
}

/// Of one row over a part of the vocabulary.
#[derive(Debug, Clone, Copy)]
pub(in crate::decoder) struct Share {
    top: f32,
    /// Of e^(logit − top).
    sum: f32,
    /// The logit of the target, where it is in this part.
    target: Option<f32>,
}

impl Scored<'_> {
    /// Log-probability of each target, nats, where this is the whole head.
    pub(super) fn logprobs(&self, threads: Threads) -> Vec<f64> {
        let mut logprobs = Vec::with_capacity(self.targets.len());
        self.each(threads, |shares| logprobs.push(logprob(shares)));
        logprobs
    }

    /// Adds the shares of this part of a head to those of the parts before it.
    pub(super) fn extend(&self, rows: &mut [Vec<Share>], threads: Threads) {
        let mut rows = rows.iter_mut();
        self.each(threads, |shares| {
            if let Some(row) = rows.next() {
                row.extend(shares);
            }
        });
    }

    /// Calls `read` with the shares of each row.
    fn each(&self, threads: Threads, mut read: impl FnMut(&mut dyn Iterator<Item = Share>)) {
        let rows = self.targets.len();
        let panels = self.head.panels();
        let steps = panels.count().div_ceil(STEP);
        let blocks = rows.div_ceil(ROWS).max(1);
        // Few rows: the vocabulary is shared out too.
        let parts = match threads {
            Threads::One => 1,
            Threads::All => (4 * rayon::current_num_threads())
                .div_ceil(blocks)
                .min(steps),
        };
        let tasks: Vec<(Range<usize>, Range<usize>)> = (0..blocks)
            .flat_map(|b| (0..parts).map(move |p| (b, p)))
            .map(|(b, p)| {
                let rows = rows * b / blocks..rows * (b + 1) / blocks;
                (rows, steps * p / parts..steps * (p + 1) / parts)
            })
            .collect();
        let run = |logits: &mut Vec<f32>, (rows, steps): &(Range<usize>, Range<usize>)| {
            self.shares(rows, steps, panels, logits)
        };
        let done: Vec<Vec<Share>> = match threads {
            Threads::One => {
                let mut logits = Vec::new();
                tasks.iter().map(|task| run(&mut logits, task)).collect()
            }
            Threads::All => tasks.par_iter().map_init(Vec::new, run).collect(),
        };
        for (tasks, done) in tasks.chunks(parts).zip(done.chunks(parts)) {
            for row in 0..tasks[0].0.len() {
                let shares = tasks.iter().zip(done).flat_map(|((_, steps), shares)| {
                    let count = steps.len();
                    &shares[row * count..][..count]
                });
                read(&mut shares.copied());
            }
        }
    }

    /// Of each of `rows`, the share of each of `steps`; `logits` is room for them.
    fn shares(
        &self,
        rows: &Range<usize>,
        steps: &Range<usize>,
        panels: Panels<'_>,
        logits: &mut Vec<f32>,
    ) -> Vec<Share> {
        let width = self.head.inputs();
        let mut shares = vec![None; rows.len() * steps.len()];
        let held = rows.len().min(HELD);
        logits.resize(logits.len().max(held * STEP * PANEL), 0.0);
        for (at, step) in steps.clone().enumerate() {
            let chosen = step * STEP..((step + 1) * STEP).min(panels.count());
            let first = chosen.start * PANEL;
            let columns = (chosen.end * PANEL).min(panels.outputs) - first;
            for start in rows.clone().step_by(HELD) {
                let a = Rows {
                    values: &self.states[start * width..],
                    stride: width,
                    count: HELD.min(rows.end - start),
                };
                let logits = &mut logits[..a.count * columns];
                let mut out: Vec<&mut [f32]> = logits.chunks_exact_mut(columns).collect();
                multiply(Isa::best(), a, panels, chosen.clone(), false, &mut out);
                for (row, logits) in (start..).zip(out) {
                    shares[(row - rows.start) * steps.len() + at] =
                        Some(self.share(row, first, logits));
                }
            }
        }
        shares.into_iter().flatten().collect()
    }

    /// Of one row over a step of the vocabulary whose logits begin at output `first`.
    fn share(&self, row: usize, first: usize, logits: &mut [f32]) -> Share {
        if let Some(cap) = self.softcap {
            kernels::softcap(logits, cap);
        }
        let (top, sum) = kernels::top_and_sum(logits);
        let target = (self.targets[row] as usize).checked_sub(self.first + first);
        Share {
            top,
            sum,
            target: target.and_then(|t| logits.get(t).copied()),
        }
    }
}

/// From the shares of one row over the whole vocabulary, in its order.
pub(super) fn logprob(shares: impl Iterator<Item = Share>) -> f64 {
    let (mut top, mut sum) = (f64::NEG_INFINITY, 0.0);
    let mut target = f64::NAN;
    for share in shares {
        let (other, more) = (f64::from(share.top), f64::from(share.sum));
        if other > top {
            sum = sum * exp(top - other) + more;
            top = other;
        } else {
            sum += more * exp(other - top);
        }
        target = share.target.map_or(target, f64::from);
    }
    target - top - ln(sum)
}

const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// e^x for x ≤ 0, the same bits on every machine, which a system's own is not.
fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let n = (x * std::f64::consts::LOG2_E).round();
    let r = (-n).mul_add(LN2_LOW, (-n).mul_add(LN2_HIGH, x));
    // Taylor to r^13, by Horner: |r| ≤ ln2/2, so what is left out is below 2^-57.
    let mut p = 1.0;
    for i in (1..=13).rev() {
        p = r.mul_add(p / f64::from(i), 1.0);
    }
    p * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

/// The logarithm of a normal x > 0, the same bits on every machine.
fn ln(x: f64) -> f64 {
    if !(x.is_normal() && x > 0.0) {
        return f64::NAN;
    }
    let exponent = (x.to_bits() >> 52) as i64 - 1023;
    let mantissa = f64::from_bits((x.to_bits() & ((1 << 52) - 1)) | (1023 << 52));
    let (n, m) = if mantissa > std::f64::consts::SQRT_2 {
        (exponent + 1, mantissa / 2.0)
    } else {
        (exponent, mantissa)
    };
    // ln m = 2·artanh z; z² < 0.0295, so what is left out of the series is below 2^-57.
    let z = (m - 1.0) / (m + 1.0);
    let mut p = 0.0;
    for i in (0..=11).rev() {
        p = (z * z).mul_add(p, 1.0 / f64::from(2 * i + 1));
    }
    let n = n as f64;
    n.mul_add(LN2_HIGH, n.mul_add(LN2_LOW, 2.0 * z * p))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decoder::view::MatrixView;
    use crate::source::WeightData;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
        (0..count).map(value).collect()
    }

    fn packed(weights: &[f32], outputs: usize, inputs: usize) -> Packed {
        let data = WeightData::Owned(Arc::new(weights.to_vec()));
        Packed::new(&MatrixView::rows(data, outputs, inputs))
    }

    #[test]
    fn exponential_and_logarithm_agree_with_the_standard_library() {
        for i in 0..=200_000 {
            let x = f64::from(i) * -3.5e-3;
            let expected = x.exp();
            assert!((exp(x) - expected).abs() <= 1e-15 * expected, "exp({x})");
            let y = f64::from(i).mul_add(0.37, 1e-3) * expected.max(1e-290);
            assert!(
                (ln(y) - y.ln()).abs() <= 4e-16 * y.ln().abs().max(1.0),
                "ln({y})"
            );
        }
        assert_eq!((exp(0.0), ln(1.0)), (1.0, 0.0));
        assert!(exp(f64::NAN).is_nan() && ln(f64::NAN).is_nan() && ln(f64::INFINITY).is_nan());
    }

    #[test]
    fn a_logprob_is_the_log_of_a_share() {
        let (rows, width, vocabulary) = (5, 24, 2000);
        let (weights, states) = (values(vocabulary * width, 1), values(rows * width, 2));
        let head = packed(&weights, vocabulary, width);
        let targets = [0, 1999, 767, 768, 1000];
        for softcap in [None, Some(2.0)] {
            let scored = Scored {
                states: &states,
                targets: &targets,
                head: &head,
                first: 0,
                softcap,
            };
            let found = scored.logprobs(Threads::All);
            for (i, target) in targets.into_iter().enumerate() {
                let x = &states[i * width..][..width];
                let logits: Vec<f64> = weights
                    .chunks(width)
                    .map(|w| w.iter().zip(x).map(|(w, x)| f64::from(w * x)).sum())
                    .map(|l: f64| softcap.map_or(l, |c| f64::from(c) * (l / f64::from(c)).tanh()))
                    .collect();
                let total: f64 = logits.iter().map(|l| l.exp()).sum();
                let expected = logits[target as usize] - total.ln();
                assert!(
                    (found[i] - expected).abs() < 2e-6,
                    "{} {expected}",
                    found[i]
                );
            }
        }
    }

    #[test]
    fn other_rows_and_threads_change_no_bit() {
        let (rows, width, vocabulary) = (150, 16, 3001);
        let head = packed(&values(vocabulary * width, 3), vocabulary, width);
        let states = values(rows * width, 4);
        let targets: Vec<u32> = (0..rows as u32).map(|i| i * 20).collect();
        let of = |range: Range<usize>, threads| {
            let scored = Scored {
                states: &states[range.start * width..range.end * width],
                targets: &targets[range],
                head: &head,
                first: 0,
                softcap: None,
            };
            scored.logprobs(threads)
        };
        let all = of(0..rows, Threads::All);
        assert_eq!(all, of(0..rows, Threads::One));
        for range in [0..1, 1..2, 3..20, 64..150] {
            assert_eq!(all[range.clone()], of(range.clone(), Threads::All));
            assert_eq!(all[range.clone()], of(range, Threads::One));
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let mut weights = values(100 * 8, 5);
        weights[8 * 70] = f32::INFINITY;
        let head = packed(&weights, 100, 8);
        let scored = Scored {
            states: &values(8, 6),
            targets: &[3],
            head: &head,
            first: 0,
            softcap: None,
        };
        assert!(!scored.logprobs(Threads::One)[0].is_finite());
    }
}
