use std::cmp::Ordering;
use std::collections::BTreeMap;

use filiation_core::{Abstention, Axis, Basis, Digest, MethodId, Party, Role, Statistic};
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
    /// What the case is like apart from its scores: [`features`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<String, f64>,
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
        /// Another, where the rows that came from one are half of each.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        also: Option<String>,
        /// Siblings of either among the candidates.
        siblings: Vec<String>,
        /// Share of the training rows, in (0, 1].
        share: f64,
        /// What was learned, such as `text`, `logits` or `text-filtered`.
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
    /// The suspect's own lead of candidate i over candidate j > i, controls not taken off, row by row;
    /// empty where a lead depends on who else is a candidate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leads: Vec<f64>,
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
        let names: Vec<&String> = statistic.candidates.iter().map(|c| &c.candidate).collect();
        let lead = |i: usize, j: usize| {
            let key = format!("lead/{}/{}", names[i], names[j]);
            statistic.details.get(&key).copied()
        };
        let pairs = (0..names.len()).flat_map(|i| (i + 1..names.len()).map(move |j| (i, j)));
        let leads: Option<Vec<f64>> = pairs.map(|(i, j)| lead(i, j)).collect();
        Self {
            axis: statistic.axis,
            basis: statistic.basis,
            controls: statistic.controls.len() as u32,
            candidates: statistic.candidates.iter().map(candidate).collect(),
            leads: leads.unwrap_or_default(),
        }
    }

    /// The suspect's own lead of candidate `i` over candidate `j`, by place; `None` where leads are not
    /// kept.
    pub fn lead(&self, i: usize, j: usize) -> Option<f64> {
        let n = self.candidates.len();
        match i.cmp(&j) {
            Ordering::Less if j < n => self.leads.get(place(n, i, j)).copied(),
            Ordering::Greater if i < n => self.leads.get(place(n, j, i)).map(|lead| -lead),
            _ => None,
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

/// Where the pair of i and j > i stands among all pairs of n, row by row.
pub(crate) const fn place(n: usize, i: usize, j: usize) -> usize {
    i * (2 * n - i - 1) / 2 + j - i - 1
}

/// What a case is like apart from its scores: log10 of the parameters of suspect and base, and the mean
/// of that of the teachers. A case that is unlike the models of a population in these is outside what
/// was validated on them.
pub fn features(parties: &[Party]) -> BTreeMap<String, f64> {
    let mut features = BTreeMap::new();
    for role in [Role::Suspect, Role::Base, Role::Teacher] {
        let sizes = parties.iter().filter(|p| p.role == role);
        let sizes: Vec<f64> = sizes
            .map(|p| (p.identity.parameters.max(1) as f64).log10())
            .collect();
        if !sizes.is_empty() {
            let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
            features.insert(format!("log10-parameters/{}", role.as_str()), mean);
        }
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_found_from_either_side() {
        let candidate = |name: &str| Candidate {
            name: name.into(),
            score: 0.0,
            interval: None,
            effect: None,
            units: 1,
            log10_p_among_controls: None,
            log10_p: None,
            log10_e: None,
            weight: None,
        };
        let scored = Scored {
            axis: Axis::TeacherIdentity,
            basis: Basis::Population,
            controls: 0,
            candidates: ["a", "b", "c", "d"].map(candidate).to_vec(),
            // ab, ac, ad, bc, bd, cd
            leads: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        };
        assert_eq!(scored.lead(0, 3), Some(3.0));
        assert_eq!(scored.lead(1, 2), Some(4.0));
        assert_eq!(scored.lead(3, 2), Some(-6.0));
        assert_eq!((scored.lead(2, 2), scored.lead(0, 4)), (None, None));
    }
}
