use filiation_core::{Party, Role, Statistic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who takes part in a case: what decides which alternatives a score can speak to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The suspect's name.
    pub suspect: String,
    /// The base's name, where one is named.
    pub base: Option<String>,
    /// Names of the candidate teachers, in the order of the case.
    pub teachers: Vec<String>,
    /// Names of the controls that have the base's tokenizer: taken to be fine-tunes of the base.
    pub controls_like_base: Vec<String>,
    /// Names of the other controls: independent models.
    pub controls_other: Vec<String>,
}

impl Setting {
    /// The same without the candidates and controls that did not enter the scores of `statistic`.
    pub(crate) fn used_by(&self, statistic: &Statistic) -> Self {
        let kept = |names: &[String], used: &dyn Fn(&str) -> bool| {
            let kept = names.iter().filter(|n| used(n));
            kept.cloned().collect::<Vec<_>>()
        };
        let control = |name: &str| statistic.controls.iter().any(|c| c == name);
        let candidate = |name: &str| statistic.candidates.iter().any(|c| c.candidate == name);
        Self {
            suspect: self.suspect.clone(),
            base: self.base.clone(),
            teachers: kept(&self.teachers, &candidate),
            controls_like_base: kept(&self.controls_like_base, &control),
            controls_other: kept(&self.controls_other, &control),
        }
    }

    /// The setting of a case. A case without a suspect has an empty name in its place.
    pub fn of(parties: &[Party]) -> Self {
        let named = |role: Role| parties.iter().filter(move |p| p.role == role);
        let names = |role: Role| named(role).map(|p| p.name.clone()).collect::<Vec<_>>();
        let base = named(Role::Base).next();
        let (like, other): (Vec<&Party>, Vec<&Party>) = named(Role::Control).partition(|control| {
            base.is_some_and(|b| {
                b.identity.tokenizer.is_some() && b.identity.tokenizer == control.identity.tokenizer
            })
        });
        let owned = |list: Vec<&Party>| list.into_iter().map(|p| p.name.clone()).collect();
        Self {
            suspect: names(Role::Suspect).into_iter().next().unwrap_or_default(),
            base: base.map(|b| b.name.clone()),
            teachers: names(Role::Teacher),
            controls_like_base: owned(like),
            controls_other: owned(other),
        }
    }
}
