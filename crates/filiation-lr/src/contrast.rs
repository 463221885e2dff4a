use filiation_core::{Axis, Proposition, Statistic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Setting;

/// Whether a score can tell "distilled from T" from one alternative, in this case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contrast {
    /// The alternative.
    pub alternative: Proposition,
    /// Whether the models that this contrast needs were compared.
    pub present: bool,
    /// What was compared, or what is missing.
    pub because: String,
}

impl Contrast {
    /// The contrasts of a statistic with the three alternatives, in the order of reports.
    pub(crate) fn all(statistic: &Statistic, setting: &Setting) -> Vec<Self> {
        Proposition::ALTERNATIVES
            .iter()
            .map(|&alternative| {
                let (present, because) = match statistic.axis {
                    Axis::WeightLineage => (false, weights_are_blind()),
                    Axis::TeacherIdentity => of_teacher(alternative, setting),
                };
                Self {
                    alternative,
                    present,
                    because,
                }
            })
            .collect()
    }
}

fn weights_are_blind() -> String {
    "weights say what the suspect was initialised from, not whose outputs it learned from".into()
}

fn of_teacher(alternative: Proposition, setting: &Setting) -> (bool, String) {
    match alternative {
        Proposition::SharedBase => of_shared_base(setting),
        Proposition::Independent => of_independent(setting),
        Proposition::Sibling => of_sibling(setting),
        Proposition::Distilled => (false, "the proposition itself".into()),
    }
}

fn of_shared_base(setting: &Setting) -> (bool, String) {
    let controls = &setting.controls_like_base;
    match (&setting.base, controls.is_empty()) {
        (None, _) => (
            false,
            "needs the base, and fine-tunes of it that did not use the candidates".into(),
        ),
        (Some(base), true) => (
            false,
            format!(
                "base `{base}` is compared, but no fine-tune of it that did not use the candidates: \
                 what any fine-tuning does to the scores is not known"
            ),
        ),
        (Some(base), false) => (
            true,
            format!(
                "base `{base}` and {} that did not use the candidates",
                listed(controls, "control")
            ),
        ),
    }
}

fn of_independent(setting: &Setting) -> (bool, String) {
    if setting.controls_other.is_empty() {
        (
            false,
            "needs controls of the same size and time that were trained independently of the base"
                .into(),
        )
    } else {
        (
            true,
            format!(
                "{} trained independently of the base",
                listed(&setting.controls_other, "control")
            ),
        )
    }
}

fn of_sibling(setting: &Setting) -> (bool, String) {
    match setting.teachers.len() {
        0 | 1 => (
            false,
            "needs a sibling of the candidate (same vendor or data) among the candidates".into(),
        ),
        n => (
            true,
            format!(
                "each candidate is scored against the best of the {} others; it bears on a \
                 sibling only where that sibling is one of them",
                n - 1
            ),
        ),
    }
}

fn listed(names: &[String], what: &str) -> String {
    let quoted: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{what}{plural} {}", quoted.join(", "))
}
