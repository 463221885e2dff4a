//! `capability-retention`: how much of a teacher's skill the suspect has.
//!
//! Everyone answers closed questions. With acc the share that is right, the score of teacher k is
//! (acc_S − acc_B) / (acc_k − acc_B): 0 for a suspect that gained nothing over its base, 1 for one
//! that is as good as the teacher. It is stated only where teacher and base differ by more than
//! the interval of their difference.
//!
//! **Descriptive**: any training that helps gives a share, so that a high one accuses nobody, and
//! the shares do not tell teachers apart. A share near zero where the teacher is far better is
//! what speaks, and it speaks for the suspect.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, Axis, Basis, CandidateScore, MethodId, Observations, Probe, Reason, Request,
    Statistic,
};
use filiation_stats::{Bootstrap, Clusters, Estimate};

use super::questions::{Questions, Sheet, Sheets};
use crate::contrast::{Seats, undefined};
use crate::{ProbeError, ProbeOptions, Suite};

/// Fewest questions that all parties answered.
const LEAST_QUESTIONS: usize = 30;

/// The probe.
#[derive(Debug)]
pub struct CapabilityRetention {
    id: MethodId,
    questions: Questions,
    bootstrap: Bootstrap,
}

impl CapabilityRetention {
    /// Plans the probe over all closed questions of `suites`.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let questions = Questions::new("capability-retention", suites, options)?;
        Ok(Self {
            id: options.method("capability-retention", 1, &questions.suites, &[]),
            questions,
            bootstrap: options.bootstrap(),
        })
    }
}

impl Probe for CapabilityRetention {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.questions.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "what was gained is gained over a base")?;
        let sheets = Sheets::read(&self.questions, seen, &seats, LEAST_QUESTIONS)?;
        let marks = |sheet: &Sheet| -> Vec<f64> {
            let right = |i| f64::from(u8::from(sheets.right(sheet, i)));
            (0..sheets.keys.len()).map(right).collect()
        };
        let (suspect, base) = (marks(&sheets.suspect), marks(&sheets.base));
        let gain =
            |own: &[f64]| -> Vec<f64> { own.iter().zip(&base).map(|(a, b)| a - b).collect() };
        let mut details = BTreeMap::new();
        let everyone = [&sheets.suspect, &sheets.base].into_iter();
        for sheet in everyone.chain(&sheets.teachers).chain(&sheets.controls) {
            let all: Vec<usize> = (0..base.len()).collect();
            let accuracy = mean(&marks(sheet), &all);
            details.insert(format!("accuracy/{}", sheet.party), accuracy);
        }
        let mut candidates = Vec::new();
        for teacher in &sheets.teachers {
            let lead = gain(&marks(teacher));
            let clear = self.estimate(base.len(), |units| mean(&lead, units))?;
            if clear.interval.lower <= 0.0 && clear.interval.upper >= 0.0 {
                continue;
            }
            let gained = gain(&suspect);
            let share = self.estimate(base.len(), |units| {
                let whole = mean(&lead, units);
                // A resample may lose the difference: such a share is as large as it can be told.
                mean(&gained, units)
                    / if whole.abs() < 1e-9 {
                        clear.value
                    } else {
                        whole
                    }
            })?;
            for (what, value) in [
                ("share-lower", share.interval.lower),
                ("share-upper", share.interval.upper),
            ] {
                details.insert(format!("{what}/{}", teacher.party), value);
            }
            for control in &sheets.controls {
                let all: Vec<usize> = (0..base.len()).collect();
                let kept = mean(&gain(&marks(control)), &all) / clear.value;
                details.insert(format!("share/{}/{}", control.party, teacher.party), kept);
            }
            candidates.push(CandidateScore {
                candidate: teacher.party.clone(),
                score: share.value,
                // An interval above zero would read as a candidate that stands out.
                interval: None,
                effect: None,
                units: base.len() as u32,
                exact: None,
            });
        }
        if candidates.is_empty() {
            return Err(Abstention::new(
                Reason::Degenerate,
                "no candidate is better or worse than the base by more than the interval, so that \
                 there is nothing to keep a share of: harder or easier questions may part them",
            ));
        }
        details.insert("questions".into(), base.len() as f64);
        details.insert("questions-left-out".into(), sheets.left_out as f64);
        Ok(Statistic {
            method: self.id.clone(),
            axis: Axis::Description,
            basis: Basis::Population,
            unit: "share of the teacher's gain over the base".into(),
            finding: Some(finding(&details, &sheets)),
            candidates,
            controls: sheets.controls.iter().map(|c| c.party.clone()).collect(),
            power: None,
            details,
        })
    }
}

impl CapabilityRetention {
    fn estimate(&self, n: usize, of: impl Fn(&[usize]) -> f64) -> Result<Estimate, Abstention> {
        let units = Clusters::singletons(n);
        self.bootstrap.percentile(&units, of).map_err(undefined)
    }
}

fn mean(values: &[f64], units: &[usize]) -> f64 {
    units.iter().map(|&u| values[u]).sum::<f64>() / units.len() as f64
}

fn finding(details: &BTreeMap<String, f64>, sheets: &Sheets) -> String {
    let percent = |sheet: &Sheet| {
        let share = details.get(&format!("accuracy/{}", sheet.party));
        format!(
            "`{}` {:.0} %",
            sheet.party,
            100.0 * share.copied().unwrap_or(0.0)
        )
    };
    let teachers: Vec<String> = sheets.teachers.iter().map(percent).collect();
    format!(
        "descriptive: {}, {}, {} of the questions right; any training that helps gives a share, and \
         the shares do not tell teachers apart; a share near zero speaks for the suspect",
        percent(&sheets.suspect),
        percent(&sheets.base),
        teachers.join(", ")
    )
}

#[cfg(test)]
mod tests;
