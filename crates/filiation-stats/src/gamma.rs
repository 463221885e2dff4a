//! The gamma function in log space, and the two pieces of Loader's saddle-point form.
//!
//! Subtracting large log-gammas loses digits in proportion to their size. Loader (2000, "Fast and
//! accurate computation of binomial probabilities") splits ln n! into Stirling's leading terms,
//! which cancel analytically, and small remainders, which are subtracted instead.

use std::f64::consts::PI;

/// ln(2π) / 2.
pub(crate) const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

/// Stirling's remainder: ln Γ(x + 1) − (x + ½) ln x + x − ½ ln 2π, for x > 0.
pub(crate) fn stirling_remainder(x: f64) -> f64 {
    // Moves x up to where the asymptotic series has full precision, one factor a step:
    // δ(x) − δ(x + 1) = (x + ½) ln(1 + 1/x) − 1.
    let mut shifted = x;
    let mut moved = 0.0;
    while shifted < 16.0 {
        moved += (shifted + 0.5) * (1.0 / shifted).ln_1p() - 1.0;
        shifted += 1.0;
    }
    let square = 1.0 / (shifted * shifted);
    let series = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
    ]
    .iter()
    .rev()
    .fold(0.0, |sum, c| sum * square + c);
    moved + series / shifted
}

/// ln Γ(x) for x > 0.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    // Through Γ(x + 1), because the remainder is small there.
    stirling_remainder(x) + (x + 0.5) * x.ln() - x + HALF_LN_TAU - x.ln()
}

/// Loader's deviance part: x ln(x / m) + m − x, without cancellation near x = m.
pub(crate) fn deviance(x: f64, m: f64) -> f64 {
    let gap = x - m;
    if gap.abs() >= 0.1 * (x + m) {
        return if x == 0.0 { m } else { x * (x / m).ln() - gap };
    }
    // With v = (x − m)/(x + m): x ln(x/m) = 2x (v + v³/3 + v⁵/5 + …), and 2xv = (x−m)(1+v).
    let v = gap / (x + m);
    let mut sum = gap * v;
    let mut power = 2.0 * x * v;
    for odd in (3..).step_by(2).take(500) {
        power *= v * v;
        let next = sum + power / f64::from(odd);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// ln of x^a e^{−x} / Γ(a + 1): the Poisson mass at a (any real a ≥ 0) with mean x > 0.
pub(crate) fn ln_poisson_mass(a: f64, x: f64) -> f64 {
    if a == 0.0 {
        return -x;
    }
    -stirling_remainder(a) - deviance(a, x) - 0.5 * (2.0 * PI * a).ln()
}

/// ln of C(n, k) p^k (1 − p)^{n − k}, where p and q = 1 − p are given apart.
pub(crate) fn ln_binomial_mass(k: f64, n: f64, p: f64, q: f64) -> f64 {
    if p == 0.0 || q == 0.0 {
        let certain = if p == 0.0 { 0.0 } else { n };
        return if k == certain { 0.0 } else { f64::NEG_INFINITY };
    }
    if k == 0.0 {
        return n * if p < 0.5 { (-p).ln_1p() } else { q.ln() };
    }
    if k == n {
        return n * if q < 0.5 { (-q).ln_1p() } else { p.ln() };
    }
    let rest = n - k;
    stirling_remainder(n)
        - stirling_remainder(k)
        - stirling_remainder(rest)
        - deviance(k, n * p)
        - deviance(rest, n * q)
        + 0.5 * (n / (2.0 * PI * k * rest)).ln()
}

/// ln B(a, b) for a, b > 0.
pub(crate) fn ln_beta(a: f64, b: f64) -> f64 {
    let (large, small) = if a >= b { (a, b) } else { (b, a) };
    if large < 10.0 {
        return ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    }
    let sum = large + small;
    // ln Γ(large) − ln Γ(sum) with Stirling's leading terms cancelled.
    ln_gamma(small) - (large - 0.5) * (small / large).ln_1p() - small * sum.ln()
        + small
        + stirling_remainder(large)
        - stirling_remainder(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_gamma_at_known_points() {
        for (x, want) in [
            (0.5, 0.5 * PI.ln()),
            (1.0, 0.0),
            (2.0, 0.0),
            (5.0, 24.0_f64.ln()),
            (1e-5, 11.512_919_692_895_826),
            (171.3, 708.114_947_038_996_8),
            (1e6, 12_815_504.569_147_611),
        ] {
            let got = ln_gamma(x);
            assert!(
                (got - want).abs() <= 4e-15 * want.abs().max(8.0),
                "{x}: {got} {want}"
            );
        }
    }

    #[test]
    fn log_beta_is_smooth_where_the_form_changes() {
        // B(a + 1, b) = B(a, b) a / (a + b).
        for (a, b) in [(9.5, 0.5), (9.5, 3.0), (1e5, 0.5), (0.5, 1e7)] {
            let step = ln_beta(a + 1.0, b) - ln_beta(a, b) - (a / (a + b)).ln();
            assert!(step.abs() < 1e-13, "{a} {b}: {step}");
        }
    }
}
