//! Tails of sums of scaled gamma variables.

use std::f64::consts::LN_10;

use super::ln_gamma_at_least;
use crate::StatsError;
use crate::error::require;
use crate::gamma::ln_poisson_mass;

/// Panels of the integral, each with the five-point rule of Gauss and Legendre.
const PANELS: usize = 64;
const NODES: [(f64, f64); 5] = [
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
    (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
    (0.906_179_845_938_664, 0.236_926_885_056_189_1),
    (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
];
/// Nats below the largest integrand where the rest adds nothing.
const DEPTH: f64 = 45.0;
/// Steps of the searches for the maximum and for the ends. They need not be exact: the maximum is only what the integrand is held
/// against, and the ends lie where it is e⁻⁴⁵ of that.
const GOLDEN: usize = 40;
const HALVINGS: usize = 30;

/// log10 P(a X + b Y ≥ x) for independent X and Y, gamma with one `shape` and scale 1.
///
/// The integral over Y of its density times the tail of X, by quadrature where the integrand,
/// which is log-concave, lies within 45 nats of its maximum.
///
/// # Errors
/// [`StatsError::Domain`] unless shape ≥ 1, a > 0, b > 0 and x ≥ 0.
pub fn two_gammas_at_least(x: f64, shape: f64, a: f64, b: f64) -> Result<f64, StatsError> {
    require(
        shape >= 1.0 && shape.is_finite(),
        "shape",
        shape,
        "a number of at least 1",
    )?;
    for (name, scale) in [("a", a), ("b", b)] {
        require(
            scale > 0.0 && scale.is_finite(),
            name,
            scale,
            "a positive number",
        )?;
    }
    require(x >= 0.0, "x", x, "a number of at least 0")?;
    if x == 0.0 {
        return Ok(0.0);
    }
    let end = x / b;
    let beyond = ln_gamma_at_least(end, shape);
    let ln_integrand = |y: f64| {
        let tail = ln_gamma_at_least(((x - b * y) / a).max(0.0), shape);
        ln_poisson_mass(shape - 1.0, y) + tail
    };
    let peak = maximum(&ln_integrand, end);
    let top = ln_integrand(peak);
    let below = |y: f64| ln_integrand(y) < top - DEPTH;
    let from = bisect(0.0, peak, &below);
    let to = bisect(end, peak, &below);
    let half = 0.5 * (to - from) / PANELS as f64;
    let sum: f64 = (0..PANELS)
        .flat_map(|panel| {
            let middle = from + half * (2 * panel + 1) as f64;
            NODES.map(|(node, weight)| weight * (ln_integrand(middle + half * node) - top).exp())
        })
        .sum();
    let inner = top + (half * sum).ln();
    let (hi, lo) = if inner > beyond {
        (inner, beyond)
    } else {
        (beyond, inner)
    };
    Ok(((hi + (lo - hi).exp().ln_1p()) / LN_10).min(0.0))
}

// Golden section on [0, end].
fn maximum(of: &impl Fn(f64) -> f64, end: f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let (mut lo, mut hi) = (0.0, end);
    let (mut left, mut right) = (hi - RATIO * (hi - lo), lo + RATIO * (hi - lo));
    let (mut at_left, mut at_right) = (of(left), of(right));
    for _ in 0..GOLDEN {
        if at_left < at_right {
            (lo, left, at_left) = (left, right, at_right);
            right = lo + RATIO * (hi - lo);
            at_right = of(right);
        } else {
            (hi, right, at_right) = (right, left, at_left);
            left = hi - RATIO * (hi - lo);
            at_left = of(left);
        }
    }
    0.5 * (lo + hi)
}

// Where `outside` turns false between `out` and `inside`; `out` itself where it never holds.
fn bisect(out: f64, inside: f64, outside: &impl Fn(f64) -> bool) -> f64 {
    if !outside(out) {
        return out;
    }
    let (mut out, mut inside) = (out, inside);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (out + inside);
        if outside(middle) {
            out = middle;
        } else {
            inside = middle;
        }
    }
    inside
}
