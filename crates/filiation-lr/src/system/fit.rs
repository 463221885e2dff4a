use std::collections::BTreeMap;

use filiation_core::{BoundedLlr, Proposition};

use super::against::{Against, headline};
use super::fusion::Fusion;
use super::known::{Known, Scores};
use crate::LrError;
use crate::Population;
use crate::calibrate::{Bounds, Labelled, Linear, Sample, ShrunkLogistic, Table, counts};

/// How scores become likelihood ratios.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The probes whose scores are used, by name.
    pub streams: Vec<String>,
    /// How each step is fitted.
    pub logistic: ShrunkLogistic,
    /// Parts into which lineages are split for the likelihood ratios that the last step is fitted on.
    pub folds: usize,
}

impl Settings {
    /// The default rule for some probes.
    pub fn of(streams: Vec<String>) -> Self {
        Self {
            streams,
            logistic: ShrunkLogistic::default(),
            folds: 10,
        }
    }
}

/// A calibrated system: one regression a stream, fusion, recalibration on likelihood ratios of models
/// that were left out of the steps before, and bounds.
///
/// H1 is "distilled from the candidate", with the score of the true teacher. H2 is "not": for the last
/// two steps each model counts with the largest of all candidates that are not its teacher, which is
/// what an accuser would point at. Each alternative has a recalibration and bounds of its own, on the
/// models for which it is true; the headline is the least of their ratios.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    streams: Vec<String>,
    chain: Chain,
    /// On all models.
    recalibration: Linear,
    /// Recalibrated log10 likelihood ratios of models left out.
    held_out: Sample,
    /// By alternative.
    against: Vec<Against>,
    counts: Population,
    candidates: usize,
}

/// Everything before recalibration.
#[derive(Debug, Clone, PartialEq)]
struct Chain {
    calibrators: Vec<Linear>,
    fusion: Fusion,
}

/// Models with the weights of their lineages.
pub(super) type Weighted<'a> = Vec<(&'a Known, f64)>;

/// Which models count, and as what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Training<'a> {
    pub(super) known: &'a [(&'a Known, f64)],
    /// A candidate that no score may be of.
    pub(super) without: Option<&'a str>,
}

impl System {
    /// Fits a system on models whose history is known.
    ///
    /// # Errors
    /// [`LrError::EmptyClass`], [`LrError::TooFew`] and what the regressions refuse.
    pub fn fit(known: &[Known], settings: &Settings) -> Result<Self, LrError> {
        let known: Weighted<'_> = known.iter().map(|k| (k, 1.0)).collect();
        let training = Training {
            known: &known,
            without: None,
        };
        Self::of(training, settings)
    }

    pub(super) fn of(training: Training<'_>, settings: &Settings) -> Result<Self, LrError> {
        let streams = &settings.streams;
        let usable: Weighted<'_> = training
            .known
            .iter()
            .filter(|(k, _)| k.has(streams))
            .copied()
            .collect();
        let training = Training {
            known: &usable,
            ..training
        };
        let held = training.held_out(settings)?;
        let values: Vec<_> = held.iter().map(Held::value).collect();
        let held_out = Sample::by_lineage(&values)?;
        let recalibration = settings.logistic.fit_one(&held_out)?.rising();
        let held_out = held_out.map(|llr| recalibration.llr(&[llr]))?;
        let counts = training.counts();
        let mut against = Vec::new();
        for alternative in Proposition::ALTERNATIVES {
            let of: Vec<_> = held
                .iter()
                .filter(|h| h.under == Proposition::Distilled || h.under == alternative)
                .map(Held::value)
                .collect();
            against.extend(Against::fit(alternative, &of, &counts, &settings.logistic)?);
        }
        Ok(Self {
            streams: streams.clone(),
            chain: Chain::fit(training, settings)?,
            recalibration,
            against,
            held_out,
            counts,
            candidates: usable
                .iter()
                .map(|(k, _)| k.candidates(streams).count())
                .max()
                .unwrap_or(0),
        })
    }

    /// The fused log10 likelihood ratio of a candidate before recalibration; `None` where a probe has no
    /// score of it.
    fn fused(&self, scores: &Scores, candidate: &str) -> Option<f64> {
        self.chain.llr(&self.streams, scores, candidate)
    }

    /// The log10 likelihood ratio of a candidate over all alternatives together, before bounds: what
    /// candidates are ranked by.
    pub fn unbounded(&self, scores: &Scores, candidate: &str) -> Option<f64> {
        Some(self.recalibration.llr(&[self.fused(scores, candidate)?]))
    }

    /// The log10 likelihood ratio against each alternative that the population has models of, within
    /// its bounds.
    pub fn llrs(&self, scores: &Scores, candidate: &str) -> Option<Vec<(Proposition, BoundedLlr)>> {
        let fused = self.fused(scores, candidate)?;
        let of = |a: &Against| Some((a.alternative(), a.llr(fused)?));
        self.against.iter().map(of).collect()
    }

    /// The headline: the least of [`Self::llrs`].
    pub fn llr(&self, scores: &Scores, candidate: &str) -> Option<BoundedLlr> {
        headline(
            self.llrs(scores, candidate)?
                .into_iter()
                .map(|(_, llr)| llr),
        )
    }

    /// The log10 likelihood ratio of each stream by itself, before recalibration and bounds.
    pub fn parts(&self, scores: &Scores, candidate: &str) -> Option<Vec<f64>> {
        self.chain.parts(&self.streams, scores, candidate)
    }

    /// What the fused likelihood ratio hangs on: it without each stream, before recalibration.
    pub fn fusion(&self) -> &Fusion {
        &self.chain.fusion
    }

    /// The least and the greatest likelihood ratio of a score by Venn-Abers prediction, against that of
    /// some alternatives which has the least ratio.
    pub fn venn_abers(
        &self,
        scores: &Scores,
        candidate: &str,
        of: &[Proposition],
    ) -> Option<[f64; 2]> {
        let fused = self.fused(scores, candidate)?;
        let against = self
            .against
            .iter()
            .filter(|a| of.contains(&a.alternative()));
        let least = against.filter_map(|a| Some((a, a.llr(fused)?.log10)));
        let (against, _) = least.min_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(against.venn_abers(fused))
    }

    /// What stands against H1, each with its models.
    pub fn against(&self) -> &[Against] {
        &self.against
    }

    /// The probes, in the order of their parts.
    pub fn streams(&self) -> &[String] {
        &self.streams
    }

    /// What may be claimed at most: the tightest of all alternatives.
    pub fn bounds(&self) -> Bounds {
        let all = self.against.iter().map(Against::bounds);
        all.reduce(|a, b| Bounds {
            lower: a.lower.min(b.lower),
            upper: a.upper.min(b.upper),
        })
        .unwrap_or(Bounds {
            lower: 0.0,
            upper: 0.0,
        })
    }

    /// Recalibrated log10 likelihood ratios of the models, each left out of the steps before.
    pub const fn held_out(&self) -> &Sample {
        &self.held_out
    }

    /// Lineages and teachers.
    pub const fn counts(&self) -> &Population {
        &self.counts
    }

    /// Candidates of a model, of which the largest stands for H2: a case with more is another case.
    pub const fn candidates(&self) -> usize {
        self.candidates
    }
}

/// The fused log10 likelihood ratio of a model that was left out.
struct Held<'a> {
    llr: f64,
    /// What is true of it.
    under: Proposition,
    lineage: &'a str,
    weight: f64,
}

impl Held<'_> {
    fn value(&self) -> (f64, bool, &str, f64) {
        let distilled = self.under == Proposition::Distilled;
        (self.llr, distilled, self.lineage, self.weight)
    }
}

impl Chain {
    fn fit(training: Training<'_>, settings: &Settings) -> Result<Self, LrError> {
        let rows = training.rows(&settings.streams)?;
        let mut calibrators = Vec::with_capacity(settings.streams.len());
        for stream in 0..settings.streams.len() {
            let fit = settings.logistic.fit(&rows.columns(&[stream]))?;
            calibrators.push(fit.rising());
        }
        let llrs = rows.map(|stream, score| calibrators[stream].llr(&[score]))?;
        Ok(Self {
            calibrators,
            fusion: Fusion::fit(&llrs, &settings.logistic)?,
        })
    }

    fn parts(&self, streams: &[String], scores: &Scores, candidate: &str) -> Option<Vec<f64>> {
        let of = |(stream, fit): (&String, &Linear)| {
            Some(fit.llr(&[*scores.get(stream)?.get(candidate)?]))
        };
        streams.iter().zip(&self.calibrators).map(of).collect()
    }

    fn llr(&self, streams: &[String], scores: &Scores, candidate: &str) -> Option<f64> {
        Some(self.fusion.llr(&self.parts(streams, scores, candidate)?))
    }
}

impl Training<'_> {
    fn counts(&self) -> Population {
        let mut lineages: BTreeMap<(&str, bool), ()> = BTreeMap::new();
        let mut teachers: BTreeMap<&str, ()> = BTreeMap::new();
        for (known, _) in self.known {
            let taught = known.teacher().filter(|t| Some(*t) != self.without);
            lineages.insert((&known.lineage, taught.is_some()), ());
            if let Some(teacher) = taught {
                teachers.insert(teacher, ());
            }
        }
        let count = |distilled| lineages.keys().filter(|k| k.1 == distilled).count() as u32;
        Population {
            distilled: count(true),
            // A student is no clean lineage, whichever candidate it is held against.
            other: count(false),
            teachers: teachers.len() as u32,
            ..Population::NONE
        }
    }

    /// A row for every model and candidate.
    fn rows(&self, streams: &[String]) -> Result<Table, LrError> {
        let mut rows: Vec<(Vec<f64>, bool, &str, f64)> = Vec::new();
        for (known, weight) in self.known {
            for candidate in known.candidates(streams) {
                if Some(candidate) == self.without {
                    continue;
                }
                let score = |stream: &String| known.scores.get(stream)?.get(candidate).copied();
                let Some(row) = streams.iter().map(score).collect::<Option<Vec<_>>>() else {
                    continue;
                };
                let distilled = known.teacher() == Some(candidate);
                rows.push((row, distilled, &known.lineage, *weight));
            }
        }
        let counts = counts(rows.iter().map(|row| (row.2, row.1)));
        let rows: Vec<(&[f64], Labelled)> = rows
            .iter()
            .map(|(row, distilled, lineage, weight)| {
                let label = Labelled {
                    value: 0.0,
                    distilled: *distilled,
                    weight: weight / counts[&(*lineage, *distilled)],
                };
                (&row[..], label)
            })
            .collect();
        Table::new(&rows)
    }

    /// Fused log10 likelihood ratios of every model by a chain that has not seen its lineage.
    fn held_out(&self, settings: &Settings) -> Result<Vec<Held<'_>>, LrError> {
        let folds = self.folds(settings.folds)?;
        let mut held = Vec::new();
        for fold in 0..settings.folds {
            let inside = |known: &Known| folds[known.lineage.as_str()] == fold;
            let rest: Weighted<'_> = self
                .known
                .iter()
                .filter(|(k, _)| !inside(k))
                .copied()
                .collect();
            let rest = Training {
                known: &rest,
                ..*self
            };
            let chain = Chain::fit(rest, settings)?;
            for (known, weight) in self.known.iter().filter(|(k, _)| inside(k)) {
                let llr = |c: &str| chain.llr(&settings.streams, &known.scores, c);
                let (own, largest) = own_and_largest(known, settings, self.without, llr);
                // A student without a sibling among the candidates is an easy case of Hc.
                let other = match &known.taught {
                    Some(_) if known.has_sibling(&settings.streams) => Proposition::Sibling,
                    Some(_) => Proposition::Distilled,
                    None if known.independent => Proposition::Independent,
                    None => Proposition::SharedBase,
                };
                let largest = largest.filter(|_| other != Proposition::Distilled);
                for (value, under) in [(own, Proposition::Distilled), (largest, other)] {
                    held.extend(value.map(|llr| Held {
                        llr,
                        under,
                        lineage: &known.lineage,
                        weight: *weight,
                    }));
                }
            }
        }
        Ok(held)
    }

    /// The part that each lineage belongs to: lineages in their order, those with students and those
    /// without dealt out apart, so that every part has both.
    fn folds(&self, folds: usize) -> Result<BTreeMap<&str, usize>, LrError> {
        let mut taught: BTreeMap<&str, bool> = BTreeMap::new();
        for (known, _) in self.known {
            *taught.entry(&known.lineage).or_default() |= known.taught.is_some();
        }
        let mut seen = [0, 0];
        for count in [true, false].map(|t| (t, taught.values().filter(|v| **v == t).count())) {
            if count.1 < 2 {
                return Err(LrError::TooFew {
                    distilled: count.0,
                    got: count.1,
                    expected: 2,
                });
            }
        }
        let fold = |(lineage, taught)| {
            let at = &mut seen[usize::from(taught)];
            *at += 1;
            (lineage, (*at - 1) % folds)
        };
        Ok(taught.into_iter().map(fold).collect())
    }
}

/// The value of the true teacher, and the largest of any other candidate.
pub(super) fn own_and_largest(
    known: &Known,
    settings: &Settings,
    without: Option<&str>,
    llr: impl Fn(&str) -> Option<f64>,
) -> (Option<f64>, Option<f64>) {
    let (mut own, mut largest) = (None, None::<f64>);
    for candidate in known.candidates(&settings.streams) {
        if Some(candidate) == without {
            continue;
        }
        let Some(value) = llr(candidate) else {
            continue;
        };
        if known.teacher() == Some(candidate) {
            own = Some(value);
        } else {
            largest = Some(largest.map_or(value, |l| l.max(value)));
        }
    }
    (own, largest)
}
