use std::collections::BTreeMap;

use filiation_core::Proposition;
use serde::{Deserialize, Serialize};

use crate::record::History;

/// Scores of every candidate teacher, by probe and candidate: its least lead over the other candidates,
/// which tells it from a sibling, and its mean lead, which tells a student from a model without a teacher.
pub type Scores = BTreeMap<String, BTreeMap<String, [f64; 2]>>;

/// A model whose history is known, and its scores in a case of a given form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Independent lineage.
    pub lineage: String,
    /// What it was made from is of this kind, where families of bases are told apart.
    pub family: Option<String>,
    /// Whether it is held against a base that is not its own (Hb where it had no teacher).
    pub independent: bool,
    /// What it learned, and from whom.
    pub taught: Option<Taught>,
    /// Its scores by the probes of the teacher axis whose null is the population.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: Scores,
}

/// What a model learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taught {
    /// The teacher.
    pub teacher: String,
    /// Another, of whom half of the rows are that came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<String>,
    /// Siblings of either among the candidates.
    pub siblings: Vec<String>,
    /// Share of the training rows.
    pub share: f64,
    /// The signal, such as `text`, `logits` or `text-filtered`.
    pub by: String,
}

impl Known {
    /// The teacher, where it had one; the first of two.
    pub fn teacher(&self) -> Option<&str> {
        self.taught.as_ref().map(|t| t.teacher.as_str())
    }

    /// Whether a candidate is its teacher, or one of two.
    pub fn is_taught_by(&self, candidate: &str) -> bool {
        self.taught.as_ref().is_some_and(|t| t.is_by(candidate))
    }

    /// Whether a candidate is a sibling of its teacher.
    pub fn is_sibling(&self, candidate: &str) -> bool {
        let mut siblings = self.taught.iter().flat_map(|t| &t.siblings);
        siblings.any(|s| s == candidate)
    }

    /// What is true of it where it is held against a candidate; `None` where it learned from another one
    /// that is no sibling of this.
    pub fn truth(&self, candidate: &str) -> Option<Proposition> {
        match &self.taught {
            Some(taught) if taught.is_by(candidate) => Some(Proposition::Distilled),
            Some(_) => self.is_sibling(candidate).then_some(Proposition::Sibling),
            None if self.independent => Some(Proposition::Independent),
            None => Some(Proposition::SharedBase),
        }
    }

    /// Whether every one of these probes scored it.
    pub fn has(&self, streams: &[String]) -> bool {
        streams
            .iter()
            .all(|stream| self.scores.contains_key(stream))
    }

    /// The candidates that every one of these probes scored.
    pub fn candidates<'k>(&'k self, streams: &[String]) -> impl Iterator<Item = &'k str> {
        let first = streams.first().and_then(|stream| self.scores.get(stream));
        let names = first.into_iter().flat_map(|scores| scores.keys());
        names.map(String::as_str).filter(move |name| {
            let scored = |stream| {
                self.scores
                    .get(stream)
                    .is_some_and(|s| s.contains_key(*name))
            };
            streams.iter().all(scored)
        })
    }
}

impl Taught {
    /// Whether this is the teacher, or one of two.
    pub fn is_by(&self, candidate: &str) -> bool {
        self.teacher == candidate || self.also.as_deref() == Some(candidate)
    }

    pub(super) fn of(history: &History) -> Option<Self> {
        match history {
            History::Distilled {
                teacher,
                also,
                siblings,
                share,
                by,
            } => Some(Self {
                teacher: teacher.clone(),
                also: also.clone(),
                siblings: siblings.clone(),
                share: *share,
                by: by.clone(),
            }),
            History::FineTune | History::Independent => None,
        }
    }
}
