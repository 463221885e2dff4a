use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use filiation_checkpoint::{Checkpoint, Limits};
use filiation_core::{Digest, canonical};
use filiation_watermark::KeyFile;
use serde::Serialize;

use crate::adapter::base::{self, Base};
use crate::adapter::folder::{WEIGHTS, write};
use crate::adapter::learner::{Pupil, Row};
use crate::adapter::lora::{Adapter, Rank};
use crate::adapter::material::{Reader, asked, by_people, by_teacher};
use crate::adapter::recipe::{AdapterEntry, AdapterRecipe};
use crate::folder::{finished, tensors};
use crate::lineage::{Bears, Lineage, Parent, Tie};
use crate::recipe::FORMAT;
use crate::text::{Sources, Stream, shuffle, stream};
use crate::trainer::descend;
use crate::{Built, LabError, Progress, Schedule, Signal, Stored};

/// Where things are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    /// Folder of the recipe: files of prompts are relative to it.
    pub(crate) recipe: &'a Path,
    /// Bases and teachers.
    pub(crate) models: &'a Path,
    pub(crate) out: &'a Path,
}

/// Trains the adapters of the recipe file on the sources in the folder `text` and the models in the
/// folder `models`, and writes one folder each under `out`, as PEFT reads them. A folder that stands
/// there and agrees with recipe, text, prompts and parents is kept.
///
/// # Errors
/// When the recipe is wrong, a source, suite or model cannot be read, training diverges, or a folder
/// cannot be written. Adapters finished before stay.
pub fn adapt(
    recipe: &Path,
    text: &Path,
    models: &Path,
    out: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Built>, LabError> {
    let places = Places {
        recipe: recipe.parent().unwrap_or_else(|| Path::new("")),
        models,
        out,
    };
    let recipe = AdapterRecipe::read(recipe)?;
    let used = recipe.adapters.iter().flat_map(|entry| &entry.text);
    let used: Vec<&str> = used.map(|slice| slice.source.as_str()).collect();
    let mut files = recipe.sources.clone();
    files.retain(|name, _| used.contains(&name.as_str()));
    let bench = Bench {
        sources: Sources::read(&files, recipe.split_seed, text)?,
        recipe: &recipe,
        places,
    };
    let mut digests = BTreeMap::new();
    for entry in &recipe.adapters {
        for name in entry.teacher.iter().map(|t| &t.model).chain([&entry.base]) {
            if !digests.contains_key(name) {
                let model = Checkpoint::open(&models.join(name), &Limits::default())?;
                digests.insert(name.clone(), base::weights(&model));
            }
        }
    }
    let one = |entry| bench.one(entry, &digests, progress);
    recipe.adapters.iter().map(one).collect()
}

struct Bench<'a> {
    recipe: &'a AdapterRecipe,
    sources: Sources,
    places: Places<'a>,
}

/// Everything that an adapter's bytes depend on.
#[derive(Serialize)]
struct Inputs<'a> {
    format: u32,
    stored: Stored,
    split_seed: u64,
    longest: usize,
    raw: bool,
    forms: &'a [String],
    text: BTreeMap<&'a str, Digest>,
    prompts: Vec<(usize, usize, Digest)>,
    adapter: &'a AdapterEntry,
    rank: &'a Rank,
    schedule: &'a Schedule,
    parents: &'a [Parent],
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a KeyFile>,
}

impl Bench<'_> {
    fn one(
        &self,
        entry: &AdapterEntry,
        digests: &BTreeMap<String, Digest>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Built, LabError> {
        let parents = parents(entry, self.recipe.key_of(entry), digests);
        let (asked, recipe) = self.inputs(entry, &parents)?;
        let same = |l: &Lineage| l.recipe == recipe;
        if let Some(lineage) = finished(&self.places.out.join(&entry.name), WEIGHTS).filter(same) {
            progress(Progress::Kept { model: &entry.name });
            return Ok(Built {
                lineage,
                kept: true,
            });
        }
        let base = Base::open(&self.model(&entry.base), self.recipe.longest)?;
        let rows = self.rows(entry, &base, &asked, progress)?;
        let documents = rows.len();
        let (adapter, loss) = self.train(entry, &base, rows, progress)?;
        let weights = tensors(&adapter.tensors, &adapter.values, self.recipe.stored)?;
        let lineage = Lineage {
            format: FORMAT,
            name: entry.name.clone(),
            role: entry.role,
            parents,
            seed: entry.seed,
            documents,
            loss,
            recipe,
            weights: Digest::of(&weights),
        };
        let rank = &self.recipe.ranks[&entry.rank];
        write(self.places.out, &entry.base, rank, &weights, &lineage)?;
        Ok(Built {
            lineage,
            kept: false,
        })
    }

    fn model(&self, name: &str) -> PathBuf {
        self.places.models.join(name)
    }

    /// What the teacher is asked, and the digest of all that the adapter is made from.
    fn inputs(
        &self,
        entry: &AdapterEntry,
        parents: &[Parent],
    ) -> Result<(Vec<String>, Digest), LabError> {
        let (asked, files) = match &entry.teacher {
            Some(teacher) => asked(self.recipe, teacher, self.places.recipe)?,
            None => (Vec::new(), Vec::new()),
        };
        let reads = |name: &str| entry.text.iter().any(|s| s.source == name);
        let text = self.sources.digests().iter();
        let inputs = Inputs {
            format: FORMAT,
            stored: self.recipe.stored,
            split_seed: self.recipe.split_seed,
            longest: self.recipe.longest,
            raw: self.recipe.raw,
            forms: &self.recipe.forms,
            text: text
                .filter(|(name, _)| reads(name))
                .map(|(name, digest)| (name.as_str(), *digest))
                .collect(),
            prompts: files,
            adapter: entry,
            rank: &self.recipe.ranks[&entry.rank],
            schedule: &self.recipe.schedules[&entry.schedule],
            parents,
            key: self.recipe.key_of(entry),
        };
        Ok((asked, Digest::of(&canonical::to_bytes(&inputs))))
    }

    /// The rows that an adapter learns from.
    fn rows(
        &self,
        entry: &AdapterEntry,
        base: &Base,
        asked: &[String],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Row>, LabError> {
        let teacher = entry.teacher.as_ref();
        let drawn = teacher.map_or(0, |t| t.rows_of(entry.rows));
        let wanted = entry.rows - drawn;
        let mut lines = self.sources.lines(&entry.text)?;
        if lines.len() < wanted {
            return Err(LabError::Rows {
                model: entry.name.clone(),
                wanted,
                got: lines.len(),
            });
        }
        shuffle(&mut lines, &mut stream(entry.seed, Stream::Mix));
        lines.truncate(wanted);
        let reader = Reader::new(&base.checkpoint, self.recipe.raw, self.recipe.longest)?;
        let how = (self.recipe.raw, entry.seed);
        let people = by_people(&lines, &entry.text, &self.recipe.forms, how)?;
        let plain = people.iter().map(|pair| reader.row(pair, false));
        let mut rows = plain.collect::<Result<Vec<_>, _>>()?;
        if let Some(teacher) = &entry.teacher {
            progress(Progress::Sampling {
                model: &entry.name,
                documents: drawn,
            });
            let folder = self.model(&teacher.model);
            let guided = |at: usize| match teacher.by {
                Signal::Text => false,
                Signal::Logits => true,
                Signal::Both => at % 2 == 1,
            };
            let mark = self.recipe.marker(entry)?;
            let pairs = by_teacher(&folder, teacher, asked, drawn, how, mark)?;
            let drawn = pairs.iter().enumerate();
            let drawn = drawn.map(|(at, pair)| reader.row(pair, guided(at)));
            rows.extend(drawn.collect::<Result<Vec<_>, _>>()?);
        }
        let rows: Vec<Row> = rows.into_iter().flatten().collect();
        if rows.is_empty() {
            return Err(LabError::Rows {
                model: entry.name.clone(),
                wanted: entry.rows,
                got: 0,
            });
        }
        Ok(rows)
    }

    fn train(
        &self,
        entry: &AdapterEntry,
        base: &Base,
        rows: Vec<Row>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Adapter, f64), LabError> {
        let schedule = &self.recipe.schedules[&entry.schedule];
        let guided = entry.teacher.as_ref().filter(|t| t.by != Signal::Text);
        let teacher = match guided {
            None => None,
            Some(teacher) => {
                let folder = self.model(&teacher.model);
                let opened = Base::open(&folder, self.recipe.longest)?;
                let tokenizer = |base: &Base| base.checkpoint.identity().tokenizer;
                if tokenizer(&opened) != tokenizer(base) {
                    return Err(LabError::Tokenizers {
                        model: entry.name.clone(),
                        base: entry.base.clone(),
                        teacher: teacher.model.clone(),
                    });
                }
                Some(opened)
            }
        };
        let rank = &self.recipe.ranks[&entry.rank];
        let adapter = Adapter::new(base.config(), rank, entry.seed);
        let order = stream(entry.seed, Stream::Order);
        let placed = adapter.tensors.clone();
        let batch = schedule.windows;
        let mut pupil = Pupil::new(base, teacher.as_ref(), adapter, rows, batch, order);
        let (name, steps) = (entry.name.as_str(), schedule.steps);
        let mut watch = |step, loss| {
            progress(Progress::Step {
                model: name,
                step,
                steps,
                loss,
            });
        };
        let loss = descend(name, &placed, schedule, &mut pupil, &mut watch)?;
        Ok((pupil.adapter, loss))
    }
}

fn parents(
    entry: &AdapterEntry,
    key: Option<&KeyFile>,
    digests: &BTreeMap<String, Digest>,
) -> Vec<Parent> {
    let parent = |tie, name: &String| Parent {
        tie,
        model: name.clone(),
        weights: digests[name],
    };
    let base = parent(Tie::InitialisedFrom, &entry.base);
    let key = key.and_then(|key| key.commitment().parse().ok());
    let teacher = entry.teacher.as_ref().map(|t| {
        let (share, by) = (t.share, t.by);
        let tie = Tie::DistilledFrom {
            share,
            by,
            hidden: None,
            mark: key.map(|key| Bears { key, share: 1.0 }),
        };
        parent(tie, &t.model)
    });
    [base].into_iter().chain(teacher).collect()
}
