use std::collections::BTreeMap;

use filiation_core::{Axis, Basis};

use crate::LrError;
use crate::record::{History, Outcome, Record};

/// Scores of every candidate teacher, by probe and candidate.
pub type Scores = BTreeMap<String, BTreeMap<String, f64>>;

/// A model whose history is known, and what the probes said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Independent lineage.
    pub lineage: String,
    /// What it was made from is of this kind, where families of bases are told apart.
    pub family: Option<String>,
    /// What it learned, and from whom.
    pub taught: Option<Taught>,
    /// Its scores by the probes of the teacher axis whose null is the population.
    pub scores: Scores,
}

/// What a model learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Taught {
    /// The teacher.
    pub teacher: String,
    /// Its siblings among the candidates.
    pub siblings: Vec<String>,
    /// Share of the training rows.
    pub share: f64,
    /// `text` or `logits`.
    pub by: String,
}

impl Known {
    /// The models of some records, in their order.
    ///
    /// # Errors
    /// [`LrError::Contradiction`] for two histories of one model, [`LrError::Value`] for a score that is
    /// not finite.
    pub fn all(records: &[Record]) -> Result<Vec<Self>, LrError> {
        let mut found: Vec<Self> = Vec::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, record) in records.iter().enumerate() {
            let taught = Taught::of(&record.history);
            let at = *places.entry(&record.suspect).or_insert_with(|| {
                found.push(Self {
                    name: record.suspect.clone(),
                    lineage: record.lineage.clone(),
                    family: record.kind.clone(),
                    taught: taught.clone(),
                    scores: Scores::new(),
                });
                found.len() - 1
            });
            let known = &mut found[at];
            if known.taught != taught {
                let teacher = [&known.taught, &taught].into_iter().flatten().next();
                return Err(LrError::Contradiction {
                    suspect: record.suspect.clone(),
                    teacher: teacher.map(|t| t.teacher.clone()).unwrap_or_default(),
                });
            }
            let Outcome::Scored(scored) = &record.outcome else {
                continue;
            };
            if scored.axis != Axis::TeacherIdentity || scored.basis != Basis::Population {
                continue;
            }
            let mut scores = BTreeMap::new();
            for candidate in &scored.candidates {
                if !candidate.score.is_finite() {
                    return Err(LrError::Value {
                        index,
                        got: candidate.score,
                        expected: "a finite score",
                    });
                }
                scores.insert(candidate.name.clone(), candidate.score);
            }
            known.scores.insert(record.method.name().to_owned(), scores);
        }
        Ok(found)
    }

    /// The teacher, where it had one.
    pub fn teacher(&self) -> Option<&str> {
        self.taught.as_ref().map(|t| t.teacher.as_str())
    }

    /// Whether every one of these probes scored it.
    pub fn has(&self, streams: &[String]) -> bool {
        streams
            .iter()
            .all(|stream| self.scores.contains_key(stream))
    }

    /// The candidates that every one of these probes scored.
    pub fn candidates<'a>(&'a self, streams: &'a [String]) -> impl Iterator<Item = &'a str> {
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
    fn of(history: &History) -> Option<Self> {
        match history {
            History::Distilled {
                teacher,
                siblings,
                share,
                by,
            } => Some(Self {
                teacher: teacher.clone(),
                siblings: siblings.clone(),
                share: *share,
                by: by.clone(),
            }),
            History::FineTune | History::Independent => None,
        }
    }
}
