//! Factorials and lineages: one entry of a recipe that stands for many models.

use std::collections::BTreeMap;

use filiation_core::Role;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::check::within;
use crate::text::{Stream, stream, uniform};
use crate::{LabError, ModelRecipe, Recipe, Signal, Slice, TeacherRecipe};

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
    /// Turns factorials, then lineages, into models after those that stand there.
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
        self.apart(written)
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
                    let by = match teacher.by {
                        Signal::Text => "text",
                        Signal::Logits => "logits",
                    };
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
                models.push(dealer.model(Made {
                    name: format!("{family}-{}-{number}", role.as_str()),
                    role,
                    shape: None,
                    start: Some(base.clone()),
                    schedule: &tune.schedule,
                    rows: tune.rows,
                    teacher,
                })?);
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
        TeacherRecipe {
            model: self.teachers[rest % self.teachers.len()].clone(),
            share: self.shares[share],
            by: self.by[by],
            temperature: self.temperature,
        }
    }

    fn check(&self, owner: &str) -> Result<(), LabError> {
        least_one(owner, "teachers", self.teachers.len())?;
        least_one(owner, "by", self.by.len())?;
        least_one(owner, "shares", self.shares.len())
    }
}

fn least_one(owner: &str, field: &'static str, got: usize) -> Result<(), LabError> {
    within(owner, field, got as f64, 1.0..=1e6, "at least 1")
}

/// A model but for its text and seed.
struct Made<'a> {
    name: String,
    role: Role,
    shape: Option<String>,
    start: Option<String>,
    schedule: &'a str,
    rows: usize,
    teacher: Option<TeacherRecipe>,
}

/// Hands out the lines of a pool, each once, and seeds.
struct Dealer<'a> {
    group: &'a str,
    /// What is left of each source.
    left: BTreeMap<&'a str, Vec<Slice>>,
    /// Lines of each source at the start.
    pool: BTreeMap<&'a str, usize>,
    spread: f64,
    rng: ChaCha8Rng,
    seed: u64,
}

impl<'a> Dealer<'a> {
    fn new(group: &'a str, text: &'a [Slice], spread: f64, seed: u64) -> Result<Self, LabError> {
        within(group, "spread", spread, 1.0..=100.0, "1 to 100")?;
        let mut left: BTreeMap<&str, Vec<Slice>> = BTreeMap::new();
        for slice in text {
            left.entry(&slice.source).or_default().push(slice.clone());
        }
        let lines = |slices: &Vec<Slice>| slices.iter().map(Slice::lines).sum();
        Ok(Self {
            group,
            pool: left.iter().map(|(name, s)| (*name, lines(s))).collect(),
            left,
            spread,
            rng: stream(seed, Stream::Deal),
            seed,
        })
    }

    fn model(&mut self, made: Made<'_>) -> Result<ModelRecipe, LabError> {
        let share = made.teacher.as_ref().map_or(0.0, |t| t.share);
        let drawn = (share * made.rows as f64).round() as usize;
        let text = self.deal(&made.name, made.rows.saturating_sub(drawn))?;
        let seed = self.seed;
        self.seed += 1;
        Ok(ModelRecipe {
            name: made.name,
            role: made.role,
            shape: made.shape,
            start: made.start,
            schedule: made.schedule.into(),
            seed,
            text,
            rows: Some(made.rows),
            teacher: made.teacher,
        })
    }

    /// `rows` lines, by the largest remainder of their shares.
    fn deal(&mut self, model: &str, rows: usize) -> Result<Vec<Slice>, LabError> {
        let mut weights = Vec::new();
        for (source, lines) in &self.pool {
            // Sums, products and quotients alone: the same on every machine.
            let factor = 1.0 + uniform(&mut self.rng) * (self.spread - 1.0);
            let up = uniform(&mut self.rng) < 0.5;
            let factor = if up { factor } else { factor.recip() };
            weights.push((*source, *lines as f64 * factor));
        }
        let total: f64 = weights.iter().map(|(_, w)| w).sum();
        let mut shares: Vec<(&str, usize, f64)> = weights
            .iter()
            .map(|(source, w)| {
                let exact = if total > 0.0 {
                    rows as f64 * w / total
                } else {
                    0.0
                };
                (*source, exact.floor() as usize, exact - exact.floor())
            })
            .collect();
        let missing = rows - shares.iter().map(|s| s.1).sum::<usize>().min(rows);
        shares.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(b.0)));
        shares.iter_mut().take(missing).for_each(|s| s.1 += 1);
        shares.sort_by(|a, b| a.0.cmp(b.0));
        let mut text = Vec::new();
        for (source, wanted, _) in shares.iter().filter(|s| s.1 > 0) {
            text.extend(self.take(model, source, *wanted)?);
        }
        Ok(text)
    }

    fn take(&mut self, model: &str, source: &str, wanted: usize) -> Result<Vec<Slice>, LabError> {
        let slices = self
            .left
            .get_mut(source)
            .map_or(&mut [][..], Vec::as_mut_slice);
        let left: usize = slices.iter().map(Slice::lines).sum();
        if left < wanted {
            return Err(LabError::Pool {
                group: self.group.into(),
                model: model.into(),
                source_name: source.into(),
                wanted,
                left,
            });
        }
        let mut need = wanted;
        let mut taken = Vec::new();
        for slice in slices {
            let lines = slice.lines().min(need);
            if lines > 0 {
                taken.push(Slice {
                    source: source.into(),
                    from: slice.from,
                    to: slice.from + lines,
                });
                slice.from += lines;
                need -= lines;
            }
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(source: &str, from: usize, to: usize) -> Slice {
        Slice {
            source: source.into(),
            from,
            to,
        }
    }

    fn factorial() -> Factorial {
        Factorial {
            name: "s".into(),
            bases: vec!["a".into(), "b".into()],
            teachers: vec!["t".into(), "u".into(), "v".into()],
            by: vec![Signal::Text, Signal::Logits],
            shares: vec![1.0, 0.3, 0.1],
            repeats: 1,
            temperature: 1.0,
            schedule: "tune".into(),
            rows: 100,
            seed: 7,
            spread: 2.0,
            text: vec![slice("x", 10, 1_500), slice("y", 0, 1_500)],
        }
    }

    fn lineages() -> Lineages {
        Lineages {
            name: "clean".into(),
            of: Vec::new(),
            roots: Some(Roots {
                count: 3,
                role: Role::Base,
                shapes: vec!["wide".into(), "deep".into()],
                schedule: "base".into(),
                rows: 50,
            }),
            tune: Some(Tune {
                suspects: 1,
                controls: 4,
                schedule: "tune".into(),
                rows: 20,
                taught: None,
            }),
            seed: 100,
            spread: 3.0,
            text: vec![slice("x", 0, 400), slice("y", 0, 400)],
        }
    }

    /// Lines of each source, in order of their position; panics where one is given twice.
    fn disjoint(models: &[ModelRecipe]) {
        let mut slices: Vec<&Slice> = models.iter().flat_map(|m| &m.text).collect();
        slices.sort_by_key(|s| (&s.source, s.from));
        for pair in slices.windows(2) {
            let apart = pair[0].source != pair[1].source || pair[0].to <= pair[1].from;
            assert!(apart, "{pair:?}");
        }
    }

    #[test]
    fn a_factorial_has_every_cell_once_and_gives_no_line_twice() {
        let models = factorial().models().expect("models");
        assert_eq!(models.len(), 2 * 3 * 2 * 3);
        assert_eq!(models[0].name, "s-a-t-text-100");
        assert_eq!(models[35].name, "s-b-v-logits-10");
        assert_eq!(models[35].seed, 7 + 35);
        disjoint(&models);
        for model in &models {
            let teacher = model.teacher.as_ref().expect("a teacher");
            let people: usize = model.text.iter().map(Slice::lines).sum();
            let drawn = (teacher.share * 100.0).round() as usize;
            assert_eq!((model.rows, people), (Some(100), 100 - drawn));
        }
        assert_eq!(models, factorial().models().expect("again"));
    }

    #[test]
    fn lineages_have_a_base_controls_and_a_suspect_each() {
        let models = lineages().models().expect("models");
        let names: Vec<&str> = models.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names.len(), 3 * 6);
        assert_eq!(names[0], "clean-001");
        assert_eq!(names[6 + 1], "clean-002-control-1");
        assert_eq!(names[17], "clean-003-suspect-1");
        assert_eq!(models[6].shape.as_deref(), Some("deep"));
        assert_eq!(models[17].start.as_deref(), Some("clean-003"));
        assert!(models.iter().all(|m| m.teacher.is_none()));
        disjoint(&models);
        let first = |m: &ModelRecipe| m.text.iter().find(|s| s.source == "x").map(Slice::lines);
        let mixes: Vec<_> = models
            .iter()
            .filter(|m| m.role == Role::Base)
            .map(first)
            .collect();
        assert!(
            mixes.windows(2).any(|w| w[0] != w[1]),
            "mixes differ: {mixes:?}"
        );
    }

    #[test]
    fn suspects_of_lineages_learn_from_every_teacher_in_turn() {
        let mut taught = lineages();
        let tune = taught.tune.as_mut().expect("tune");
        tune.suspects = 2;
        tune.taught = Some(Taught {
            teachers: vec!["t".into(), "u".into(), "v".into()],
            by: vec![Signal::Text],
            shares: vec![1.0, 0.5],
            temperature: 1.0,
        });
        let models = taught.models().expect("models");
        let of: Vec<(&str, f64)> = (models.iter().filter_map(|m| m.teacher.as_ref()))
            .map(|t| (t.model.as_str(), t.share))
            .collect();
        let want = [
            ("t", 1.0),
            ("t", 0.5),
            ("u", 1.0),
            ("u", 0.5),
            ("v", 1.0),
            ("v", 0.5),
        ];
        assert_eq!(of, want);
    }

    #[test]
    fn lineages_of_bases_that_stand_are_named_after_both() {
        let mut of = lineages();
        of.roots = None;
        of.of = vec!["base-a".into()];
        let models = of.models().expect("models");
        assert_eq!(models[0].name, "clean-base-a-control-1");
        assert_eq!(models[4].name, "clean-base-a-suspect-1");
        of.of.clear();
        let error = of.models().expect_err("no base").to_string();
        assert_eq!(
            error,
            "`clean`: number of `of` and `roots` is 0, expected 1"
        );
    }

    fn recipe(models: Vec<ModelRecipe>, lineages: Vec<Lineages>) -> Recipe {
        let small = include_str!("../tests/small.toml");
        let mut recipe: Recipe = toml::from_str(small).expect("parses");
        recipe.models = models;
        recipe.lineages = lineages;
        recipe
    }

    #[test]
    fn a_line_that_is_dealt_is_no_other_model_s() {
        let written = |name: &str, from: usize| ModelRecipe {
            name: name.into(),
            role: Role::Teacher,
            shape: Some("tiny".into()),
            start: None,
            schedule: "short".into(),
            seed: 1,
            text: vec![slice("x", from, from + 50)],
            rows: None,
            teacher: None,
        };
        let siblings = vec![written("t1", 400), written("t2", 420)];
        let mut sound = recipe(siblings.clone(), vec![lineages()]);
        sound.expand().expect("apart");
        assert_eq!(sound.models.len(), 2 + 18);
        assert!(sound.lineages.is_empty());

        let mut inside = recipe(vec![written("t1", 10)], vec![lineages()]);
        let error = inside.expand().expect_err("line 10 is dealt").to_string();
        assert!(
            error.starts_with("`t1` and `clean-001`") || error.starts_with("`clean-001` and `t1`"),
            "{error}"
        );

        let mut again = lineages();
        again.name = "more".into();
        let mut twice = recipe(siblings, vec![lineages(), again]);
        let error = twice.expand().expect_err("one pool twice").to_string();
        assert!(
            error.ends_with("both read lines of source `x` that are dealt out"),
            "{error}"
        );
    }

    #[test]
    fn a_pool_that_runs_out_says_so() {
        let mut short = lineages();
        short.spread = 1.0;
        short.text = vec![slice("x", 0, 60)];
        let error = short.models().expect_err("sixty lines").to_string();
        let want = "`clean` has 10 lines of source `x` left, `clean-001-control-1` wants 20";
        assert_eq!(error, want);
        short.spread = 0.5;
        assert!(short.models().is_err());
    }
}
