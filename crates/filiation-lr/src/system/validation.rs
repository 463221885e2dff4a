//! How a system fares with models that it has not seen.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::fit::{Settings, System, own_and_largest};
use super::known::Known;
use super::subject::{Frame, Subject};
use super::summary::Rate;
use super::training::{Training, Weighted};
use crate::LrError;

/// Nominal size of the test that gives the rate of false positives.
pub(super) const SIZE: f64 = 0.01;

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
    /// The signal, such as `text`, `logits` or `text-filtered`.
    pub by: Option<String>,
    /// Bounded log10 LR of the true teacher.
    pub own: Option<f64>,
    /// The largest bounded log10 LR of any other candidate.
    pub largest_other: Option<f64>,
    /// Whether the true teacher has the largest likelihood ratio, before bounds, of all candidates.
    pub first: Option<bool>,
    /// The same where a sibling of the teacher is among the candidates.
    pub first_with_sibling: Option<bool>,
    /// p of the largest of any other candidate: a clean model's among the clean lineages of the population, each
    /// with the largest of its own candidates, of which there are as many.
    pub p_other: Option<f64>,
    /// p of the true teacher among the same.
    pub p_own: Option<f64>,
}

/// Every model judged in cases of one form, what `leave_out` says left out. Controls, of the models judged
/// too, are among what is left.
///
/// # Errors
/// [`LrError`] of the fits, where what is left leaves too few.
pub fn judge(
    subjects: &[Subject],
    settings: &Settings,
    frame: Frame,
    leave_out: LeaveOut,
) -> Result<Vec<Judged>, LrError> {
    let usable = usable(subjects, settings);
    let groups = groups(&usable, leave_out);
    let names: BTreeSet<&str> = groups.iter().map(String::as_str).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let by_group: BTreeMap<&str, Vec<Judged>> = names
        .par_iter()
        .map(|name| {
            let inside = |at: usize| leave_out != LeaveOut::Nothing && groups[at] == **name;
            let all = || usable.iter().enumerate();
            // A model may stand in two groups, held against two bases: it is no stranger in either.
            let lineages: BTreeSet<&str> = all()
                .filter(|(at, _)| inside(*at))
                .map(|(_, s)| s.known.lineage.as_str())
                .collect();
            let rest: Vec<&Subject> = all()
                .filter(|(_, s)| !lineages.contains(s.known.lineage.as_str()))
                .map(|(_, s)| *s)
                .collect();
            let known = frame.known(&rest, &rest);
            let weighted: Weighted<'_> = known.iter().map(|k| (k, 1.0)).collect();
            let training = Training {
                known: &weighted,
                without: (leave_out == LeaveOut::Teacher).then_some(*name),
            };
            let system = System::of(training, settings)?;
            let tested = usable.iter().zip(&groups).filter(|(_, g)| g == name);
            let tested: Vec<&Subject> = tested.map(|(s, _)| *s).collect();
            let scored = frame.known(&tested, &rest);
            let judged = tested.iter().zip(&scored).map(|(subject, known)| {
                let unseen = training.without.and_then(|t| subject.other_than(t));
                judged(&system, known, settings, unseen)
            });
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

/// Models of another population, judged by a system that is fitted on `subjects`. Their controls are the
/// clean models among themselves.
///
/// # Errors
/// [`LrError`] of the fit.
pub fn judge_others(
    subjects: &[Subject],
    others: &[Subject],
    settings: &Settings,
    frame: Frame,
) -> Result<Vec<Judged>, LrError> {
    let [fitted, others] = [subjects, others].map(|all| usable(all, settings));
    let system = System::fit(&frame.known(&fitted, &fitted), settings)?;
    let others = frame.known(&others, &others);
    Ok(others
        .iter()
        .map(|k| judged(&system, k, settings, None))
        .collect())
}

/// Those that every stream measured.
fn usable<'a>(subjects: &'a [Subject], settings: &Settings) -> Vec<&'a Subject> {
    let measured = |s: &&Subject| {
        settings
            .streams
            .iter()
            .all(|name| s.leads.contains_key(name))
    };
    subjects.iter().filter(measured).collect()
}

/// The group of each model.
fn groups(subjects: &[&Subject], leave_out: LeaveOut) -> Vec<String> {
    let known: Vec<&Known> = subjects.iter().map(|s| &s.known).collect();
    let known = &known[..];
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

/// `unseen` is a candidate that p of a clean model passes over: models of the population were not scored with
/// the teacher that is left out, and the largest of eight is no draw beside the largest of seven.
fn judged(system: &System, known: &Known, settings: &Settings, unseen: Option<&str>) -> Judged {
    let raw = |c: &str| system.unbounded(&known.scores, c);
    let bounded = |c: &str| Some(system.llr(&known.scores, c)?.log10);
    let (own, largest_other) = own_and_largest(known, settings, bounded);
    let (raw_own, raw_other) = own_and_largest(known, settings, raw);
    let first = match (raw_own, raw_other) {
        (Some(own), Some(other)) => Some(own > other),
        _ => None,
    };
    let taught = known.taught.as_ref();
    let as_many = |c: &str| raw(c).filter(|_| taught.is_some() || Some(c) != unseen);
    let (_, drawn) = own_and_largest(known, settings, as_many);
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
        p_other: drawn.map(p),
        p_own: raw_own.map(p),
    }
}

/// Share of runs in which a system fitted on shuffled histories says nothing: |log10 LR| below 0.3 for
/// a model that it has not seen.
///
/// # Errors
/// [`LrError`] of the fits.
pub fn permuted(
    subjects: &[Subject],
    settings: &Settings,
    frame: Frame,
    runs: u32,
    seed: u64,
) -> Result<Option<Rate>, LrError> {
    let usable = usable(subjects, settings);
    let one = |run: u32| -> Result<Option<bool>, LrError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(run));
        let mut order: Vec<usize> = (0..usable.len()).collect();
        order.shuffle(&mut rng);
        let shuffled: Vec<Subject> = order
            .iter()
            .zip(&usable)
            .map(|(from, s)| {
                let mut shuffled = (*s).clone();
                shuffled
                    .known
                    .taught
                    .clone_from(&usable[*from].known.taught);
                shuffled.known.independent = usable[*from].known.independent;
                shuffled
            })
            .collect();
        let shuffled: Vec<&Subject> = shuffled.iter().collect();
        let known = frame.known(&shuffled, &shuffled);
        let case = &known[run as usize % known.len()];
        let rest = known.iter().filter(|k| k.lineage != case.lineage);
        let rest: Weighted<'_> = rest.map(|k| (k, 1.0)).collect();
        let training = Training {
            known: &rest,
            without: None,
        };
        let system = System::of(training, settings)?;
        let llr = |c: &str| Some(system.llr(&case.scores, c)?.log10);
        let (own, largest) = own_and_largest(case, settings, llr);
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
pub fn repeated(
    subjects: &[Subject],
    settings: &Settings,
    frame: Frame,
    times: usize,
) -> Result<f64, LrError> {
    let usable = usable(subjects, settings);
    let many: Vec<&Subject> = usable
        .iter()
        .flat_map(|s| std::iter::repeat_n(*s, times))
        .collect();
    let [known, many] = [&usable, &many].map(|all| frame.known(all, all));
    let [once, often] = [&known, &many].map(|known| System::fit(known, settings));
    let (once, often) = (once?, often?);
    let [a, b] = [once.bounds(), often.bounds()];
    let mut most = (a.lower - b.lower).abs().max((a.upper - b.upper).abs());
    for k in &known {
        for candidate in k.candidates(&settings.streams) {
            let [a, b] = [&once, &often].map(|s| s.llr(&k.scores, candidate));
            if let (Some(a), Some(b)) = (a, b) {
                most = most.max((a.log10 - b.log10).abs());
            }
        }
    }
    Ok(most)
}
