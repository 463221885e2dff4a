//! A suspect's pack against that of a possible base.

use std::collections::BTreeMap;

use filiation_core::Digest;
use filiation_stats::cka::CentredGram;
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use serde::Serialize;

use super::{LEAST_TOKENS, Layer, Pack, frame};
use crate::lineage::neurons::{self, Views};
use crate::lineage::relate::LOG10_SIZE;

/// Mean CKA above which "unrelated" is not said although no neurons are shared. Models that were
/// trained apart see words alike, so their CKA is not 0: among the independent ones of
/// `corpora/demo` and their copies it stays below this.
const UNSETTLED_CKA: f64 = 0.5;

/// Least cosine of coordinates as they lie for the hidden dimensions to be in place: over 16 tokens
/// and as few as 64 dimensions chance stays below 0.2.
const IN_PLACE: f64 = 0.5;

/// What a pack tells of a suspect and one base.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kinship {
    /// Where the base came from, in its maker's words.
    pub base: String,
    /// Digest of the base's files.
    pub model: Digest,
    /// Digest of its pack.
    pub pack: Digest,
    /// `same files`, `derived`, `unrelated`; `None` where it is not settled.
    pub finding: Option<&'static str>,
    /// Tokens that both packs have.
    pub shared_tokens: usize,
    /// log10 p of "no layer shares neurons with its counterpart", over all layers; `None` where the
    /// packs share too few tokens.
    pub log10_p: Option<f64>,
    /// Mean over the layers of the unbiased CKA of queries and keys.
    pub cka: Option<f64>,
    /// ‖R − R'‖ / ‖R'‖ over the shared neurons: about by how much the weights differ.
    pub change: Option<f64>,
    /// The layers of the suspect.
    pub layers: Vec<LayerKinship>,
    /// Layers of the base that no layer of the suspect comes from.
    pub left_out: Vec<usize>,
    /// Disguises that were undone, and other differences.
    pub notes: Vec<String>,
}

/// A layer of the suspect and the layer of the base whose attention is most like its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerKinship {
    /// Of the suspect.
    pub layer: usize,
    /// Of the base.
    pub counterpart: usize,
    /// Unbiased CKA of queries and of keys, their mean.
    pub cka: f64,
    /// MATCH.
    pub log10_p: Option<f64>,
    /// Whether its neurons come from the counterpart, at the size of the test over all layers.
    pub inherited: bool,
    /// Share of the compared neurons that both views match alike.
    pub shared_neurons: f64,
    /// ‖R − R'‖ / ‖R'‖ over those.
    pub change: Option<f64>,
    /// The same once each neuron is scaled to fit.
    #[serde(skip)]
    scaled_change: f64,
    #[serde(skip)]
    in_order: bool,
    /// Positions of shared neurons in both packs.
    #[serde(skip)]
    pub(super) pairs: Vec<(usize, usize)>,
}

/// One side, in the frame.
struct Side {
    attention: Vec<(Option<CentredGram>, Option<CentredGram>)>,
    neurons: Vec<(Array2<f32>, Array2<f32>)>,
}

/// Positions of the tokens that both have, in each.
pub(super) fn shared(a: &Pack, b: &Pack) -> (Vec<usize>, Vec<usize>) {
    let theirs: BTreeMap<&str, usize> =
        b.facts.tokens.iter().map(String::as_str).zip(0..).collect();
    let mine = a.facts.tokens.iter().enumerate();
    mine.filter_map(|(i, token)| Some((i, *theirs.get(token.as_str())?)))
        .unzip()
}

/// The suspect against one of `tried` bases.
pub fn kinship(suspect: &Pack, base: &Pack, tried: usize) -> Kinship {
    let (mine, theirs) = shared(suspect, base);
    let mut found = Kinship {
        base: base.facts.identity.source.clone(),
        model: base.facts.identity.digest,
        pack: base.digest,
        finding: None,
        shared_tokens: mine.len(),
        log10_p: None,
        cka: None,
        change: None,
        layers: Vec::new(),
        left_out: Vec::new(),
        notes: Vec::new(),
    };
    if suspect.facts.identity.digest == base.facts.identity.digest {
        found.finding = Some("same files");
    }
    if mine.len() < LEAST_TOKENS {
        return found;
    }
    let (Some(a), Some(b)) = (side(suspect, &mine), side(base, &theirs)) else {
        return found;
    };
    let most = suspect.layers.len().max(1) * tried.max(1);
    let size = LOG10_SIZE - (most as f64).log10();
    found.layers = (0..suspect.layers.len())
        .into_par_iter()
        .filter_map(|layer| one(layer, (suspect, &a), (base, &b), size))
        .collect();
    let layers = &found.layers;
    found.cka = mean(layers.iter().map(|l| l.cka));
    found.log10_p = least(layers).map(|p| (p + (layers.len() as f64).log10()).min(0.0));
    if layers.iter().any(|l| l.inherited) {
        let inherited = layers.iter().filter(|l| l.inherited);
        found.change = mean(inherited.filter_map(|l| l.change));
        found.left_out = (0..base.layers.len())
            .filter(|&b| !layers.iter().any(|l| l.inherited && l.counterpart == b))
            .collect();
        found.notes = notes(suspect, base, &mine, &theirs, layers);
        found.finding = found.finding.or(Some("derived"));
    } else if found.cka.is_some_and(|cka| cka <= UNSETTLED_CKA) && found.log10_p.is_some() {
        found.finding = found.finding.or(Some("unrelated"));
    }
    found
}

fn least(layers: &[LayerKinship]) -> Option<f64> {
    let each = layers.iter().filter_map(|l| l.log10_p);
    each.min_by(f64::total_cmp)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0u32), |(sum, n), x| (sum + x, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

fn side(pack: &Pack, tokens: &[usize]) -> Option<Side> {
    let picked = |m: &Array2<f32>| {
        let square = m.select(Axis(0), tokens).select(Axis(1), tokens);
        square.mapv(f64::from)
    };
    let basis = frame::of(&picked(&pack.gram))?;
    let gram = |m: &Array2<f32>| {
        CentredGram::from_gram(frame::gram(&basis, &picked(m)).mapv(|x| x as f32))
    };
    let responses = |m: &Array2<f32>| {
        let rows = m.select(Axis(0), tokens).mapv(f64::from);
        frame::responses(&basis, &rows).mapv(|x| x as f32)
    };
    let both = |layer: &Layer| (gram(&layer.query), gram(&layer.key));
    let neurons = |layer: &Layer| (responses(&layer.up), responses(&layer.twin));
    Some(Side {
        attention: pack.layers.par_iter().map(both).collect(),
        neurons: pack.layers.par_iter().map(neurons).collect(),
    })
}

fn one(
    layer: usize,
    (suspect, a): (&Pack, &Side),
    (base, b): (&Pack, &Side),
    size: f64,
) -> Option<LayerKinship> {
    let cka = |x: &Option<CentredGram>, y: &Option<CentredGram>| {
        let both = x.as_ref().zip(y.as_ref());
        both.and_then(|(x, y)| x.cka(y)).unwrap_or(0.0)
    };
    let mine = &a.attention[layer];
    let alike = b
        .attention
        .iter()
        .map(|theirs| (cka(&mine.0, &theirs.0) + cka(&mine.1, &theirs.1)) / 2.0);
    let (counterpart, cka) = alike.enumerate().max_by(|x, y| x.1.total_cmp(&y.1))?;
    let views = |(up, twin): &(Array2<f32>, Array2<f32>)| {
        Views::new(up.t().to_owned(), twin.t().to_owned())
    };
    let (x, y) = (&a.neurons[layer], &b.neurons[counterpart]);
    let matched = neurons::matching(&views(x), &views(y));
    let log10_p = matched.as_ref().map(|m| m.log10_p);
    let inherited = log10_p.is_some_and(|p| p <= size);
    let pairs = matched.map(|m| m.agreed).unwrap_or_default();
    let compared = suspect.layers[layer].neurons.len();
    let numbers = (
        &suspect.layers[layer].neurons,
        &base.layers[counterpart].neurons,
    );
    let change = Change::over(&pairs, x, y);
    Some(LayerKinship {
        layer,
        counterpart,
        cka,
        log10_p,
        inherited,
        shared_neurons: pairs.len() as f64 / compared.max(1) as f64,
        change: inherited.then(|| change.plain()),
        scaled_change: change.scaled(),
        // A few match by chance where not all neurons are in both packs.
        in_order: 2 * pairs
            .iter()
            .filter(|&&(i, j)| numbers.0[i] == numbers.1[j])
            .count()
            >= pairs.len(),
        pairs: if inherited { pairs } else { Vec::new() },
    })
}

/// Sums of squares over shared neurons.
#[derive(Default)]
struct Change {
    reference: f64,
    plain: f64,
    scaled: f64,
}

impl Change {
    fn over(
        pairs: &[(usize, usize)],
        mine: &(Array2<f32>, Array2<f32>),
        theirs: &(Array2<f32>, Array2<f32>),
    ) -> Self {
        let mut sums = Self::default();
        for &(i, j) in pairs {
            for (a, b) in [(&mine.0, &theirs.0), (&mine.1, &theirs.1)] {
                let (a, b) = (a.column(i), b.column(j));
                let dot = |x: ndarray::ArrayView1<'_, f32>, y: ndarray::ArrayView1<'_, f32>| {
                    f64::from(x.dot(&y))
                };
                let (aa, ab, bb) = (dot(a, a), dot(a, b), dot(b, b));
                sums.reference += bb;
                sums.plain += (aa - 2.0 * ab + bb).max(0.0);
                if aa > 0.0 {
                    // The neuron of the base against the suspect's, scaled to fit it best.
                    sums.scaled += (bb - ab * ab / aa).max(0.0);
                }
            }
        }
        sums
    }

    fn plain(&self) -> f64 {
        relative(self.plain, self.reference)
    }

    fn scaled(&self) -> f64 {
        relative(self.scaled, self.reference)
    }
}

fn relative(square: f64, reference: f64) -> f64 {
    if reference > 0.0 {
        (square / reference).sqrt()
    } else {
        0.0
    }
}

/// What was undone, and what else differs, in words.
fn notes(
    suspect: &Pack,
    base: &Pack,
    mine: &[usize],
    theirs: &[usize],
    layers: &[LayerKinship],
) -> Vec<String> {
    let (s, b) = (&suspect.facts, &base.facts);
    let mut notes = Vec::new();
    if s.identity.architecture != b.identity.architecture {
        notes.push(format!(
            "architecture named {}, not {}",
            s.identity.architecture, b.identity.architecture
        ));
    }
    let moved = s.shape.width == b.shape.width && !in_place(suspect, base, mine, theirs);
    let folded = s.constant_norms != b.constant_norms;
    match (moved, folded) {
        (true, true) => notes.push("hidden space rotated, norms folded into matrices".into()),
        (true, false) => notes.push("hidden dimensions permuted or flipped".into()),
        (false, true) => notes.push("norms folded into matrices".into()),
        (false, false) => {}
    }
    let inherited: Vec<_> = layers.iter().filter(|l| l.inherited).collect();
    if s.shape.feed_forward == b.shape.feed_forward && inherited.iter().any(|l| !l.in_order) {
        notes.push("neurons permuted".into());
    }
    // Scaling explains more than half of what differs, beyond what F16 and BF16 can hide.
    let rescaled = inherited.iter().any(|l| {
        let change = l.change.unwrap_or(0.0);
        change > 0.02 && 2.0 * l.scaled_change.powi(2) < change.powi(2)
    });
    if rescaled {
        notes.push("neurons rescaled".into());
    }
    for (what, mine, theirs) in [
        ("hidden dimensions", s.shape.width, b.shape.width),
        (
            "neurons of a layer",
            s.shape.feed_forward,
            b.shape.feed_forward,
        ),
        ("layers", s.shape.layers, b.shape.layers),
        ("query heads", s.shape.heads, b.shape.heads),
        ("key heads", s.shape.kv_heads, b.shape.kv_heads),
        (
            "rows of the embedding",
            s.shape.vocabulary,
            b.shape.vocabulary,
        ),
    ] {
        if mine != theirs {
            notes.push(format!("{mine} {what}, not {theirs}"));
        }
    }
    if s.stored != b.stored {
        notes.push(format!(
            "stored as {}, not {}",
            s.stored.join(" and "),
            b.stored.join(" and ")
        ));
    }
    notes
}

/// Whether the coordinates of shared anchors lie as they did.
fn in_place(suspect: &Pack, base: &Pack, mine: &[usize], theirs: &[usize]) -> bool {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    let rows = suspect.coordinates.nrows().min(base.coordinates.nrows());
    for (&i, &j) in mine
        .iter()
        .zip(theirs)
        .filter(|(i, j)| **i < rows && **j < rows)
    {
        for (&x, &y) in suspect
            .coordinates
            .row(i)
            .iter()
            .zip(base.coordinates.row(j))
        {
            ab += f64::from(x) * f64::from(y);
            aa += f64::from(x) * f64::from(x);
            bb += f64::from(y) * f64::from(y);
        }
    }
    // Without shared anchors nothing says that they moved.
    aa == 0.0 || ab > IN_PLACE * (aa * bb).sqrt()
}
