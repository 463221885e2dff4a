//! The list of public models whose publishers state what they learned from.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    base: Option<String>,
    family: String,
    id: String,
    licence: String,
    parameters: u64,
    sources: Vec<Source>,
    states: String,
    teachers: Vec<Teacher>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    title: String,
    url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Teacher {
    by: By,
    hub: Option<String>,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Text,
    Logits,
    Preferences,
}

fn is_hub_id(id: &str) -> bool {
    let part = |p: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !p.is_empty() && p.chars().all(allowed)
    };
    // A few of the oldest models have no owner.
    match id.split_once('/') {
        Some((owner, name)) => part(owner) && part(name),
        None => part(id),
    }
}

#[test]
fn every_label_has_a_source_and_the_families_hold_together() {
    let text = include_str!("../../corpora/known-lineages/models.jsonl");
    let entries: Vec<Entry> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert!(entries.len() >= 120, "{}", entries.len());
    assert!(entries.windows(2).all(|pair| pair[0].id < pair[1].id));
    let families: BTreeMap<&str, &str> = entries
        .iter()
        .map(|e| (e.id.as_str(), e.family.as_str()))
        .collect();
    for entry in &entries {
        let id = &entry.id;
        assert!(is_hub_id(id), "{id}");
        assert!(!entry.licence.is_empty() && entry.parameters > 0, "{id}");
        assert!(entry.states.ends_with('.'), "{id}: {}", entry.states);
        assert!(!entry.sources.is_empty(), "{id}");
        for source in &entry.sources {
            assert!(
                source.url.starts_with("https://") && !source.title.is_empty(),
                "{id}"
            );
        }
        for teacher in &entry.teachers {
            let known = teacher.hub.as_deref().is_none_or(is_hub_id);
            assert!(known && !teacher.name.is_empty(), "{id}");
            let (By::Text | By::Logits | By::Preferences) = teacher.by;
        }
        if let Some(base) = &entry.base {
            assert!(is_hub_id(base) && base != id, "{id}");
            let of_base = families.get(base.as_str());
            assert!(
                of_base.is_none_or(|f| *f == entry.family),
                "{id} and {base}"
            );
        }
    }
    let taught = entries.iter().filter(|e| !e.teachers.is_empty()).count();
    assert!(taught >= 50 && entries.len() - taught >= 50, "{taught}");
}
