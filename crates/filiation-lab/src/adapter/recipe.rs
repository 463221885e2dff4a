use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use filiation_core::{Mark, Role};
use filiation_watermark::KeyFile;
use serde::{Deserialize, Serialize};

use crate::adapter::lora::Rank;
use crate::check::{model_name, within};
use crate::recipe::{FORMAT, keys};
use crate::{LabError, Schedule, Signal, Slice, Stored};

/// A set of adapters of published models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterRecipe {
    /// Format of this file, 1.
    pub format: u32,
    /// Seed of the order into which every source's lines are put before slices are cut.
    pub split_seed: u64,
    /// Type of the stored weights.
    pub stored: Stored,
    /// Most tokens of a row; what is longer is cut.
    pub longest: usize,
    /// Whether prompts are put as plain text, chat templates unused.
    pub raw: bool,
    /// Text by people: name to file in the text folder. A line is what is asked, a tab, the answer.
    pub sources: BTreeMap<String, String>,
    /// How what is asked becomes a prompt: `{}` stands for it. One is drawn for each row.
    pub forms: Vec<String>,
    /// Prompts by name.
    pub prompts: BTreeMap<String, Prompts>,
    /// Sizes of adapters by name.
    pub ranks: BTreeMap<String, Rank>,
    /// Schedules by name; `windows` are rows.
    pub schedules: BTreeMap<String, Schedule>,
    /// Marks by name: a key file, its path from the recipe's own folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub marks: BTreeMap<String, String>,
    /// The keys of the marks, which [`Self::read`] reads.
    #[serde(skip)]
    pub keys: BTreeMap<String, KeyFile>,
    /// The adapters.
    #[serde(rename = "adapter")]
    pub adapters: Vec<AdapterEntry>,
}

/// Every `every`-th line of a suite of prompts, from line `from` (0 is the first) on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompts {
    /// The suite, relative to the recipe.
    pub file: PathBuf,
    /// Distance between two lines taken.
    pub every: usize,
    /// The first line taken.
    pub from: usize,
}

/// One adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterEntry {
    /// Folder name.
    pub name: String,
    /// What it is made for.
    pub role: Role,
    /// The model that it changes: a folder among the models.
    pub base: String,
    /// Name of its size.
    pub rank: String,
    /// Name of the schedule.
    pub schedule: String,
    /// Seed of initialisation, row order and sampling.
    pub seed: u64,
    /// Rows trained on.
    pub rows: usize,
    /// Text written by people.
    pub text: Vec<Slice>,
    /// Whose outputs a share of the rows comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<AdapterTeacher>,
}

/// What an adapter learns from a teacher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterTeacher {
    /// The teacher: a folder among the models.
    pub model: String,
    /// Share of the rows, in (0, 1].
    pub share: f64,
    /// What is learned of it. Its distribution needs the base's tokenizer.
    pub by: Signal,
    /// Softmax temperature of its completions.
    pub temperature: f64,
    /// Most tokens of a completion.
    pub max_tokens: u32,
    /// What it is asked, by the names of prompts, one after the other and again from the first.
    pub prompts: Vec<String>,
    /// Name of the mark that its texts bear. Its distribution bears none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
}

impl AdapterTeacher {
    /// How many of `rows` rows come from it.
    pub(crate) fn rows_of(&self, rows: usize) -> usize {
        (self.share * rows as f64).round() as usize
    }
}

impl AdapterRecipe {
    /// Reads and checks a recipe file.
    ///
    /// # Errors
    /// When the file cannot be read, is not a recipe, or [`Self::check`] refuses it.
    pub fn read(path: &Path) -> Result<Self, LabError> {
        let text = fs::read_to_string(path).map_err(|source| LabError::Read {
            path: path.into(),
            source,
        })?;
        let mut recipe: Self = toml::from_str(&text).map_err(|source| LabError::Recipe {
            path: path.into(),
            source: Box::new(source),
        })?;
        recipe.keys = keys(&recipe.marks, path)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The key that an adapter's teacher marks with.
    pub fn key_of(&self, entry: &AdapterEntry) -> Option<&KeyFile> {
        let mark = entry.teacher.as_ref()?.mark.as_ref()?;
        self.keys.get(mark)
    }

    /// What an adapter's teacher marks with.
    pub(crate) fn marker(&self, entry: &AdapterEntry) -> Result<Option<Arc<dyn Mark>>, LabError> {
        let Some(key) = self.key_of(entry) else {
            return Ok(None);
        };
        let marker = key.marker().map_err(|source| LabError::Key {
            path: entry.name.clone().into(),
            source,
        })?;
        Ok(Some(Arc::new(marker)))
    }

    /// Whether every name is defined and every number can be trained with.
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
        let at_least = |owner: &str, field, got: usize, least: f64, expected| {
            within(owner, field, got as f64, least..=65_536.0, expected)
        };
        at_least("recipe", "longest", self.longest, 2.0, "2 to 65536")?;
        for (name, rank) in &self.ranks {
            at_least(name, "rank", rank.rank, 1.0, "1 to 65536")?;
            let targets = rank.targets.len();
            at_least(name, "number of targets", targets, 1.0, "at least 1")?;
            within(name, "alpha", rank.alpha, 1e-6..=1e6, "1e-6 to 1e6")?;
        }
        for (name, prompts) in &self.prompts {
            at_least(name, "every", prompts.every, 1.0, "1 to 65536")?;
        }
        for (name, schedule) in &self.schedules {
            schedule.check(name)?;
        }
        for (i, entry) in self.adapters.iter().enumerate() {
            self.check_entry(entry)?;
            if self.adapters[..i].iter().any(|e| e.name == entry.name) {
                return Err(LabError::Duplicate {
                    name: entry.name.clone(),
                });
            }
        }
        Ok(())
    }

    fn check_entry(&self, entry: &AdapterEntry) -> Result<(), LabError> {
        model_name(&entry.name)?;
        let undefined = |kind, name: &str| LabError::Undefined {
            model: entry.name.clone(),
            kind,
            name: name.into(),
        };
        if !self.ranks.contains_key(&entry.rank) {
            return Err(undefined("rank", &entry.rank));
        }
        if !self.schedules.contains_key(&entry.schedule) {
            return Err(undefined("schedule", &entry.schedule));
        }
        let unknown = |slice: &&Slice| !self.sources.contains_key(&slice.source);
        if let Some(slice) = entry.text.iter().find(unknown) {
            return Err(undefined("source", &slice.source));
        }
        let name = entry.name.as_str();
        within(name, "rows", entry.rows as f64, 1.0..=1e9, "at least 1")?;
        if !entry.text.is_empty() {
            let forms = self.forms.len() as f64;
            within(name, "number of `forms`", forms, 1.0..=1e9, "at least 1")?;
        }
        let Some(teacher) = &entry.teacher else {
            return Ok(());
        };
        let unknown = |name: &&String| !self.prompts.contains_key(*name);
        if let Some(name) = teacher.prompts.iter().find(unknown) {
            return Err(undefined("prompts", name));
        }
        if let Some(mark) = &teacher.mark {
            let key = self.keys.get(mark).ok_or_else(|| undefined("mark", mark))?;
            key.marker().map_err(|source| LabError::Key {
                path: self.marks.get(mark).unwrap_or(mark).into(),
                source,
            })?;
        }
        let prompts = teacher.prompts.len() as f64;
        within(
            name,
            "number of `prompts`",
            prompts,
            1.0..=1e9,
            "at least 1",
        )?;
        within(
            name,
            "teacher.share",
            teacher.share,
            1e-6..=1.0,
            "in (0, 1]",
        )?;
        let tokens = f64::from(teacher.max_tokens);
        within(
            name,
            "teacher.max_tokens",
            tokens,
            1.0..=65_536.0,
            "1 to 65536",
        )?;
        let temperature = teacher.temperature;
        within(
            name,
            "teacher.temperature",
            temperature,
            0.01..=10.0,
            "0.01 to 10",
        )
    }
}
