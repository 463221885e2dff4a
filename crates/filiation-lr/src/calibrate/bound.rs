use super::Sample;

/// The least and the greatest log10 likelihood ratio that a sample supports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// At most 0.
    pub lower: f64,
    /// At least 0.
    pub upper: f64,
}

/// What is counted that was not seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Smoothing {
    /// So many more misleading lineages of each class: the empirical lower and upper bound of
    /// Vergeer et al. 2016.
    Misleading(f64),
    /// Half a lineage on each side of each threshold: the bound of Alberink et al. 2025.
    Jeffreys,
}

/// The bounds within which no claim is larger than what was counted: up to the first threshold t at
/// which the claimed ratio exceeds P(LR > t | H1) / P(LR > t | H2), and down to its mirror image.
///
/// The two published rules are this one with different [`Smoothing`]; neither needs a grid.
pub fn tail_ratio(llrs: &Sample, smoothing: Smoothing) -> Bounds {
    Bounds {
        lower: 0.0 - side(llrs, smoothing, -1.0),
        upper: side(llrs, smoothing, 1.0),
    }
}

/// The bound above, with all signs turned where `sign` is −1.
fn side(llrs: &Sample, smoothing: Smoothing, sign: f64) -> f64 {
    let supports = sign > 0.0;
    let mut items: Vec<(f64, bool, f64)> = llrs
        .items()
        .iter()
        .map(|i| (sign * i.value, i.distilled == supports, i.weight))
        .filter(|(value, ..)| *value > 0.0)
        .collect();
    items.sort_by(|a, b| b.0.total_cmp(&a.0));
    let totals = [llrs.lineages(supports), llrs.lineages(!supports)];
    let mut knots = vec![0.0];
    knots.extend(items.iter().rev().map(|i| i.0));
    knots.dedup();
    for (at, knot) in knots.iter().enumerate() {
        let next = knots.get(at + 1).copied();
        if next.is_none() && knot.is_infinite() {
            break;
        }
        let ratio = ratio(&items, *knot, totals, smoothing);
        match next {
            // Nothing was seen beyond.
            None => return *knot,
            Some(_) if ratio < *knot => return *knot,
            Some(next) if ratio < next => return ratio,
            Some(_) => {}
        }
    }
    0.0
}

/// log10 of the tails' ratio just above `knot`.
fn ratio(items: &[(f64, bool, f64)], knot: f64, [n1, n0]: [f64; 2], smoothing: Smoothing) -> f64 {
    let tail = |true_positive: bool| -> f64 {
        let beyond = items.iter().take_while(|(value, ..)| *value > knot);
        beyond.filter(|i| i.1 == true_positive).map(|i| i.2).sum()
    };
    let [tp, fp] = [tail(true), tail(false)];
    let [tp, fp] = match smoothing {
        Smoothing::Misleading(k) => [tp / (n1 + k), (fp + k) / (n0 + k)],
        Smoothing::Jeffreys => [(tp + 0.5) / (n1 + 1.0), (fp + 0.5) / (n0 + 1.0)],
    };
    (tp / fp).log10()
}
