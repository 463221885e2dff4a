use filiation_core::{Axis, Basis, Proposition, Statistic};
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
    /// The contrasts of a statistic with the three alternatives, in the order of reports. Only
    /// models that entered the scores count, whoever else the case names.
    pub(crate) fn all(statistic: &Statistic, setting: &Setting) -> Vec<Self> {
        let used = setting.used_by(statistic);
        Proposition::ALTERNATIVES
            .iter()
            .map(|&alternative| {
                let (present, because) = match (statistic.axis, statistic.basis) {
                    (Axis::WeightLineage, _) => (false, weights_are_blind()),
                    (Axis::Description, _) => (false, names_no_teacher()),
                    (Axis::TeacherIdentity, Basis::Design) => (true, by_design()),
                    (Axis::TeacherIdentity, Basis::Population) => {
                        of_teacher(alternative, setting, &used)
                    }
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

fn names_no_teacher() -> String {
    "it describes the suspect, and names no teacher".into()
}

fn by_design() -> String {
    "the null is made by our own randomisation and holds for any model that did not learn from \
     these very texts, whatever else it learned from"
        .into()
}

fn of_teacher(alternative: Proposition, named: &Setting, used: &Setting) -> (bool, String) {
    match alternative {
        Proposition::SharedBase => of_shared_base(named, used),
        Proposition::Independent => of_independent(named, used),
        Proposition::Sibling => of_sibling(used),
        Proposition::Distilled => (false, "the proposition itself".into()),
    }
}

fn of_shared_base(named: &Setting, used: &Setting) -> (bool, String) {
    let controls = &used.controls_like_base;
    match (&used.base, controls.is_empty()) {
        (Some(base), true) if !named.controls_like_base.is_empty() => (
            false,
            format!(
                "base `{base}` is compared, but {}",
                unused(&named.controls_like_base)
            ),
        ),
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

fn of_independent(named: &Setting, used: &Setting) -> (bool, String) {
    if used.controls_other.is_empty() && !named.controls_other.is_empty() {
        (false, unused(&named.controls_other))
    } else if used.controls_other.is_empty() {
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
                listed(&used.controls_other, "control")
            ),
        )
    }
}

fn of_sibling(used: &Setting) -> (bool, String) {
    match used.teachers.len() {
        0 | 1 => (
            false,
            "needs a sibling of the candidate (same vendor or data) among the candidates".into(),
        ),
        2 => (
            true,
            "each candidate is scored against the other one; it bears on a sibling only where that \
             sibling is the other"
                .into(),
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

fn unused(names: &[String]) -> String {
    format!(
        "too few answers of {} could be compared: the scores are without",
        listed(names, "control")
    )
}

fn listed(names: &[String], what: &str) -> String {
    let quoted: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{what}{plural} {}", quoted.join(", "))
}
