use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use filiation_core::Role;
use filiation_probes::Stopping;
use filiation_probes::canaries::Scheme;
use filiation_report::FoundBy;
use serde::{Deserialize, Serialize};

use crate::entry::{CanaryEntry, Entry, MarkEntry, ServedEntry, check_name};
use crate::{Asking, AuditError, disk, hint};

const KEYS: [&str; 44] = [
    "name",
    "suspect",
    "base",
    "teachers",
    "controls",
    "probes",
    "suites",
    "max_tokens",
    "samples",
    "temperature",
    "raw",
    "limit",
    "seed",
    "stop_at_e",
    "stop_below",
    "prior",
    "population",
    "siblings",
    "found_by",
    "path",
    "digest",
    "served",
    "teacher",
    "log",
    "regenerations",
    "canaries",
    "file",
    "secret",
    "scheme",
    "choices",
    "template",
    "base_url",
    "key_env",
    "extra",
    "authorisation",
    "basis",
    "by",
    "date",
    "marks",
    "texts",
    "tokenizer",
    "unmarked",
    "epsilon",
    "key",
];

/// What is asked: who may descend from whom, by which probes, on which prompts.
///
/// Paths stand relative to the folder of the case file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Name of the case, and of its run directory.
    #[serde(default)]
    pub name: String,
    /// Probes by name, in the order of the report; none means all.
    #[serde(default)]
    pub probes: Vec<String>,
    /// Prompt suites (JSONL), read in this order.
    #[serde(default)]
    pub suites: Vec<PathBuf>,
    /// Most tokens a completion may have.
    #[serde(default = "Case::default_max_tokens")]
    pub max_tokens: u32,
    /// Completions of each prompt by each teacher. More of them narrow the intervals, and cost.
    #[serde(default = "Case::default_samples")]
    pub samples: u32,
    /// Sampling temperature of the teachers; 0 takes the likeliest token each time.
    #[serde(default = "Case::default_temperature")]
    pub temperature: f64,
    /// Put every prompt as plain text, even where all parties have a chat template.
    #[serde(default)]
    pub raw: bool,
    /// Only the first prompts of each suite: for trying out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Seed of every random choice.
    #[serde(default)]
    pub seed: u64,
    /// Probes that may stop do, at this e-value; else they buy their whole budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_at_e: Option<f64>,
    /// And when every lead is shown to be below this, in the probe's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_below: Option<f64>,
    /// Prior probability of Hd, in (0, 1), where the reader states one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<f64>,
    /// Probability that evidence of exact tests comes about by an error of procedure (a secret that leaked,
    /// files mixed up): their likelihood ratios are at most one over it.
    #[serde(default = "Case::default_epsilon")]
    pub epsilon: f64,
    /// Folder of the population that likelihood ratios come from (`scores.jsonl` or `by-probe/`, and
    /// `calibration.toml`); none are stated without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<PathBuf>,
    /// Groups of candidate teachers that are siblings: same maker, data or lineage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<Vec<String>>,
    /// How the suspect came to be suspected.
    #[serde(default)]
    pub found_by: FoundBy,
    /// The model under question.
    pub suspect: Entry,
    /// What it was initialised from, as far as known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Entry>,
    /// The candidate teachers.
    pub teachers: Vec<Entry>,
    /// Models known not to have learned from any candidate.
    #[serde(default)]
    pub controls: Vec<Entry>,
    /// Logs of what candidate teachers served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub served: Vec<ServedEntry>,
    /// What was planted for candidate teachers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canaries: Vec<CanaryEntry>,
    /// Texts of candidate teachers and the keys that they are read under; each key counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<MarkEntry>,
}

impl Case {
    /// Tokens a completion may have where nothing is said.
    pub const fn default_max_tokens() -> u32 {
        48
    }

    /// Completions of a prompt where nothing is said.
    pub const fn default_samples() -> u32 {
        1
    }

    /// Sampling temperature where nothing is said: the model's own distribution.
    pub const fn default_temperature() -> f64 {
        1.0
    }

    /// Rate of errors of procedure where nothing is said: one in a hundred.
    pub const fn default_epsilon() -> f64 {
        0.01
    }

    /// Reads a case file. A case without a name takes that of its folder.
    ///
    /// # Errors
    /// [`AuditError::Read`], [`AuditError::Case`] for what is not such a file, and as
    /// [`Self::check`].
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let bytes = disk::read(path)?;
        let mut case = Self::parse(path, &bytes)?;
        if case.name.is_empty() {
            let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
            case.name = Entry::at(folder.unwrap_or_else(|| Path::new("case"))).name;
        }
        case.check()?;
        Ok(case)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, AuditError> {
        toml::from_slice(bytes).map_err(|source: toml::de::Error| {
            let nearest = source
                .message()
                .strip_prefix("unknown field `")
                .and_then(|rest| rest.split_once('`'))
                .and_then(|(key, _)| hint::nearest(key, &KEYS));
            AuditError::Case {
                path: path.to_owned(),
                source: Box::new(source),
                nearest,
            }
        })
    }

    /// Checks what the shape alone does not say.
    ///
    /// # Errors
    /// [`AuditError::Value`], [`AuditError::DuplicateParty`].
    pub fn check(&self) -> Result<(), AuditError> {
        let value = |field, found: String, expected| {
            Err(AuditError::Value {
                field,
                found,
                expected,
            })
        };
        check_name(&self.name)?;
        if self.teachers.is_empty() {
            return value("teachers", "empty".into(), "at least one candidate teacher");
        }
        self.asking().check()?;
        if let Some(below) = self.stop_below.filter(|_| self.stop_at_e.is_none()) {
            return value("stop_below", below.to_string(), "it beside `stop_at_e`");
        }
        if let Some(prior) = self.prior.filter(|p| !(*p > 0.0 && *p < 1.0)) {
            return value("prior", prior.to_string(), "a number between 0 and 1");
        }
        if !(self.epsilon > 0.0 && self.epsilon < 1.0) {
            let found = self.epsilon.to_string();
            return value("epsilon", found, "a number between 0 and 1");
        }
        let candidate = |name: &&String| self.teachers.iter().any(|t| t.name == **name);
        if let Some(other) = self.siblings.iter().flatten().find(|s| !candidate(s)) {
            return value("siblings", format!("`{other}`"), "names of teachers");
        }
        let mut seen = BTreeSet::new();
        for (_, entry) in self.entries() {
            entry.check()?;
            if !seen.insert(&entry.name) {
                return Err(AuditError::DuplicateParty {
                    name: entry.name.clone(),
                });
            }
        }
        let mut logged = BTreeSet::new();
        for served in &self.served {
            if !self.teachers.iter().any(|t| t.name == served.teacher) {
                let found = format!("of {:?}", served.teacher);
                return value("served", found, "a log of one of the teachers");
            }
            if !logged.insert(&served.teacher) {
                let found = format!("of {:?} twice", served.teacher);
                return value("served", found, "one log a teacher");
            }
            if !(1..=99).contains(&served.regenerations) {
                let found = served.regenerations.to_string();
                return value("regenerations", found, "1 to 99");
            }
        }
        for mark in &self.marks {
            if !self.teachers.iter().any(|t| t.name == mark.teacher) {
                let found = format!("of {:?}", mark.teacher);
                return value("marks", found, "texts of one of the teachers");
            }
        }
        let mut planted = BTreeSet::new();
        for entry in &self.canaries {
            let of = |what: &str| format!("of {:?}{what}", entry.teacher);
            if !self.teachers.iter().any(|t| t.name == entry.teacher) {
                return value("canaries", of(""), "a file for one of the teachers");
            }
            if !planted.insert(&entry.teacher) {
                return value("canaries", of(" twice"), "one file a teacher");
            }
            let Some(scheme) = Scheme::named(&entry.scheme) else {
                let expected = "`planted`, `instructional-fingerprinting`, `perinucleus` or \
                                `chain-hash`";
                return value("scheme", format!("`{}`", entry.scheme), expected);
            };
            if (scheme == Scheme::Planted) != entry.secret.is_some() {
                let expected = "the secret of a record of `planted` canaries, and of no other file";
                return value("secret", of(""), expected);
            }
        }
        Ok(())
    }

    /// How this case asks.
    pub fn asking(&self) -> Asking {
        Asking {
            probes: self.probes.clone(),
            max_tokens: self.max_tokens,
            samples: self.samples,
            temperature: self.temperature,
            raw: self.raw,
            limit: self.limit,
            seed: self.seed,
        }
    }

    /// When probes that may stop do.
    pub fn stopping(&self) -> Option<Stopping> {
        self.stop_at_e.map(|at_e| Stopping {
            at_e,
            below: self.stop_below,
        })
    }

    /// The same case, asking so.
    pub fn ask(&mut self, asking: Asking) {
        self.probes = asking.probes;
        self.max_tokens = asking.max_tokens;
        self.samples = asking.samples;
        self.temperature = asking.temperature;
        self.raw = asking.raw;
        self.limit = asking.limit;
        self.seed = asking.seed;
    }

    /// The parties: suspect, base, teachers, controls.
    pub fn entries(&self) -> impl Iterator<Item = (Role, &Entry)> {
        let role = |role| move |entry| (role, entry);
        std::iter::once(&self.suspect)
            .map(role(Role::Suspect))
            .chain(self.base.iter().map(role(Role::Base)))
            .chain(self.teachers.iter().map(role(Role::Teacher)))
            .chain(self.controls.iter().map(role(Role::Control)))
    }

    /// The case as a file, every default written out.
    pub(crate) fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a case holds only what TOML can say")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::is_endpoint;

    const SMALL: &str = r#"
name = "demo"
suspect = "suspects/Text A"
teachers = [{ name = "t1", path = "teachers/t1" }, "teachers/t2"]
found_by = "batch:12"
"#;

    fn parse(text: &str) -> Result<Case, AuditError> {
        let case = Case::parse(Path::new("case.toml"), text.as_bytes())?;
        case.check().map(|()| case)
    }

    #[test]
    fn reads_paths_and_tables() {
        let case = parse(SMALL).expect("a case");
        let names: Vec<_> = case.entries().map(|(_, e)| e.name.as_str()).collect();
        assert_eq!(names, ["text-a", "t1", "t2"]);
        assert_eq!(case.found_by, FoundBy::Batch(12));
        assert_eq!(case.max_tokens, 48);
    }

    #[test]
    fn a_model_behind_an_api_is_no_path() {
        let toml = SMALL.replace(
            r#""teachers/t2""#,
            r#""openai:org/gpt-4o", { name = "b", path = "vllm:m", base_url = "http://127.0.0.1:1/v1",
               key_env = "B_KEY", extra = { think = false },
               authorisation = { basis = "own server", by = "A", date = "2026-02-03" } }"#,
        );
        let toml = toml.replace("\n               ", " ");
        let case = parse(&toml).expect("a case");
        let [t1, named, served] = case.teachers.as_slice() else {
            panic!("{:?}", case.teachers);
        };
        assert!(!t1.is_endpoint() && named.is_endpoint() && served.is_endpoint());
        assert_eq!(
            (named.name.as_str(), named.place(Path::new("f"))),
            ("gpt-4o", "openai:org/gpt-4o".into())
        );
        assert_eq!(t1.place(Path::new("f")), Path::new("f/teachers/t1"));
        assert_eq!(served.reach().key_env, Some("B_KEY"));
        assert_eq!(parse(&case.to_toml()).expect("its own output"), case);
        for (from, to, field) in [
            ("vllm:m", "models/m", "base_url"),
            ("own server", " ", "basis"),
            ("key_env = \"B_KEY\"", "key_emv = \"B_KEY\"", "not valid"),
        ] {
            let error = parse(&toml.replace(from, to)).expect_err(to).to_string();
            assert!(error.contains(field), "{error}");
        }
        for (path, named) in [
            ("c:/x", false),
            ("C:x", false),
            ("ab:/x", false),
            ("a/b:c", false),
            ("ab:c", true),
            ("hf:acme/tiny@main", false),
        ] {
            assert_eq!(is_endpoint(Path::new(path)), named, "{path}");
        }
    }

    #[test]
    fn the_effective_case_reads_back() {
        let case = parse(SMALL).expect("a case");
        assert_eq!(parse(&case.to_toml()).expect("its own output"), case);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known() {
        let error = parse(&SMALL.replace("found_by", "foundby")).expect_err("unknown key");
        assert_eq!(error.hint().as_deref(), Some("did you mean `found_by`?"));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let change = |from: &str, to: &str| parse(&SMALL.replace(from, to));
        for (from, to, field) in [
            ("\"demo\"", "\"../demo\"", "name"),
            ("\"t1\"", "\"..\"", "name"),
            ("\"t1\"", "\"t2\"", "two parties"),
            ("found_by", "prior = 1.0\nfound_by", "prior"),
            ("found_by", "limit = 0\nfound_by", "limit"),
            ("found_by", "max_tokens = 0\nfound_by", "max_tokens"),
            ("found_by", "samples = 0\nfound_by", "samples"),
            ("found_by", "temperature = -0.5\nfound_by", "temperature"),
            ("found_by", "temperature = nan\nfound_by", "temperature"),
            (
                "found_by",
                "served = [{ teacher = \"t3\", log = \"a\" }]\nfound_by",
                "served",
            ),
            (
                "found_by",
                "served = [{ teacher = \"t1\", log = \"a\", regenerations = 0 }]\nfound_by",
                "regenerations",
            ),
        ] {
            let error = change(from, to).expect_err(to).to_string();
            assert!(error.contains(field), "{to}: {error}");
        }
        assert!(change("batch:12", "batch:0").is_err());
    }
}
