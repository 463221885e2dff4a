use serde::Serialize;

use super::fit::{Settings, System};
use super::known::Known;
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
    /// The rung of the claim ladder.
    pub tier: Tier,
    /// What is missing for the next rung.
    pub missing: Option<Shortfall>,
    /// Least and greatest log10 likelihood ratio that may be stated.
    pub bounds: [f64; 2],
    /// How the streams become one: their weights, or the mean of their likelihood ratios.
    pub fusion: String,
    /// Rates and costs.
    pub validation: Validation,
    /// Each model, its teacher left out.
    pub judged: Vec<Judged>,
}

/// The same figures, three times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Validation {
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
    pub fn of(known: &[Known], settings: &Settings) -> Result<Self, LrError> {
        let system = System::fit(known, settings)?;
        let summary = |leave_out| Summary::of(&judge(known, settings, leave_out)?);
        let judged = judge(known, settings, LeaveOut::Teacher)?;
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
            tier,
            missing: tier
                .next()
                .and_then(|rung| rung.needs.shortfall(&population)),
            bounds: [bounds.lower, bounds.upper],
            fusion: system.fusion().describe(system.streams()),
            validation: Validation {
                in_sample: summary(LeaveOut::Nothing)?,
                leave_one_lineage_out: summary(LeaveOut::Lineage)?,
                leave_one_teacher_out: by_teacher,
                leave_one_family_out: match families {
                    true => Some(summary(LeaveOut::Family)?),
                    false => None,
                },
                shuffled_quiet: permuted(known, settings, SHUFFLES, 1)?,
                change_by_repetition: repeated(known, settings, TIMES)?,
            },
            judged,
        })
    }
}
