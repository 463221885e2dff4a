use filiation_core::{BoundedLlr, Proposition};

use super::chain::Chain;
use super::fusion::Fusion;
use crate::calibrate::{
    Bounds, Linear, Sample, ShrunkLogistic, Smoothing, Table, tail_ratio, venn_abers,
};
use crate::{LrError, Population, Tier};

/// What a population says against one alternative.
#[derive(Debug, Clone, PartialEq)]
pub struct Against {
    alternative: Proposition,
    chain: Chain,
    /// Of the fused log10 likelihood ratio: smooth, so that candidates can be ranked.
    recalibration: Linear,
    /// Fused log10 likelihood ratios of models left out.
    held_out: Sample,
    bounds: Bounds,
    lineages: u32,
    tier: Tier,
}

impl Against {
    /// From a chain, and fused log10 likelihood ratios of models that were left out of chains like it.
    pub(super) fn fit(
        alternative: Proposition,
        chain: Chain,
        held_out: Sample,
        all: &Population,
        how: &ShrunkLogistic,
    ) -> Result<Self, LrError> {
        let lineages = held_out.lineages(false).round() as u32;
        let counts = Population {
            other: lineages,
            ..*all
        };
        let (recalibration, _) = how.fit_rising(&Table::of(&held_out)?)?;
        let stated = held_out.map(|fused| conservative(venn_abers(&held_out, fused)))?;
        Ok(Self {
            alternative,
            chain,
            recalibration,
            bounds: bounds(&stated, &counts),
            held_out,
            lineages,
            tier: Tier::of(&counts),
        })
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

    /// How its streams become one.
    pub const fn fusion(&self) -> &Fusion {
        &self.chain.fusion
    }

    pub(super) const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// A smooth log10 likelihood ratio without bounds.
    pub(super) fn smooth(&self, fused: f64) -> f64 {
        self.recalibration.llr(&[fused])
    }

    /// What may be stated of a fused log10 likelihood ratio: the end of Venn-Abers' pair that claims least,
    /// within the bounds.
    pub(super) fn llr(&self, fused: f64) -> Option<BoundedLlr> {
        let llr = conservative(self.venn_abers(fused));
        BoundedLlr::new(llr, self.bounds.lower, self.bounds.upper).ok()
    }

    pub(super) fn venn_abers(&self, fused: f64) -> [f64; 2] {
        venn_abers(&self.held_out, fused)
    }
}

/// The end of an interval of log10 likelihood ratios that claims least; 0 where it holds 0.
fn conservative([low, high]: [f64; 2]) -> f64 {
    if low > 0.0 { low } else { high.min(0.0) }
}

/// The tighter of the tail-ratio bound, the number of lineages, and what the ladder allows.
fn bounds(stated: &Sample, counts: &Population) -> Bounds {
    let tail = tail_ratio(stated, Smoothing::Misleading(1.0));
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
