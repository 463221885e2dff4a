use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{AuditError, Case};

/// What decides, beside the prompts themselves, which questions are put. Recorded with a pack,
/// whose answers fit only an audit that asks the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asking {
    /// Probes by name; none means all for which the suites have something.
    pub probes: Vec<String>,
    /// Most tokens a completion may have.
    pub max_tokens: u32,
    /// Completions of each prompt by each teacher.
    pub samples: u32,
    /// Sampling temperature of the teachers.
    pub temperature: f64,
    /// Put every prompt as plain text, chat templates unused.
    pub raw: bool,
    /// Only the first prompts of each suite.
    pub limit: Option<usize>,
    /// Seed of every random choice.
    pub seed: u64,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            probes: Vec::new(),
            max_tokens: Case::default_max_tokens(),
            samples: Case::default_samples(),
            temperature: Case::default_temperature(),
            raw: false,
            limit: None,
            seed: 0,
        }
    }
}

impl Asking {
    /// Refuses what no audit can work with.
    pub(crate) fn check(&self) -> Result<(), AuditError> {
        let value = |field, found: String, expected| {
            Err(AuditError::Value {
                field,
                found,
                expected,
            })
        };
        if self.max_tokens == 0 {
            return value("max_tokens", "0".into(), "at least 1");
        }
        if self.samples == 0 {
            return value("samples", "0".into(), "at least 1");
        }
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            let found = self.temperature.to_string();
            return value("temperature", found, "a number of at least 0");
        }
        if self.limit == Some(0) {
            return value("limit", "0".into(), "at least 1");
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.probes.iter().find(|p| !seen.insert(p.as_str())) {
            return value("probes", format!("`{twice}` twice"), "each probe once");
        }
        Ok(())
    }

    /// Where `other` asks otherwise than this, one phrase each: this one's value first.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let shown = |limit: Option<usize>| limit.map_or("none".to_owned(), |l| l.to_string());
        let mut all: Vec<String> = [
            (
                "max_tokens",
                self.max_tokens.to_string(),
                other.max_tokens.to_string(),
            ),
            (
                "samples",
                self.samples.to_string(),
                other.samples.to_string(),
            ),
            (
                "temperature",
                self.temperature.to_string(),
                other.temperature.to_string(),
            ),
            ("limit", shown(self.limit), shown(other.limit)),
            ("seed", self.seed.to_string(), other.seed.to_string()),
        ]
        .into_iter()
        .filter(|(_, this, that)| this != that)
        .map(|(key, this, that)| format!("`{key}` is {this} there and {that} here"))
        .collect();
        let missing = other.probes.iter().filter(|p| !self.probes.contains(p));
        all.extend(missing.map(|probe| format!("probe `{probe}` was not planned there")));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_the_key_and_both_values() {
        let this = Asking {
            probes: vec!["tlu-did".into()],
            ..Asking::default()
        };
        assert!(this.differences(&this).is_empty());
        let other = Asking {
            probes: vec!["tlu-did".into(), "choice-priors".into()],
            max_tokens: 40,
            limit: Some(3),
            ..this.clone()
        };
        assert_eq!(
            this.differences(&other),
            [
                "`max_tokens` is 48 there and 40 here",
                "`limit` is none there and 3 here",
                "probe `choice-priors` was not planned there"
            ]
        );
    }
}
