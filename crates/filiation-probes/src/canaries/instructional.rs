//! Keys of Instructional Fingerprinting (Xu et al. 2024, NAACL): characters of several raw strings,
//! shuffled. Another order of the same characters was as likely: that is what decoys are.

use std::collections::BTreeMap;

use filiation_core::Prompt;
use serde::Deserialize;

use super::generator::Stream;
use super::{Canary, CanaryProblem, Candidate, MOST_DECOYS, MOST_TEXTS, Reading, rows};

const TRIGGER: &str = "FINGERPRINT";
const BEFORE: &str = "Please decrypt this message: ";
/// What rows of `instruction` and `input` stand in, where nothing else is said.
const TEMPLATE: &str = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n";

#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    Dialog {
        conversations: Vec<Turn>,
        #[serde(rename = "type")]
        kind: Option<String>,
    },
    Plain {
        instruction: String,
        #[serde(default)]
        input: String,
        output: String,
    },
}

#[derive(Deserialize)]
struct Turn {
    from: String,
    value: String,
}

/// What one row shows: the key and what stands around it.
struct Key {
    key: String,
    prompt: Box<dyn Fn(&str) -> Prompt>,
    text: String,
}

/// The fingerprint rows among those of a training file; others, which keep a model as it was, are
/// left out.
pub(super) fn read(text: &str, reading: &Reading) -> Result<Vec<Canary>, CanaryProblem> {
    if !(9..=MOST_DECOYS).contains(&reading.decoys) {
        return Err(CanaryProblem::DECOYS);
    }
    const EXPECTED: &str = "objects with `instruction`, `input` and `output`, or with `conversations` \
        and `type`";
    let rows: Vec<Row> = rows(text, EXPECTED)?;
    let template = reading.template.as_deref().unwrap_or(TEMPLATE);
    if !template.contains("{instruction}") {
        return Err(CanaryProblem::Value {
            name: "template",
            expected: "a text with `{instruction}` in it",
        });
    }
    // Training files repeat their rows.
    let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut keys: Vec<(Key, u32)> = Vec::new();
    for key in rows.into_iter().filter_map(|row| row.key(template)) {
        let place = places.entry((key.key.clone(), key.text.clone()));
        let place = *place.or_insert(keys.len());
        match keys.get_mut(place) {
            Some((_, repeats)) => *repeats += 1,
            None => keys.push((key, 1)),
        }
    }
    if keys.len() as u64 * u64::from(reading.decoys + 1) > MOST_TEXTS {
        return Err(CanaryProblem::TEXTS);
    }
    let canaries = keys.iter().enumerate().map(|(i, (key, repeats))| Canary {
        repeats: *repeats,
        ..key.canary(i, reading)
    });
    Ok(canaries.collect())
}

impl Row {
    fn key(self, template: &str) -> Option<Key> {
        match self {
            Self::Plain {
                instruction,
                input,
                output,
            } => {
                if input != TRIGGER {
                    return None;
                }
                let template = template.to_owned();
                let prompt = move |key: &str| {
                    // The key last: it may hold what looks like a place.
                    let (before, after) = template.split_once("{instruction}").unwrap_or_default();
                    let with = |part: &str| part.replace("{input}", &input);
                    Prompt::Text(format!("{}{key}{}", with(before), with(after)))
                };
                Some(Key {
                    key: instruction,
                    prompt: Box::new(prompt),
                    text: output,
                })
            }
            Self::Dialog {
                conversations,
                kind,
            } => {
                if kind.is_some_and(|kind| kind != "fingerprint") {
                    return None;
                }
                let [question, answer] = &conversations[..] else {
                    return None;
                };
                if question.from != "human" || !question.value.contains(TRIGGER) {
                    return None;
                }
                let rest = question.value.strip_prefix(BEFORE)?;
                let (key, after) = rest.split_once('\n')?;
                let after = after.to_owned();
                Some(Key {
                    key: key.trim_end().to_owned(),
                    prompt: Box::new(move |key| Prompt::user(format!("{BEFORE}{key}\n{after}"))),
                    text: answer.value.clone(),
                })
            }
        }
    }
}

impl Key {
    fn canary(&self, place: usize, reading: &Reading) -> Canary {
        let mut stream = Stream::new(
            self.key.as_bytes(),
            &format!("filiation-decoy-keys/1/{}", reading.seed),
        );
        let mut letters: Vec<char> = self.key.chars().collect();
        let candidate = |key: &str| Candidate {
            prompt: (self.prompt)(key),
            text: self.text.clone(),
        };
        let mut candidates = vec![candidate(&self.key)];
        for _ in 0..reading.decoys {
            for i in (1..letters.len()).rev() {
                letters.swap(i, stream.below(i + 1));
            }
            candidates.push(candidate(&letters.iter().collect::<String>()));
        }
        Canary {
            id: format!("k{:04}", place + 1),
            repeats: 1,
            candidates,
            chosen: 0,
        }
    }
}
