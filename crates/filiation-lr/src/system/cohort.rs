use std::collections::{BTreeMap, BTreeSet};

use super::known::{Known, Scores};

/// Least number of lineages that a cohort's mean and spread are taken of.
const LEAST: usize = 3;

/// What is usual: of each probe and candidate, over models that had no teacher.
///
/// A score mixes "the suspect resembles this candidate" with "everything resembles it" and with "this
/// suspect resembles all of them". The symmetric norm of speaker recognition takes out both: the mean of
/// (score − mean)/spread over the other candidates of the suspect and over models without a teacher for
/// the candidate. A suspect has few other candidates, so that their spread is that of all models without a
/// teacher, and only their mean its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Cohort {
    /// By probe and candidate.
    usual: BTreeMap<(String, String), Usual>,
    /// Of each probe, how far scores of one model's candidates lie apart.
    spreads: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Usual {
    mean: f64,
    spread: f64,
}

impl Usual {
    /// `None` where the values do not differ.
    fn of(values: &[(f64, f64)]) -> Option<Self> {
        let total: f64 = values.iter().map(|v| v.1).sum();
        let mean = values.iter().map(|(x, w)| w * x).sum::<f64>() / total;
        let squares = values.iter().map(|(x, w)| w * (x - mean) * (x - mean));
        let spread = (squares.sum::<f64>() / total).sqrt();
        (spread > 0.0).then_some(Self { mean, spread })
    }

    fn standard(&self, score: f64) -> f64 {
        (score - self.mean) / self.spread
    }
}

impl Cohort {
    /// Of the models without a teacher among these, each with the weight of its lineage.
    pub(super) fn fit(known: &[(&Known, f64)]) -> Self {
        let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
        let clean = || known.iter().filter(|(k, _)| k.taught.is_none());
        for (model, _) in clean() {
            *counts.entry(&model.lineage).or_default() += 1.0;
        }
        // Score, weight and lineage, by probe and candidate; and squares around each model's mean.
        type Values<'a> = (Vec<(f64, f64)>, BTreeSet<&'a str>);
        let mut values: BTreeMap<(&str, &str), Values<'_>> = BTreeMap::new();
        let mut squares: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
        for (model, weight) in clean() {
            let weight = weight / counts[model.lineage.as_str()];
            for (stream, scores) in &model.scores {
                let n = scores.len() as f64;
                let mean = scores.values().sum::<f64>() / n;
                let [sum, total] = squares.entry(stream).or_default();
                *sum += scores
                    .values()
                    .map(|x| weight * (x - mean) * (x - mean))
                    .sum::<f64>();
                *total += weight * (n - 1.0);
                for (candidate, score) in scores {
                    let (of, lineages) = values.entry((stream, candidate)).or_default();
                    of.push((*score, weight));
                    lineages.insert(&model.lineage);
                }
            }
        }
        let usual = values
            .into_iter()
            .filter_map(|((stream, candidate), (of, lineages))| {
                let usual = Usual::of(&of).filter(|_| lineages.len() >= LEAST)?;
                Some(((stream.to_owned(), candidate.to_owned()), usual))
            });
        let spread = |(stream, [sum, total]): (&str, [f64; 2])| {
            let spread = (sum / total).sqrt();
            (spread > 0.0 && spread.is_finite()).then(|| (stream.to_owned(), spread))
        };
        Self {
            usual: usual.collect(),
            spreads: squares.into_iter().filter_map(spread).collect(),
        }
    }

    /// The normalised score of a candidate; `None` where there is no such score or nothing to hold it
    /// against.
    pub(super) fn score(&self, scores: &Scores, stream: &str, candidate: &str) -> Option<f64> {
        let of_stream = scores.get(stream)?;
        let score = *of_stream.get(candidate)?;
        let others = of_stream.iter().filter(|(name, _)| *name != candidate);
        let others: Vec<f64> = others.map(|(_, score)| *score).collect();
        let among_others = self.spreads.get(stream).filter(|_| !others.is_empty());
        let among_others = among_others.map(|spread| {
            let mean = others.iter().sum::<f64>() / others.len() as f64;
            (score - mean) / spread
        });
        let key = (stream.to_owned(), candidate.to_owned());
        let among_models = self.usual.get(&key).map(|usual| usual.standard(score));
        let parts: Vec<f64> = [among_others, among_models].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.iter().sum::<f64>() / parts.len() as f64)
    }
}
