use std::collections::BTreeSet;

use filiation_core::{BoundedLlr, Proposition};

use crate::calibrate::{Bounds, Linear, Sample, ShrunkLogistic, Smoothing, tail_ratio, venn_abers};
use crate::{LADDER, LrError, Population, Tier};

/// The last two steps against one alternative: recalibration and bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Against {
    alternative: Proposition,
    recalibration: Linear,
    /// Recalibrated log10 likelihood ratios of models left out.
    held_out: Sample,
    bounds: Bounds,
    lineages: u32,
    tier: Tier,
}

impl Against {
    /// From fused log10 likelihood ratios of models left out, with lineages and weights: those of students
    /// and those of models for which the alternative is true. `None` where these are fewer lineages than
    /// the first rung of the claim ladder asks for.
    pub(super) fn fit(
        alternative: Proposition,
        fused: &[(f64, bool, &str, f64)],
        all: &Population,
        how: &ShrunkLogistic,
    ) -> Result<Option<Self>, LrError> {
        let lineages: BTreeSet<&str> = fused.iter().filter(|f| !f.1).map(|f| f.2).collect();
        let lineages = lineages.len() as u32;
        let counts = Population {
            other: lineages,
            ..*all
        };
        if lineages < LADDER[1].needs.other {
            return Ok(None);
        }
        let held_out = Sample::by_lineage(fused)?;
        let recalibration = how.fit_one(&held_out)?.rising();
        let held_out = held_out.map(|llr| recalibration.llr(&[llr]))?;
        Ok(Some(Self {
            alternative,
            recalibration,
            bounds: bounds(&held_out, &counts),
            held_out,
            lineages,
            tier: Tier::of(&counts),
        }))
    }

    /// The alternative.
    pub const fn alternative(&self) -> Proposition {
        self.alternative
    }

    /// Independent lineages for which it is true.
    pub const fn lineages(&self) -> u32 {
        self.lineages
    }

    /// The rung of the claim ladder with these lineages.
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// What may be claimed at most.
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub(super) fn llr(&self, fused: f64) -> Option<BoundedLlr> {
        let llr = self.recalibration.llr(&[fused]);
        BoundedLlr::new(llr, self.bounds.lower, self.bounds.upper).ok()
    }

    pub(super) fn venn_abers(&self, fused: f64) -> [f64; 2] {
        venn_abers(&self.held_out, self.recalibration.llr(&[fused]))
    }
}

/// The least of some likelihood ratios, a reader being free to hold whichever alternative fits.
pub(super) fn headline(llrs: impl Iterator<Item = BoundedLlr>) -> Option<BoundedLlr> {
    llrs.min_by(|a, b| a.log10.total_cmp(&b.log10))
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
