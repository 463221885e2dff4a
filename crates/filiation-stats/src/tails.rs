//! Tail probabilities in log10, exact in double precision far below the smallest double.
//!
//! A tail on the likely side of the mean is computed from its complement, so that log10 of a
//! probability near 1 keeps its digits too.

use std::f64::consts::{LN_2, LN_10};

use crate::StatsError;
use crate::continued::continued_fraction;
use crate::error::require;
use crate::gamma::{ln_beta, ln_binomial_mass, ln_poisson_mass};

mod mixture;

pub use mixture::two_gammas_at_least;

/// log10 P(X ≥ k) for X binomial(n, p).
///
/// # Errors
/// [`StatsError::Domain`] unless 0 ≤ p ≤ 1.
pub fn binomial_at_least(k: u64, n: u64, p: f64) -> Result<f64, StatsError> {
    require((0.0..=1.0).contains(&p), "p", p, "a probability")?;
    Ok(ln_binomial_at_least(k as f64, n as f64, p, 1.0 - p) / LN_10)
}

/// log10 P(X ≤ k) for X binomial(n, p).
///
/// # Errors
/// [`StatsError::Domain`] unless 0 ≤ p ≤ 1.
pub fn binomial_at_most(k: u64, n: u64, p: f64) -> Result<f64, StatsError> {
    require((0.0..=1.0).contains(&p), "p", p, "a probability")?;
    if k >= n {
        return Ok(0.0);
    }
    Ok(ln_binomial_at_least((n - k) as f64, n as f64, 1.0 - p, p) / LN_10)
}

fn ln_binomial_at_least(k: f64, n: f64, p: f64, q: f64) -> f64 {
    if k <= 0.0 {
        return 0.0;
    }
    if k > n || p == 0.0 {
        return f64::NEG_INFINITY;
    }
    if q == 0.0 {
        return 0.0;
    }
    if k > n * p {
        let odds = p / q;
        ln_binomial_mass(k, n, p, q) + series(|j| (n - k - j) / (k + j + 1.0) * odds).ln()
    } else {
        // P(X ≤ k − 1) = P(n − X ≥ n − k + 1), on the unlikely side.
        ln_complement(ln_binomial_at_least(n - k + 1.0, n, q, p))
    }
}

/// log10 P(X ≥ k), X the number of marked items among `drawn` from `total` items of which
/// `marked` are marked (hypergeometric).
///
/// # Errors
/// [`StatsError::Domain`] when more are marked or drawn than there are.
pub fn hypergeometric_at_least(
    k: u64,
    total: u64,
    marked: u64,
    drawn: u64,
) -> Result<f64, StatsError> {
    require(marked <= total, "marked", marked as f64, "at most `total`")?;
    require(drawn <= total, "drawn", drawn as f64, "at most `total`")?;
    let [k, total, marked, drawn] = [k, total, marked, drawn].map(|x| x as f64);
    Ok(ln_hypergeometric_at_least(k, total, marked, drawn) / LN_10)
}

fn ln_hypergeometric_at_least(k: f64, total: f64, marked: f64, drawn: f64) -> f64 {
    if k <= (drawn + marked - total).max(0.0) {
        return 0.0;
    }
    if k > drawn.min(marked) {
        return f64::NEG_INFINITY;
    }
    if k * total > drawn * marked {
        let plain = total - marked;
        let ratio = |j: f64| {
            let x = k + j;
            (marked - x) / (x + 1.0) * (drawn - x) / (plain - drawn + x + 1.0)
        };
        ln_hypergeometric_mass(k, total, marked, drawn) + series(ratio).ln()
    } else {
        // Fewer than k marked = at least drawn − k + 1 of the unmarked.
        ln_complement(ln_hypergeometric_at_least(
            drawn - k + 1.0,
            total,
            total - marked,
            drawn,
        ))
    }
}

// Written with three binomial masses of one p, whose saddle points cancel.
fn ln_hypergeometric_mass(k: f64, total: f64, marked: f64, drawn: f64) -> f64 {
    let (p, q) = (drawn / total, (total - drawn) / total);
    ln_binomial_mass(k, marked, p, q) + ln_binomial_mass(drawn - k, total - marked, p, q)
        - ln_binomial_mass(drawn, total, p, q)
}

/// log10 P(X ≥ x) for X gamma with this shape and scale 1.
///
/// # Errors
/// [`StatsError::Domain`] unless shape > 0 and x ≥ 0.
pub fn gamma_at_least(x: f64, shape: f64) -> Result<f64, StatsError> {
    require(
        shape > 0.0 && shape.is_finite(),
        "shape",
        shape,
        "a positive number",
    )?;
    require(x >= 0.0, "x", x, "a number of at least 0")?;
    Ok(ln_gamma_at_least(x, shape) / LN_10)
}

fn ln_gamma_at_least(x: f64, a: f64) -> f64 {
    if x == 0.0 {
        return 0.0;
    }
    if x == f64::INFINITY {
        return f64::NEG_INFINITY;
    }
    let mass = ln_poisson_mass(a, x);
    if x < a + 1.0 {
        // Lower part: x^a e^{−x} / Γ(a+1) · Σ x^j / ((a+1)…(a+j)).
        return ln_complement(mass + series(|j| x / (a + j + 1.0)).ln());
    }
    let b0 = x + 1.0 - a;
    let fraction = continued_fraction(b0, |j| [-j * (j - a), b0 + 2.0 * j]);
    mass + a.ln() - fraction.ln()
}

/// log10 P(X ≥ x) for X χ² with `degrees` degrees of freedom.
///
/// # Errors
/// [`StatsError::Domain`] unless degrees > 0 and x ≥ 0.
pub fn chi_square_at_least(x: f64, degrees: f64) -> Result<f64, StatsError> {
    require(
        degrees > 0.0 && degrees.is_finite(),
        "degrees",
        degrees,
        "a positive number",
    )?;
    require(x >= 0.0, "x", x, "a number of at least 0")?;
    Ok(ln_gamma_at_least(0.5 * x, 0.5 * degrees) / LN_10)
}

/// log10 P(Z ≥ z) for Z standard normal.
///
/// # Errors
/// [`StatsError::Domain`] for a NaN.
pub fn normal_at_least(z: f64) -> Result<f64, StatsError> {
    require(!z.is_nan(), "z", z, "a number")?;
    Ok(ln_normal_at_least(z) / LN_10)
}

pub(crate) fn ln_normal_at_least(z: f64) -> f64 {
    // Z² is χ² with one degree of freedom.
    let beyond = ln_gamma_at_least(0.5 * z * z, 0.5) - LN_2;
    if z >= 0.0 {
        beyond
    } else {
        ln_complement(beyond)
    }
}

/// log10 P(T ≥ t) for T Student with `degrees` degrees of freedom.
///
/// # Errors
/// [`StatsError::Domain`] unless degrees > 0, and for a NaN.
pub fn student_t_at_least(t: f64, degrees: f64) -> Result<f64, StatsError> {
    require(
        degrees > 0.0 && degrees.is_finite(),
        "degrees",
        degrees,
        "a positive number",
    )?;
    require(!t.is_nan(), "t", t, "a number")?;
    Ok(ln_student_t_at_least(t, degrees) / LN_10)
}

pub(crate) fn ln_student_t_at_least(t: f64, degrees: f64) -> f64 {
    if t == 0.0 {
        return -LN_2;
    }
    if t.is_infinite() {
        return if t > 0.0 { f64::NEG_INFINITY } else { 0.0 };
    }
    // P(|T| ≥ t) = I_x(ν/2, ½) with x = ν/(ν + t²). Both logs come from the ratio t²/ν, which
    // may overflow or vanish where they do not.
    let ln_ratio = 2.0 * t.abs().ln() - degrees.ln();
    let ln_x = -softplus(ln_ratio);
    let ln_rest = -softplus(-ln_ratio);
    let beyond = ln_incomplete_beta(ln_x, ln_rest, 0.5 * degrees, 0.5) - LN_2;
    if t > 0.0 {
        beyond
    } else {
        ln_complement(beyond)
    }
}

// ln(1 + e^x).
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// ln I_x(a, b), given ln x and ln(1 − x).
fn ln_incomplete_beta(ln_x: f64, ln_rest: f64, a: f64, b: f64) -> f64 {
    let x = ln_x.exp();
    if x > (a + 1.0) / (a + b + 2.0) {
        return ln_complement(ln_incomplete_beta(ln_rest, ln_x, b, a));
    }
    let fraction = continued_fraction(1.0, |j| {
        let m = (j * 0.5).floor();
        let even = j % 2.0 == 0.0;
        let coefficient = if even {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        [coefficient, 1.0]
    });
    a * ln_x + b * ln_rest - a.ln() - ln_beta(a, b) - fraction.ln()
}

/// ln(1 − e^x) for x ≤ 0.
pub(crate) fn ln_complement(x: f64) -> f64 {
    if x >= 0.0 {
        f64::NEG_INFINITY
    } else if x > -LN_2 {
        (-x.exp_m1()).ln()
    } else {
        (-x.exp()).ln_1p()
    }
}

// 1 + r(0) + r(0) r(1) + …, for ratios that decrease.
fn series(ratio: impl Fn(f64) -> f64) -> f64 {
    let mut sum = 1.0;
    let mut term = 1.0;
    let mut j = 0.0;
    loop {
        let r = ratio(j);
        term *= r;
        sum += term;
        // What is left is at most a geometric series of the ratio.
        if term <= 1e-18 * sum * (1.0 - r).max(1e-12) {
            return sum;
        }
        j += 1.0;
    }
}

#[cfg(test)]
mod tests;
