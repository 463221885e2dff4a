use std::collections::BTreeMap;

use filiation_core::{Abstention, Axis, Basis, Digest, MethodId, Statistic};
use serde::{Deserialize, Serialize};

/// What one probe said of one suspect of known history: a line of `scores.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The suspect's name.
    pub suspect: String,
    /// Digest of its files.
    pub model: Digest,
    /// Independent lineage: suspects that start from one base share it.
    pub lineage: String,
    /// What kind of model its base is, such as its shape, where kinds are told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where it comes from.
    pub history: History,
    /// How the scores were computed.
    pub method: MethodId,
    /// What was asked of each teacher.
    pub cost: Cost,
    /// The scores, or why there are none.
    pub outcome: Outcome,
}

/// Where a suspect comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum History {
    /// It learned from a teacher (Hd).
    Distilled {
        /// The teacher.
        teacher: String,
        /// Its siblings among the candidates.
        siblings: Vec<String>,
        /// Share of the training rows, in (0, 1].
        share: f64,
        /// What was learned: `text` or `logits`.
        by: String,
    },
    /// It starts from the base of the case and had no teacher (Ha).
    FineTune,
    /// It has its own initialisation and had no teacher (Hb).
    Independent,
}

/// What a probe asks of each teacher. Equal questions count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Completions.
    pub completions: u32,
    /// Other questions: next tokens, choices, scores of texts.
    pub others: u32,
}

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Scores.
    Scored(Scored),
    /// None, and why.
    Abstained(Abstention),
}

/// The scores of a suspect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// What they bear on.
    pub axis: Axis,
    /// What makes the null.
    pub basis: Basis,
    /// Controls that entered them.
    pub controls: u32,
    /// One entry a candidate, in the order of the case.
    pub candidates: Vec<Candidate>,
}

/// The score of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Party name.
    pub name: String,
    /// Its score.
    pub score: f64,
    /// Ends of the interval over the probe's units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Standardised effect over the units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<f64>,
    /// Units used.
    pub units: u32,
    /// log10 p of the suspect as one more draw beside the controls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log10_p_among_controls: Option<f64>,
    /// log10 p of an exact test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log10_p: Option<f64>,
    /// log10 of an exact test's e-value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log10_e: Option<f64>,
    /// Weight in a mixture of the candidates, where the probe fits one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

impl Scored {
    /// What a population keeps of a statistic.
    pub fn of(statistic: &Statistic) -> Self {
        let detail = |kind: &str, name: &str| {
            let details: &BTreeMap<String, f64> = &statistic.details;
            details.get(&format!("{kind}/{name}")).copied()
        };
        let candidate = |c: &filiation_core::CandidateScore| Candidate {
            name: c.candidate.clone(),
            score: c.score,
            interval: c.interval.map(|i| [i.lower, i.upper]),
            effect: c.effect,
            units: c.units,
            log10_p_among_controls: detail("log10-p-among-controls", &c.candidate),
            log10_p: c.exact.map(|e| e.log10_p),
            log10_e: c.exact.and_then(|e| e.log10_e),
            weight: detail("weight/suspect", &c.candidate),
        };
        Self {
            axis: statistic.axis,
            basis: statistic.basis,
            controls: statistic.controls.len() as u32,
            candidates: statistic.candidates.iter().map(candidate).collect(),
        }
    }

    /// The candidate of this name.
    pub fn candidate(&self, name: &str) -> Option<&Candidate> {
        self.candidates.iter().find(|c| c.name == name)
    }

    /// The largest score.
    pub fn largest(&self) -> Option<f64> {
        let scores = self.candidates.iter().map(|c| c.score);
        scores.max_by(f64::total_cmp)
    }
}
