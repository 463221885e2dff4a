//! How a system fares with models that it has not seen.

use std::collections::{BTreeMap, BTreeSet};

use filiation_core::Interval;
use filiation_stats::clopper_pearson;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::fit::{Settings, System, Training, Weighted, own_and_largest, sample};
use super::known::Known;
use crate::LrError;
use crate::calibrate::{Sample, cllr, cllr_min, dev_pav, equal_error_rate, mean_lr};

const LEVEL: f64 = 0.95;
/// Nominal size of the test that gives the rate of false positives.
const SIZE: f64 = 0.01;

/// What is left out together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveOut {
    /// Nothing: the fit judged on what it was fitted on.
    Nothing,
    /// One lineage after the other.
    Lineage,
    /// One teacher, its students, and a share of the lineages without a teacher.
    Teacher,
    /// All lineages of one family of bases.
    Family,
}

/// A model judged by a system that has not seen what is left out with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// Its name.
    pub name: String,
    /// Its lineage.
    pub lineage: String,
    /// Its teacher, share and signal.
    pub teacher: Option<String>,
    /// Share of the rows that came from the teacher.
    pub share: Option<f64>,
    /// `text` or `logits`.
    pub by: Option<String>,
    /// Bounded log10 LR of the true teacher.
    pub own: Option<f64>,
    /// The largest bounded log10 LR of any other candidate.
    pub largest_other: Option<f64>,
    /// Whether the true teacher has the largest likelihood ratio, before bounds, of all candidates.
    pub first: Option<bool>,
    /// The same where a sibling of the teacher is among the candidates.
    pub first_with_sibling: Option<bool>,
    /// p of the largest of any other candidate among models of the population.
    pub p_other: Option<f64>,
    /// p of the true teacher.
    pub p_own: Option<f64>,
}

/// Every model judged, what `leave_out` says left out.
///
/// # Errors
/// [`LrError`] of the fits, where what is left leaves too few.
pub fn judge(
    known: &[Known],
    settings: &Settings,
    leave_out: LeaveOut,
) -> Result<Vec<Judged>, LrError> {
    let usable: Vec<&Known> = known.iter().filter(|k| k.has(&settings.streams)).collect();
    let groups = groups(&usable, leave_out);
    let names: BTreeSet<&str> = groups.iter().map(String::as_str).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let by_group: BTreeMap<&str, Vec<Judged>> = names
        .par_iter()
        .map(|name| {
            let inside = |at: usize| leave_out != LeaveOut::Nothing && groups[at] == **name;
            let all = usable.iter().enumerate();
            let rest: Weighted<'_> = all
                .filter(|(at, _)| !inside(*at))
                .map(|(_, k)| (*k, 1.0))
                .collect();
            let training = Training {
                known: &rest,
                without: (leave_out == LeaveOut::Teacher).then_some(*name),
            };
            let system = System::of(training, settings)?;
            let tested = usable.iter().zip(&groups).filter(|(_, g)| g == name);
            let judged = tested.map(|(k, _)| judged(&system, k, settings));
            Ok((*name, judged.collect()))
        })
        .collect::<Result<_, LrError>>()?;
    // In the order of the models.
    let mut queues: BTreeMap<&str, std::vec::IntoIter<Judged>> = by_group
        .into_iter()
        .map(|(name, judged)| (name, judged.into_iter()))
        .collect();
    let next = |group: &String| queues.get_mut(group.as_str())?.next();
    Ok(groups.iter().filter_map(next).collect())
}

/// The group of each model.
fn groups(known: &[&Known], leave_out: LeaveOut) -> Vec<String> {
    let teachers: BTreeSet<&str> = known.iter().filter_map(|k| k.teacher()).collect();
    let teachers: Vec<&str> = teachers.into_iter().collect();
    let mut taught: BTreeMap<&str, &str> = BTreeMap::new();
    let mut clean: BTreeSet<&str> = BTreeSet::new();
    for k in known {
        match k.teacher() {
            Some(teacher) => {
                taught.entry(&k.lineage).or_insert(teacher);
            }
            None => {
                clean.insert(&k.lineage);
            }
        }
    }
    // Lineages without a teacher go with the teachers in turn.
    let turns: BTreeMap<&str, usize> = clean
        .into_iter()
        .filter(|lineage| !taught.contains_key(lineage))
        .enumerate()
        .map(|(at, lineage)| (lineage, at))
        .collect();
    let group = |k: &&Known| match leave_out {
        LeaveOut::Nothing => String::new(),
        LeaveOut::Lineage => k.lineage.clone(),
        LeaveOut::Family => k.family.clone().unwrap_or_default(),
        LeaveOut::Teacher => match (
            taught.get(k.lineage.as_str()),
            turns.get(k.lineage.as_str()),
        ) {
            (Some(teacher), _) => (*teacher).to_owned(),
            (None, Some(turn)) if !teachers.is_empty() => {
                teachers[turn % teachers.len()].to_owned()
            }
            _ => String::new(),
        },
    };
    known.iter().map(group).collect()
}

fn judged(system: &System, known: &Known, settings: &Settings) -> Judged {
    let raw = |c: &str| system.unbounded(&known.scores, c);
    let bounded = |c: &str| system.llr(&known.scores, c);
    let (own, largest_other) = own_and_largest(known, settings, None, bounded);
    let (raw_own, raw_other) = own_and_largest(known, settings, None, raw);
    let first = match (raw_own, raw_other) {
        (Some(own), Some(other)) => Some(own > other),
        _ => None,
    };
    let taught = known.taught.as_ref();
    let has_sibling = taught.is_some_and(|t| !t.siblings.is_empty());
    let p = |llr: f64| {
        let n = system.held_out().lineages(false);
        let as_large = system.held_out().class(false).filter(|i| i.value >= llr);
        (1.0 + as_large.map(|i| i.weight).sum::<f64>()) / (1.0 + n)
    };
    Judged {
        name: known.name.clone(),
        lineage: known.lineage.clone(),
        teacher: taught.map(|t| t.teacher.clone()),
        share: taught.map(|t| t.share),
        by: taught.map(|t| t.by.clone()),
        own,
        largest_other,
        first,
        first_with_sibling: first.filter(|_| has_sibling),
        p_other: raw_other.map(p),
        p_own: raw_own.map(p),
    }
}

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
}

/// Students of one signal and share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtShare {
    /// `text` or `logits`.
    pub by: String,
    /// Share of the training rows.
    pub share: f64,
    /// p of the teacher is at most 1 %.
    pub found: Option<Rate>,
    /// The teacher has the largest LR.
    pub first: Option<Rate>,
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
    sample(&values)
}

fn llrs_of(judged: &[Judged], teacher: &str) -> Result<Sample, LrError> {
    llrs(judged, |j| j.teacher.as_deref() == Some(teacher))
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
        let of = || {
            let inside = |j: &&Judged| j.by.as_deref() == Some(by) && j.share == Some(share);
            judged.iter().filter(inside)
        };
        let mut own: Vec<f64> = of().filter_map(|j| j.own).collect();
        own.sort_by(f64::total_cmp);
        AtShare {
            by: by.to_owned(),
            share,
            found: Rate::of(of().filter_map(|j| Some(j.p_own? <= SIZE))),
            first: Rate::of(of().filter_map(|j| j.first)),
            median_llr: (!own.is_empty()).then(|| own[own.len() / 2]),
        }
    };
    cells.into_iter().map(cell).collect()
}

/// Share of runs in which a system fitted on shuffled histories says nothing: |log10 LR| below 0.3 for
/// a model that it has not seen.
///
/// # Errors
/// [`LrError`] of the fits.
pub fn permuted(
    known: &[Known],
    settings: &Settings,
    runs: u32,
    seed: u64,
) -> Result<Option<Rate>, LrError> {
    let usable: Vec<&Known> = known.iter().filter(|k| k.has(&settings.streams)).collect();
    let one = |run: u32| -> Result<Option<bool>, LrError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(run));
        let mut order: Vec<usize> = (0..usable.len()).collect();
        order.shuffle(&mut rng);
        let shuffled: Vec<Known> = order
            .iter()
            .zip(&usable)
            .map(|(from, k)| Known {
                taught: usable[*from].taught.clone(),
                ..(*k).clone()
            })
            .collect();
        let case = run as usize % shuffled.len();
        let rest = shuffled
            .iter()
            .filter(|k| k.lineage != shuffled[case].lineage);
        let rest: Weighted<'_> = rest.map(|k| (k, 1.0)).collect();
        let training = Training {
            known: &rest,
            without: None,
        };
        let system = System::of(training, settings)?;
        let case = &shuffled[case];
        let llr = |c: &str| system.llr(&case.scores, c);
        let (own, largest) = own_and_largest(case, settings, None, llr);
        Ok(own.or(largest).map(|llr| llr.abs() < 0.3))
    };
    let found: Vec<Option<bool>> = (0..runs)
        .into_par_iter()
        .map(one)
        .collect::<Result<_, _>>()?;
    Ok(Rate::of(found.into_iter().flatten()))
}

/// The largest change, log10, of any likelihood ratio or bound when every model stands `times` times.
///
/// # Errors
/// [`LrError`] of the fits.
pub fn repeated(known: &[Known], settings: &Settings, times: usize) -> Result<f64, LrError> {
    let many: Vec<Known> = known
        .iter()
        .flat_map(|k| std::iter::repeat_n(k.clone(), times))
        .collect();
    let [once, often] = [known, &many[..]].map(|known| System::fit(known, settings));
    let (once, often) = (once?, often?);
    let [a, b] = [once.bounds(), often.bounds()];
    let mut most = (a.lower - b.lower).abs().max((a.upper - b.upper).abs());
    for k in known.iter().filter(|k| k.has(&settings.streams)) {
        for candidate in k.candidates(&settings.streams) {
            let [a, b] = [&once, &often].map(|s| s.llr(&k.scores, candidate));
            if let (Some(a), Some(b)) = (a, b) {
                most = most.max((a - b).abs());
            }
        }
    }
    Ok(most)
}

/// Bounded log10 likelihood ratios of judged models: of the true teacher under H1, of the largest other
/// candidate under H2.
///
/// # Errors
/// [`LrError::EmptyClass`] where there are no students, or nobody else.
pub fn held_out(judged: &[Judged]) -> Result<Sample, LrError> {
    llrs(judged, |_| true)
}
