//! Is the suspect a mixture of two models that it is related to?
//!
//! Siblings of a base change it in directions of their own. If the suspect S differs from both A and
//! B, its squared distance from the best point between them is at least half of that from the nearer
//! one as long as S, A and B changed their base independently: the squared distances are then
//! |s|² + |a|², |s|² + |b|² and |s|² + |a|²|b|² / (|a|² + |b|²). A mixture w A + (1 − w) B lies at
//! their line itself.

use ndarray::Array2;
use serde::Serialize;

use super::compare::{Kinship, shared};
use super::{Layer, Pack};

/// Share of the nearer one's squared distance that may be left of a mixture: half of what
/// independent changes leave at least.
const LEFT: f64 = 0.25;

/// Least squared relative distance that the rounding of packs does not matter in.
const LEAST: f64 = 1e-5;

/// The suspect as a point between two bases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mixture {
    /// The bases, by their place in what was compared.
    pub of: (usize, usize),
    /// Share of the first.
    pub share: f64,
    /// What is left of the squared distance from the nearer one.
    pub left: f64,
}

/// Sums over responses: of s − b with itself, with a − b, and of a − b with itself.
#[derive(Default)]
struct Sums {
    to_second: f64,
    along: f64,
    between: f64,
    size: f64,
}

/// Pairs of bases that the suspect lies between, closest first.
pub fn mixtures(suspect: &Pack, bases: &[(&Pack, &Kinship)]) -> Vec<Mixture> {
    let mut found = Vec::new();
    for (i, first) in bases.iter().enumerate() {
        for (j, second) in bases.iter().enumerate().skip(i + 1) {
            let sums = Sums::over(suspect, *first, *second);
            found.extend(sums.mixture((i, j)));
        }
    }
    found.sort_by(|a: &Mixture, b| a.left.total_cmp(&b.left));
    found
}

impl Sums {
    fn over(suspect: &Pack, a: (&Pack, &Kinship), b: (&Pack, &Kinship)) -> Self {
        let mut sums = Self::default();
        let (with_a, with_b) = (shared(suspect, a.0), shared(suspect, b.0));
        // Tokens of all three: position in the suspect, in a and in b.
        let tokens: Vec<(usize, usize, usize)> = with_a
            .0
            .iter()
            .zip(&with_a.1)
            .filter_map(|(s, a)| {
                let k = with_b.0.iter().position(|t| t == s)?;
                Some((*s, *a, with_b.1[k]))
            })
            .collect();
        for x in a.1.layers.iter().filter(|l| l.inherited) {
            for y in
                b.1.layers
                    .iter()
                    .filter(|l| l.inherited && l.layer == x.layer)
            {
                let layers = (
                    &suspect.layers[x.layer],
                    &a.0.layers[x.counterpart],
                    &b.0.layers[y.counterpart],
                );
                for &(s, in_a) in &x.pairs {
                    if let Some(&(_, in_b)) = y.pairs.iter().find(|p| p.0 == s) {
                        sums.add(&tokens, layers, (s, in_a, in_b));
                    }
                }
            }
        }
        sums
    }

    fn add(
        &mut self,
        tokens: &[(usize, usize, usize)],
        layers: (&Layer, &Layer, &Layer),
        neuron: (usize, usize, usize),
    ) {
        let views: [fn(&Layer) -> &Array2<f32>; 2] = [|l| &l.up, |l| &l.twin];
        for view in views {
            let of = |layer, token, neuron| f64::from(view(layer)[[token, neuron]]);
            for &(s, a, b) in tokens {
                let (s, a, b) = (
                    of(layers.0, s, neuron.0),
                    of(layers.1, a, neuron.1),
                    of(layers.2, b, neuron.2),
                );
                self.to_second += (s - b) * (s - b);
                self.along += (s - b) * (a - b);
                self.between += (a - b) * (a - b);
                self.size += b * b;
            }
        }
    }

    fn mixture(&self, of: (usize, usize)) -> Option<Mixture> {
        let to_first = self.to_second - 2.0 * self.along + self.between;
        let nearer = self.to_second.min(to_first);
        let share = self.along / self.between;
        let left = (self.to_second - self.along * self.along / self.between) / nearer;
        let tells = nearer > LEAST * self.size && share > 0.0 && share < 1.0;
        (tells && left < LEFT).then_some(Mixture { of, share, left })
    }
}
