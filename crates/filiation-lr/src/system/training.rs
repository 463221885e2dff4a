use std::collections::{BTreeMap, BTreeSet};

use filiation_core::Proposition;

use super::chain::Chain;
use super::fit::Settings;
use super::known::Known;
use crate::calibrate::{Labelled, Sample, Table, counts};
use crate::{LADDER, LrError, Population};

/// Models with the weights of their lineages.
pub(super) type Weighted<'a> = Vec<(&'a Known, f64)>;

/// Which models count, and as what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Training<'a> {
    pub(super) known: &'a [(&'a Known, f64)],
    /// A candidate that no score may be of.
    pub(super) without: Option<&'a str>,
}

/// A candidate of a model that was left out: what each chain makes of it.
pub(super) struct Held<'a> {
    pub(super) known: &'a Known,
    weight: f64,
    pub(super) candidate: &'a str,
    /// By alternative.
    pub(super) fused: Vec<f64>,
}

/// One value for each model and class: the largest of its candidates that `value` takes.
pub(super) fn largest<'a>(
    held: &[Held<'a>],
    value: impl Fn(&Held<'a>) -> Option<(bool, f64)>,
) -> Result<Sample, LrError> {
    let mut values: Vec<(f64, bool, &str, f64)> = Vec::new();
    let mut last: [Option<(*const Known, usize)>; 2] = [None; 2];
    for h in held {
        let Some((distilled, value)) = value(h) else {
            continue;
        };
        // Candidates of one model stand side by side.
        let key: *const Known = h.known;
        match &mut last[usize::from(distilled)] {
            Some((known, at)) if std::ptr::eq(*known, key) => {
                values[*at].0 = values[*at].0.max(value);
            }
            slot => {
                *slot = Some((key, values.len()));
                values.push((value, distilled, &h.known.lineage, h.weight));
            }
        }
    }
    Sample::by_lineage(&values)
}

impl<'t> Training<'t> {
    pub(super) fn counts(&self) -> Population {
        let mut lineages: BTreeMap<(&str, bool), ()> = BTreeMap::new();
        let mut teachers: BTreeMap<&str, ()> = BTreeMap::new();
        for (known, _) in self.known {
            let taught = known.teacher().filter(|t| Some(*t) != self.without);
            lineages.insert((&known.lineage, taught.is_some()), ());
            if let Some(teacher) = taught {
                teachers.insert(teacher, ());
            }
        }
        let count = |distilled| lineages.keys().filter(|k| k.1 == distilled).count() as u32;
        Population {
            distilled: count(true),
            // A student is no clean lineage, whichever candidate it is held against.
            other: count(false),
            teachers: teachers.len() as u32,
            ..Population::NONE
        }
    }

    /// The candidates of a model that scores may be of.
    fn candidates<'k>(
        &self,
        known: &'k Known,
        streams: &[String],
    ) -> impl Iterator<Item = &'k str> {
        let all = known.candidates(streams);
        all.filter(|candidate| Some(*candidate) != self.without)
    }

    /// The alternatives of which there are enough lineages for the first rung of the claim ladder.
    pub(super) fn alternatives(&self, streams: &[String]) -> Result<Vec<Proposition>, LrError> {
        let expected = LADDER[1].needs.other as usize;
        let mut most = 0;
        let mut found = Vec::new();
        for alternative in Proposition::ALTERNATIVES {
            let mut lineages: BTreeMap<&str, f64> = BTreeMap::new();
            for (known, weight) in self.known {
                let mut candidates = self.candidates(known, streams);
                if candidates.any(|c| known.truth(c) == Some(alternative)) {
                    lineages.insert(&known.lineage, *weight);
                }
            }
            let count = lineages.values().sum::<f64>().round() as usize;
            most = most.max(count);
            if count >= expected {
                found.push(alternative);
            }
        }
        if found.is_empty() {
            return Err(LrError::TooFew {
                distilled: false,
                got: most,
                expected,
            });
        }
        Ok(found)
    }

    pub(super) fn chain(
        &self,
        alternative: Proposition,
        settings: &Settings,
    ) -> Result<Chain, LrError> {
        Chain::fit(&self.rows(alternative, &settings.streams)?, settings)
    }

    /// A row for every student with its teacher, and for every model with every candidate against which
    /// the alternative is true.
    fn rows(&self, alternative: Proposition, streams: &[String]) -> Result<Table, LrError> {
        let mut rows: Vec<(Vec<f64>, bool, &str, f64)> = Vec::new();
        for (known, weight) in self.known {
            for candidate in self.candidates(known, streams) {
                let truth = known.truth(candidate);
                let distilled = truth == Some(Proposition::Distilled);
                if !distilled && truth != Some(alternative) {
                    continue;
                }
                let score = |stream: &String| known.scores.get(stream)?.get(candidate).copied();
                if let Some(row) = streams.iter().map(score).collect::<Option<Vec<_>>>() {
                    rows.push((row.concat(), distilled, &known.lineage, *weight));
                }
            }
        }
        let counts = counts(rows.iter().map(|row| (row.2, row.1)));
        let rows: Vec<(&[f64], Labelled)> = rows
            .iter()
            .map(|(row, distilled, lineage, weight)| {
                let label = Labelled {
                    value: 0.0,
                    distilled: *distilled,
                    weight: weight / counts[&(*lineage, *distilled)],
                };
                (&row[..], label)
            })
            .collect();
        Table::new(&rows)
    }

    /// Every model with every candidate, by chains that have not seen its lineage.
    pub(super) fn held_out(
        &self,
        settings: &Settings,
        alternatives: &[Proposition],
        folds: &BTreeMap<&str, usize>,
    ) -> Result<Vec<Held<'t>>, LrError> {
        let mut held = Vec::new();
        let used: BTreeSet<usize> = folds.values().copied().collect();
        for fold in used {
            let inside = |known: &Known| folds[known.lineage.as_str()] == fold;
            let rest: Weighted<'_> = self
                .known
                .iter()
                .filter(|(k, _)| !inside(k))
                .copied()
                .collect();
            let rest = Training {
                known: &rest,
                ..*self
            };
            let chains = alternatives.iter().map(|a| rest.chain(*a, settings));
            let chains: Vec<Chain> = chains.collect::<Result<_, _>>()?;
            for (known, weight) in self.known.iter().filter(|(k, _)| inside(k)) {
                let known: &'t Known = known;
                for candidate in self.candidates(known, &settings.streams) {
                    let of = |chain: &Chain| chain.llr(&settings.streams, &known.scores, candidate);
                    if let Some(fused) = chains.iter().map(of).collect() {
                        held.push(Held {
                            known,
                            weight: *weight,
                            candidate,
                            fused,
                        });
                    }
                }
            }
        }
        Ok(held)
    }

    /// The part that each lineage belongs to: lineages in their order, those with students and those
    /// without dealt out apart, so that every part has both.
    pub(super) fn folds(&self, folds: usize) -> Result<BTreeMap<&str, usize>, LrError> {
        let mut taught: BTreeMap<&str, bool> = BTreeMap::new();
        for (known, _) in self.known {
            *taught.entry(&known.lineage).or_default() |= known.taught.is_some();
        }
        let mut seen = [0, 0];
        for count in [true, false].map(|t| (t, taught.values().filter(|v| **v == t).count())) {
            if count.1 < 2 {
                return Err(LrError::TooFew {
                    distilled: count.0,
                    got: count.1,
                    expected: 2,
                });
            }
        }
        let fold = |(lineage, taught)| {
            let at = &mut seen[usize::from(taught)];
            *at += 1;
            (lineage, (*at - 1) % folds)
        };
        Ok(taught.into_iter().map(fold).collect())
    }
}
