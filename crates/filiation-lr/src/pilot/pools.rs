//! Which scores stand for which proposition.

use std::collections::BTreeSet;

use filiation_core::Axis;

use crate::record::{Candidate, History, Outcome, Record, Scored};

/// The records of one probe, by what is true of their suspects.
pub(super) struct Pools<'a> {
    /// Distilled suspects (Hd).
    pub(super) distilled: Vec<Taught<'a>>,
    /// Fine-tunes of bases that distilled suspects start from too (Ha); where no base has both, of bases of
    /// their own.
    pub(super) fine_tunes: Vec<&'a Scored>,
    /// Every fine-tune, on the axis of weights: all start from the base beside them.
    pub(super) related: Vec<&'a Scored>,
    /// Independent models (Hb).
    pub(super) independents: Vec<&'a Scored>,
    /// One fine-tune of each lineage without a distilled suspect.
    pub(super) clean: Vec<&'a Scored>,
}

/// A distilled suspect.
pub(super) struct Taught<'a> {
    pub(super) teacher: &'a str,
    /// Another teacher.
    pub(super) also: Option<&'a str>,
    pub(super) siblings: &'a [String],
    pub(super) share: f64,
    pub(super) by: &'a str,
    pub(super) scored: &'a Scored,
}

impl<'a> Pools<'a> {
    pub(super) fn of(records: &[&'a Record]) -> Self {
        let taught_lineages: BTreeSet<&str> = records
            .iter()
            .filter(|r| matches!(r.history, History::Distilled { .. }))
            .map(|r| r.lineage.as_str())
            .collect();
        let mut pools = Self {
            distilled: Vec::new(),
            fine_tunes: Vec::new(),
            related: Vec::new(),
            independents: Vec::new(),
            clean: Vec::new(),
        };
        let mut counted = BTreeSet::new();
        for record in records {
            let Outcome::Scored(scored) = &record.outcome else {
                continue;
            };
            if record.history == History::FineTune {
                pools.related.push(scored);
            }
            match &record.history {
                History::Distilled {
                    teacher,
                    also,
                    siblings,
                    share,
                    by,
                } => pools.distilled.push(Taught {
                    teacher,
                    also: also.as_deref(),
                    siblings,
                    share: *share,
                    by,
                    scored,
                }),
                History::FineTune if taught_lineages.contains(record.lineage.as_str()) => {
                    pools.fine_tunes.push(scored);
                }
                // Variants of one family do not err independently: the first counts.
                History::FineTune if counted.insert(record.lineage.as_str()) => {
                    pools.clean.push(scored);
                }
                History::FineTune => {}
                History::Independent => pools.independents.push(scored),
            }
        }
        if pools.fine_tunes.is_empty() {
            pools.fine_tunes.clone_from(&pools.clean);
        }
        pools
    }
}

impl<'a> Taught<'a> {
    /// The candidate that is true: the teacher, or on the axis of weights the base.
    pub(super) fn source(&self) -> Option<&'a Candidate> {
        match self.scored.axis {
            Axis::TeacherIdentity => self.scored.candidate(self.teacher),
            Axis::WeightLineage => self.scored.candidates.first(),
            Axis::Description => None,
        }
    }

    /// Its siblings.
    pub(super) fn siblings(&self) -> impl Iterator<Item = &'a Candidate> {
        let scored = self.scored;
        let named = |name: &'a String| scored.candidate(name);
        self.siblings.iter().filter_map(named)
    }

    /// Whether this is its teacher, or one of two.
    pub(super) fn is_by(&self, candidate: &Candidate) -> bool {
        candidate.name == self.teacher || Some(candidate.name.as_str()) == self.also
    }

    /// Whether a teacher, and no other candidate, has the largest score (or weight, where the
    /// probe fits weights).
    pub(super) fn is_first(&self) -> Option<bool> {
        let of = |c: &Candidate| c.weight.unwrap_or(c.score);
        let all = || self.scored.candidates.iter();
        let own = all().filter(|c| self.is_by(c)).map(of);
        let own = own.max_by(f64::total_cmp)?;
        Some(all().filter(|c| !self.is_by(c)).all(|c| of(c) < own))
    }
}
