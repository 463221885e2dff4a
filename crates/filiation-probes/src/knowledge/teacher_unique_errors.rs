//! `teacher-unique-errors`: mistakes that are one teacher's own.
//!
//! Everyone answers closed questions. The own errors of teacher k are the questions where it picks
//! a wrong option (with more than half of what lies on the options), and neither the base nor
//! another candidate nor a fifth of the controls pick the same. A suspect that picks k's option
//! there hits. With r_i the rate at which such options are picked by models that did not learn
//! from k, the level of k is the mean of \[hit\] − r_i over its own errors, or 0 if that is less,
//! and the lead of k over k' the difference of their levels.
//!
//! **Null hypothesis**: S learned from none of the candidates; it picks the wrong options of one no
//! more often, beyond what controls do, than those of another. Then every score is 0 or below up
//! to noise.

use filiation_core::{Abstention, MethodId, Observations, Probe, Reason, Request, Statistic};
use filiation_stats::{Bootstrap, poisson_binomial_at_least};

use super::questions::{Questions, Sheet, Sheets};
use crate::contrast::{Lead, Leads, Seats, of_levels};
use crate::{ProbeError, ProbeOptions, Suite};

/// An option with more than this share of the options' mass is what most draws would give.
const STABLE: f64 = 0.5;
/// An option that at least this share of the controls picks is nobody's own.
const COMMON: f64 = 0.2;
/// Stake of the bets on single hits.
const STAKE: f64 = 0.5;
/// Fewest questions that all parties answered.
const LEAST_QUESTIONS: usize = 30;
/// Fewest own errors of every candidate.
const LEAST_ERRORS: usize = 5;
/// Fewest controls: without them no error is known to be a teacher's own.
const LEAST_CONTROLS: usize = 3;

/// The probe.
#[derive(Debug)]
pub struct TeacherUniqueErrors {
    id: MethodId,
    questions: Questions,
    bootstrap: Bootstrap,
}

impl TeacherUniqueErrors {
    /// Plans the probe over all closed questions of `suites`.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let questions = Questions::new("teacher-unique-errors", suites, options)?;
        Ok(Self {
            id: options.method(
                "teacher-unique-errors",
                1,
                &questions.suites,
                &[("common", &COMMON), ("stable", &STABLE)],
            ),
            questions,
            bootstrap: options.bootstrap(),
        })
    }
}

impl Probe for TeacherUniqueErrors {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.questions.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "a base's errors are no teacher's own")?;
        let sheets = Sheets::read(&self.questions, seen, &seats, LEAST_QUESTIONS)?;
        let everyone: Vec<usize> = (0..sheets.controls.len()).collect();
        if everyone.len() < LEAST_CONTROLS {
            let detail = format!(
                "{} controls answered, at least {LEAST_CONTROLS} are needed to know which errors \
                 are a teacher's own",
                everyone.len()
            );
            return Err(Abstention::new(Reason::TooFewAnswers, detail));
        }
        let errors = sheets.errors(&everyone);
        require_errors(&errors, &seats.candidates())?;
        // A control as suspect: the others say what is a teacher's own, and how usual.
        let all: Vec<usize> = (0..sheets.keys.len()).collect();
        let fake = |c: usize| {
            let others: Vec<usize> = everyone.iter().copied().filter(|o| *o != c).collect();
            let levels = levels(&sheets.errors(&others), &sheets.controls[c], &all);
            (sheets.controls[c].party.clone(), of_levels(&levels))
        };
        let controls: Vec<(String, Lead)> = everyone.iter().map(|&c| fake(c)).collect();
        let leads = Leads {
            method: &self.id,
            unit: "excess share of a teacher's own errors",
            counted: "question",
            units: all.len(),
            candidates: seats.candidates(),
            pairwise: false,
            bootstrap: self.bootstrap,
        };
        let mut found = leads.statistic(
            |units| of_levels(&held(levels(&errors, &sheets.suspect, units))),
            &of_levels(&levels(&errors, &sheets.suspect, &all)),
            &controls,
        )?;
        describe(&mut found, &errors, &sheets)?;
        Ok(found)
    }
}

/// One of a teacher's own errors: its wrong option, and how often others pick it.
#[derive(Debug, Clone, Copy)]
struct OwnError {
    option: usize,
    rate: f64,
}

/// By teacher and question.
type Errors = Vec<Vec<Option<OwnError>>>;

impl Sheets {
    /// The own errors of all teachers, as the controls `among` tell.
    ///
    /// That few controls picked an option is why it was chosen, so that their frequency falls
    /// short of the rate. What each of them does where the others did the choosing does not: the
    /// rate of a question is never taken below that.
    fn errors(&self, among: &[usize]) -> Errors {
        (0..self.teachers.len())
            .map(|k| {
                let (mut hits, mut tried) = (0, 0);
                for &c in among {
                    let others: Vec<usize> = among.iter().copied().filter(|o| *o != c).collect();
                    let chosen = self.own(k, &others);
                    let picks = &self.controls[c].picks;
                    for (error, pick) in chosen.iter().zip(picks) {
                        let Some(error) = error else { continue };
                        tried += 1;
                        hits += usize::from(error.option == pick.option);
                    }
                }
                let usual = hits as f64 / tried.max(1) as f64;
                let mut own = self.own(k, among);
                for error in own.iter_mut().flatten() {
                    error.rate = error.rate.max(usual);
                }
                own
            })
            .collect()
    }

    // The rate is the controls' frequency with one more control that picks at random.
    fn own(&self, k: usize, among: &[usize]) -> Vec<Option<OwnError>> {
        let of = |i: usize| {
            let pick = self.teachers[k].picks[i];
            let (key, options) = self.keys[i];
            let same = |sheet: &Sheet| sheet.picks[i].option == pick.option;
            let others = self.teachers.iter().enumerate().filter(|(o, _)| *o != k);
            let hits = among.iter().filter(|&&c| same(&self.controls[c])).count() as f64;
            let own = pick.option != key
                && pick.share > STABLE
                && !same(&self.base)
                && !others.map(|(_, sheet)| sheet).any(same)
                && (hits == 0.0 || hits < COMMON * among.len() as f64);
            own.then(|| OwnError {
                option: pick.option,
                rate: (hits + 1.0 / options as f64) / (among.len() as f64 + 1.0),
            })
        };
        (0..self.keys.len()).map(of).collect()
    }
}

/// By teacher: mean of \[hit\] − rate over its own errors among `units`; 0 where there are none.
fn levels(errors: &Errors, sheet: &Sheet, units: &[usize]) -> Vec<f64> {
    let level = |own: &Vec<Option<OwnError>>| {
        let excess = units.iter().filter_map(|&i| {
            let error = own[i]?;
            Some(f64::from(error.option == sheet.picks[i].option) - error.rate)
        });
        let (sum, n) = excess.fold((0.0, 0_u32), |(sum, n), x| (sum + x, n + 1));
        sum / f64::from(n.max(1))
    };
    errors.iter().map(level).collect()
}

/// Fewer hits on one teacher's errors than expected are nothing in favour of another.
fn held(levels: Vec<f64>) -> Vec<f64> {
    levels.into_iter().map(|level| level.max(0.0)).collect()
}

fn require_errors(errors: &Errors, candidates: &[String]) -> Result<(), Abstention> {
    for (own, name) in errors.iter().zip(candidates) {
        let n = own.iter().flatten().count();
        if n < LEAST_ERRORS {
            let detail = format!(
                "`{name}` has {n} errors of its own, at least {LEAST_ERRORS} are needed: harder \
                 questions would show more"
            );
            return Err(Abstention::new(Reason::TooFewAnswers, detail));
        }
    }
    Ok(())
}

// Hits and their tail, question by question: how precisely the suspect is known, given the rates.
fn describe(found: &mut Statistic, errors: &Errors, sheets: &Sheets) -> Result<(), Abstention> {
    found
        .details
        .insert("questions-left-out".into(), sheets.left_out as f64);
    for (own, teacher) in errors.iter().zip(&sheets.teachers) {
        let picks = own.iter().zip(&sheets.suspect.picks);
        let tried = picks.filter_map(|(error, pick)| {
            let error = (*error)?;
            Some((error.option == pick.option, error.rate))
        });
        let (hits, rates): (Vec<bool>, Vec<f64>) = tried.unzip();
        let hit = hits.iter().filter(|h| **h).count();
        let tail = poisson_binomial_at_least(hit, &rates).map_err(crate::contrast::undefined)?;
        let bets = hits.iter().zip(&rates).map(|(hit, r)| {
            let gain = (f64::from(*hit) - r) / r.max(1.0 - r);
            (STAKE * gain).ln_1p()
        });
        let mut put = |what: &str, value: f64| {
            found
                .details
                .insert(format!("{what}/{}", teacher.party), value);
        };
        put("own-errors", rates.len() as f64);
        put("hits", hit as f64);
        put("hits-expected", rates.iter().sum());
        put("log10-p-of-hits", tail);
        put(
            "log10-e-of-hits",
            bets.sum::<f64>() / std::f64::consts::LN_10,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
