//! Factorials and lineages: one entry of a recipe that stands for many models.

mod dealer;
mod marked;
#[cfg(test)]
mod tests;

use filiation_core::Role;
use serde::{Deserialize, Serialize};

use crate::check::within;
use crate::{Hiding, LabError, ModelRecipe, Recipe, Signal, Slice, TeacherRecipe};
use dealer::{Dealer, Made};

pub use marked::Marked;

/// Students: one for each base, teacher, signal, share and repeat, called
/// `<name>-<base>-<teacher>-<by>-<percent>`, and `-<repeat>` where there are several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factorial {
    /// What their names begin with.
    pub name: String,
    /// Models that they start from.
    pub bases: Vec<String>,
    /// Teachers.
    pub teachers: Vec<String>,
    /// What is learned of a teacher.
    pub by: Vec<Signal>,
    /// Shares of the rows, in (0, 1].
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
    /// How far mixes of the sources differ; see [`Lineages::spread`].
    #[serde(default = "unit")]
    pub spread: f64,
    /// Text by people, dealt out: no line to two of them.
    pub text: Vec<Slice>,
}

/// Families: a base, and models that start from it.
///
/// A new base is called `<name>-<number>`; models that start from a base are called
/// `<name>-<number>-suspect-<number>`, or `<name>-<base>-suspect-<number>` where the base stands in
/// the recipe, and so with `control`. The first of them are controls, in the order of training; all
/// get their text and seeds in the same way, so that a suspect without a teacher is one more
/// draw beside the controls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineages {
    /// What their names begin with.
    pub name: String,
    /// Bases that stand in the recipe; absent where `roots` stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<String>,
    /// New bases; absent where `of` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<Roots>,
    /// Models that start from each base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tune: Option<Tune>,
    /// Seed of the first model; each next one has one more.
    pub seed: u64,
    /// How far mixes of the sources differ: a model takes a source with its share of `text` times
    /// a factor drawn between 1/`spread` and `spread`.
    #[serde(default = "unit")]
    pub spread: f64,
    /// Text by people, dealt out: no line to two of them.
    pub text: Vec<Slice>,
}

/// Models with their own initialisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roots {
    /// How many.
    pub count: usize,
    /// What they are made for: `base`, or `suspect` for independent models.
    #[serde(default = "base")]
    pub role: Role,
    /// Shapes, taken in turn.
    pub shapes: Vec<String>,
    /// Name of the schedule.
    pub schedule: String,
    /// Documents that each learns from.
    pub rows: usize,
}

/// Models that start from a base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tune {
    /// Suspects of a base.
    pub suspects: usize,
    /// Controls of a base.
    pub controls: usize,
    /// Name of the schedule.
    pub schedule: String,
    /// Documents that each learns from.
    pub rows: usize,
    /// Whom the suspects learn from; nobody where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taught: Option<Taught>,
}

/// Whom suspects learn from: every teacher, signal and share in turn, one suspect after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taught {
    /// Teachers.
    pub teachers: Vec<String>,
    /// What is learned of a teacher.
    pub by: Vec<Signal>,
    /// Shares of the rows, in (0, 1].
    pub shares: Vec<f64>,
    /// Softmax temperature of the samples.
    #[serde(default = "unit")]
    pub temperature: f64,
    /// How they hide it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Hiding>,
    /// Every second text comes from another teacher: the one that stands half of `teachers` further on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
    /// Further training on text by people: beside each student stands one called `<student>-cooled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool: Option<Cool>,
}

/// Further training on text by people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cool {
    /// Name of the schedule.
    pub schedule: String,
    /// Documents.
    pub rows: usize,
}

const fn one() -> usize {
    1
}

const fn unit() -> f64 {
    1.0
}

const fn base() -> Role {
    Role::Base
}

impl Recipe {
    /// Turns factorials, lineages, then students of marked text into models after those that stand there.
    ///
    /// # Errors
    /// When an entry cannot be: see [`LabError`]. What the models themselves say is left to
    /// [`Recipe::check`].
    pub fn expand(&mut self) -> Result<(), LabError> {
        let written = self.models.len();
        for factorial in std::mem::take(&mut self.factorials) {
            self.models.extend(factorial.models()?);
        }
        for lineages in std::mem::take(&mut self.lineages) {
            self.models.extend(lineages.models()?);
        }
        self.apart(written)?;
        // These share their text on purpose.
        for marked in std::mem::take(&mut self.students) {
            self.models.extend(marked.models()?);
        }
        Ok(())
    }

    /// Whether no line that was dealt is another model's too. The first `written` models say
    /// themselves what they read: siblings share their text on purpose.
    fn apart(&self, written: usize) -> Result<(), LabError> {
        let mut slices = Vec::new();
        for (i, model) in self.models.iter().enumerate() {
            for slice in model.text.iter().filter(|s| s.lines() > 0) {
                slices.push((slice, model, i >= written));
            }
        }
        slices.sort_by_key(|(slice, ..)| (&slice.source, slice.from, slice.to));
        // The slice that reaches furthest, of all so far and of the dealt ones.
        let mut furthest: [Option<(&Slice, &ModelRecipe)>; 2] = [None; 2];
        for (slice, model, dealt) in slices {
            let before = furthest[usize::from(!dealt)];
            if let Some((_, other)) =
                before.filter(|(s, _)| s.source == slice.source && s.to > slice.from)
            {
                return Err(LabError::Overlap {
                    one: other.name.clone(),
                    other: model.name.clone(),
                    source_name: slice.source.clone(),
                });
            }
            for (which, held) in furthest.iter_mut().enumerate() {
                let counts = which == 0 || dealt;
                if counts && held.is_none_or(|(s, _)| (&s.source, s.to) < (&slice.source, slice.to))
                {
                    *held = Some((slice, model));
                }
            }
        }
        Ok(())
    }
}

impl Factorial {
    fn models(&self) -> Result<Vec<ModelRecipe>, LabError> {
        let taught = Taught {
            teachers: self.teachers.clone(),
            by: self.by.clone(),
            shares: self.shares.clone(),
            temperature: self.temperature,
            hidden: None,
            mixed: false,
            cool: None,
        };
        taught.check(&self.name)?;
        least_one(&self.name, "bases", self.bases.len())?;
        least_one(&self.name, "repeats", self.repeats)?;
        let mut dealer = Dealer::new(&self.name, &self.text, self.spread, self.seed)?;
        let mut models = Vec::new();
        for base in &self.bases {
            for cell in 0..taught.cells() {
                let teacher = taught.cell(cell);
                for repeat in 1..=self.repeats {
                    let by = teacher.by.as_str();
                    let percent = (teacher.share * 1_000.0).round() / 10.0;
                    let mut name = format!("{}-{base}-{}-{by}-{percent}", self.name, teacher.model);
                    if self.repeats > 1 {
                        name.push_str(&format!("-{repeat}"));
                    }
                    let teacher = Some(teacher.clone());
                    models.push(dealer.model(Made {
                        name,
                        role: Role::Suspect,
                        shape: None,
                        start: Some(base.clone()),
                        schedule: &self.schedule,
                        rows: self.rows,
                        teacher,
                    })?);
                }
            }
        }
        Ok(models)
    }
}

impl Lineages {
    fn models(&self) -> Result<Vec<ModelRecipe>, LabError> {
        let origins = usize::from(!self.of.is_empty()) + usize::from(self.roots.is_some());
        let field = "number of `of` and `roots`";
        within(&self.name, field, origins as f64, 1.0..=1.0, "1")?;
        let mut dealer = Dealer::new(&self.name, &self.text, self.spread, self.seed)?;
        let mut models = Vec::new();
        let mut suspects = 0;
        for (base, named) in self.bases()? {
            if let (Some(roots), Some(shape)) = (&self.roots, &named) {
                models.push(dealer.model(Made {
                    name: base.clone(),
                    role: roots.role,
                    shape: Some(shape.clone()),
                    start: None,
                    schedule: &roots.schedule,
                    rows: roots.rows,
                    teacher: None,
                })?);
            }
            let Some(tune) = &self.tune else { continue };
            let family = match named {
                Some(_) => base.clone(),
                None => format!("{}-{base}", self.name),
            };
            for at in 0..tune.controls + tune.suspects {
                let (role, number) = match at.checked_sub(tune.controls) {
                    None => (Role::Control, at + 1),
                    Some(k) => (Role::Suspect, k + 1),
                };
                let taught = tune.taught.as_ref().filter(|_| role == Role::Suspect);
                let teacher = taught.map(|t| t.cell(suspects));
                suspects += usize::from(role == Role::Suspect);
                let name = format!("{family}-{}-{number}", role.as_str());
                models.push(dealer.model(Made {
                    name: name.clone(),
                    role,
                    shape: None,
                    start: Some(base.clone()),
                    schedule: &tune.schedule,
                    rows: tune.rows,
                    teacher,
                })?);
                if let Some(cool) = taught.and_then(|t| t.cool.as_ref()) {
                    models.push(dealer.model(Made {
                        name: format!("{name}-cooled"),
                        role,
                        shape: None,
                        start: Some(name),
                        schedule: &cool.schedule,
                        rows: cool.rows,
                        teacher: None,
                    })?);
                }
            }
        }
        Ok(models)
    }

    /// Names of the bases, with the shape of those that are made here.
    fn bases(&self) -> Result<Vec<(String, Option<String>)>, LabError> {
        if let Some(taught) = self.tune.as_ref().and_then(|t| t.taught.as_ref()) {
            taught.check(&self.name)?;
        }
        let Some(roots) = &self.roots else {
            return Ok(self.of.iter().map(|name| (name.clone(), None)).collect());
        };
        least_one(&self.name, "roots.count", roots.count)?;
        least_one(&self.name, "roots.shapes", roots.shapes.len())?;
        let named = |i: usize| {
            let shape = roots.shapes[i % roots.shapes.len()].clone();
            (format!("{}-{:03}", self.name, i + 1), Some(shape))
        };
        Ok((0..roots.count).map(named).collect())
    }
}

impl Taught {
    const fn cells(&self) -> usize {
        self.teachers.len() * self.by.len() * self.shares.len()
    }

    /// Shares run fastest, then signals, then teachers.
    fn cell(&self, at: usize) -> TeacherRecipe {
        let (share, rest) = (at % self.shares.len(), at / self.shares.len());
        let (by, rest) = (rest % self.by.len(), rest / self.by.len());
        let teachers = self.teachers.len();
        let other = (rest + teachers / 2) % teachers;
        TeacherRecipe {
            model: self.teachers[rest % teachers].clone(),
            also: self.mixed.then(|| self.teachers[other].clone()),
            share: self.shares[share],
            by: self.by[by],
            temperature: self.temperature,
            hidden: self.hidden,
            mark: None,
            marked: None,
        }
    }

    fn check(&self, owner: &str) -> Result<(), LabError> {
        let teachers = self.teachers.len();
        least_one(owner, "teachers", teachers)?;
        let enough = if self.mixed { 2.0 } else { 1.0 };
        let expected = "at least 1, and 2 where they are mixed";
        within(owner, "teachers", teachers as f64, enough..=1e6, expected)?;
        least_one(owner, "by", self.by.len())?;
        least_one(owner, "shares", self.shares.len())
    }
}

fn least_one(owner: &str, field: &'static str, got: usize) -> Result<(), LabError> {
    within(owner, field, got as f64, 1.0..=1e6, "at least 1")
}
