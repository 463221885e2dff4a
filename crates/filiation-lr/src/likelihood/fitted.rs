//! The ratios of one case.

use std::collections::BTreeSet;

use filiation_core::{BoundedLlr, Proposition};

use super::{Candidature, Part, Versus};
use crate::system::{Draws, Known, Scores, Settings, Support, System, intervals, posterior};
use crate::{Calibration, LrError};

/// Everything fitted for cases of one form.
pub(super) struct Fitted<'a> {
    pub(super) calibration: &'a Calibration,
    pub(super) settings: Settings,
    pub(super) known: Vec<Known>,
    pub(super) system: System,
    pub(super) scores: Scores,
    pub(super) siblings: &'a [Vec<String>],
    /// Greatest log10 ratio that this case may have.
    pub(super) cap: f64,
}

impl Fitted<'_> {
    fn candidates(&self) -> BTreeSet<String> {
        self.scores
            .values()
            .flat_map(|of| of.keys().cloned())
            .collect()
    }

    /// The alternatives that the headline of a candidate counts.
    fn alternatives(&self, candidate: &str) -> Vec<Proposition> {
        let among = |name: &String| self.scores.values().any(|of| of.contains_key(name));
        let sibling = self.siblings.iter().any(|group| {
            let others = group.iter().filter(|s| *s != candidate);
            group.iter().any(|s| s == candidate) && others.into_iter().any(among)
        });
        let counted = |p: &Proposition| *p != Proposition::Sibling || sibling;
        Proposition::ALTERNATIVES
            .into_iter()
            .filter(counted)
            .collect()
    }

    /// A ratio within what this case may have. Below 1 it says nothing where no student hides.
    fn held(&self, llr: BoundedLlr) -> Option<BoundedLlr> {
        let lower = if self.calibration.evasive {
            llr.lower
        } else {
            0.0
        };
        BoundedLlr::new(llr.log10, lower, llr.upper.min(self.cap)).ok()
    }

    fn versus(&self, system: &System, candidate: &str) -> Option<Vec<Versus>> {
        let counted = self.alternatives(candidate);
        let llrs = system.llrs(&self.scores, candidate)?;
        let of = |(alternative, llr): (Proposition, BoundedLlr)| {
            let against = system
                .against()
                .iter()
                .find(|a| a.alternative() == alternative)?;
            Some(Versus {
                alternative,
                lineages: against.lineages(),
                llr: self.held(llr)?,
                fusion: against.fusion().describe(system.streams()),
            })
        };
        llrs.into_iter()
            .filter(|(p, _)| counted.contains(p))
            .map(of)
            .collect()
    }

    fn headline(&self, system: &System, candidate: &str) -> Option<BoundedLlr> {
        Some(least(&self.versus(system, candidate)?)?.llr)
    }

    pub(super) fn candidatures(&self, prior: Option<f64>) -> Result<Vec<Candidature>, LrError> {
        let candidates: Vec<String> = self.candidates().into_iter().collect();
        let log10 =
            |system: &System, candidate: &String| Some(self.headline(system, candidate)?.log10);
        let read = |system: &System| candidates.iter().map(|c| log10(system, c)).collect();
        let intervals = intervals(&self.known, &self.settings, read, Draws::default())?;
        let mut all = Vec::new();
        for (candidate, interval) in candidates.iter().zip(intervals) {
            let versus = self.versus(&self.system, candidate).unwrap_or_default();
            let (Some(least), Some(interval)) = (least(&versus), interval) else {
                continue;
            };
            let headline = least.llr;
            let of = least.alternative;
            let venn_abers = self.system.venn_abers(&self.scores, candidate, of);
            let finite = |end: f64| Some(end).filter(|e| e.is_finite());
            all.push(Candidature {
                candidate: candidate.clone(),
                headline,
                interval,
                venn_abers: venn_abers.map_or([None; 2], |ends| ends.map(finite)),
                support: Support::conservative(interval.lower, interval.upper),
                parts: self.parts(candidate, of)?,
                versus,
                posterior: prior.map(|p| posterior(p / (1.0 - p), headline.log10)),
            });
        }
        Ok(all)
    }

    fn parts(&self, candidate: &str, of: Proposition) -> Result<Vec<Part>, LrError> {
        let streams = &self.settings.streams;
        let alone = self
            .system
            .parts(&self.scores, candidate, of)
            .unwrap_or_default();
        let mut parts = Vec::new();
        for (stream, alone) in streams.iter().zip(alone) {
            let others: Vec<String> = streams.iter().filter(|s| *s != stream).cloned().collect();
            let without = match others.is_empty() {
                true => None,
                false => {
                    let system = System::fit(&self.known, &Settings::of(others))?;
                    self.headline(&system, candidate).map(|llr| llr.log10)
                }
            };
            parts.push(Part {
                stream: stream.clone(),
                alone,
                without,
            });
        }
        Ok(parts)
    }
}

/// The alternative with the least ratio.
fn least(versus: &[Versus]) -> Option<&Versus> {
    versus
        .iter()
        .min_by(|a, b| a.llr.log10.total_cmp(&b.llr.log10))
}
