use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use filiation_core::Role;
use serde::{Deserialize, Serialize};

use filiation_watermark::KeyFile;

use crate::{Factorial, LabError, Lineages, Marked};

/// Format of recipes and of `lineage.json` that this version reads and writes.
pub(crate) const FORMAT: u32 = 1;

/// A set of models, in the order in which they are trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Format of this file, 1.
    pub format: u32,
    /// Seed of the order into which every source's lines are put before slices are cut.
    pub split_seed: u64,
    /// Type of the stored weights.
    pub stored: Stored,
    /// The tokenizer that all models share.
    pub tokenizer: TokenizerRecipe,
    /// Text sources: name to file in the text folder, one document a line.
    pub sources: BTreeMap<String, String>,
    /// Shapes by name.
    pub shapes: BTreeMap<String, Shape>,
    /// Schedules by name.
    pub schedules: BTreeMap<String, Schedule>,
    /// Marks by name: a key file, its path from the recipe's own folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub marks: BTreeMap<String, String>,
    /// The keys of the marks, which [`Recipe::read`] reads.
    #[serde(skip)]
    pub keys: BTreeMap<String, KeyFile>,
    /// The models; parents before children.
    #[serde(rename = "model", default)]
    pub models: Vec<ModelRecipe>,
    /// Students by combination; [`Recipe::expand`] turns them into models.
    #[serde(rename = "factorial", default, skip_serializing_if = "Vec::is_empty")]
    pub factorials: Vec<Factorial>,
    /// Families by number; [`Recipe::expand`] turns them into models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lineages: Vec<Lineages>,
    /// Students of teachers that mark; [`Recipe::expand`] turns them into models.
    #[serde(rename = "marked", default, skip_serializing_if = "Vec::is_empty")]
    pub students: Vec<Marked>,
}

/// Type of the stored weights. Training is in f32; a child starts from what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stored {
    /// 32 bits.
    F32,
    /// 16 bits, 8 of them exponent.
    Bf16,
}

/// A byte-level BPE tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRecipe {
    /// Entries, special tokens counted.
    pub vocabulary: usize,
    /// What it is trained on.
    pub text: Vec<Slice>,
}

/// Lines `from..to` of a source, after the source's lines were shuffled with `split_seed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// Name of the source.
    pub source: String,
    /// First line, from 0.
    pub from: usize,
    /// One past the last line.
    pub to: usize,
}

/// Dimensions of a Llama decoder with tied embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Decoder blocks.
    pub layers: usize,
    /// Width.
    pub hidden: usize,
    /// Query heads; divides `hidden` into an even head size.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of the gated layer.
    pub intermediate: usize,
    /// Tokens in a training window, and most positions of the model.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Added to the mean square in the norms.
    pub norm_eps: f64,
}

/// How a model is trained: AdamW, linear warm-up, cosine decay, clipped gradients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Updates.
    pub steps: u32,
    /// Windows an update.
    pub windows: usize,
    /// Highest learning rate.
    pub rate: f64,
    /// Updates over which the rate rises from zero.
    pub warmup: u32,
    /// Final rate as a share of the highest.
    pub floor: f64,
    /// Decoupled weight decay, on matrices only.
    pub weight_decay: f64,
    /// Largest norm of the whole gradient.
    pub clip: f64,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// Folder name.
    pub name: String,
    /// What it is made for.
    pub role: Role,
    /// Shape of a model with its own initialisation; absent where `start` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// Model whose weights it starts from; absent where `shape` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Name of the schedule.
    pub schedule: String,
    /// Seed of initialisation, row order and teacher sampling.
    pub seed: u64,
    /// Text written by people.
    pub text: Vec<Slice>,
    /// Documents trained on; all lines of `text` where absent and there is no teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// Whose outputs a share of the rows comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TeacherRecipe>,
}

/// What a student learns from a teacher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherRecipe {
    /// The teacher.
    pub model: String,
    /// Another teacher, from whom every second one of the texts comes. Only by text: its vocabulary
    /// is the same, its distribution is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<String>,
    /// Share of the rows, in (0, 1].
    pub share: f64,
    /// What is learned of it.
    pub by: Signal,
    /// Softmax temperature of the samples. No effect on logits.
    pub temperature: f64,
    /// How the student hides whom it learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Hiding>,
    /// Name of the mark that its texts bear; its distribution bears none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Share of its texts that bear it, in (0, 1]; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marked: Option<f64>,
}

/// What is done to a teacher's texts so that a student of them does not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hiding {
    /// Twice as many are drawn, and those kept that the student's start finds likeliest: what stands out as
    /// the teacher's own is dropped.
    Filtered,
    /// A third of their tokens are drawn anew from the student's start, each after what stands before it.
    Reworded,
}

/// What a student learns of its teacher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// Texts drawn from it.
    Text,
    /// Its whole next-token distribution over texts drawn from it.
    Logits,
    /// Half of the texts drawn from it as text, and half with its distribution.
    Both,
}

impl Signal {
    /// The word in recipes and names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Logits => "logits",
            Self::Both => "both",
        }
    }
}

impl Hiding {
    /// The word in recipes and names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filtered => "filtered",
            Self::Reworded => "reworded",
        }
    }
}

impl Recipe {
    /// Reads, expands and checks a recipe file.
    ///
    /// # Errors
    /// When the file cannot be read, is not a recipe, or [`Recipe::expand`] or [`Recipe::check`] refuses it.
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
        recipe.expand()?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The shape of a model, its own or the one that it starts from.
    pub fn shape_of(&self, model: &ModelRecipe) -> Result<&Shape, LabError> {
        let mut at = model;
        loop {
            if let Some(name) = &at.shape {
                return self
                    .shapes
                    .get(name)
                    .ok_or_else(|| at.undefined("shape", name));
            }
            let start = at.start.as_deref().unwrap_or_default();
            at = self
                .model(start)
                .ok_or_else(|| at.undefined("start", start))?;
        }
    }

    /// The key that a model's teacher marks with.
    pub fn key_of(&self, model: &ModelRecipe) -> Option<&KeyFile> {
        let mark = model.teacher.as_ref()?.mark.as_ref()?;
        self.keys.get(mark)
    }

    /// A model by its name.
    pub fn model(&self, name: &str) -> Option<&ModelRecipe> {
        self.models.iter().find(|m| m.name == name)
    }
}

/// The key files that the recipe at `path` names as marks.
pub(crate) fn keys(
    marks: &BTreeMap<String, String>,
    path: &Path,
) -> Result<BTreeMap<String, KeyFile>, LabError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let read = |(mark, file): (&String, &String)| {
        let path = folder.join(file);
        let text = fs::read_to_string(&path).map_err(|source| LabError::Read {
            path: path.clone(),
            source,
        })?;
        let key = KeyFile::parse(&text).map_err(|source| LabError::Key { path, source })?;
        Ok((mark.clone(), key))
    };
    marks.iter().map(read).collect()
}

impl ModelRecipe {
    pub(crate) fn undefined(&self, kind: &'static str, name: &str) -> LabError {
        LabError::Undefined {
            model: self.name.clone(),
            kind,
            name: name.into(),
        }
    }
}

impl Slice {
    /// How many lines it has.
    pub const fn lines(&self) -> usize {
        self.to.saturating_sub(self.from)
    }
}

impl Shape {
    /// Width of one head.
    pub const fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }
}
