use std::collections::{BTreeMap, BTreeSet};

use filiation_core::{BoundedLlr, Proposition};

use super::against::Against;
use super::chain::Chain;
use super::known::{Known, Scores};
use crate::calibrate::{Bounds, Labelled, Sample, ShrunkLogistic, Table, counts};
use crate::{LADDER, LrError, Population};

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

/// A calibrated system: against each alternative one regression a stream, their fusion, recalibration on
/// models that were left out of the steps before, and bounds.
///
/// H1 is "distilled from the candidate", with the score of the true teacher. For the last two steps each
/// model for which the alternative is true counts with the largest of all its candidates, which is what an
/// accuser would point at. The headline is the least of the ratios over alternatives.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    streams: Vec<String>,
    against: Vec<Against>,
    /// Smooth headlines of models left out: of true teachers, and the largest of the other candidates.
    held_out: Sample,
    counts: Population,
    candidates: usize,
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

/// A candidate of a model that was left out: what each chain makes of it.
struct Held<'a> {
    known: &'a Known,
    weight: f64,
    candidate: &'a str,
    /// By alternative.
    fused: Vec<f64>,
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
        let folds = training.folds(settings.folds)?;
        let alternatives = training.alternatives(streams)?;
        let held = training.held_out(settings, &alternatives, &folds)?;
        let counts = training.counts();
        let mut against = Vec::new();
        for (at, alternative) in alternatives.iter().enumerate() {
            let chain = training.chain(*alternative, settings)?;
            let fused = largest(&held, |h| match h.known.truth(h.candidate)? {
                Proposition::Distilled => Some((true, h.fused[at])),
                truth => (truth == *alternative).then(|| (false, h.fused[at])),
            })?;
            against.push(Against::fit(
                *alternative,
                chain,
                fused,
                &counts,
                &settings.logistic,
            )?);
        }
        let held_out = largest(&held, |h| {
            let own = h.known.teacher() == Some(h.candidate);
            let each = against
                .iter()
                .zip(&h.fused)
                .map(|(a, fused)| a.smooth(*fused));
            Some((own, each.fold(f64::INFINITY, f64::min)))
        })?;
        Ok(Self {
            streams: streams.clone(),
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

    /// The fused log10 likelihood ratio of a candidate against each alternative before recalibration;
    /// `None` where a probe has no score of it.
    fn fused<'a>(
        &'a self,
        scores: &'a Scores,
        candidate: &'a str,
    ) -> impl Iterator<Item = (&'a Against, Option<f64>)> {
        let of = move |a: &'a Against| (a, a.chain().llr(&self.streams, scores, candidate));
        self.against.iter().map(of)
    }

    /// The least log10 likelihood ratio of a candidate over the alternatives, smooth and before bounds:
    /// what candidates are ranked by.
    pub fn unbounded(&self, scores: &Scores, candidate: &str) -> Option<f64> {
        let each = self
            .fused(scores, candidate)
            .map(|(a, fused)| Some(a.smooth(fused?)));
        each.reduce(|a, b| Some(a?.min(b?)))?
    }

    /// The log10 likelihood ratio against each alternative that the population has models of, within
    /// its bounds.
    pub fn llrs(&self, scores: &Scores, candidate: &str) -> Option<Vec<(Proposition, BoundedLlr)>> {
        let of = |(a, fused): (&Against, Option<f64>)| Some((a.alternative(), a.llr(fused?)?));
        self.fused(scores, candidate).map(of).collect()
    }

    /// The headline: the least of [`Self::llrs`].
    pub fn llr(&self, scores: &Scores, candidate: &str) -> Option<BoundedLlr> {
        let llrs = self
            .llrs(scores, candidate)?
            .into_iter()
            .map(|(_, llr)| llr);
        llrs.min_by(|a, b| a.log10.total_cmp(&b.log10))
    }

    /// The log10 likelihood ratio of each stream by itself against one alternative, before
    /// recalibration and bounds.
    pub fn parts(&self, scores: &Scores, candidate: &str, of: Proposition) -> Option<Vec<f64>> {
        let against = self.against.iter().find(|a| a.alternative() == of)?;
        against.chain().parts(&self.streams, scores, candidate)
    }

    /// The least and the greatest likelihood ratio of a score by Venn-Abers prediction, against one
    /// alternative.
    pub fn venn_abers(
        &self,
        scores: &Scores,
        candidate: &str,
        of: Proposition,
    ) -> Option<[f64; 2]> {
        let mut fused = self.fused(scores, candidate);
        let (against, fused) = fused.find(|(a, _)| a.alternative() == of)?;
        Some(against.venn_abers(fused?))
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

    /// Smooth headlines of the models, each left out of the chain that made it: of the true teacher, and
    /// the largest of the other candidates.
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

/// One value for each model and class: the largest of its candidates that `value` takes.
fn largest<'a>(
    held: &[Held<'a>],
    value: impl Fn(&Held<'a>) -> Option<(bool, f64)>,
) -> Result<Sample, LrError> {
    let mut values: Vec<(f64, bool, &str, f64)> = Vec::new();
    let mut last: [Option<(*const Known, usize)>; 2] = [None; 2];
    for h in held {
        let Some((distilled, value)) = value(h) else {
            continue;
        };
        // Candidates of one model stand side by side.
        let key: *const Known = h.known;
        match &mut last[usize::from(distilled)] {
            Some((known, at)) if std::ptr::eq(*known, key) => {
                values[*at].0 = values[*at].0.max(value);
            }
            slot => {
                *slot = Some((key, values.len()));
                values.push((value, distilled, &h.known.lineage, h.weight));
            }
        }
    }
    Sample::by_lineage(&values)
}

impl<'t> Training<'t> {
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

    /// The candidates of a model that scores may be of.
    fn candidates<'k>(
        &self,
        known: &'k Known,
        streams: &[String],
    ) -> impl Iterator<Item = &'k str> {
        let all = known.candidates(streams);
        all.filter(|candidate| Some(*candidate) != self.without)
    }

    /// The alternatives of which there are enough lineages for the first rung of the claim ladder.
    fn alternatives(&self, streams: &[String]) -> Result<Vec<Proposition>, LrError> {
        let expected = LADDER[1].needs.other as usize;
        let mut most = 0;
        let mut found = Vec::new();
        for alternative in Proposition::ALTERNATIVES {
            let mut lineages: BTreeMap<&str, f64> = BTreeMap::new();
            for (known, weight) in self.known {
                let mut candidates = self.candidates(known, streams);
                if candidates.any(|c| known.truth(c) == Some(alternative)) {
                    lineages.insert(&known.lineage, *weight);
                }
            }
            let count = lineages.values().sum::<f64>().round() as usize;
            most = most.max(count);
            if count >= expected {
                found.push(alternative);
            }
        }
        if found.is_empty() {
            return Err(LrError::TooFew {
                distilled: false,
                got: most,
                expected,
            });
        }
        Ok(found)
    }

    fn chain(&self, alternative: Proposition, settings: &Settings) -> Result<Chain, LrError> {
        Chain::fit(&self.rows(alternative, &settings.streams)?, settings)
    }

    /// A row for every student with its teacher, and for every model with every candidate against which
    /// the alternative is true.
    fn rows(&self, alternative: Proposition, streams: &[String]) -> Result<Table, LrError> {
        let mut rows: Vec<(Vec<f64>, bool, &str, f64)> = Vec::new();
        for (known, weight) in self.known {
            for candidate in self.candidates(known, streams) {
                let truth = known.truth(candidate);
                let distilled = truth == Some(Proposition::Distilled);
                if !distilled && truth != Some(alternative) {
                    continue;
                }
                let score = |stream: &String| known.scores.get(stream)?.get(candidate).copied();
                if let Some(row) = streams.iter().map(score).collect::<Option<Vec<_>>>() {
                    rows.push((row.concat(), distilled, &known.lineage, *weight));
                }
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

    /// Every model with every candidate, by chains that have not seen its lineage.
    fn held_out(
        &self,
        settings: &Settings,
        alternatives: &[Proposition],
        folds: &BTreeMap<&str, usize>,
    ) -> Result<Vec<Held<'t>>, LrError> {
        let mut held = Vec::new();
        let used: BTreeSet<usize> = folds.values().copied().collect();
        for fold in used {
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
            let chains = alternatives.iter().map(|a| rest.chain(*a, settings));
            let chains: Vec<Chain> = chains.collect::<Result<_, _>>()?;
            for (known, weight) in self.known.iter().filter(|(k, _)| inside(k)) {
                let known: &'t Known = known;
                for candidate in self.candidates(known, &settings.streams) {
                    let of = |chain: &Chain| chain.llr(&settings.streams, &known.scores, candidate);
                    if let Some(fused) = chains.iter().map(of).collect() {
                        held.push(Held {
                            known,
                            weight: *weight,
                            candidate,
                            fused,
                        });
                    }
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
