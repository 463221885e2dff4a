use filiation_core::{BoundedLlr, Proposition};

use super::against::Against;
use super::known::{Known, Scores};
use super::training::{Training, Weighted, largest};
use crate::calibrate::{Bounds, Sample, ShrunkLogistic};
use crate::{LrError, Population};

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
    /// Smooth headlines of models left out: of true teachers, and the largest of models without one.
    held_out: Sample,
    counts: Population,
    candidates: usize,
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
            let own = h.known.is_taught_by(h.candidate);
            // The other candidates of a student stand behind its teacher: among those of clean models they would
            // make any suspect look rare.
            if !own && h.known.taught.is_some() {
                return None;
            }
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

    /// Smooth headlines of the models, each left out of the chain that made it: of the true teacher, and of a
    /// model without a teacher the largest of its candidates.
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

/// The largest value of a true teacher, and of any other candidate.
pub(super) fn own_and_largest(
    known: &Known,
    settings: &Settings,
    llr: impl Fn(&str) -> Option<f64>,
) -> (Option<f64>, Option<f64>) {
    let mut most = [None::<f64>; 2];
    for candidate in known.candidates(&settings.streams) {
        let Some(value) = llr(candidate) else {
            continue;
        };
        let of = &mut most[usize::from(!known.is_taught_by(candidate))];
        *of = Some(of.map_or(value, |l| l.max(value)));
    }
    most.into()
}
