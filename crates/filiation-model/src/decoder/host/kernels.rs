//! Loops over slices that the compiler turns into the widest vector instructions of the processor.

use filiation_checkpoint::config::Activation;
use half::bf16;

const LANES: usize = 16;

/// Compiles a function three times on x86-64 and calls the widest that the processor has. The body
/// must be inlined into each for its loops to become wide instructions.
macro_rules! widest {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        pub(super) fn $name($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn body($($arg: $type),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $type),*) $(-> $out)? {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) $(-> $out)? {
                    body($($arg),*)
                }
                let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                let wide = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl");
                if fma && wide {
                    #[expect(unsafe_code, reason = "the processor has these instructions")]
                    return unsafe { avx512($($arg),*) };
                }
                if fma {
                    #[expect(unsafe_code, reason = "the processor has these instructions")]
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}

/// e^x within 2 units in the last place, for x ≤ 88; zero below −87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5·2^23: adding it rounds to an integer
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = (-n).mul_add(LN2_LOW, (-n).mul_add(LN2_HIGH, clamped));
    // Taylor to r^7: |r| ≤ ln2/2, so what is left out is below 2^-27.
    let mut p = 1.0 / 5040.0;
    for c in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = r.mul_add(p, c);
    }
    // The lowest bits of `shifted` are n, and those above leave by the shift: a conversion would
    // saturate, which takes an element at a time.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { p * power }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

// 1 − 2/(e^2x + 1) loses digits only where tanh is near zero, by less than 2^-23 absolutely.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x.clamp(-20.0, 20.0)) + 1.0)
}

/// Φ(x)·2 − 1 at x√2, by Abramowitz and Stegun 7.1.26: within 2e-7.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4_f32;
    for c in [-1.453_152, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        p = t.mul_add(p, c);
    }
    (1.0 - p * t * exp(-a * a)).copysign(x)
}

#[inline(always)]
fn act(x: f32, activation: Activation) -> f32 {
    match activation {
        Activation::Silu => x * sigmoid(x),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
        // ½(1 + tanh u) is the logistic function of 2u.
        Activation::GeluTanh => x * sigmoid(1.595_769_2 * (0.044_715 * x * x).mul_add(x, x)),
        Activation::Relu => x.max(0.0),
    }
}

#[inline(always)]
fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|x| f(*x)).sum::<f32>()
}

#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, b| a.max(*b))
}

#[inline(always)]
fn apply(gate: &mut [f32], up: Option<&[f32]>, f: impl Fn(f32) -> f32) {
    match up {
        None => gate.iter_mut().for_each(|g| *g = f(*g)),
        Some(up) => {
            for (g, u) in gate.iter_mut().zip(up) {
                *g = f(*g) * u;
            }
        }
    }
}

widest! {
    /// gate ← act(gate) ⊙ up, or act(gate).
    fn activate(gate: &mut [f32], up: Option<&[f32]>, activation: Activation) {
        match activation {
            Activation::Silu => apply(gate, up, |x| act(x, Activation::Silu)),
            Activation::Gelu => apply(gate, up, |x| act(x, Activation::Gelu)),
            Activation::GeluTanh => apply(gate, up, |x| act(x, Activation::GeluTanh)),
            Activation::Relu => apply(gate, up, |x| act(x, Activation::Relu)),
        }
    }
}

widest! {
    /// out ← x normalised, times weight, plus bias.
    fn normalise(
        x: &[f32],
        out: &mut [f32],
        centred: bool,
        epsilon: f32,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) {
        let count = x.len() as f32;
        let mean = if centred { sum_of(x, |x| x) / count } else { 0.0 };
        let square = sum_of(x, |x| (x - mean) * (x - mean)) / count;
        let scale = 1.0 / (square + epsilon).sqrt();
        for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
            *out = (x - mean) * scale * w;
        }
        if let Some(bias) = bias {
            out.iter_mut().zip(bias).for_each(|(out, b)| *out += b);
        }
    }
}

widest! {
    /// bfloat16 to f32; exact.
    fn widen(narrow: &[bf16], wide: &mut [f32]) {
        for (wide, narrow) in wide.iter_mut().zip(narrow) {
            *wide = f32::from_bits(u32::from(narrow.to_bits()) << 16);
        }
    }
}

widest! {
    /// x ← x + y.
    fn add(x: &mut [f32], y: &[f32]) {
        x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
    }
}

widest! {
    /// x ← c·tanh(x/c).
    fn softcap(x: &mut [f32], cap: f32) {
        x.iter_mut().for_each(|x| *x = cap * tanh(*x / cap));
    }
}

widest! {
    /// Rotates the first `2·half` values of each head; `angles` holds cosines, then sines.
    fn rotate(x: &mut [f32], head_dim: usize, half: usize, angles: &[f32]) {
        let (cos, sin) = angles.split_at(half);
        for head in x.chunks_exact_mut(head_dim) {
            let (low, rest) = head.split_at_mut(half);
            for (((a, b), c), s) in low.iter_mut().zip(rest).zip(cos).zip(sin) {
                (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
            }
        }
    }
}

widest! {
    /// Scores ← softmax(cap(scores·scale)).
    fn attention_weights(scores: &mut [f32], scale: f32, cap: Option<f32>) {
        match cap {
            None => scores.iter_mut().for_each(|s| *s *= scale),
            Some(cap) => scores
                .iter_mut()
                .for_each(|s| *s = cap * tanh(*s * scale / cap)),
        }
        let top = largest(scores);
        scores.iter_mut().for_each(|s| *s = exp(*s - top));
        let scale = 1.0 / sum_of(scores, |s| s);
        scores.iter_mut().for_each(|s| *s *= scale);
    }
}

widest! {
    /// The largest logit, and the sum of e^(logit − largest).
    fn top_and_sum(logits: &[f32]) -> (f32, f32) {
        let top = largest(logits);
        (top, sum_of(logits, |x| exp(x - top)))
    }
}

widest! {
    /// The largest of `logits`; NaN where one is NaN or +∞.
    fn top(logits: &[f32]) -> f32 {
        // +∞ − ∞ and NaN alone give a sum that is not zero.
        let bad = sum_of(logits, |x| if x < f32::INFINITY { 0.0 } else { f32::NAN });
        largest(logits) + bad
    }
}

widest! {
    /// weights ← e^((logit − top)·scale); their sum.
    fn tempered(logits: &[f32], top: f32, scale: f32, weights: &mut [f32]) -> f32 {
        for (weight, logit) in weights.iter_mut().zip(logits) {
            *weight = exp((logit - top) * scale);
        }
        sum_of(weights, |w| w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> impl Iterator<Item = f32> {
        (-8000..=8000).map(|i| i as f32 / 100.0)
    }

    #[test]
    fn exponentials_agree_with_f64() {
        for x in points() {
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(error < 3e-7, "exp({x}) is off by {error:e}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-200.0), 0.0);
    }

    #[test]
    fn tanh_and_erf_agree_with_f64() {
        for x in points() {
            let error = (f64::from(tanh(x)) - f64::from(x).tanh()).abs();
            assert!(error < 3e-7, "tanh({x}) is off by {error:e}");
            let expected = candle_core::cpu::erf::erf_f64(f64::from(x));
            let error = (f64::from(erf(x)) - expected).abs();
            assert!(error < 4e-7, "erf({x}) is off by {error:e}");
        }
    }

    #[test]
    fn activations_agree_with_their_definitions() {
        for x in points() {
            let y = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (y + 0.044715 * y.powi(3));
            for (activation, expected) in [
                (Activation::Silu, y / (1.0 + (-y).exp())),
                (Activation::GeluTanh, 0.5 * y * (1.0 + inner.tanh())),
                (Activation::Relu, y.max(0.0)),
            ] {
                let mut found = [x];
                activate(&mut found, None, activation);
                let error = (f64::from(found[0]) - expected).abs();
                assert!(
                    error < 1e-6 * y.abs().max(1.0),
                    "{activation:?}({x}): {error:e}"
                );
            }
        }
    }
}
