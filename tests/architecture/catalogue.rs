//! Probes and prompt suites: what the parts say of each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::tree::{entries, name, read, root};

const SECTIONS: [&str; 5] = [
    "## What it measures",
    "## Why it bears on provenance",
    "## Innocent explanations",
    "## When it abstains",
    "## Reference",
];
const PLAIN: [&str; 4] = ["chat", "reasoning", "code", "non-english"];

/// The ids that have a page.
fn pages() -> BTreeSet<String> {
    entries(&root().join("docs/probes"))
        .iter()
        .filter_map(|path| Some(name(path).strip_suffix(".md")?.to_owned()))
        .filter(|id| id != "README")
        .collect()
}

/// Source of every file that implements a probe, by its stem.
fn sources() -> BTreeMap<String, String> {
    entries(&root().join("crates/filiation-probes/src"))
        .into_iter()
        .filter(|path| path.is_dir())
        .flat_map(|family| entries(&family))
        .filter_map(|path| {
            let stem = name(&path).strip_suffix(".rs")?.to_owned();
            let text = read(&path);
            text.contains("impl Probe for").then_some((stem, text))
        })
        .collect()
}

fn camel_case(id: &str) -> String {
    id.split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}

#[test]
fn page_file_struct_test_and_id_of_a_probe_agree() {
    let pages = pages();
    let sources = sources();
    assert!(!pages.is_empty());
    let files: BTreeSet<_> = sources.keys().map(|stem| stem.replace('_', "-")).collect();
    assert_eq!(pages, files, "pages of docs/probes against files of probes");
    for id in &pages {
        let text = &sources[&id.replace('-', "_")];
        let camel = camel_case(id);
        for expected in [
            format!("pub struct {camel} "),
            format!("impl Probe for {camel} "),
            format!("\"{id}\""),
            "#[cfg(test)]".to_owned(),
        ] {
            assert!(
                text.contains(&expected),
                "the file of `{id}` lacks `{expected}`"
            );
        }
    }
}

#[test]
fn every_page_has_the_five_sections_and_a_line_in_the_index() {
    let index = read(&root().join("docs/probes/README.md"));
    for id in pages() {
        let page = read(&root().join(format!("docs/probes/{id}.md")));
        for section in SECTIONS {
            assert!(
                page.contains(section),
                "docs/probes/{id}.md lacks `{section}`"
            );
        }
        assert!(
            index.contains(&format!("]({id}.md)")),
            "the index lacks `{id}`"
        );
    }
}

/// The lines of every suite, by the name of its file.
fn suites() -> BTreeMap<String, Vec<Map<String, Value>>> {
    entries(&root().join("probes"))
        .iter()
        .filter_map(|path| Some((name(path).strip_suffix(".jsonl")?.to_owned(), read(path))))
        .map(|(suite, text)| {
            let line = |(number, line): (usize, &str)| {
                serde_json::from_str(line)
                    .unwrap_or_else(|e| panic!("{suite}.jsonl line {}: {e}", number + 1))
            };
            let lines = text.lines().enumerate().map(line).collect();
            (suite, lines)
        })
        .collect()
}

fn text<'a>(item: &'a Map<String, Value>, key: &str) -> &'a str {
    item.get(key)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{item:?} has no text `{key}`"))
}

#[test]
fn every_line_of_a_suite_is_well_formed_and_new() {
    let (mut ids, mut texts) = (BTreeSet::new(), BTreeSet::new());
    for (suite, item) in suites()
        .iter()
        .flat_map(|(s, items)| items.iter().map(move |i| (s, i)))
    {
        let (id, words, domain) = (text(item, "id"), text(item, "text"), text(item, "domain"));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!(!id.is_empty() && id.bytes().all(plain), "id `{id}`");
        assert!(ids.insert(id.to_owned()), "id `{id}` occurs twice");
        assert!(!words.is_empty() && words.trim() == words, "text of `{id}`");
        let choice = domain.contains("choice");
        assert!(
            texts.insert((choice, words.to_lowercase())),
            "text of `{id}` occurs twice"
        );
        assert_eq!(text(item, "language").len(), 2, "language of `{id}`");
        assert_eq!(text(item, "licence"), "Apache-2.0", "licence of `{id}`");
        let expected = match suite.as_str() {
            "openings" => "opening",
            "choices" => "choice",
            "openings-choices" => "choice-opening",
            other => other,
        };
        assert_eq!(domain, expected, "domain of `{id}` in {suite}.jsonl");
        assert_eq!(item.contains_key("options"), choice, "options of `{id}`");
        assert_eq!(item.len(), if choice { 6 } else { 5 }, "keys of `{id}`");
        if choice {
            options_are_distinct(id, item, domain == "choice-opening");
        }
    }
}

fn options_are_distinct(id: &str, item: &Map<String, Value>, spaced: bool) {
    let options: Vec<_> = item["options"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|o| {
            o.as_str()
                .unwrap_or_else(|| panic!("an option of `{id}` is not a text"))
        })
        .collect();
    assert!(options.len() >= 2, "`{id}` has {} options", options.len());
    for (i, option) in options.iter().enumerate() {
        assert!(!option.trim().is_empty(), "`{id}` has an empty option");
        assert_eq!(
            option.starts_with(' '),
            spaced,
            "option `{option}` of `{id}`"
        );
        let extends = |(j, other): (usize, &&str)| i != j && other.starts_with(option);
        assert!(
            !options.iter().enumerate().any(extends),
            "option `{option}` of `{id}` is a prefix of another"
        );
    }
}

#[test]
fn the_suites_are_large_enough() {
    let suites = suites();
    let count = |name: &str| suites.get(name).map_or(0, Vec::len);
    let prompts: usize = PLAIN.iter().map(|name| count(name)).sum();
    assert!(
        prompts >= 300,
        "{prompts} prompts over {PLAIN:?}, expected at least 300"
    );
    assert!(PLAIN.iter().all(|name| count(name) >= 50));
    assert!(count("openings") >= 120, "{} openings", count("openings"));
    assert!(count("choices") >= 24 && count("openings-choices") >= 24);
    let languages: BTreeSet<_> = suites["non-english"]
        .iter()
        .map(|item| text(item, "language"))
        .collect();
    assert!(
        languages.len() >= 9 && !languages.contains("en"),
        "{languages:?}"
    );
}

#[test]
fn the_suites_are_listed_with_their_sizes() {
    let page = read(&root().join("probes/README.md"));
    for (suite, items) in suites() {
        let row = format!("| `{suite}.jsonl` | {} |", items.len());
        assert!(page.contains(&row), "probes/README.md lacks `{row}`");
    }
}
