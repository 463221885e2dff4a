use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use filiation_lr::History;
use filiation_report::FoundBy;
use serde::{Deserialize, Serialize};

use crate::{AuditError, Case, Entry, disk};

/// Suspects of known history, and how each is audited: a file of `filiation population build`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of this file, 1.
    pub format: u32,
    /// Folder with the models, relative to this file. Models are named by their paths below it.
    pub models: PathBuf,
    /// Candidate teachers of every suspect.
    pub teachers: Vec<String>,
    /// Groups of teachers that are siblings.
    #[serde(default)]
    pub siblings: Vec<Vec<String>>,
    /// Probes by name.
    pub probes: Vec<String>,
    /// Prompt suites (JSONL), relative to this file.
    pub suites: Vec<PathBuf>,
    /// Most tokens a completion may have.
    #[serde(default = "Case::default_max_tokens")]
    pub max_tokens: u32,
    /// Completions of each prompt by each teacher.
    #[serde(default = "Case::default_samples")]
    pub samples: u32,
    /// Sampling temperature of the teachers.
    #[serde(default = "Case::default_temperature")]
    pub temperature: f64,
    /// Put every prompt as plain text.
    #[serde(default)]
    pub raw: bool,
    /// Only the first prompts of each suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Seed of every random choice.
    #[serde(default)]
    pub seed: u64,
    /// Bases with what is held beside each other.
    #[serde(rename = "family", default, skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<Family>,
}

/// A base, fine-tunes of it that had no teacher, and suspects held against them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// The base. Its name is the lineage of the suspects.
    pub base: String,
    /// What kind of model the base is, such as its shape: what a validation may leave out together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The controls.
    pub controls: Vec<String>,
    /// The suspects.
    pub suspects: Vec<Known>,
}

/// A suspect whose history is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The model.
    pub model: String,
    /// The suspect's name, where it is not that of the model: one model may be held against a base that is
    /// its own, and against one that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its lineage, where that is neither its base nor itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<String>,
    /// Whether it has its own initialisation: the base is then only said to be its base, and it is
    /// a lineage of its own.
    #[serde(default)]
    pub independent: bool,
    /// What it learned, and from whom; nothing where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Learned>,
}

/// What a suspect learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// The teacher.
    pub from: String,
    /// Another, where the rows that came from one are half of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<String>,
    /// Share of the training rows, in (0, 1].
    pub share: f64,
    /// The signal, such as `text`, `logits` or `text-filtered`.
    pub by: String,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`AuditError::Read`], [`AuditError::Population`] for what is not such a file, and
    /// [`AuditError::Value`] for a value out of range.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let bytes = disk::read(path)?;
        let manifest: Self = toml::from_slice(&bytes).map_err(|source| AuditError::Population {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks what the shape alone does not say. What a case must satisfy is checked with the
    /// case.
    ///
    /// # Errors
    /// [`AuditError::Value`].
    pub fn check(&self) -> Result<(), AuditError> {
        let value = |field, found: String, expected| {
            Err(AuditError::Value {
                field,
                found,
                expected,
            })
        };
        if self.format != 1 {
            return value("format", self.format.to_string(), "1");
        }
        if self.probes.is_empty() {
            return value("probes", "empty".into(), "at least one probe");
        }
        let teacher = |name: &String| self.teachers.contains(name);
        if let Some(stranger) = self.siblings.iter().flatten().find(|s| !teacher(s)) {
            return value("siblings", format!("`{stranger}`"), "names of teachers");
        }
        if self.suspects().next().is_none() {
            return value("family", "empty".into(), "at least one suspect");
        }
        let mut names = BTreeSet::new();
        let mut histories = BTreeMap::new();
        for known in self.families.iter().flat_map(|f| &f.suspects) {
            let name = known.name.as_ref().unwrap_or(&known.model);
            if !names.insert(name) {
                return value("suspects", format!("`{name}` twice"), "each once");
            }
            let before = *histories.entry(&known.model).or_insert(&known.learned);
            if *before != known.learned {
                let found = format!("of `{}` told in two ways", known.model);
                return value("learned", found, "one history a model");
            }
            let Some(learned) = &known.learned else {
                continue;
            };
            if !teacher(&learned.from) {
                return value("from", format!("`{}`", learned.from), "a teacher's name");
            }
            let second = |name: &&String| !teacher(name) || **name == learned.from;
            if let Some(name) = learned.also.as_ref().filter(second) {
                return value("also", format!("`{name}`"), "the name of another teacher");
            }
            if !(learned.share > 0.0 && learned.share <= 1.0) {
                return value("share", learned.share.to_string(), "a number in (0, 1]");
            }
        }
        Ok(())
    }

    /// The suspects with their families, in order.
    pub fn suspects(&self) -> impl Iterator<Item = (&Family, &Known)> {
        let of = |family| move |known| (family, known);
        let families = self.families.iter();
        families.flat_map(move |f| f.suspects.iter().map(of(f)))
    }

    /// The case of a suspect. Paths of its models are relative to the folder of models; suites are
    /// found from `folder`, that of the manifest.
    pub(super) fn case(&self, family: &Family, known: &Known, folder: &Path) -> Case {
        let entries = |names: &[String]| names.iter().map(Entry::at).collect();
        let mut suspect = Entry::at(&known.model);
        if let Some(name) = &known.name {
            suspect.name.clone_from(name);
        }
        Case {
            name: suspect.name.clone(),
            probes: self.probes.clone(),
            suites: self.suites.iter().map(|s| folder.join(s)).collect(),
            max_tokens: self.max_tokens,
            samples: self.samples,
            temperature: self.temperature,
            raw: self.raw,
            limit: self.limit,
            seed: self.seed,
            stop_at_e: None,
            stop_below: None,
            prior: None,
            population: None,
            siblings: Vec::new(),
            found_by: FoundBy::default(),
            suspect,
            base: Some(Entry::at(&family.base)),
            teachers: entries(&self.teachers),
            controls: entries(&family.controls),
            served: Vec::new(),
            canaries: Vec::new(),
            marks: Vec::new(),
            epsilon: Case::default_epsilon(),
        }
    }

    /// Where a suspect comes from, in the words of a score.
    pub(super) fn history(&self, known: &Known) -> History {
        match &known.learned {
            Some(learned) => History::Distilled {
                teacher: Entry::at(&learned.from).name,
                also: learned.also.as_ref().map(|name| Entry::at(name).name),
                siblings: self.siblings_of(learned),
                share: learned.share,
                by: learned.by.clone(),
            },
            None if known.independent => History::Independent,
            None => History::FineTune,
        }
    }

    fn siblings_of(&self, learned: &Learned) -> Vec<String> {
        let own = |name: &String| *name == learned.from || learned.also.as_ref() == Some(name);
        let groups = self.siblings.iter();
        let groups = groups.filter(|group| group.iter().any(own));
        let others = groups.flatten().filter(|name| !own(name));
        others.map(|name| Entry::at(name).name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
format = 1
models = "models"
teachers = ["t1", "t2"]
siblings = [["t1", "t2"]]
probes = ["tlu-did"]
suites = ["openings.jsonl"]

[[family]]
base = "b"
controls = ["c1", "c2"]
suspects = [
  { model = "s1", learned = { from = "t1", share = 0.3, by = "text" } },
  { model = "s2" },
  { model = "s3", independent = true },
]
"#;

    fn parse(text: &str) -> Result<Manifest, AuditError> {
        let manifest: Manifest = toml::from_str(text).expect("the shape of a manifest");
        manifest.check().map(|()| manifest)
    }

    #[test]
    fn a_suspect_is_a_case_of_its_family() {
        let manifest = parse(SMALL).expect("sound");
        let (family, known) = manifest.suspects().next().expect("three suspects");
        let case = manifest.case(family, known, Path::new("corpora"));
        case.check().expect("a case");
        let names: Vec<_> = case.entries().map(|(_, e)| e.name.as_str()).collect();
        assert_eq!(names, ["s1", "b", "t1", "t2", "c1", "c2"]);
        assert_eq!(case.suites, [Path::new("corpora/openings.jsonl")]);
        let histories: Vec<History> = manifest
            .suspects()
            .map(|(_, k)| manifest.history(k))
            .collect();
        let distilled = History::Distilled {
            teacher: "t1".into(),
            also: None,
            siblings: vec!["t2".into()],
            share: 0.3,
            by: "text".into(),
        };
        assert_eq!(
            histories,
            [distilled, History::FineTune, History::Independent]
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (from, to, field) in [
            ("format = 1", "format = 2", "`format` is 2"),
            ("[\"tlu-did\"]", "[]", "`probes` is empty"),
            ("share = 0.3", "share = 0.0", "`share` is 0"),
            ("from = \"t1\"", "from = \"t9\"", "`from` is `t9`"),
            (
                "from = \"t1\"",
                "from = \"t1\", also = \"t1\"",
                "`also` is `t1`",
            ),
            (
                "[[\"t1\", \"t2\"]]",
                "[[\"t1\", \"t9\"]]",
                "`siblings` is `t9`",
            ),
            ("\"s2\"", "\"s1\"", "`suspects` is `s1` twice"),
            (
                "model = \"s2\"",
                "model = \"s1\", name = \"s2\"",
                "`learned` is of `s1` told in two ways",
            ),
        ] {
            let error = parse(&SMALL.replace(from, to)).expect_err(to).to_string();
            assert!(error.starts_with(field), "{to}: {error}");
        }
    }
}
