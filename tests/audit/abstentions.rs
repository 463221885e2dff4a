//! What cannot be told is not scored: the report says why, and what would let it be told.

use std::fs;

use serde_json::json;

use crate::tiny::{self, Bench, Weights};

/// As one line.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The report on the case with some lines of it changed, and none where `to` is empty.
fn report(bench: &Bench, changes: &[(&str, &str)]) -> String {
    let mut case = fs::read_to_string(bench.path("case.toml")).expect("reads");
    for (from, to) in changes {
        assert!(case.contains(from), "{from} is not in {case}");
        case = case.replace(from, to);
    }
    fs::write(bench.path("changed.toml"), case).expect("writes");
    unwrapped(&bench.stdout(&["audit", "changed.toml", "--run", "changed"]))
}

fn assert_told(report: &str, texts: &[&str]) {
    for text in texts {
        assert!(report.contains(text), "`{text}` is not in {report}");
    }
}

#[test]
fn without_a_base_nothing_is_ranked_and_the_base_is_asked_for() {
    let bench = Bench::new(20);
    let told = report(&bench, &[("base = \"base\"\n", "")]);
    assert_told(
        &told,
        &[
            "tlu-did abstains: no base is named",
            "weight-lineage abstains: no base is named",
            "To lift this: name the model that the suspect began from",
            "(no probe of the teacher axis gave a score)",
        ],
    );
}

/// One candidate is the most alike of one, whatever the suspect is: the peers score it 0.98.
#[test]
fn one_candidate_alone_is_not_scored() {
    let bench = Bench::new(20);
    let told = report(&bench, &[("[\"t1\", \"t2\"]", "[\"t1\"]")]);
    assert_told(
        &told,
        &[
            "o probe could rank the candidate teachers of `suspect`",
            "tlu-did abstains: 1 candidate teacher, at least 2 are needed",
            "To lift this: name further candidates, siblings of the teacher among them",
        ],
    );
    assert!(!told.contains("most supported first"), "{told}");
}

#[test]
fn a_sibling_that_is_not_named_and_fine_tunes_that_are_not_there_are_told() {
    let bench = Bench::new(20);
    let told = report(&bench, &[]);
    assert_told(
        &told,
        &[
            "bears on a sibling only where that sibling is the other",
            "no fine-tune of it that did not use the candidates",
            "needs controls of the same size and time",
        ],
    );
}

/// A model that ends every text at once.
fn silent() -> Weights {
    let mut weights = tiny::weights(4);
    for (name, shape, values) in &mut weights {
        if name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") {
            values.fill(0.0);
        }
        if name.ends_with("embed_tokens.weight") {
            let width = shape[1];
            for (token, row) in values.chunks_mut(width).enumerate() {
                row.iter_mut().for_each(|x| *x *= 0.01);
                row[0] = if token + 1 == tiny::VOCABULARY {
                    60.0
                } else {
                    1.0
                };
            }
        }
    }
    weights
}

#[test]
fn empty_completions_are_told_by_name() {
    let bench = Bench::new(20);
    tiny::write_model(&bench.path("t2"), &silent());
    let told = report(&bench, &[]);
    assert_told(
        &told,
        &[
            "tlu-did abstains: 20 of 20 texts of `t2` are empty",
            "To lift this: ask more",
        ],
    );
}

#[test]
fn a_log_that_the_teacher_could_not_have_written_is_refused() {
    let bench = Bench::new(20);
    let line = |i: usize| {
        let response = "eeeeeeee".repeat(3 + i % 2);
        let prompt = format!("opening {i}: the");
        json!({ "id": format!("r{i}"), "prompt": prompt, "response": response }).to_string()
    };
    let lines: Vec<String> = (0..30).map(line).collect();
    fs::write(bench.path("served.jsonl"), lines.join("\n")).expect("writes");
    let told = report(
        &bench,
        &[
            (
                "[\"weight-lineage\", \"tlu-did\", \"choice-priors\"]",
                "[\"regeneration-rank\"]",
            ),
            (
                "suspect = \"suspect\"\n",
                "served = [{ teacher = \"t1\", log = \"served.jsonl\" }]\nsuspect = \"suspect\"\n",
            ),
        ],
    );
    assert_told(
        &told,
        &[
            "regeneration-rank abstains:",
            "To lift this: put right what differs",
        ],
    );
}

/// Random weights under the same configuration, all parties: no signal anywhere is no acquittal.
#[test]
fn no_signal_is_said_to_be_none_and_not_innocence() {
    let bench = Bench::new(20);
    for (name, seed) in [("suspect", 11), ("base", 12), ("t1", 13), ("t2", 14)] {
        tiny::write_model(&bench.path(name), &tiny::weights(seed));
    }
    let told = report(&bench, &[]);
    assert_told(&told, &["unrelated"]);
    for word in ["No action", "innocent of", "cleared"] {
        assert!(!told.contains(word), "{told}");
    }
}
