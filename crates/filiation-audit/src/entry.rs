//! Models and files that a case names.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use filiation_core::{Digest, Role};
use filiation_probes::canaries::Scheme;
use filiation_report::Authorisation;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{AuditError, Reach, Seat};

/// A model named by a case: a path, or a name and a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Name in the report: lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Folder or file, relative to the case file, or `hf:OWNER/NAME@REVISION`, which the provider finds. A pack
    /// (`.pack`) answers from a recording.
    pub path: PathBuf,
    /// What its digest must be: of the model, or of the pack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Of a model behind an API: its address, where it is not the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Environment variable of its key, where it is not the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Fields added to the body of every completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<serde_json::Map<String, serde_json::Value>>,
    /// By what right it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorisation: Option<Authorisation>,
}

impl Entry {
    /// An entry named after the last part of its path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let last = path.components().rev().find_map(|part| match part {
            Component::Normal(text) => Some(text.to_string_lossy().to_lowercase()),
            _ => None,
        });
        // A recording of `t1` takes the place of `t1`.
        let last = last.map(|name| name.strip_suffix(".pack").unwrap_or(&name).to_owned());
        // Nor does the revision of an id on the Hub belong to the name.
        let last = last.map(
            |name| match path.to_str().and_then(|p| p.strip_prefix("hf:")) {
                Some(_) => name.split('@').next().unwrap_or_default().to_owned(),
                None => name,
            },
        );
        let name = last
            .unwrap_or_default()
            .chars()
            .map(|c| if is_plain(c) { c } else { '-' })
            .collect();
        Self {
            name,
            path,
            digest: None,
            base_url: None,
            key_env: None,
            extra: None,
            authorisation: None,
        }
    }

    /// Whether it is a model behind an API: `PROVIDER:MODEL` in place of a path.
    pub fn is_endpoint(&self) -> bool {
        is_endpoint(&self.path)
    }

    /// Where it is, its path taken relative to `folder`.
    pub(crate) fn place(&self, folder: &Path) -> PathBuf {
        if self.is_endpoint() {
            return self.path.clone();
        }
        folder.join(&self.path)
    }

    /// How it is reached, where it is behind an API.
    pub fn reach(&self) -> Reach<'_> {
        Reach {
            base_url: self.base_url.as_deref(),
            key_env: self.key_env.as_deref(),
            extra: self.extra.as_ref(),
        }
    }

    /// As a party of this role, where its path says.
    pub fn seat(&self, role: Role) -> Seat<'_> {
        Seat {
            name: &self.name,
            role,
            path: &self.path,
            reach: self.reach(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), AuditError> {
        check_name(&self.name)?;
        let value = |field, found: String, expected| {
            Err(AuditError::Value {
                field,
                found,
                expected,
            })
        };
        let reached = [
            ("base_url", self.base_url.is_some()),
            ("key_env", self.key_env.is_some()),
            ("extra", self.extra.is_some()),
        ];
        if let Some((field, _)) = reached
            .into_iter()
            .find(|(_, set)| *set && !self.is_endpoint())
        {
            let found = format!("given for `{}`", self.path.display());
            return value(field, found, "it beside `PROVIDER:MODEL`");
        }
        let Some(Authorisation { basis, by, date }) = &self.authorisation else {
            return Ok(());
        };
        for (field, text) in [("basis", basis), ("by", by), ("date", date)] {
            if text.trim().is_empty() {
                return value(field, "empty".into(), "a text");
            }
        }
        Ok(())
    }
}

/// Whether a path is the name of a model behind an API. The word before the colon has at least two
/// letters, so that a drive is none; `hf:` names a folder of the Hub.
pub fn is_endpoint(path: &Path) -> bool {
    let Some((provider, model)) = path.to_str().and_then(|text| text.split_once(':')) else {
        return false;
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    provider.len() >= 2
        && provider != "hf"
        && provider.chars().all(plain)
        && !model.is_empty()
        && !model.starts_with(['/', '\\'])
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            name: Option<String>,
            path: PathBuf,
            digest: Option<Digest>,
            base_url: Option<String>,
            key_env: Option<String>,
            extra: Option<serde_json::Map<String, serde_json::Value>>,
            authorisation: Option<Authorisation>,
        }

        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a table `{ name, path, … }`")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Entry, E> {
                Ok(Entry::at(path))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                let unnamed = Entry::at(table.path);
                Ok(Entry {
                    name: table.name.unwrap_or(unnamed.name),
                    path: unnamed.path,
                    digest: table.digest,
                    base_url: table.base_url,
                    key_env: table.key_env,
                    extra: table.extra,
                    authorisation: table.authorisation,
                })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A log of what a candidate teacher served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedEntry {
    /// Name of the teacher.
    pub teacher: String,
    /// The log (JSONL), relative to the case file.
    pub log: PathBuf,
    /// Fresh responses to draw for each one served.
    #[serde(default = "ServedEntry::default_regenerations")]
    pub regenerations: u32,
}

impl ServedEntry {
    /// Fresh responses where nothing is said.
    pub const fn default_regenerations() -> u32 {
        9
    }
}

/// What was planted for a candidate teacher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryEntry {
    /// Name of the teacher.
    pub teacher: String,
    /// The record, or the file of another program, relative to the case file.
    pub file: PathBuf,
    /// The secret of a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<PathBuf>,
    /// `planted`, `instructional-fingerprinting`, `perinucleus` or `chain-hash`.
    #[serde(default = "CanaryEntry::default_scheme")]
    pub scheme: String,
    /// Of `perinucleus`: among how many tokens the first of a response was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<u32>,
    /// Of another program: what a key stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

impl CanaryEntry {
    fn default_scheme() -> String {
        Scheme::Planted.as_str().into()
    }

    /// The files, in the order in which they are kept.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.file).chain(&self.secret)
    }
}

/// Texts of a candidate teacher, and a key of its owner that they are read under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkEntry {
    /// Name of the teacher.
    pub teacher: String,
    /// Key file (TOML), relative to the case file. A run keeps its commitment and parameters, not the key.
    pub key: PathBuf,
    /// Texts (JSONL), relative to the case file.
    pub texts: PathBuf,
    /// `tokenizer.json` of the key; that of the teacher's folder where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Whether the texts are free of the mark.
    #[serde(default)]
    pub unmarked: bool,
}

fn is_plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
}

/// Refuses what cannot be the name of a case or party.
pub(crate) fn check_name(name: &str) -> Result<(), AuditError> {
    if is_name(name) {
        return Ok(());
    }
    Err(AuditError::Value {
        field: "name",
        found: format!("{name:?}"),
        expected: "lower-case letters, digits, `-`, `_`, `.`, not beginning with `.`",
    })
}

// A name is a folder name too.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 100 && !text.starts_with('.') && text.chars().all(is_plain)
}
