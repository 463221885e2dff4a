use std::collections::BTreeMap;

use filiation_core::{Digest, MethodId};
use serde::{Deserialize, Serialize};

use crate::LrError;
use crate::record::{Outcome, Record};
use crate::system::Subject;

/// A population as audits use it: which probes count, how they were run, and what they measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Format, 1.
    pub format: u32,
    /// Its name.
    pub name: String,
    /// Digest of the scores that it was made from.
    pub scores: Digest,
    /// The probes whose scores are used, decided before scores were looked at.
    pub streams: Vec<String>,
    /// Whether its students include such as hide: only then does a low score speak for innocence.
    pub evasive: bool,
    /// How each probe was run.
    pub methods: BTreeMap<String, MethodId>,
    /// The models.
    pub subjects: Vec<Subject>,
}

impl Calibration {
    /// From the records of a population.
    ///
    /// # Errors
    /// [`LrError::Unmeasured`] for a stream that no record has, [`LrError::Methods`] for one that was run in
    /// two ways, and as [`Subject::all`].
    pub fn new(
        name: &str,
        scores: Digest,
        streams: Vec<String>,
        evasive: bool,
        records: &[Record],
    ) -> Result<Self, LrError> {
        let methods = methods(records, &streams)?;
        let mut subjects = Subject::all(records)?;
        for subject in &mut subjects {
            subject.leads.retain(|stream, _| streams.contains(stream));
        }
        for stream in &streams {
            if !subjects.iter().any(|s| s.leads.contains_key(stream)) {
                return Err(LrError::Unmeasured {
                    stream: stream.clone(),
                });
            }
        }
        Ok(Self {
            format: 1,
            name: name.to_owned(),
            scores,
            streams,
            evasive,
            methods,
            subjects,
        })
    }

    /// Whether a probe was run here as `method` says; else both. Seeds may differ: they pick among draws of
    /// one kind.
    pub(crate) fn is_run_as(&self, method: &MethodId) -> Result<(), String> {
        let here = self.methods.get(method.name());
        match here {
            Some(here) if unseeded(here) == unseeded(method) => Ok(()),
            Some(here) => Err(format!(
                "`{method}` was run, and `{here}` in the population"
            )),
            None => Err(format!("`{}` is not in the population", method.name())),
        }
    }
}

/// How each of some probes was run.
///
/// # Errors
/// [`LrError::Methods`] for one that was run in two ways.
fn methods(records: &[Record], streams: &[String]) -> Result<BTreeMap<String, MethodId>, LrError> {
    let mut methods: BTreeMap<String, MethodId> = BTreeMap::new();
    let scored = |r: &&Record| matches!(r.outcome, Outcome::Scored(_));
    for record in records.iter().filter(scored) {
        let stream = record.method.name();
        if !streams.iter().any(|s| s == stream) {
            continue;
        }
        match methods.get(stream) {
            Some(method) if *method != record.method => {
                return Err(two_ways(method, &record.method));
            }
            _ => methods.insert(stream.to_owned(), record.method.clone()),
        };
    }
    Ok(methods)
}

fn two_ways(one: &MethodId, other: &MethodId) -> LrError {
    LrError::Methods {
        one: one.to_string(),
        other: other.to_string(),
    }
}

/// Whether probes were run in one way over each of some populations, and in all of them but for the seed.
///
/// # Errors
/// [`LrError::Methods`] with the first two ways.
pub fn run_alike(populations: &[&[Record]], streams: &[String]) -> Result<(), LrError> {
    let mut all: BTreeMap<String, MethodId> = BTreeMap::new();
    for records in populations {
        for (stream, method) in methods(records, streams)? {
            match all.get(&stream) {
                Some(before) if unseeded(before) != unseeded(&method) => {
                    return Err(two_ways(before, &method));
                }
                _ => all.insert(stream, method),
            };
        }
    }
    Ok(())
}

fn unseeded(method: &MethodId) -> String {
    let text = method.to_string();
    let kept = text.split(';').filter(|part| !part.starts_with("seed="));
    kept.collect::<Vec<_>>().join(";")
}
