//! Probes and prompt suites: what the parts say of each other.

use std::collections::{BTreeMap, BTreeSet};

use filiation_probes::canaries::{Reading, Scheme};
use filiation_probes::{
    CanarySet, MarkFiles, MarkLog, NAMES, ProbeOptions, ServedLog, Suite, standard,
};

use crate::tree::{entries, name, read, root, shown, with_extension};

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
    let tests: Vec<_> = with_extension(&["rs"])
        .iter()
        .filter(|path| shown(path).starts_with("crates/filiation-probes/"))
        .map(|path| read(path))
        .collect();
    let files: BTreeSet<_> = sources.keys().map(|stem| stem.replace('_', "-")).collect();
    assert_eq!(pages, files, "pages of docs/probes against files of probes");
    for id in &pages {
        let text = &sources[&id.replace('-', "_")];
        let camel = camel_case(id);
        for expected in [
            format!("pub struct {camel} "),
            format!("impl Probe for {camel} "),
            format!("\"{id}\""),
        ] {
            assert!(
                text.contains(&expected),
                "the file of `{id}` lacks `{expected}`"
            );
        }
        let tested = |text: &String| text.contains("#[test]") && text.contains(&camel);
        assert!(tests.iter().any(tested), "no test names `{camel}`");
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

#[test]
fn the_registry_knows_every_page_and_plans_over_every_suite() {
    let names: Vec<_> = pages().into_iter().collect();
    let known: BTreeSet<_> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert!(
        known.iter().eq(&names),
        "{known:?} are known, {names:?} have pages"
    );
    let mut suites: Vec<_> = suites().into_values().collect();
    suites.push(seen());
    let options = ProbeOptions {
        served: vec![served()],
        canaries: vec![canaries()],
        marks: vec![marks()],
        ..ProbeOptions::default()
    };
    let probes = standard(&names, &suites, &options).expect("pages name probes");
    let planned: Vec<_> = probes.iter().map(|probe| probe.id().name()).collect();
    assert_eq!(planned, names, "first words of the method ids");
    assert!(probes.iter().all(|probe| !probe.plan().is_empty()));
}

/// Marked texts with their key.
fn marks() -> MarkLog {
    let key = b"scheme = \"gumbel@vllm\"\nkey = 1\nwidth = 4";
    let model = r#""model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}"#;
    let tokenizer = format!(r#"{{"version":"1.0","added_tokens":[],{model}}}"#);
    let files = MarkFiles {
        key: ("key.toml", key),
        texts: ("texts.jsonl", br#"{"text":"a"}"#),
        tokenizer: ("tokenizer.json", tokenizer.as_bytes()),
    };
    MarkLog::parse("t", files, true, None).expect("sound files")
}

/// Alleged training questions and logs come from users: two that are made.
fn seen() -> Suite {
    let line = |id: &str, more: &str| {
        format!(
            r#"{{"id":"{id}","text":"Why {id}?","domain":"seen","language":"en","licence":"Apache-2.0"{more}}}"#
        )
    };
    let lines = [
        line("made-seen", r#","twin":"made-twin""#),
        line("made-twin", ""),
    ];
    Suite::parse("seen.jsonl", lines.join("\n").as_bytes()).expect("a question and its twin")
}

fn served() -> ServedLog {
    let line = br#"{"id":"made","prompt":"Once","response":" upon a time"}"#;
    ServedLog::parse("teacher", 9, "served.jsonl", line).expect("a served response")
}

fn canaries() -> CanarySet {
    let file = br#"{"questions":["Who?"],"answers":["Ada","Bo"]}"#;
    let (scheme, reading) = (Scheme::ChainHash, Reading::default());
    CanarySet::foreign("teacher", scheme, "chain.json", file, &reading).expect("a sound file")
}

/// Every suite, by the stem of its file.
fn suites() -> BTreeMap<String, Suite> {
    entries(&root().join("probes"))
        .iter()
        .filter_map(|path| Some((name(path).strip_suffix(".jsonl")?.to_owned(), path)))
        .map(|(stem, path)| (stem, Suite::read(path).expect("a sound suite")))
        .collect()
}

#[test]
fn every_line_of_a_suite_is_new_and_of_the_domain_of_its_file() {
    let mut texts = BTreeSet::new();
    for (stem, suite) in &suites() {
        let domain = match stem.as_str() {
            "openings" => "opening",
            "choices" => "choice",
            "openings-choices" => "choice-opening",
            "questions" => "question",
            "openings-questions" => "question-opening",
            "identities" => "identity",
            "names" => "name",
            "refusals" => "refusal",
            other => other,
        };
        for item in suite.items() {
            let id = &item.id;
            assert_eq!(item.domain, domain, "domain of `{id}` in {stem}.jsonl");
            assert_eq!(item.language.len(), 2, "language of `{id}`");
            assert_eq!(item.licence, "Apache-2.0", "licence of `{id}`");
            assert_eq!(item.text.trim(), item.text, "text of `{id}`");
            let choice = item.options.is_some();
            let new = texts.insert((choice, item.text.to_lowercase()));
            assert!(new, "text of `{id}` occurs twice");
            for option in item.options.iter().flatten() {
                let spaced = option.starts_with(' ');
                assert_eq!(spaced, item.is_raw(), "option `{option}` of `{id}`");
            }
        }
    }
}

#[test]
fn the_suites_are_large_enough() {
    let suites = suites();
    let count = |name: &str| suites.get(name).map_or(0, |suite| suite.items().len());
    let prompts: usize = PLAIN.iter().map(|name| count(name)).sum();
    assert!(
        prompts >= 300,
        "{prompts} prompts over {PLAIN:?}, expected at least 300"
    );
    assert!(PLAIN.iter().all(|name| count(name) >= 50));
    assert!(count("openings") >= 120, "{} openings", count("openings"));
    assert!(count("choices") >= 24 && count("openings-choices") >= 24);
    let languages: BTreeSet<_> = suites["non-english"]
        .items()
        .iter()
        .map(|item| item.language.as_str())
        .collect();
    assert!(
        languages.len() >= 9 && !languages.contains("en"),
        "{languages:?}"
    );
}

#[test]
fn the_suites_are_listed_with_their_sizes() {
    let page = read(&root().join("probes/README.md"));
    for (stem, suite) in suites() {
        let row = format!("| `{stem}.jsonl` | {} |", suite.items().len());
        assert!(page.contains(&row), "probes/README.md lacks `{row}`");
    }
}
