use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::MethodId;

/// What a statistic bears on. The axes are reported apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// Axis B: do suspect and base share weights?
    WeightLineage,
    /// Axis T: whose outputs did the suspect learn from?
    TeacherIdentity,
    /// Neither: what the suspect does or knows. It names no teacher and speaks for none.
    Description,
}

/// What makes the null. The two kinds are never mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Our own randomisation: p-values are exact.
    Design,
    /// Other models of known history: a score means nothing without them.
    Population,
}

/// An interval and what it accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Nominal coverage, in (0, 1), over the probe's units (prompts, cells, layers). It says how
    /// precisely the score is known, not how unusual the score is among models.
    pub level: f64,
}

/// What an exact test of our own randomisation says of a candidate. Only where the basis of the
/// statistic is [`Basis::Design`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exact {
    /// log10 of the p-value, all candidates and groups tried counted.
    pub log10_p: f64,
    /// log10 of an e-value (expectation at most 1 under the null), which may be watched as it grows.
    pub log10_e: Option<f64>,
}

/// The score of one candidate: a teacher on axis T, a base on axis B.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CandidateScore {
    /// Party name.
    pub candidate: String,
    /// Larger means more like a descendant of the candidate. Unit: [`Statistic::unit`].
    pub score: f64,
    /// Interval of the score.
    pub interval: Option<Interval>,
    /// Standardised effect (mean over standard deviation of the units), without dimension.
    pub effect: Option<f64>,
    /// Units used (prompts, cells, layers).
    pub units: u32,
    /// The exact test, where there is one.
    pub exact: Option<Exact>,
}

/// The smallest effect that these inputs would have shown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Smallest score seen with probability `power` by a one-sided test of size `size`.
    pub smallest_effect: f64,
    /// Size of the test.
    pub size: f64,
    /// Its power at `smallest_effect`.
    pub power: f64,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statistic {
    /// How it was computed.
    pub method: MethodId,
    /// What it bears on.
    pub axis: Axis,
    /// What makes the null.
    pub basis: Basis,
    /// Unit of the scores, in words: `nats per byte`.
    pub unit: String,
    /// One entry a candidate, in the order of the case.
    pub candidates: Vec<CandidateScore>,
    /// Names of the controls whose answers entered the scores, in the order of the case.
    pub controls: Vec<String>,
    /// What the probe itself concludes where its null needs no population ("same model").
    pub finding: Option<String>,
    /// Power, where it can be stated.
    pub power: Option<Power>,
    /// Further numbers by name, for the appendix.
    pub details: BTreeMap<String, f64>,
}
