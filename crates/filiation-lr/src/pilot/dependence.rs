//! How scores of different probes go together: streams that do are not multiplied.

use std::collections::BTreeMap;

use filiation_core::Axis;
use filiation_stats::spearman;
use serde::Serialize;

use crate::record::{History, Outcome, Record};

/// Rank correlations of two probes' scores over the suspects that both scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dependence {
    /// One probe.
    pub one: String,
    /// The other.
    pub other: String,
    /// Over suspects without a teacher, every candidate's score.
    pub innocents: Option<f64>,
    /// Over distilled suspects, the teacher's score.
    pub distilled: Option<f64>,
}

// Score by suspect and candidate.
type Scores<'a> = BTreeMap<(&'a str, &'a str), f64>;

/// All pairs of probes of the teacher axis.
pub(super) fn all(records: &[Record], names: &[&str]) -> Vec<Dependence> {
    let tables: Vec<(&str, [Scores<'_>; 2])> = names
        .iter()
        .map(|name| {
            (
                *name,
                [scores(records, name, false), scores(records, name, true)],
            )
        })
        .filter(|(_, [innocents, distilled])| !innocents.is_empty() || !distilled.is_empty())
        .collect();
    let mut pairs = Vec::new();
    for (i, (one, a)) in tables.iter().enumerate() {
        for (other, b) in &tables[i + 1..] {
            pairs.push(Dependence {
                one: (*one).to_owned(),
                other: (*other).to_owned(),
                innocents: correlation(&a[0], &b[0]),
                distilled: correlation(&a[1], &b[1]),
            });
        }
    }
    pairs
}

fn scores<'a>(records: &'a [Record], name: &str, distilled: bool) -> Scores<'a> {
    let mut all = Scores::new();
    for record in records.iter().filter(|r| r.method.name() == name) {
        let Outcome::Scored(scored) = &record.outcome else {
            continue;
        };
        if scored.axis != Axis::TeacherIdentity {
            continue;
        }
        for candidate in &scored.candidates {
            let wanted = match &record.history {
                History::Distilled { teacher, .. } => distilled && *teacher == candidate.name,
                History::FineTune | History::Independent => !distilled,
            };
            if wanted {
                all.insert((&record.suspect, &candidate.name), candidate.score);
            }
        }
    }
    all
}

fn correlation(a: &Scores<'_>, b: &Scores<'_>) -> Option<f64> {
    let common = a.iter().filter_map(|(key, x)| Some((*x, *b.get(key)?)));
    let (x, y): (Vec<f64>, Vec<f64>) = common.unzip();
    spearman(&x, &y).ok().map(|s| s.rho)
}
