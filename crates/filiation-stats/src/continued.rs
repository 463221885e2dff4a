//! Lentz's method for continued fractions.

const TINY: f64 = 1e-300;
const MOST_TERMS: u32 = 5_000_000;

/// b0 + a1/(b1 + a2/(b2 + …)) by the modified Lentz method; `term(j)` gives (aj, bj) for j ≥ 1.
pub(crate) fn continued_fraction(b0: f64, term: impl Fn(f64) -> [f64; 2]) -> f64 {
    let held = |x: f64| if x.abs() < TINY { TINY } else { x };
    let mut value = held(b0);
    let mut c = value;
    let mut d = 0.0;
    for j in 1..MOST_TERMS {
        let [a, b] = term(f64::from(j));
        d = 1.0 / held(b + a * d);
        c = held(b + a / c);
        let factor = c * d;
        value *= factor;
        if (factor - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_golden_ratio() {
        let golden = continued_fraction(1.0, |_| [1.0, 1.0]);
        assert!((golden - (1.0 + 5.0_f64.sqrt()) / 2.0).abs() < 4e-15);
    }
}
