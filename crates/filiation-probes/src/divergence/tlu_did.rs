//! `tlu-did`: uplift of teacher text, differenced between teachers.
//!
//! Each teacher writes one text (or more) to every prompt. The uplift of teacher k on prompt i is
//! v_ik = \[ln p_S − ln p_B\](y_ik) per UTF-8 byte: what suspect S gained over its base B. The mean
//! uplift over controls (models that started from the same base) is taken off, because some text
//! is easier for anything that was trained further. The score of k is the least, over the other
//! teachers k', of the mean over prompts of v_ik − v_ik' held to ±clip.
//!
//! **Null hypothesis**: S learned from none of the candidates, and what it did learn makes no
//! candidate's text likelier than another's. Then the mean differences have expectation 0, and
//! every score is 0 or below up to noise.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, Answer, Axis, Basis, MethodId, Observations, Party, Probe, Reason, Request,
    RequestId, Role, ScoredText, Statistic, Want,
};
use filiation_stats::Bootstrap;

use super::contrast::{Contrast, Scores, finding};
use super::model_null;
use crate::{ProbeError, ProbeOptions, Suite, suite};

mod uplift;

use uplift::{Row, Table};

/// Nats per byte to which one prompt's difference is held.
const CLIP: f64 = 1.0;
/// Shorter texts are left out: per byte they say little and vary much.
const LEAST_BYTES: u32 = 8;
/// Fewest prompts with texts of all teachers.
const LEAST_PROMPTS: usize = 20;

/// The probe.
#[derive(Debug)]
pub struct TluDid {
    id: MethodId,
    plan: Vec<Request>,
    /// Scoring request ids: one list a prompt, one entry a sample.
    scoring: Vec<Vec<RequestId>>,
    bootstrap: Bootstrap,
}

impl TluDid {
    /// Plans the probe over all items of `suites` that are no choice cells.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::select(suites, |item| item.options.is_none());
        if chosen.items.is_empty() {
            return Err(ProbeError::NoItems {
                probe: "tlu-did",
                needed: "prompt (an item without `options`)",
                suites: suites.iter().map(|s| s.name().to_owned()).collect(),
            });
        }
        let mut plan = Vec::new();
        let mut scoring = Vec::new();
        for item in &chosen.items {
            let mut of_prompt = Vec::new();
            for sample in 0..options.samples {
                let text = RequestId::new(format!("tlu-did/{}/{sample}/text", item.id));
                let score = RequestId::new(format!("tlu-did/{}/{sample}/score", item.id));
                plan.push(Request {
                    id: text.clone(),
                    to: vec![Role::Teacher],
                    want: Want::Generate {
                        prompt: options.prompt(item),
                        max_tokens: options.max_tokens,
                        sampling: options.sampling(&item.id, sample),
                    },
                });
                plan.push(Request {
                    id: score.clone(),
                    to: vec![Role::Suspect, Role::Base, Role::Control],
                    want: Want::ScoreAnswers { of: text },
                });
                of_prompt.push(score);
            }
            scoring.push(of_prompt);
        }
        Ok(Self {
            id: method(options, &chosen.suites),
            plan,
            scoring,
            bootstrap: Bootstrap {
                draws: options.draws,
                level: options.level,
                seed: options.seed,
            },
        })
    }
}

fn method(options: &ProbeOptions, suites: &str) -> MethodId {
    MethodId::new(
        "tlu-did",
        1,
        &[
            ("clip", &CLIP),
            ("draws", &options.draws),
            ("form", &options.form.as_str()),
            ("least_bytes", &LEAST_BYTES),
            ("level", &options.level),
            ("max_tokens", &options.max_tokens),
            ("samples", &options.samples),
            ("seed", &options.seed),
            ("suites", &suites),
            ("temperature", &options.temperature),
            ("top_p", &options.top_p),
        ],
    )
}

impl Probe for TluDid {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let table = Table::build(self, seen)?;
        let contrast = Contrast {
            candidates: &table.teachers,
            values: &table.corrected(),
            clip: CLIP,
            bootstrap: self.bootstrap,
        };
        let scores = contrast.scores()?;
        let finding = finding(&scores, "prompt", table.controls.len());
        Ok(Statistic {
            method: self.id.clone(),
            axis: Axis::TeacherIdentity,
            basis: Basis::Population,
            unit: "nats per byte".into(),
            details: details(&table, &scores),
            candidates: scores.candidates,
            controls: table.controls.iter().map(|c| c.model.clone()).collect(),
            finding: Some(finding),
            power: scores.power,
        })
    }
}

/// Mean uplift of every model on every teacher (raw; less the mean over models; less the mean over
/// teachers), the closest rivals' margins, and p among the controls where there are three.
fn details(table: &Table, scores: &Scores) -> BTreeMap<String, f64> {
    let rows = table.rows();
    let means: Vec<Vec<f64>> = rows.iter().map(|row| row.means()).collect();
    let teachers = table.teachers.len();
    let mut all = BTreeMap::new();
    for (row, mean) in rows.iter().zip(&means) {
        let over_teachers = mean.iter().sum::<f64>() / teachers as f64;
        for (k, teacher) in table.teachers.iter().enumerate() {
            let over_models = means.iter().map(|m| m[k]).sum::<f64>() / means.len() as f64;
            let mut put = |what: &str, value| {
                all.insert(format!("uplift/{what}/{}/{teacher}", row.model), value);
            };
            put("raw", mean[k]);
            put("less-models", mean[k] - over_models);
            put("less-teachers", mean[k] - over_teachers);
        }
    }
    all.insert("controls".into(), table.controls.len() as f64);
    all.insert("prompts".into(), table.suspect.values.len() as f64);
    all.insert("prompts-left-out".into(), table.left_out as f64);
    for (k, teacher) in table.teachers.iter().enumerate() {
        if let Some(p) = against_controls(table, k) {
            all.insert(format!("log10-p-among-controls/{teacher}"), p);
        }
        let rival = &table.teachers[scores.rivals[k]];
        all.insert(
            format!("margin/{teacher}/{rival}"),
            scores.candidates[k].score,
        );
    }
    all
}

// The lead over each rival is one draw among the same leads of the controls; the candidate must be
// unusual against every rival, so the largest p counts.
fn against_controls(table: &Table, k: usize) -> Option<f64> {
    let lead = |row: &Row, other: usize| {
        let held = row
            .values
            .iter()
            .map(|v| (v[k] - v[other]).clamp(-CLIP, CLIP));
        held.sum::<f64>() / row.values.len() as f64
    };
    let mut worst: Option<f64> = None;
    for other in (0..table.teachers.len()).filter(|o| *o != k) {
        let controls: Vec<f64> = table.controls.iter().map(|c| lead(c, other)).collect();
        let p = model_null::log10_p(lead(&table.suspect, other), &controls)?;
        worst = Some(worst.map_or(p, |w| w.max(p)));
    }
    worst
}

fn scored<'a>(seen: &Observations<'a>, party: &Party, id: &RequestId) -> Option<&'a ScoredText> {
    match seen.answer(party, id)? {
        Answer::Scored(text) => Some(text),
        _ => None,
    }
}

fn abstain(reason: Reason, detail: String) -> Abstention {
    Abstention::new(reason, detail)
}

#[cfg(test)]
mod tests;
