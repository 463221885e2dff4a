use std::collections::{BTreeMap, BTreeSet};

use filiation_core::Interval;
use filiation_stats::clopper_pearson;
use serde::Serialize;

use super::validation::{Judged, SIZE};
use crate::LrError;
use crate::calibrate::{
    Sample, cllr, cllr_min, cllr_with_unseen, dev_pav, equal_error_rate, mean_lr,
};

const LEVEL: f64 = 0.95;

/// So many of so many, with the Clopper-Pearson interval of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Those.
    pub hits: u64,
    /// All.
    pub of: u64,
    /// Hits over all.
    pub rate: f64,
    /// At 95 %.
    pub interval: Interval,
}

impl Rate {
    /// `None` of nothing.
    pub fn of(hits: impl Iterator<Item = bool>) -> Option<Self> {
        let (mut yes, mut all) = (0, 0);
        for hit in hits {
            yes += u64::from(hit);
            all += 1;
        }
        let interval = clopper_pearson(yes, all, LEVEL).ok()?;
        Some(Self {
            hits: yes,
            of: all,
            rate: yes as f64 / all as f64,
            interval,
        })
    }
}

/// What the judgements come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Bits.
    pub cllr: f64,
    /// What the order alone would allow, bits.
    pub cllr_min: f64,
    /// The difference, bits.
    pub cllr_calibration: f64,
    /// Mean distance from the best calibration, log10; none where classes do not overlap.
    pub dev_pav: Option<f64>,
    /// On the convex hull.
    pub equal_error_rate: f64,
    /// Clean lineages of which some candidate has an LR above 10.
    pub misleading_over_10: Option<Rate>,
    /// Clean lineages of which some candidate has an LR above 1.
    pub misleading_over_1: Option<Rate>,
    /// Students whose teacher has an LR below 1.
    pub misleading_below_1: Option<Rate>,
    /// Clean lineages of which some candidate has p of at most 1 %.
    pub false_positive_rate: Option<Rate>,
    /// Students whose teacher has the largest LR.
    pub teacher_first: Option<Rate>,
    /// The same of students whose teacher has a sibling among the candidates.
    pub teacher_first_with_sibling: Option<Rate>,
    /// Mean LR over H2, and its standard error: calibrated, it is at most 1.
    pub mean_lr_h2: [f64; 2],
    /// Cllr by teacher, bits, students against all of H2.
    pub cllr_by_teacher: BTreeMap<String, f64>,
    /// By signal and share.
    pub by_share: Vec<AtShare>,
    /// What Cllr could be at best if students of small shares scored as clean models do.
    pub unseen: Vec<Unseen>,
}

/// The least Cllr that any system could have if students of less than a share scored as clean models do, and
/// it told all others without fail.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Unseen {
    /// The share of the training rows.
    pub below: f64,
    /// Students of less, over all.
    pub students: f64,
    /// Bits.
    pub least_cllr: f64,
}

/// Students of one signal and share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtShare {
    /// The signal, such as `text`, `logits` or `text-filtered`.
    pub by: String,
    /// Share of the training rows.
    pub share: f64,
    /// p of the teacher is at most 1 %.
    pub found: Option<Rate>,
    /// The teacher has the largest LR.
    pub first: Option<Rate>,
    /// Cllr of these students against all of H2, bits.
    pub cllr: Option<f64>,
    /// What a reader who knew that it is this share or nothing could reach by the order of the ratios: Cllr_min of the
    /// same, bits. Few students make it too small.
    pub cllr_min: Option<f64>,
    /// Median bounded log10 LR of the teacher.
    pub median_llr: Option<f64>,
}

impl Summary {
    /// Of judged models.
    ///
    /// # Errors
    /// [`LrError::EmptyClass`] where there are no students, or nobody else.
    pub fn of(judged: &[Judged]) -> Result<Self, LrError> {
        let llrs = held_out(judged)?;
        let clean = || judged.iter().filter(|j| j.teacher.is_none());
        let least = cllr_min(&llrs)?;
        let over = |limit: f64| {
            Rate::of(per_lineage(
                clean().map(|j| (j, j.largest_other > Some(limit))),
            ))
        };
        let teachers: BTreeSet<&str> = judged.iter().filter_map(|j| j.teacher.as_deref()).collect();
        let mut cllr_by_teacher = BTreeMap::new();
        for teacher in teachers {
            let of = llrs_of(judged, teacher)?;
            cllr_by_teacher.insert(teacher.to_owned(), cllr(&of));
        }
        let (mean, error) = mean_lr(&llrs);
        Ok(Self {
            cllr: cllr(&llrs),
            cllr_min: least,
            cllr_calibration: cllr(&llrs) - least,
            dev_pav: dev_pav(&llrs),
            equal_error_rate: equal_error_rate(&llrs),
            misleading_over_10: over(1.0),
            misleading_over_1: over(0.0),
            misleading_below_1: Rate::of(judged.iter().filter_map(|j| Some(j.own? < 0.0))),
            false_positive_rate: Rate::of(per_lineage(
                clean().filter_map(|j| Some((j, j.p_other? <= SIZE))),
            )),
            teacher_first: Rate::of(judged.iter().filter_map(|j| j.first)),
            teacher_first_with_sibling: Rate::of(
                judged.iter().filter_map(|j| j.first_with_sibling),
            ),
            mean_lr_h2: [mean, error],
            cllr_by_teacher,
            by_share: by_share(judged),
            unseen: unseen(judged),
        })
    }
}

/// One answer a lineage: whether any of its models hit.
fn per_lineage<'a>(
    hits: impl Iterator<Item = (&'a Judged, bool)>,
) -> std::collections::btree_map::IntoValues<&'a str, bool> {
    let mut lineages: BTreeMap<&str, bool> = BTreeMap::new();
    for (judged, hit) in hits {
        *lineages.entry(&judged.lineage).or_default() |= hit;
    }
    lineages.into_values()
}

/// The log10 likelihood ratios of judged models: H1 of the students that `which` takes, H2 of all.
fn llrs(judged: &[Judged], which: impl Fn(&Judged) -> bool) -> Result<Sample, LrError> {
    let mut values = Vec::new();
    for j in judged {
        let own = j.own.filter(|_| which(j));
        for (value, distilled) in [(own, true), (j.largest_other, false)] {
            values.extend(value.map(|v| (v, distilled, j.lineage.as_str(), 1.0)));
        }
    }
    Sample::by_lineage(&values)
}

fn llrs_of(judged: &[Judged], teacher: &str) -> Result<Sample, LrError> {
    llrs(judged, |j| j.teacher.as_deref() == Some(teacher))
}

fn unseen(judged: &[Judged]) -> Vec<Unseen> {
    let mut shares: Vec<f64> = judged.iter().filter_map(|j| j.share).collect();
    shares.sort_by(f64::total_cmp);
    let all = shares.len() as f64;
    let mut steps = shares.clone();
    steps.dedup();
    let of = |below: f64| {
        let students = shares.partition_point(|s| *s < below) as f64 / all;
        Unseen {
            below,
            students,
            least_cllr: cllr_with_unseen(students),
        }
    };
    steps.into_iter().map(of).collect()
}

fn by_share(judged: &[Judged]) -> Vec<AtShare> {
    let mut cells: Vec<(&str, f64)> = Vec::new();
    for j in judged {
        if let (Some(by), Some(share)) = (j.by.as_deref(), j.share)
            && !cells.contains(&(by, share))
        {
            cells.push((by, share));
        }
    }
    cells.sort_by(|a, b| b.0.cmp(a.0).then(b.1.total_cmp(&a.1)));
    let cell = |(by, share): (&str, f64)| {
        let inside = |j: &&Judged| j.by.as_deref() == Some(by) && j.share == Some(share);
        let of = || judged.iter().filter(inside);
        let mut own: Vec<f64> = of().filter_map(|j| j.own).collect();
        own.sort_by(f64::total_cmp);
        let of_these = llrs(judged, |j| inside(&j)).ok();
        AtShare {
            by: by.to_owned(),
            share,
            found: Rate::of(of().filter_map(|j| Some(j.p_own? <= SIZE))),
            first: Rate::of(of().filter_map(|j| j.first)),
            cllr: of_these.as_ref().map(cllr),
            cllr_min: of_these.and_then(|llrs| cllr_min(&llrs).ok()),
            median_llr: (!own.is_empty()).then(|| own[own.len() / 2]),
        }
    };
    cells.into_iter().map(cell).collect()
}

/// Bounded log10 likelihood ratios of judged models: of the true teacher under H1, of the largest other
/// candidate under H2.
///
/// # Errors
/// [`LrError::EmptyClass`] where there are no students, or nobody else.
pub fn held_out(judged: &[Judged]) -> Result<Sample, LrError> {
    llrs(judged, |_| true)
}
