//! What a recipe must satisfy before anything is trained.

use std::collections::BTreeSet;

use crate::recipe::FORMAT;
use crate::{LabError, ModelRecipe, Recipe, Schedule, Shape, Signal, Slice, TeacherRecipe};

impl Recipe {
    /// Whether every name is defined before it is used and every number can be trained with.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn check(&self) -> Result<(), LabError> {
        if self.format != FORMAT {
            return Err(LabError::Format {
                got: self.format,
                expected: FORMAT,
            });
        }
        self.check_slices("tokenizer", &self.tokenizer.text)?;
        for (name, shape) in &self.shapes {
            shape.check(name)?;
        }
        for (name, schedule) in &self.schedules {
            schedule.check(name)?;
        }
        let mut earlier = BTreeSet::new();
        for model in &self.models {
            self.check_model(model, &earlier)?;
            if !earlier.insert(model.name.as_str()) {
                return Err(LabError::Duplicate {
                    name: model.name.clone(),
                });
            }
        }
        Ok(())
    }

    fn check_model(&self, model: &ModelRecipe, earlier: &BTreeSet<&str>) -> Result<(), LabError> {
        model_name(&model.name)?;
        let origins = f64::from(u8::from(model.shape.is_some()) + u8::from(model.start.is_some()));
        within(
            &model.name,
            "number of `shape` and `start`",
            origins,
            1.0..=1.0,
            "1",
        )?;
        if let Some(shape) = &model.shape
            && !self.shapes.contains_key(shape)
        {
            return Err(model.undefined("shape", shape));
        }
        if !self.schedules.contains_key(&model.schedule) {
            return Err(model.undefined("schedule", &model.schedule));
        }
        let teacher = model.teacher.as_ref();
        for (kind, parent) in [
            ("start", model.start.as_ref()),
            ("teacher", teacher.map(|t| &t.model)),
            ("teacher", teacher.and_then(|t| t.also.as_ref())),
        ] {
            match parent {
                Some(name) if !earlier.contains(name.as_str()) => {
                    return Err(model.undefined(kind, name));
                }
                _ => {}
            }
        }
        if let Some(teacher) = &model.teacher {
            let name = &model.name;
            within(
                name,
                "teacher.share",
                teacher.share,
                1e-6..=1.0,
                "in (0, 1]",
            )?;
            within(
                name,
                "teacher.temperature",
                teacher.temperature,
                0.01..=10.0,
                "0.01 to 10",
            )?;
            if let Some(also) = &teacher.also {
                let different = f64::from(u8::from(*also != teacher.model)) + 1.0;
                within(
                    name,
                    "number of teachers",
                    different,
                    2.0..=2.0,
                    "2 beside `also`",
                )?;
                let text = f64::from(u8::from(teacher.by == Signal::Text));
                let field = "number of `by = \"text\"` beside `also`";
                within(name, field, text, 1.0..=1.0, "1")?;
            }
            self.check_mark(model, teacher)?;
            let start = u8::from(model.start.is_some());
            within(
                name,
                "number of `start` of a student that hides",
                f64::from(start),
                f64::from(u8::from(teacher.hidden.is_some()))..=1.0,
                "1",
            )?;
            let rows = model.rows.unwrap_or(0) as f64;
            within(
                name,
                "rows",
                rows,
                1.0..=f64::MAX,
                "at least 1 beside a teacher",
            )?;
        }
        self.check_slices(&model.name, &model.text)
    }

    fn check_mark(&self, model: &ModelRecipe, teacher: &TeacherRecipe) -> Result<(), LabError> {
        let Some(mark) = &teacher.mark else {
            return Ok(());
        };
        let name = &model.name;
        let key = self
            .keys
            .get(mark)
            .ok_or_else(|| model.undefined("mark", mark))?;
        key.marker().map_err(|source| LabError::Key {
            path: self.marks.get(mark).unwrap_or(mark).into(),
            source,
        })?;
        // Lists over another vocabulary would mark by chance alone.
        if let Some(vocabulary) = key.vocabulary {
            let own = self.tokenizer.vocabulary as f64;
            let expected = "the tokenizer's own";
            within(
                name,
                "vocabulary of the mark",
                vocabulary.into(),
                own..=own,
                expected,
            )?;
        }
        let others = f64::from(u8::from(teacher.also.is_some()));
        let field = "number of `also` beside a mark";
        within(name, field, others, 0.0..=0.0, "0")?;
        let marked = teacher.marked.unwrap_or(1.0);
        within(name, "teacher.marked", marked, 1e-6..=1.0, "in (0, 1]")
    }

    fn check_slices(&self, owner: &str, slices: &[Slice]) -> Result<(), LabError> {
        match slices
            .iter()
            .find(|s| !self.sources.contains_key(&s.source))
        {
            Some(slice) => Err(LabError::Undefined {
                model: owner.into(),
                kind: "source",
                name: slice.source.clone(),
            }),
            None => Ok(()),
        }
    }
}

impl Shape {
    pub(crate) fn check(&self, name: &str) -> Result<(), LabError> {
        for (field, value) in [
            ("layers", self.layers),
            ("hidden", self.hidden),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("intermediate", self.intermediate),
        ] {
            within(name, field, value as f64, 1.0..=65_536.0, "1 to 65536")?;
        }
        within(
            name,
            "context",
            self.context as f64,
            2.0..=65_536.0,
            "2 to 65536",
        )?;
        let odd = self.hidden % (2 * self.heads);
        within(name, "hidden modulo 2 * heads", odd as f64, 0.0..=0.0, "0")?;
        let rest = self.heads % self.kv_heads;
        within(name, "heads modulo kv_heads", rest as f64, 0.0..=0.0, "0")?;
        within(name, "rope_theta", self.rope_theta, 1.0..=1e9, "1 to 1e9")?;
        within(name, "norm_eps", self.norm_eps, 1e-12..=0.1, "1e-12 to 0.1")
    }
}

impl Schedule {
    pub(crate) fn check(&self, name: &str) -> Result<(), LabError> {
        within(
            name,
            "steps",
            f64::from(self.steps),
            1.0..=1e9,
            "at least 1",
        )?;
        within(
            name,
            "windows",
            self.windows as f64,
            1.0..=65_536.0,
            "1 to 65536",
        )?;
        within(name, "rate", self.rate, 1e-9..=1.0, "1e-9 to 1")?;
        within(name, "floor", self.floor, 0.0..=1.0, "0 to 1")?;
        within(
            name,
            "weight_decay",
            self.weight_decay,
            0.0..=10.0,
            "0 to 10",
        )?;
        within(name, "clip", self.clip, 1e-6..=1e6, "1e-6 to 1e6")
    }
}

/// Whether a name can be a folder's.
pub(crate) fn model_name(name: &str) -> Result<(), LabError> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(word) {
        return Ok(());
    }
    Err(LabError::Name { name: name.into() })
}

pub(crate) fn within(
    owner: &str,
    field: &'static str,
    got: f64,
    range: std::ops::RangeInclusive<f64>,
    expected: &'static str,
) -> Result<(), LabError> {
    if range.contains(&got) {
        return Ok(());
    }
    Err(LabError::Value {
        owner: owner.into(),
        field,
        got,
        expected,
    })
}
