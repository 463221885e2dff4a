use filiation_core::{Axis, Basis, CandidateScore, Exact, Interval, MethodId, Power, Statistic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Contrast, Population, Setting, Shortfall, Tier};

/// A candidate with its place among the candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ranked {
    /// Party name.
    pub candidate: String,
    /// 1 is the largest score. Equal scores share the better rank.
    pub rank: u32,
    /// The score, in [`Evidence::unit`].
    pub score: f64,
    /// Its interval over the probe's units.
    pub interval: Option<Interval>,
    /// Standardised effect, without dimension.
    pub effect: Option<f64>,
    /// Units used.
    pub units: u32,
    /// The exact test, where the basis is design.
    pub exact: Option<Exact>,
}

/// The likelihood ratio of design-based evidence: an e-value, held to what an error of procedure allows.
/// It stands apart: it is no part of a population's ratio, and is multiplied with nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DesignRatio {
    /// Party name.
    pub candidate: String,
    /// log10 of the e-value, all tests counted.
    pub log10_e: f64,
    /// Stated probability ε of an error of procedure.
    pub epsilon: f64,
    /// log10 of 1/((1 − ε)/e + ε), at most −log10 ε; 0 where the e-value is at most 1.
    pub log10: f64,
}

impl DesignRatio {
    fn of(candidate: &Ranked, epsilon: f64) -> Option<Self> {
        let log10_e = candidate.exact?.log10_e?;
        // An e-value below 1 says that nothing was seen, not that nothing is there.
        let e = log10_e.max(0.0);
        Some(Self {
            candidate: candidate.candidate.clone(),
            log10_e,
            epsilon,
            // Adding zero makes -0 and 0 one number.
            log10: 0.0 - ((1.0 - epsilon) * 10_f64.powf(-e) + epsilon).log10(),
        })
    }
}

/// What one probe contributes to an opinion at the tier that the population allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// How the statistic was computed.
    pub method: MethodId,
    /// What it bears on.
    pub axis: Axis,
    /// What makes the null.
    pub basis: Basis,
    /// Unit of the scores.
    pub unit: String,
    /// The candidates, best first; ties in the order of the case.
    pub ranked: Vec<Ranked>,
    /// What the probe itself concludes.
    pub finding: Option<String>,
    /// The smallest effect that these inputs would have shown.
    pub power: Option<Power>,
    /// Which alternatives the scores can be held against.
    pub contrasts: Vec<Contrast>,
    /// The tier that the population supports.
    pub tier: Tier,
    /// Likelihood ratios of exact tests, in the order of `ranked`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub design: Vec<DesignRatio>,
    /// What is missing for the next tier.
    pub missing: Option<Shortfall>,
    /// Why there is no likelihood ratio, and what it would take.
    pub limit: String,
}

impl Evidence {
    /// The candidates with the largest score.
    pub fn first(&self) -> impl Iterator<Item = &Ranked> {
        self.ranked.iter().filter(|r| r.rank == 1)
    }

    /// The same with the likelihood ratios of exact tests. `epsilon`, in (0, 1), is the probability, as
    /// whoever commissions the case states it, that such evidence comes about by an error of procedure: a
    /// secret that leaked, files mixed up, a control that is none.
    pub fn held_to(self, epsilon: f64) -> Self {
        let exact = self.axis == Axis::TeacherIdentity && self.basis == Basis::Design;
        let design = self.ranked.iter().filter(|_| exact);
        let design = design.filter_map(|r| DesignRatio::of(r, epsilon)).collect();
        Self { design, ..self }
    }
}

/// Places a statistic in its case. No likelihood ratio comes out: that takes the scores of all streams
/// together, and a population ([`crate::Likelihood`]). `population` counts the lineages that were scored
/// by this method.
///
/// Scores that are not finite rank last.
pub fn weigh(statistic: &Statistic, setting: &Setting, population: &Population) -> Evidence {
    let tier = Tier::of(population);
    Evidence {
        method: statistic.method.clone(),
        axis: statistic.axis,
        basis: statistic.basis,
        unit: statistic.unit.clone(),
        ranked: rank(&statistic.candidates),
        finding: statistic.finding.clone(),
        power: statistic.power,
        contrasts: Contrast::all(statistic, setting),
        tier,
        design: Vec::new(),
        missing: tier
            .next()
            .and_then(|rung| rung.needs.shortfall(population)),
        limit: limit(statistic, population),
    }
}

fn rank(candidates: &[CandidateScore]) -> Vec<Ranked> {
    let mut order: Vec<&CandidateScore> = candidates.iter().collect();
    order.sort_by(|a, b| key(b.score).total_cmp(&key(a.score)));
    order
        .iter()
        .map(|c| Ranked {
            candidate: c.candidate.clone(),
            rank: 1 + candidates
                .iter()
                .filter(|o| key(o.score) > key(c.score))
                .count() as u32,
            score: c.score,
            interval: c.interval,
            effect: c.effect,
            units: c.units,
            exact: c.exact,
        })
        .collect()
}

// Adding zero makes -0 and 0 one key.
fn key(score: f64) -> f64 {
    if score.is_finite() {
        score + 0.0
    } else {
        f64::NEG_INFINITY
    }
}

fn limit(statistic: &Statistic, population: &Population) -> String {
    if statistic.axis == Axis::WeightLineage {
        return "weight lineage says whether suspect and base share weights; it is no evidence on \
                whose outputs were used and enters no likelihood ratio for a teacher"
            .into();
    }
    if statistic.axis == Axis::Description {
        return "this describes the suspect; it enters no likelihood ratio for a teacher".into();
    }
    if statistic.basis == Basis::Design {
        return "this test has its null from our own randomisation; its likelihood ratio stands apart and \
                enters no other"
            .into();
    }
    if Tier::of(population) > Tier::Tier0 {
        return "this score enters the likelihood ratio of the case, and has none by itself".into();
    }
    let first = crate::LADDER[1].needs;
    format!(
        "no likelihood ratio can be stated: the population holds {} distilled and {} other \
         independent lineages scored by this method, and at least {} and {} are needed before one \
         (of at most 10) can be defended; more prompts do not change this",
        population.distilled, population.other, first.distilled, first.other
    )
}
