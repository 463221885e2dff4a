use std::collections::BTreeMap;

use filiation_core::{Abstention, Axis, Basis, MethodId, Observations, Party, Reason, Statistic};
use filiation_stats::{Bootstrap, moments};

use super::{Contrast, Lead, Scores, finding, log10_p, tell_leads};

/// Smaller movements are rounding: the suspect does as its base does.
const ROUNDING: f64 = 1e-9;

/// Who takes part in a contrast between teachers.
#[derive(Debug)]
pub(crate) struct Seats<'a> {
    pub(crate) suspect: &'a Party,
    pub(crate) base: &'a Party,
    pub(crate) teachers: Vec<&'a Party>,
    pub(crate) controls: Vec<&'a Party>,
}

impl<'a> Seats<'a> {
    /// The parties; `why` ends the sentence "no base is named, and …".
    pub(crate) fn of(seen: &Observations<'a>, why: &str) -> Result<Self, Abstention> {
        let base = seen.base().ok_or_else(|| {
            Abstention::new(Reason::NoBase, format!("no base is named, and {why}"))
        })?;
        let suspect = seen
            .suspect()
            .ok_or_else(|| Abstention::new(Reason::TooFewAnswers, "the case has no suspect"))?;
        let teachers: Vec<&Party> = seen.teachers().collect();
        if teachers.len() < 2 {
            let detail = format!(
                "{} candidate teacher, at least 2 are needed to difference between them",
                teachers.len()
            );
            return Err(Abstention::new(Reason::TooFewTeachers, detail));
        }
        Ok(Self {
            suspect,
            base,
            teachers,
            controls: seen.controls().collect(),
        })
    }

    /// Those that no contrast can do without: suspect, base, teachers.
    pub(crate) fn core(&self) -> Vec<&'a Party> {
        let both = [self.suspect, self.base].into_iter();
        both.chain(self.teachers.iter().copied()).collect()
    }

    /// The names of the teachers.
    pub(crate) fn candidates(&self) -> Vec<String> {
        self.teachers.iter().map(|t| t.name.clone()).collect()
    }
}

/// How far one model moved from the base towards each teacher.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) model: String,
    /// `values[unit][teacher]`.
    pub(crate) values: Vec<Vec<f64>>,
}

impl Row {
    /// Mean over units, by teacher.
    pub(crate) fn means(&self) -> Vec<f64> {
        let teachers = self.values.first().map_or(0, Vec::len);
        let n = self.values.len() as f64;
        (0..teachers)
            .map(|k| self.values.iter().map(|v| v[k]).sum::<f64>() / n)
            .collect()
    }
}

impl Row {
    /// Mean over units of the clipped difference of each teacher from each other one.
    fn leads(&self, clip: f64) -> Lead {
        let teachers = self.values.first().map_or(0, Vec::len);
        let mean = |k: usize, other: usize| {
            let held = self
                .values
                .iter()
                .map(|v| (v[k] - v[other]).clamp(-clip, clip));
            held.sum::<f64>() / self.values.len() as f64
        };
        let over = |k: usize| (0..teachers).map(|other| mean(k, other)).collect();
        (0..teachers).map(over).collect()
    }
}

/// The movements of suspect and controls over the same units.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) teachers: Vec<String>,
    pub(crate) suspect: Row,
    pub(crate) controls: Vec<Row>,
    /// Units planned that not everyone answered.
    pub(crate) left_out: usize,
}

/// How a table becomes a statistic.
pub(crate) struct Measured<'a> {
    pub(crate) method: &'a MethodId,
    /// Unit of the values, as in `nats per byte`.
    pub(crate) unit: &'a str,
    /// What is counted, in the singular: `prompt`, `cell`.
    pub(crate) counted: &'a str,
    /// What a value is, as a prefix of details: `uplift`.
    pub(crate) what: &'a str,
    /// Differences between two teachers in one unit are held to [−clip, clip].
    pub(crate) clip: f64,
    pub(crate) bootstrap: Bootstrap,
}

impl Table {
    /// Fewer than `least` units, or a suspect that moved nowhere, say nothing.
    pub(crate) fn require(&self, least: usize, counted: &str) -> Result<(), Abstention> {
        let n = self.suspect.values.len();
        if n < least {
            let detail = format!(
                "{n} of {} {counted}s have usable answers of all parties, at least {least} are needed",
                n + self.left_out
            );
            return Err(Abstention::new(Reason::TooFewAnswers, detail));
        }
        let moved = self.suspect.values.iter().flatten();
        if moved.into_iter().all(|v| v.abs() <= ROUNDING) {
            let detail =
                format!("the suspect does as the base does in every {counted}: they are one model");
            return Err(Abstention::new(Reason::Degenerate, detail));
        }
        Ok(())
    }

    /// The suspect first, then the controls.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        std::iter::once(&self.suspect).chain(&self.controls)
    }

    /// The suspect's movement less the mean over controls: what further training does to anything
    /// cancels. `[unit][teacher]`.
    pub(crate) fn corrected(&self) -> Vec<Vec<f64>> {
        let n = self.controls.len();
        let mean = |i: usize, k: usize| {
            let sum: f64 = self.controls.iter().map(|c| c.values[i][k]).sum();
            if n == 0 { 0.0 } else { sum / n as f64 }
        };
        let rows = self.suspect.values.iter().enumerate();
        rows.map(|(i, row)| {
            let cells = row.iter().enumerate();
            cells.map(|(k, v)| v - mean(i, k)).collect()
        })
        .collect()
    }

    /// The statistic: every candidate against the closest other one, population-based.
    pub(crate) fn statistic(&self, how: &Measured<'_>) -> Result<Statistic, Abstention> {
        let contrast = Contrast {
            candidates: &self.teachers,
            values: &self.corrected(),
            clip: how.clip,
            bootstrap: how.bootstrap,
        };
        let scores = contrast.scores()?;
        Ok(Statistic {
            method: how.method.clone(),
            axis: Axis::TeacherIdentity,
            basis: Basis::Population,
            unit: how.unit.into(),
            finding: Some(finding(&scores, how.counted, self.controls.len())),
            details: self.details(how, &scores),
            candidates: scores.candidates,
            controls: self.controls.iter().map(|c| c.model.clone()).collect(),
            power: scores.power,
        })
    }

    /// Mean movement of every model towards every teacher (raw; less the mean over models; less
    /// the mean over teachers), the margin to the closest rival, and p among the controls where
    /// there are three.
    fn details(&self, how: &Measured<'_>, scores: &Scores) -> BTreeMap<String, f64> {
        let means: Vec<Vec<f64>> = self.rows().map(Row::means).collect();
        let teachers = self.teachers.len() as f64;
        let mut all = BTreeMap::new();
        for (row, mean) in self.rows().zip(&means) {
            let over_teachers = mean.iter().sum::<f64>() / teachers;
            for (k, teacher) in self.teachers.iter().enumerate() {
                let over_models = means.iter().map(|m| m[k]).sum::<f64>() / means.len() as f64;
                let mut put = |kind: &str, value| {
                    let name = format!("{}/{kind}/{}/{teacher}", how.what, row.model);
                    all.insert(name, value);
                };
                put("raw", mean[k]);
                put("less-models", mean[k] - over_models);
                put("less-teachers", mean[k] - over_teachers);
            }
        }
        let counted = how.counted;
        all.insert("controls".into(), self.controls.len() as f64);
        all.insert(format!("{counted}s"), self.suspect.values.len() as f64);
        all.insert(format!("{counted}s-left-out"), self.left_out as f64);
        let controls: Vec<(String, Lead)> = self
            .controls
            .iter()
            .map(|c| (c.model.clone(), c.leads(how.clip)))
            .collect();
        let own = self.suspect.leads(how.clip);
        tell_leads(&mut all, &self.teachers, &own, &controls);
        for (k, teacher) in self.teachers.iter().enumerate() {
            if let Some(p) = self.against_controls(k, how.clip) {
                all.insert(format!("log10-p-among-controls/{teacher}"), p);
            }
            let rival = &self.teachers[scores.rivals[k]];
            let margin = format!("margin/{teacher}/{rival}");
            all.insert(margin, scores.candidates[k].score);
        }
        all
    }

    // The lead over each rival is one draw among the same leads of the controls; the candidate must
    // be unusual against every rival, so the largest p counts.
    fn against_controls(&self, k: usize, clip: f64) -> Option<f64> {
        let lead = |row: &Row, other: usize| -> Vec<f64> {
            let each = row.values.iter();
            each.map(|v| (v[k] - v[other]).clamp(-clip, clip)).collect()
        };
        let mut worst: Option<f64> = None;
        for other in (0..self.teachers.len()).filter(|o| *o != k) {
            let mean = |c: &Row| moments(&lead(c, other)).ok().map(|m| m.mean);
            let controls = self.controls.iter().map(mean);
            let controls: Vec<f64> = controls.collect::<Option<_>>()?;
            let suspect = moments(&lead(&self.suspect, other)).ok()?;
            let p = log10_p(suspect.mean, &controls, suspect.standard_error())?;
            worst = Some(worst.map_or(p, |w| w.max(p)));
        }
        worst
    }
}
