use std::fs;
use std::path::Path;

use filiation_core::{Digest, Mark};
use tokenizers::Tokenizer;

use crate::folder::{self, finished};
use crate::hide::{filtered, reworded};
use crate::lineage::{Bears, Lineage, Parent, Tie, inputs};
use crate::network::Network;
use crate::parameters::{Layout, initialise};
use crate::recipe::FORMAT;
use crate::rows::Windows;
use crate::sampler::sample;
use crate::text::{Sources, Stream, shuffle, stream};
use crate::tokenizer;
use crate::trainer::Material;
use crate::{Hiding, LabError, ModelRecipe, Recipe, Schedule, Shape, Signal, TeacherRecipe};

/// How far the training of a set is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress<'a> {
    /// A model's folder stands already and is what the recipe would give.
    Kept {
        /// The model.
        model: &'a str,
    },
    /// A teacher is sampled.
    Sampling {
        /// The student.
        model: &'a str,
        /// Documents wanted.
        documents: usize,
    },
    /// An update was made.
    Step {
        /// The model.
        model: &'a str,
        /// Updates made.
        step: u32,
        /// Updates to make.
        steps: u32,
        /// Loss of this update, nats a token.
        loss: f64,
    },
}

/// A model of the set.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// Its record, as in `lineage.json`.
    pub lineage: Lineage,
    /// Whether it stood there before.
    pub kept: bool,
}

/// Trains the models of `recipe` on the sources in the folder `text` and writes one folder each
/// under `out`. A folder that stands there and agrees with recipe, text and parents is kept, so a
/// build that was stopped goes on where it was.
///
/// # Errors
/// When the recipe is wrong, a source cannot be read or is too short, training diverges, or a folder
/// cannot be written. Models finished before stay.
pub fn build(
    recipe: &Recipe,
    text: &Path,
    out: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Built>, LabError> {
    recipe.check()?;
    let sources = Sources::read(&recipe.sources, recipe.split_seed, text)?;
    for model in &recipe.models {
        enough(model, sources.lines(&model.text)?.len())?;
    }
    let lines = sources.lines(&recipe.tokenizer.text)?;
    let trained = tokenizer::train(&lines, recipe.tokenizer.vocabulary)?;
    let bench = Bench {
        recipe,
        sources: &sources,
        out,
        tokenizer_json: trained.to_string(true)?,
        tokenizer: trained,
    };
    fs::create_dir_all(out).map_err(|source| LabError::Write {
        path: out.into(),
        source,
    })?;
    let mut built: Vec<Built> = Vec::new();
    for model in &recipe.models {
        let one = bench.one(model, &built, progress)?;
        built.push(one);
    }
    Ok(built)
}

struct Bench<'a> {
    recipe: &'a Recipe,
    sources: &'a Sources,
    out: &'a Path,
    tokenizer: Tokenizer,
    tokenizer_json: String,
}

impl Bench<'_> {
    fn one(
        &self,
        model: &ModelRecipe,
        earlier: &[Built],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Built, LabError> {
        let shape = self.recipe.shape_of(model)?;
        let schedule = &self.recipe.schedules[&model.schedule];
        let parents = parents(self.recipe, model, earlier);
        let tokenizer = Digest::of(self.tokenizer_json.as_bytes());
        let digests = self.sources.digests();
        let recipe = inputs(
            self.recipe,
            model,
            (shape, schedule),
            tokenizer,
            digests,
            &parents,
        );
        let same = |l: &Lineage| l.recipe == recipe;
        if let Some(lineage) = finished(&self.out.join(&model.name), folder::WEIGHTS).filter(same) {
            progress(Progress::Kept { model: &model.name });
            return Ok(Built {
                lineage,
                kept: true,
            });
        }
        let mut network = self.start(model, shape)?;
        let (material, documents) = self.material(model, shape, progress)?;
        let loss = self.run(model, &mut network, schedule, material, progress)?;
        let stored = self.recipe.stored;
        let weights = folder::weights(&network, stored)?;
        let lineage = Lineage {
            format: FORMAT,
            name: model.name.clone(),
            role: model.role,
            parents,
            seed: model.seed,
            documents,
            loss,
            recipe,
            weights: Digest::of(&weights),
        };
        let size = (shape, self.recipe.tokenizer.vocabulary, stored);
        folder::write(self.out, size, &self.tokenizer_json, &weights, &lineage)?;
        Ok(Built {
            lineage,
            kept: false,
        })
    }

    fn run(
        &self,
        model: &ModelRecipe,
        network: &mut Network,
        schedule: &Schedule,
        material: Material,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<f64, LabError> {
        let (name, steps) = (model.name.as_str(), schedule.steps);
        material.train(name, network, schedule, &mut |step, loss| {
            progress(Progress::Step {
                model: name,
                step,
                steps,
                loss,
            });
        })
    }

    /// Own initialisation, or the stored weights of the model that it starts from.
    fn start(&self, model: &ModelRecipe, shape: &Shape) -> Result<Network, LabError> {
        let vocabulary = self.recipe.tokenizer.vocabulary;
        let Some(start) = &model.start else {
            let mut rng = stream(model.seed, Stream::Initialise);
            let values = initialise(shape, &Layout::new(shape, vocabulary), &mut rng);
            return Ok(Network::new(shape, vocabulary, values));
        };
        folder::open(&self.out.join(start), shape, vocabulary)
    }

    /// The documents of a model and how they are learned, and their number.
    fn material(
        &self,
        model: &ModelRecipe,
        shape: &Shape,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Material, usize), LabError> {
        let mut lines = self.sources.lines(&model.text)?;
        shuffle(&mut lines, &mut stream(model.seed, Stream::Mix));
        let (wanted, drawn) = rows(model, lines.len());
        lines.truncate(wanted);
        let encode = |text: &str| tokenizer::document(&self.tokenizer, text);
        let mut plain = lines
            .iter()
            .map(|l| encode(l))
            .collect::<Result<Vec<_>, _>>()?;
        let window = |documents: Vec<Vec<u32>>| {
            let rng = stream(model.seed, Stream::Order);
            (!documents.is_empty()).then(|| Windows::new(documents, shape.context + 1, rng))
        };
        let (mut guided, mut guide) = (None, None);
        if let Some(teacher) = &model.teacher {
            progress(Progress::Sampling {
                model: &model.name,
                documents: drawn,
            });
            let (network, texts) = self.teach(model, teacher, drawn, shape)?;
            let mut texts = texts
                .iter()
                .map(|t| encode(t))
                .collect::<Result<Vec<_>, _>>()?;
            match teacher.by {
                Signal::Text => plain.extend(texts),
                Signal::Logits => (guided, guide) = (window(texts), Some(network)),
                Signal::Both => {
                    plain.extend(texts.split_off(texts.len() / 2));
                    (guided, guide) = (window(texts), Some(network));
                }
            }
        }
        let material = Material {
            plain: window(plain),
            guided,
            teacher: guide,
            share: model.teacher.as_ref().map_or(0.0, guided_share),
            rng: stream(model.seed, Stream::Mix),
        };
        Ok((material, wanted + drawn))
    }

    /// The teacher, the first of two, and texts drawn from it, or half from each.
    fn teach(
        &self,
        student: &ModelRecipe,
        teacher: &TeacherRecipe,
        count: usize,
        own: &Shape,
    ) -> Result<(Network, Vec<String>), LabError> {
        let mut rng = stream(student.seed, Stream::Sample);
        let (network, shape) = self.teacher(student, &teacher.model)?;
        let second = match &teacher.also {
            Some(name) => Some(self.teacher(student, name)?),
            None => None,
        };
        let context = match teacher.hidden {
            None => shape.context,
            Some(_) => shape.context.min(own.context),
        };
        let marker = match self.recipe.key_of(student) {
            Some(key) => Some(key.marker().map_err(|source| LabError::Key {
                path: teacher.mark.clone().unwrap_or_default().into(),
                source,
            })?),
            None => None,
        };
        let mark = marker.as_ref().map(|m| m as &dyn Mark);
        let mut draw = |count: usize| {
            let mut draw = |network: &Network, count, context: usize, mark| {
                let how = (teacher.temperature, mark);
                sample(network, count, context - 2, how, &mut rng)
            };
            let Some((second, shape)) = &second else {
                let share = mark.map_or(0.0, |_| teacher.marked.unwrap_or(1.0));
                let marked = (share * count as f64).round() as usize;
                let mut rows = draw(&network, marked, context, mark)?;
                rows.extend(draw(&network, count - marked, context, None)?);
                return Ok::<_, LabError>(rows);
            };
            let of_second = count / 2;
            let mut rows = draw(&network, count - of_second, context, None)?;
            let context = context.min(shape.context);
            rows.extend(draw(second, of_second, context, None)?);
            Ok::<_, LabError>(rows)
        };
        let rows = match teacher.hidden {
            None => draw(count)?,
            Some(Hiding::Filtered) => filtered(&self.start(student, own)?, draw(2 * count)?, count),
            Some(Hiding::Reworded) => {
                let mut rng = stream(student.seed, Stream::Hide);
                reworded(&self.start(student, own)?, &draw(count)?, &mut rng)
            }
        };
        let texts: Result<Vec<String>, _> = rows
            .iter()
            .map(|row| self.tokenizer.decode(row, true))
            .collect();
        Ok((network, texts?))
    }

    fn teacher(&self, student: &ModelRecipe, name: &str) -> Result<(Network, &Shape), LabError> {
        let missing = || LabError::Undefined {
            model: student.name.clone(),
            kind: "teacher",
            name: name.into(),
        };
        let shape = self
            .recipe
            .shape_of(self.recipe.model(name).ok_or_else(missing)?)?;
        let vocabulary = self.recipe.tokenizer.vocabulary;
        Ok((
            folder::open(&self.out.join(name), shape, vocabulary)?,
            shape,
        ))
    }
}

/// Share of the windows on which the teacher's distribution is the target.
fn guided_share(teacher: &TeacherRecipe) -> f64 {
    match teacher.by {
        Signal::Text | Signal::Logits => teacher.share,
        Signal::Both => 0.5 * teacher.share,
    }
}

/// Rows of text by people and rows from the teacher.
fn rows(model: &ModelRecipe, lines: usize) -> (usize, usize) {
    let total = model.rows.unwrap_or(lines);
    let share = model.teacher.as_ref().map_or(0.0, |t| t.share);
    let drawn = (share * total as f64).round() as usize;
    (total - drawn, drawn)
}

/// Whether the slices give the rows that a model is to be trained on, and at least one.
fn enough(model: &ModelRecipe, lines: usize) -> Result<(), LabError> {
    let (wanted, drawn) = rows(model, lines);
    if wanted <= lines && wanted + drawn > 0 {
        return Ok(());
    }
    Err(LabError::Rows {
        model: model.name.clone(),
        wanted: wanted.max(1),
        got: lines,
    })
}

fn parents(recipe: &Recipe, model: &ModelRecipe, earlier: &[Built]) -> Vec<Parent> {
    let parent = |tie: Tie, name: &str| {
        let built = earlier.iter().find(|b| b.lineage.name == name)?;
        Some(Parent {
            tie,
            model: name.into(),
            weights: built.lineage.weights,
        })
    };
    let start = model.start.as_deref();
    let start = start.and_then(|name| parent(Tie::InitialisedFrom, name));
    let teachers = model.teacher.iter().flat_map(|t| {
        let (by, hidden) = (t.by, t.hidden);
        let names = [Some(&t.model), t.also.as_ref()];
        let share = t.share / names.iter().flatten().count() as f64;
        let key = recipe.key_of(model).map(|key| key.commitment().parse());
        let mark = key.and_then(Result::ok).map(|key| Bears {
            key,
            share: t.marked.unwrap_or(1.0),
        });
        let tie = Tie::DistilledFrom {
            share,
            by,
            hidden,
            mark,
        };
        names.into_iter().flatten().map(move |name| (tie, name))
    });
    let teachers = teachers.filter_map(|(tie, name)| parent(tie, name));
    start.into_iter().chain(teachers).collect()
}
