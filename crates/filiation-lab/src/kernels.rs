//! Loops over slices that the compiler turns into the widest vector instructions of the processor.

const LANES: usize = 16;

/// Compiles a function three times on x86-64 and calls the widest that the processor has. The body
/// must be inlined into each for its loops to become wide instructions.
macro_rules! widest {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name($($arg: $type),*) $(-> $out)? {
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
pub(crate) use widest;

/// e^x within 2 units in the last place, for -87 ≤ x ≤ 88, clamped to that.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5·2^23: adding it rounds to an integer
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, SHIFT);
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
    // The low bits of `shifted` are n: moved into the exponent they multiply by 2^n.
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[inline(always)]
fn lanes_of(x: &[f32], y: &[f32], start: f32, f: impl Fn(f32, f32, f32) -> f32) -> [f32; LANES] {
    let mut lanes = [start; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            lanes[i] = f(lanes[i], x[i], y[i]);
        }
    }
    for ((lane, x), y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane = f(*lane, *x, *y);
    }
    lanes
}

#[inline(always)]
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    let lanes = lanes_of(x, y, 0.0, |sum, x, y| x.mul_add(y, sum));
    lanes.iter().sum()
}

#[inline(always)]
pub(crate) fn largest(x: &[f32]) -> f32 {
    let greater = |top: f32, x: f32, _| if x > top { x } else { top };
    let lanes = lanes_of(x, x, f32::NEG_INFINITY, greater);
    lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// x ← e^(scale·x − shift); the sum.
#[inline(always)]
pub(crate) fn exponentials(x: &mut [f32], scale: f32, shift: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            chunk[i] = exp(scale.mul_add(chunk[i], -shift));
            lanes[i] += chunk[i];
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *x = exp(scale.mul_add(*x, -shift));
        *lane += *x;
    }
    lanes.iter().sum()
}

#[inline(always)]
pub(crate) fn multiply_by(x: &mut [f32], factor: f32) {
    x.iter_mut().for_each(|x| *x *= factor);
}

/// x ← softmax(scale·x); the logarithm of the sum of e^(scale·x).
#[inline(always)]
pub(crate) fn softmax_of(x: &mut [f32], scale: f32) -> f32 {
    let top = scale * largest(x);
    let mass = exponentials(x, scale, top);
    multiply_by(x, 1.0 / mass);
    top + mass.ln()
}

widest! {
    /// x ← softmax(scale·x), for a positive scale.
    fn softmax(x: &mut [f32], scale: f32) {
        softmax_of(x, scale);
    }
}

widest! {
    /// x ← x + y.
    fn add(x: &mut [f32], y: &[f32]) {
        x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
    }
}

#[inline(always)]
fn normalise_row(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) -> f32 {
    let scale = 1.0 / (dot(x, x) / x.len() as f32 + epsilon).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * w;
    }
    scale
}

widest! {
    /// Each row of `out` ← the row of `x` over its root mean square, times `weight`; `scales` gets
    /// the factor of each row.
    fn normalise(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32], scales: &mut [f32]) {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width));
        for ((x, out), scale) in rows.zip(scales) {
            *scale = normalise_row(x, weight, epsilon, out);
        }
    }
}

widest! {
    /// `x` ← x + y, then as [`normalise`].
    fn add_normalise(
        y: &[f32],
        x: &mut [f32],
        weight: &[f32],
        epsilon: f32,
        out: &mut [f32],
        scales: &mut [f32],
    ) {
        let width = weight.len();
        let rows = x.chunks_exact_mut(width).zip(y.chunks_exact(width));
        for (((x, y), out), scale) in rows.zip(out.chunks_exact_mut(width)).zip(scales) {
            x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
            *scale = normalise_row(x, weight, epsilon, out);
        }
    }
}

widest! {
    /// Backward of [`normalise`] for the gradient `up` of its output: adds to the gradients of `x`
    /// and of `weight`, and writes the output anew over `up`.
    fn normalise_back(
        up: &mut [f32],
        x: &[f32],
        scales: &[f32],
        weight: &[f32],
        to_x: &mut [f32],
        to_weight: &mut [f32],
    ) {
        let width = weight.len();
        let to_weight = &mut to_weight[..width];
        let rows = up.chunks_exact_mut(width).zip(x.chunks_exact(width));
        for (((up, x), to_x), scale) in rows.zip(to_x.chunks_exact_mut(width)).zip(scales) {
            let pull = triple(up, x, weight) * scale * scale * scale / width as f32;
            let sides = to_x.iter_mut().zip(&mut *to_weight);
            for (((up, x), w), (to_x, to_weight)) in up.iter_mut().zip(x).zip(weight).zip(sides) {
                let unit = x * scale;
                *to_x += *up * w * scale - x * pull;
                *to_weight += *up * unit;
                *up = unit * w;
            }
        }
    }
}

/// Σ x·y·z.
#[inline(always)]
fn triple(x: &[f32], y: &[f32], z: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    let (zs, z_rest) = z.as_chunks::<LANES>();
    for ((x, y), z) in xs.iter().zip(ys).zip(zs) {
        for i in 0..LANES {
            lanes[i] = (x[i] * y[i]).mul_add(z[i], lanes[i]);
        }
    }
    let rest = x_rest.iter().zip(y_rest).zip(z_rest);
    lanes.iter().sum::<f32>() + rest.map(|((x, y), z)| x * y * z).sum::<f32>()
}

widest! {
    /// Rotates the pairs of each head in the first `heads * 2 * half` values of each row.
    /// `angles` holds `half` cosines, then as many sines, a row; `turn` is 1, or −1 for the way back.
    fn rotate(x: &mut [f32], width: usize, heads: usize, half: usize, angles: &[f32], turn: f32) {
        for (row, angles) in x.chunks_exact_mut(width).zip(angles.chunks_exact(2 * half)) {
            let (cos, sin) = angles.split_at(half);
            for head in row[..heads * 2 * half].chunks_exact_mut(2 * half) {
                let (low, high) = head.split_at_mut(half);
                for (((a, b), c), s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                    let s = s * turn;
                    (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
                }
            }
        }
    }
}

/// An activation x·σ(linear·x + cubic·x³).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Curve {
    linear: f32,
    cubic: f32,
}

impl Curve {
    /// x·σ(x).
    pub(crate) const SILU: Self = Self {
        linear: 1.0,
        cubic: 0.0,
    };
    /// GELU by its tanh approximation: ½(1 + tanh z) is σ(2z), z = √(2/π)·(x + 0.044715·x³).
    pub(crate) const GELU_TANH: Self = {
        use std::f64::consts::{FRAC_2_SQRT_PI, SQRT_2};
        Self {
            linear: (FRAC_2_SQRT_PI * SQRT_2) as f32,
            cubic: (FRAC_2_SQRT_PI * SQRT_2 * 0.044_715) as f32,
        }
    };

    /// What σ is taken of.
    #[inline(always)]
    fn bent(self, x: f32) -> f32 {
        (self.cubic * (x * x)).mul_add(x, self.linear * x)
    }

    /// x times the derivative of [`Self::bent`].
    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        (3.0 * self.cubic * (x * x)).mul_add(x, self.linear * x)
    }
}

widest! {
    /// `out` ← curve(gate)·up for rows of `gates`, which hold the gate and then up.
    fn gate(gates: &[f32], width: usize, curve: Curve, out: &mut [f32]) {
        for (row, out) in gates.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
            let (gate, up) = row.split_at(width);
            for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
                *out = g * u / (1.0 + exp(-curve.bent(*g)));
            }
        }
    }
}

widest! {
    /// Backward of [`gate`]: `gates` ← its gradient; `out`, the gradient of the output, ← the output.
    fn gate_back(gates: &mut [f32], width: usize, curve: Curve, out: &mut [f32]) {
        let rows = gates.chunks_exact_mut(2 * width);
        for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
            let (gate, up) = row.split_at_mut(width);
            let (gates, gate_rest) = gate.as_chunks_mut::<LANES>();
            let (ups, up_rest) = up.as_chunks_mut::<LANES>();
            let (outs, out_rest) = out.as_chunks_mut::<LANES>();
            for ((gate, up), out) in gates.iter_mut().zip(ups).zip(outs) {
                gate_back_lanes(gate, up, curve, out);
            }
            let rest = gate_rest.iter_mut().zip(up_rest).zip(out_rest);
            for ((gate, up), out) in rest {
                let [gate, up, out] = [gate, up, out].map(std::array::from_mut);
                gate_back_lanes(gate, up, curve, out);
            }
        }
    }
}

// In lanes: over slices that are all written the compiler gives up on wide instructions.
#[inline(always)]
fn gate_back_lanes<const N: usize>(
    gate: &mut [f32; N],
    up: &mut [f32; N],
    curve: Curve,
    out: &mut [f32; N],
) {
    for i in 0..N {
        let (g, u, by) = (gate[i], up[i], out[i]);
        let sigmoid = 1.0 / (1.0 + exp(-curve.bent(g)));
        let active = g * sigmoid;
        out[i] = active * u;
        let slope = curve.slope(g);
        gate[i] = by * u * sigmoid * (1.0 + slope - slope * sigmoid);
        up[i] = by * active;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_agree_with_f64() {
        for i in -8_600..=8_700 {
            let x = i as f32 / 100.0;
            let error = (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(error < 3e-7, "exp({x}) is off by {error:e}");
        }
        assert!(exp(-200.0) < 2e-38 && exp(f32::NEG_INFINITY) < 2e-38);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn a_softmax_is_one_in_all_and_keeps_ratios() {
        // Longer and shorter than a vector.
        for count in [3, 40] {
            let mut x: Vec<f32> = (0..count).map(|i| (i % 7) as f32 - 90.0).collect();
            let log_mass = softmax_of(&mut x, 0.5);
            assert!((x.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!((x[2] / x[1] - 0.5_f32.exp()).abs() < 1e-6);
            let want: f64 = (0..count)
                .map(|i| (f64::from(i % 7 - 90) / 2.0).exp())
                .sum();
            assert!((f64::from(log_mass) - want.ln()).abs() < 1e-5);
        }
    }
}
