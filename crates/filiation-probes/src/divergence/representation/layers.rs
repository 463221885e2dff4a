//! How one model's layers arrange the texts, whole and with each text left out.

use filiation_core::HiddenStates;
use filiation_stats::assignment::assign;
use filiation_stats::cka::CentredGram;
use ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// One layer: over all texts, and over all but each.
struct Layer {
    whole: CentredGram,
    without: Vec<CentredGram>,
}

/// The layers of one model.
pub(super) struct Arrangement {
    layers: Vec<Layer>,
}

/// CKA of two models: the mean over paired layers, over all texts and over all but each.
pub(super) struct Likeness {
    pub(super) whole: f64,
    without: Vec<f64>,
}

impl Likeness {
    /// Jackknife values of the difference from `before`, text by text: their mean is its estimate.
    pub(super) fn values_over(&self, before: &Self) -> Vec<f64> {
        let n = self.without.len() as f64;
        let whole = self.whole - before.whole;
        let pairs = self.without.iter().zip(&before.without);
        pairs
            .map(|(a, b)| n * whole - (n - 1.0) * (a - b))
            .collect()
    }
}

impl Arrangement {
    /// From the states of one model, text by text. `None` where a layer is not finite or constant,
    /// or texts differ in shape.
    pub(super) fn new(states: &[&HiddenStates]) -> Option<Self> {
        let layers = states.first()?.layers.len();
        let all: Option<Vec<Layer>> = (0..layers).map(|l| layer(states, l)).collect();
        all.filter(|layers| !layers.is_empty())
            .map(|layers| Self { layers })
    }

    /// Pairs of own and other layers, and their likeness.
    pub(super) fn likeness(&self, other: &Self) -> Likeness {
        let pairs = self.pairs(other);
        let n = self.layers[0].without.len();
        let mean = |of: &dyn Fn(&Layer, &Layer) -> Option<f64>| {
            let all = pairs
                .iter()
                .map(|&(a, b)| of(&self.layers[a], &other.layers[b]));
            all.map(|c| c.unwrap_or(0.0)).sum::<f64>() / pairs.len() as f64
        };
        Likeness {
            whole: mean(&|a, b| a.whole.cka(&b.whole)),
            without: (0..n)
                .map(|i| mean(&|a, b| a.without[i].cka(&b.without[i])))
                .collect(),
        }
    }

    /// log10 of the least p of a pair of layers over random pairings of the texts, times the
    /// number of pairs.
    pub(super) fn log10_p(&self, other: &Self, pairings: usize, seed: u64) -> Option<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pairs = self.pairs(other);
        let least = pairs.iter().filter_map(|&(a, b)| {
            let (a, b) = (&self.layers[a].whole, &other.layers[b].whole);
            a.p_value(b, pairings, &mut rng)
        });
        let p = least.reduce(f64::min)? * pairs.len() as f64;
        Some(p.min(1.0).log10())
    }

    // The pairing with the greatest likeness in all.
    fn pairs(&self, other: &Self) -> Vec<(usize, usize)> {
        let (rows, columns) = (self.layers.len(), other.layers.len());
        let cost: Vec<f64> = self
            .layers
            .iter()
            .flat_map(|a| {
                let cka = |b: &Layer| 1.0 - a.whole.cka(&b.whole).unwrap_or(0.0);
                other.layers.iter().map(cka).collect::<Vec<_>>()
            })
            .collect();
        let found = assign(&cost, rows, columns).map(|a| a.columns);
        let columns = found.unwrap_or_default().into_iter().enumerate();
        columns.filter_map(|(a, b)| Some((a, b?))).collect()
    }
}

fn layer(states: &[&HiddenStates], l: usize) -> Option<Layer> {
    let n = states.len();
    let width = states.first()?.layers.get(l)?.len();
    let rows: Option<Vec<&Vec<f32>>> = states.iter().map(|s| s.layers.get(l)).collect();
    let flat: Vec<f32> = rows?.into_iter().flatten().copied().collect();
    let mut items = Array2::from_shape_vec((n, width), flat).ok()?;
    // Centring changes no U-centred product, and keeps digits where a few dimensions are large.
    let mean = items.mean_axis(Axis(0))?;
    items -= &mean;
    let gram = items.dot(&items.t());
    let whole = CentredGram::from_gram(gram.clone())?;
    whole.cka(&whole)?;
    let without = (0..n).map(|out| {
        let kept: Vec<usize> = (0..n).filter(|i| *i != out).collect();
        CentredGram::from_gram(gram.select(Axis(0), &kept).select(Axis(1), &kept))
    });
    Some(Layer {
        whole,
        without: without.collect::<Option<_>>()?,
    })
}
