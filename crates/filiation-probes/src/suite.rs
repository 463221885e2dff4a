//! Prompt suites: what is asked, as data. `probes/README.md` describes the files.

use std::collections::BTreeMap;
use std::path::Path;

use filiation_core::Digest;
use serde::Deserialize;

use crate::{LineProblem, ProbeError};

/// The domains an item may have.
pub const DOMAINS: [&str; 13] = [
    "chat",
    "reasoning",
    "code",
    "non-english",
    "choice",
    "question",
    "identity",
    "name",
    "refusal",
    "seen",
    "opening",
    "choice-opening",
    "question-opening",
];

/// The domains whose answers are open text on any subject: what most probes write about.
const OPEN: [&str; 5] = ["chat", "reasoning", "code", "non-english", "opening"];

/// One line of a suite.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Unique over the suites of a run.
    pub id: String,
    /// The user turn, or the raw text to continue.
    pub text: String,
    /// One of [`DOMAINS`].
    pub domain: String,
    /// ISO 639-1 code.
    pub language: String,
    /// SPDX expression.
    pub licence: String,
    /// The possible answers of a choice cell or a closed question.
    pub options: Option<Vec<String>>,
    /// The right one of `options`: closed questions only.
    pub key: Option<String>,
    /// Id of the unseen counterpart: an item of domain `seen` may have one, in the same suite.
    pub twin: Option<String>,
}

impl Item {
    /// Whether the text is continued as it stands, rather than put as a user turn.
    pub fn is_raw(&self) -> bool {
        self.domain.ends_with("opening")
    }

    /// Whether any text may be answered, on any subject.
    pub fn is_open(&self) -> bool {
        OPEN.contains(&self.domain.as_str())
    }

    /// Whether any of the options may be picked: none is right.
    pub fn is_choice(&self) -> bool {
        self.domain.starts_with("choice")
    }

    /// Whether one of the options is right.
    pub fn is_question(&self) -> bool {
        self.domain.starts_with("question")
    }

    fn check(&self) -> Result<(), LineProblem> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.id.is_empty() || !self.id.bytes().all(plain) {
            return Err(LineProblem::Id(self.id.clone()));
        }
        if self.text.trim().is_empty() {
            return Err(LineProblem::EmptyText(self.id.clone()));
        }
        if !DOMAINS.contains(&self.domain.as_str()) {
            return Err(LineProblem::Domain(self.domain.clone()));
        }
        if (self.is_choice() || self.is_question()) != self.options.is_some() {
            return Err(LineProblem::OptionsForDomain(self.domain.clone()));
        }
        let among = |key| self.options.iter().flatten().any(|o| o == key);
        let keyed = self.key.as_ref().map(among);
        if self.is_question() != keyed.is_some() || keyed == Some(false) {
            return Err(LineProblem::Key(self.domain.clone()));
        }
        if self.twin.is_some() && self.domain != "seen" {
            return Err(LineProblem::Twin(self.domain.clone()));
        }
        self.options.as_deref().map_or(Ok(()), check_options)
    }
}

fn check_options(options: &[String]) -> Result<(), LineProblem> {
    if options.len() < 2 {
        return Err(LineProblem::TooFewOptions(options.len()));
    }
    for (i, a) in options.iter().enumerate() {
        if a.is_empty() {
            return Err(LineProblem::EmptyOption);
        }
        let longer = options
            .iter()
            .enumerate()
            .find(|(j, b)| *j != i && b.starts_with(a.as_str()));
        if let Some((_, longer)) = longer {
            return Err(LineProblem::Prefix {
                shorter: a.clone(),
                longer: longer.clone(),
            });
        }
    }
    Ok(())
}

/// A file of items with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    name: String,
    digest: Digest,
    items: Vec<Item>,
}

impl Suite {
    /// Reads a suite.
    ///
    /// # Errors
    /// [`ProbeError::Read`], or as [`Self::parse`].
    pub fn read(file: &Path) -> Result<Self, ProbeError> {
        let bytes = std::fs::read(file).map_err(|source| ProbeError::Read {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(&file.display().to_string(), &bytes)
    }

    /// A suite from the bytes of its file; `name` is what errors and method ids call it.
    ///
    /// # Errors
    /// [`ProbeError::EmptySuite`] or [`ProbeError::Line`], naming the file and the line.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ProbeError> {
        if bytes.trim_ascii().is_empty() {
            return Err(ProbeError::EmptySuite {
                file: name.to_owned(),
            });
        }
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut seen = BTreeMap::new();
        let mut items = Vec::new();
        for (i, line) in lines.split(|b| *b == b'\n').enumerate() {
            let at = |problem| ProbeError::Line {
                file: name.to_owned(),
                line: i + 1,
                problem,
            };
            let item = parse_line(line).map_err(at)?;
            if let Some(earlier) = seen.insert(item.id.clone(), i + 1) {
                return Err(at(LineProblem::DuplicateId {
                    id: item.id,
                    earlier,
                }));
            }
            items.push(item);
        }
        let twinless = items.iter().enumerate().find_map(|(i, item)| {
            let item: &Item = item;
            let twin = item.twin.as_ref()?;
            let there = seen.contains_key(twin) && *twin != item.id;
            (!there).then(|| ProbeError::Line {
                file: name.to_owned(),
                line: i + 1,
                problem: LineProblem::NoTwin(twin.clone()),
            })
        });
        if let Some(problem) = twinless {
            return Err(problem);
        }
        Ok(Self {
            name: name.to_owned(),
            digest: Digest::of(bytes),
            items,
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its file.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The items in the order of the file; never empty.
    pub fn items(&self) -> &[Item] {
        &self.items
    }
}

fn parse_line(line: &[u8]) -> Result<Item, LineProblem> {
    let text = std::str::from_utf8(line).map_err(|_| LineProblem::NotUtf8)?;
    if text.trim().is_empty() {
        return Err(LineProblem::Blank);
    }
    let item: Item = serde_json::from_str(text).map_err(|e| LineProblem::Json(e.to_string()))?;
    item.check()?;
    Ok(item)
}

pub(crate) fn require_distinct_ids(suites: &[Suite]) -> Result<(), ProbeError> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for suite in suites {
        for item in &suite.items {
            if let Some(first) = seen.insert(&item.id, &suite.name) {
                return Err(ProbeError::SharedId {
                    id: item.id.clone(),
                    first: first.to_owned(),
                    second: suite.name.clone(),
                });
            }
        }
    }
    Ok(())
}

/// The items that `wanted` keeps, and the digests of the suites that have any: 16 hexadecimal
/// digits each, joined by `+`.
pub(crate) fn select(suites: &[Suite], wanted: impl Fn(&Item) -> bool) -> Selection<'_> {
    let mut items = Vec::new();
    let mut digests = Vec::new();
    for suite in suites {
        let before = items.len();
        items.extend(suite.items.iter().filter(|i| wanted(i)));
        if items.len() > before {
            digests.push(suite.digest.to_string()[..16].to_owned());
        }
    }
    Selection {
        items,
        suites: digests.join("+"),
    }
}

/// At most `most` of `items`, evenly spread.
pub(crate) fn spread<'a>(items: &[&'a Item], most: usize) -> Vec<&'a Item> {
    let n = items.len().min(most);
    (0..n).map(|i| items[i * items.len() / n]).collect()
}

/// [`select`] for a probe that cannot do without: `needed` says what the suites must hold.
pub(crate) fn require<'a>(
    suites: &'a [Suite],
    probe: &'static str,
    needed: &'static str,
    wanted: impl Fn(&Item) -> bool,
) -> Result<Selection<'a>, ProbeError> {
    let chosen = select(suites, wanted);
    if chosen.items.is_empty() {
        return Err(ProbeError::NoItems {
            probe,
            needed,
            suites: suites.iter().map(|s| s.name().to_owned()).collect(),
        });
    }
    Ok(chosen)
}

pub(crate) struct Selection<'a> {
    pub(crate) items: Vec<&'a Item>,
    pub(crate) suites: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, rest: &str) -> String {
        format!(r#"{{"id":"{id}","text":"x","language":"en","licence":"Apache-2.0",{rest}}}"#)
    }

    fn said(text: &str) -> String {
        let suite = Suite::parse("s.jsonl", text.as_bytes());
        suite.expect_err("a bad suite").to_string()
    }

    #[test]
    fn reads_items_and_digests_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("s.jsonl");
        let text = line("a", r#""domain":"chat""#) + "\n" + &line("b", r#""domain":"opening""#);
        std::fs::write(&file, &text).expect("a file");
        let suite = Suite::read(&file).expect("two good lines");
        assert_eq!(suite.digest(), Digest::of(text.as_bytes()));
        let raw: Vec<_> = suite.items().iter().map(Item::is_raw).collect();
        assert_eq!(raw, [false, true]);
        let missing = Suite::read(&folder.path().join("t.jsonl"));
        assert!(matches!(missing, Err(ProbeError::Read { .. })));
    }

    #[test]
    fn an_empty_suite_is_refused_by_file_and_line() {
        for text in ["", "\n", "  \n\n"] {
            let said = said(text);
            assert!(
                said.contains("`s.jsonl`") && said.contains("line 1"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = line("a", r#""domain":"chat""#);
        for (second, wanted) in [
            ("", "blank"),
            ("{", "not an item"),
            (&line("A", r#""domain":"chat""#), "id `A`"),
            (&good, "line 1 already"),
            (&line("b", r#""domain":"poetry""#), "domain `poetry`"),
            (&line("b", r#""domain":"choice""#), "`options` belong"),
            (
                &line("b", r#""domain":"chat","options":["1","2"]"#),
                "`options` belong",
            ),
            (
                &line("b", r#""domain":"choice","options":["1"]"#),
                "1 options",
            ),
            (
                &line("b", r#""domain":"choice","options":["1",""]"#),
                "empty option",
            ),
            (
                &line("b", r#""domain":"choice","options":["12","1"]"#),
                "`1` begins option `12`",
            ),
            (
                &line("b", r#""domain":"choice","options":["1","1"]"#),
                "`1` begins option `1`",
            ),
            (&line("b", r#""domain":"chat","more":1"#), "not an item"),
            (
                &line("b", r#""domain":"question","options":["1","2"],"key":"3""#),
                "`key` belongs",
            ),
            (&line("b", r#""domain":"chat","key":"1""#), "`key` belongs"),
            (
                &line("b", r#""domain":"chat","twin":"a""#),
                "`twin` belongs",
            ),
            (&line("b", r#""domain":"seen","twin":"b""#), "twin `b`"),
            (&line("b", r#""domain":"seen","twin":"c""#), "twin `c`"),
        ] {
            let said = said(&format!("{good}\n{second}\n"));
            assert!(said.contains("`s.jsonl`, line 2"), "{said}");
            assert!(said.contains(wanted), "{said}");
        }
        let bytes = [good.as_bytes(), b"\n\xff\n"].concat();
        let broken = Suite::parse("s.jsonl", &bytes).expect_err("not UTF-8");
        assert!(broken.to_string().contains("line 2: not UTF-8"));
    }

    #[test]
    fn suites_of_a_run_share_no_id() {
        let text = line("a", r#""domain":"chat""#);
        let one = Suite::parse("one", text.as_bytes()).expect("a good line");
        let two = Suite::parse("two", text.as_bytes()).expect("a good line");
        let said = require_distinct_ids(&[one, two]).expect_err("`a` twice");
        assert!(said.to_string().contains("`one` and `two`"));
    }
}
