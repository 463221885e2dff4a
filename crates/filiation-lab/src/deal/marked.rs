//! Students of teachers that mark what they write.

use filiation_core::Role;
use serde::{Deserialize, Serialize};

use super::{least_one, one, unit};
use crate::check::within;
use crate::{LabError, ModelRecipe, Signal, Slice, TeacherRecipe};

/// Students by mark, share and repeat, called `<name>-<mark>-<percent>`, and `-<repeat>` where there are
/// several. All learn from one pool of text by people, each in an order of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marked {
    /// What their names begin with.
    pub name: String,
    /// Model that they start from.
    pub start: String,
    /// Their teacher.
    pub teacher: String,
    /// Marks by name; none where the teacher does not mark, and the names then have no such part.
    #[serde(default)]
    pub marks: Vec<String>,
    /// Shares of the rows that the teacher wrote, in [0, 1]; with 0 there is no teacher.
    pub shares: Vec<f64>,
    /// Students a cell.
    #[serde(default = "one")]
    pub repeats: usize,
    /// Softmax temperature of the samples.
    #[serde(default = "unit")]
    pub temperature: f64,
    /// Name of the schedule.
    pub schedule: String,
    /// Documents that each learns from.
    pub rows: usize,
    /// Seed of the first; each next one has one more.
    pub seed: u64,
    /// Text by people.
    pub text: Vec<Slice>,
}

impl Marked {
    pub(super) fn models(&self) -> Result<Vec<ModelRecipe>, LabError> {
        least_one(&self.name, "shares", self.shares.len())?;
        least_one(&self.name, "repeats", self.repeats)?;
        let marks: Vec<Option<&String>> = match self.marks.is_empty() {
            true => vec![None],
            false => self.marks.iter().map(Some).collect(),
        };
        let mut models = Vec::new();
        for mark in marks {
            for share in &self.shares {
                within(&self.name, "shares", *share, 0.0..=1.0, "0 to 1")?;
                for repeat in 1..=self.repeats {
                    let seed = self.seed + models.len() as u64;
                    models.push(self.student(mark, *share, repeat, seed));
                }
            }
        }
        Ok(models)
    }

    fn student(&self, mark: Option<&String>, share: f64, repeat: usize, seed: u64) -> ModelRecipe {
        let marked = mark.map_or(String::new(), |mark| format!("-{mark}"));
        let percent = (share * 1_000.0).round() / 10.0;
        let mut name = format!("{}{marked}-{percent}", self.name);
        if self.repeats > 1 {
            name.push_str(&format!("-{repeat}"));
        }
        let teacher = TeacherRecipe {
            model: self.teacher.clone(),
            also: None,
            share,
            by: Signal::Text,
            temperature: self.temperature,
            hidden: None,
            mark: mark.cloned(),
            marked: None,
        };
        ModelRecipe {
            name,
            role: Role::Suspect,
            shape: None,
            start: Some(self.start.clone()),
            schedule: self.schedule.clone(),
            seed,
            text: self.text.clone(),
            rows: Some(self.rows),
            teacher: (share > 0.0).then_some(teacher),
        }
    }
}
