//! Chain & Hash (Russinovich, Cai and Salem 2024): which of the answers belongs to a question is the
//! value of a hash over all questions, all answers and the question. Whoever fixes the answers cannot
//! choose which one a question gets.

use std::collections::BTreeSet;

use filiation_core::{Digest, Prompt};
use serde::Deserialize;

use super::{Canary, CanaryProblem, Candidate, MOST_TEXTS, json};

const MOST_ANSWERS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    questions: Vec<String>,
    answers: Vec<String>,
    /// Place of the answer of each question, from 0, where the file's maker hashed in another way.
    #[serde(default)]
    targets: Option<Vec<usize>>,
}

/// The canaries, and whether the hash gives the targets.
pub(super) fn read(text: &str) -> Result<(Vec<Canary>, bool), CanaryProblem> {
    const EXPECTED: &str = "an object with `questions`, `answers` and where known `targets`";
    let file: File = json(text, EXPECTED)?;
    for (what, all) in [
        ("its question", &file.questions),
        ("its answer", &file.answers),
    ] {
        let mut met = BTreeSet::new();
        if let Some(i) = all.iter().position(|text| !met.insert(text)) {
            return Err(CanaryProblem::Repeated { what, entry: i + 1 });
        }
    }
    if !(2..=MOST_ANSWERS).contains(&file.answers.len()) {
        return Err(CanaryProblem::Value {
            name: "answers",
            expected: "2 to 10000 texts",
        });
    }
    if file.questions.len() as u64 * file.answers.len() as u64 > MOST_TEXTS {
        return Err(CanaryProblem::TEXTS);
    }
    let hashed: Vec<usize> = file.questions.iter().map(|q| target(&file, q)).collect();
    let targets = file.targets.clone().unwrap_or_else(|| hashed.clone());
    if targets.len() != hashed.len() || targets.iter().any(|t| *t >= file.answers.len()) {
        return Err(CanaryProblem::Value {
            name: "targets",
            expected: "the place of an answer for each question",
        });
    }
    let bound = targets == hashed;
    let canary = |(i, (question, chosen)): (usize, (&String, usize))| {
        let candidate = |answer: &String| Candidate {
            prompt: Prompt::user(question.clone()),
            text: answer.clone(),
        };
        Canary {
            id: format!("q{:04}", i + 1),
            repeats: 1,
            candidates: file.answers.iter().map(candidate).collect(),
            chosen,
        }
    };
    let canaries = file.questions.iter().zip(targets).enumerate();
    Ok((canaries.map(canary).collect(), bound))
}

/// SHA-256 over all questions, all answers and the question, each followed by a zero byte; as a
/// number, big-endian, modulo the number of answers.
fn target(file: &File, question: &String) -> usize {
    let mut bytes = Vec::new();
    for text in file.questions.iter().chain(&file.answers).chain([question]) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    let modulus = file.answers.len() as u64;
    let digest = Digest::of(&bytes);
    let rest = |rest: u64, byte: &u8| (rest * 256 + u64::from(*byte)) % modulus;
    digest.as_bytes().iter().fold(0, rest) as usize
}
