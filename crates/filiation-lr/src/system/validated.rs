use std::collections::BTreeSet;

use serde::Serialize;

use super::fit::{Settings, System};
use super::known::Known;
use filiation_core::Proposition;

use super::against::Against;
use super::subject::{Frame, Subject};
use super::summary::{Rate, Summary};
use super::validation::{Judged, LeaveOut, judge, permuted, repeated};
use crate::{LrError, Population, Shortfall, Tier};

/// Runs with shuffled histories.
const SHUFFLES: u32 = 200;
/// How often every model stands in the check against repetition.
const TIMES: usize = 10;

/// A population, the system fitted on it, and how that fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Validated {
    /// The probes that are used.
    pub streams: Vec<String>,
    /// Lineages and teachers, and the Cllr with each teacher left out.
    pub population: Population,
    /// Models.
    pub models: usize,
    /// Candidates of each.
    pub candidates: usize,
    /// Controls of each: clean lineages other than its own.
    pub controls: usize,
    /// The rung of the claim ladder.
    pub tier: Tier,
    /// What is missing for the next rung.
    pub missing: Option<Shortfall>,
    /// Least and greatest log10 likelihood ratio that may be stated, whatever the alternative.
    pub bounds: [f64; 2],
    /// What may be stated against each alternative.
    pub against: Vec<Bounded>,
    /// Rates and costs.
    pub validation: Validation,
    /// Each model, its teacher left out.
    pub judged: Vec<Judged>,
}

/// What may be stated against one alternative.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bounded {
    /// The alternative.
    pub alternative: Proposition,
    /// Independent lineages for which it is true.
    pub lineages: u32,
    /// The rung of the claim ladder.
    pub tier: Tier,
    /// Least and greatest log10 likelihood ratio.
    pub bounds: [f64; 2],
    /// How the streams become one: their weights, or the mean of their likelihood ratios.
    pub fusion: String,
}

impl Bounded {
    fn of(against: &Against, streams: &[String]) -> Self {
        let bounds = against.bounds();
        Self {
            alternative: against.alternative(),
            lineages: against.lineages(),
            tier: against.tier(),
            bounds: [bounds.lower, bounds.upper],
            fusion: against.fusion().describe(streams),
        }
    }
}

/// The same figures, three times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Validation {
    /// The rates to quote, each teacher left out: clean lineages of which some candidate has an LR above 10,
    pub misleading_over_10: Option<f64>,
    /// those of which some candidate has p of at most 1 %,
    pub false_positive_rate: Option<f64>,
    /// and students whose teacher has the largest LR.
    pub teacher_first: Option<f64>,
    /// On the models that the system was fitted on.
    pub in_sample: Summary,
    /// Each lineage left out in turn.
    pub leave_one_lineage_out: Summary,
    /// Each teacher left out in turn, with its students and a share of the clean lineages.
    pub leave_one_teacher_out: Summary,
    /// Each family of bases left out in turn, where families are told apart.
    pub leave_one_family_out: Option<Summary>,
    /// Runs with shuffled histories in which nothing was said (|log10 LR| below 0.3).
    pub shuffled_quiet: Option<Rate>,
    /// Largest change, log10, when every model stands ten times.
    pub change_by_repetition: f64,
}

impl Validated {
    /// Fits and validates.
    ///
    /// # Errors
    /// [`LrError`] where the population is too small or lacks a class.
    pub fn of(subjects: &[Subject], settings: &Settings, frame: Frame) -> Result<Self, LrError> {
        let all: Vec<&Subject> = subjects.iter().collect();
        let known = frame.known(&all, &all);
        let system = System::fit(&known, settings)?;
        let summary = |leave_out| Summary::of(&judge(subjects, settings, frame, leave_out)?);
        let judged = judge(subjects, settings, frame, LeaveOut::Teacher)?;
        let by_teacher = Summary::of(&judged)?;
        let population = Population {
            left_out_cllr: Some(by_teacher.cllr),
            ..*system.counts()
        };
        let families = known.iter().all(|k| k.family.is_some());
        let tier = Tier::of(&population);
        let bounds = system.bounds();
        Ok(Self {
            streams: settings.streams.clone(),
            population,
            models: known.iter().filter(|k| k.has(&settings.streams)).count(),
            candidates: system.candidates(),
            controls: frame.controls.unwrap_or_else(|| clean(&known)),
            tier,
            missing: tier
                .next()
                .and_then(|rung| rung.needs.shortfall(&population)),
            bounds: [bounds.lower, bounds.upper],
            against: system
                .against()
                .iter()
                .map(|a| Bounded::of(a, system.streams()))
                .collect(),
            validation: Validation {
                misleading_over_10: by_teacher.misleading_over_10.map(|r| r.rate),
                false_positive_rate: by_teacher.false_positive_rate.map(|r| r.rate),
                teacher_first: by_teacher.teacher_first.map(|r| r.rate),
                in_sample: summary(LeaveOut::Nothing)?,
                leave_one_lineage_out: summary(LeaveOut::Lineage)?,
                leave_one_teacher_out: by_teacher,
                leave_one_family_out: match families {
                    true => Some(summary(LeaveOut::Family)?),
                    false => None,
                },
                shuffled_quiet: permuted(subjects, settings, frame, SHUFFLES, 1)?,
                change_by_repetition: repeated(subjects, settings, frame, TIMES)?,
            },
            judged,
        })
    }
}

/// Clean lineages from which controls are taken.
fn clean(known: &[Known]) -> usize {
    let clean = known
        .iter()
        .filter(|k| k.taught.is_none() && !k.independent);
    clean.map(|k| &k.lineage).collect::<BTreeSet<_>>().len()
}
