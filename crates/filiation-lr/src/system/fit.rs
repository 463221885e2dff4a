use std::collections::BTreeMap;

use filiation_core::BoundedLlr;

use super::cohort::Cohort;
use super::fusion::Fusion;
use super::known::{Known, Scores};
use crate::LrError;
use crate::calibrate::{
    Bounds, Labelled, Linear, Sample, ShrunkLogistic, Smoothing, Table, counts, tail_ratio,
    venn_abers,
};
use crate::{Population, Tier};

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

/// A calibrated system: normalisation by a cohort, one regression a stream, fusion, recalibration on
/// likelihood ratios of models that were left out of the steps before, and bounds.
///
/// H1 is "distilled from the candidate", with the score of the true teacher. H2 is "not": for the last
/// two steps each model counts with the largest of all candidates that are not its teacher, which is
/// what an accuser would point at.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    streams: Vec<String>,
    chain: Chain,
    recalibration: Linear,
    /// Recalibrated log10 likelihood ratios of models left out.
    held_out: Sample,
    bounds: Bounds,
    counts: Population,
    candidates: usize,
}

/// Everything before recalibration.
#[derive(Debug, Clone, PartialEq)]
struct Chain {
    cohort: Cohort,
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
        let held_out = training.held_out(settings)?;
        let recalibration = settings.logistic.fit_one(&held_out)?.rising();
        let held_out = held_out.map(|llr| recalibration.llr(&[llr]))?;
        let counts = training.counts();
        Ok(Self {
            streams: streams.clone(),
            chain: Chain::fit(training, settings)?,
            recalibration,
            bounds: bounds(&held_out, &counts),
            held_out,
            counts,
            candidates: usable
                .iter()
                .map(|(k, _)| k.candidates(streams).count())
                .max()
                .unwrap_or(0),
        })
    }

    /// The log10 likelihood ratio of a candidate before the bounds; `None` where a probe has no score of
    /// it.
    pub fn unbounded(&self, scores: &Scores, candidate: &str) -> Option<f64> {
        let fused = self.chain.llr(&self.streams, scores, candidate)?;
        Some(self.recalibration.llr(&[fused]))
    }

    /// The same within the bounds.
    pub fn llr(&self, scores: &Scores, candidate: &str) -> Option<BoundedLlr> {
        let llr = self.unbounded(scores, candidate)?;
        BoundedLlr::new(llr, self.bounds.lower, self.bounds.upper).ok()
    }

    /// The log10 likelihood ratio of each stream by itself, before recalibration and bounds.
    pub fn parts(&self, scores: &Scores, candidate: &str) -> Option<Vec<f64>> {
        self.chain.parts(&self.streams, scores, candidate)
    }

    /// What the fused likelihood ratio hangs on: it without each stream, before recalibration.
    pub fn fusion(&self) -> &Fusion {
        &self.chain.fusion
    }

    /// The least and the greatest likelihood ratio of a score by Venn-Abers prediction.
    pub fn venn_abers(&self, scores: &Scores, candidate: &str) -> Option<[f64; 2]> {
        Some(venn_abers(
            &self.held_out,
            self.unbounded(scores, candidate)?,
        ))
    }

    /// The probes, in the order of their parts.
    pub fn streams(&self) -> &[String] {
        &self.streams
    }

    /// What may be claimed at most.
    pub const fn bounds(&self) -> Bounds {
        self.bounds
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

/// The tighter of the tail-ratio bound, the number of lineages, and what the ladder allows.
fn bounds(held_out: &Sample, counts: &Population) -> Bounds {
    let tail = tail_ratio(held_out, Smoothing::Misleading(1.0));
    let ladder = match Tier::of(counts) {
        Tier::Tier0 => 0.0,
        Tier::Tier1 => 1.0,
        Tier::Tier2 | Tier::Tier3 | Tier::Tier4 => 2.0,
    };
    let lineages = |count: u32| f64::from(count).max(1.0).log10();
    Bounds {
        lower: tail.lower.max(-lineages(counts.distilled)).max(-ladder),
        upper: tail.upper.min(lineages(counts.other)).min(ladder),
    }
}

impl Chain {
    fn fit(training: Training<'_>, settings: &Settings) -> Result<Self, LrError> {
        let cohort = Cohort::fit(training.known);
        let rows = training.rows(&cohort, &settings.streams)?;
        let mut calibrators = Vec::with_capacity(settings.streams.len());
        for stream in 0..settings.streams.len() {
            let fit = settings.logistic.fit(&rows.columns(&[stream]))?;
            calibrators.push(fit.rising());
        }
        let llrs = rows.map(|stream, score| calibrators[stream].llr(&[score]))?;
        Ok(Self {
            cohort,
            calibrators,
            fusion: Fusion::fit(&llrs, &settings.logistic)?,
        })
    }

    fn parts(&self, streams: &[String], scores: &Scores, candidate: &str) -> Option<Vec<f64>> {
        let of = |(stream, fit): (&String, &Linear)| {
            Some(fit.llr(&[self.cohort.score(scores, stream, candidate)?]))
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
    fn rows(&self, cohort: &Cohort, streams: &[String]) -> Result<Table, LrError> {
        let mut rows: Vec<(Vec<f64>, bool, &str, f64)> = Vec::new();
        for (known, weight) in self.known {
            for candidate in known.candidates(streams) {
                if Some(candidate) == self.without {
                    continue;
                }
                let score = |stream: &String| cohort.score(&known.scores, stream, candidate);
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
    fn held_out(&self, settings: &Settings) -> Result<Sample, LrError> {
        let folds = self.folds(settings.folds)?;
        let mut values = Vec::new();
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
                for (value, distilled) in [(own, true), (largest, false)] {
                    values.extend(value.map(|v| (v, distilled, known.lineage.as_str(), *weight)));
                }
            }
        }
        Sample::by_lineage(&values)
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
