//! What cannot be told is not scored: the report says why, and what would let it be told.

use std::fs;

use serde_json::{Value, json};

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

/// Answers cut off after a few characters are no texts of which a likelihood says much.
#[test]
fn answers_that_are_cut_short_are_told() {
    let bench = Bench::new(20);
    let told = report(&bench, &[("max_tokens = 12", "max_tokens = 4")]);
    assert_told(
        &told,
        &[
            "tlu-did abstains: 0 of 20 prompts have usable answers of all parties",
            "To lift this: ask more, or let answers be longer",
        ],
    );
}

/// A model that says one sentence and ends, whatever it is asked.
fn declining(bench: &Bench, name: &str) {
    const SENTENCE: &str = "I'm sorry, but I can't help with that.";
    let mut tokenizer = tiny::tokenizer(0);
    let added = tokenizer["added_tokens"].as_array_mut().expect("a list");
    added.push(json!({ "id": tiny::VOCABULARY, "content": SENTENCE, "special": false,
                       "normalized": false, "single_word": false, "lstrip": false, "rstrip": false }));
    // Nothing but the last token counts: after any the sentence comes, and after it the end.
    let mut weights = silent();
    let (_, shape, values) = &mut weights[0];
    let (vocabulary, width) = (shape[0], shape[1]);
    values.fill(0.0);
    for row in values.chunks_mut(width) {
        row[0] = 1.0;
    }
    values[(vocabulary - 1) * width] = 0.0;
    values[(vocabulary - 1) * width + 1] = 30.0;
    let mut row = vec![0.0; width];
    (row[0], row[1]) = (10.0, 10.0);
    values.extend(row);
    shape[0] = vocabulary + 1;
    let mut config = tiny::config();
    config["vocab_size"] = json!(vocabulary + 1);
    let folder = bench.path(name);
    fs::write(
        folder.join("model.safetensors"),
        tiny::safetensors(&weights),
    )
    .expect("writes");
    fs::write(folder.join("config.json"), config.to_string()).expect("writes");
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("writes");
}

#[test]
fn a_teacher_that_declines_is_told_by_name_and_nothing_is_measured_of_it() {
    let bench = Bench::new(20);
    declining(&bench, "t2");
    let told = report(&bench, &[]);
    assert_told(
        &told,
        &[
            "tlu-did abstains: `t2` declines in 20 of 20 texts",
            "whoever learned to decline would look like its student",
            "prompts are needed that it answers",
        ],
    );
}

#[test]
fn a_template_that_leaves_the_question_out_is_refused_at_the_door() {
    let bench = Bench::new(20);
    for model in ["suspect", "base", "t1", "t2"] {
        let template = "{% for m in messages %}{{ m.role }}{{ m.text }}{% endfor %}";
        fs::write(bench.path(model).join("chat_template.jinja"), template).expect("writes");
    }
    let refused = bench.run(&["audit", "case.toml", "--run", "run"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_told(
        &unwrapped(&tiny::stderr(&refused)),
        &[
            "its chat template leaves out what the user says",
            "`--raw`, or `raw = true` in the case",
        ],
    );
    let told = unwrapped(&bench.stdout(&["audit", "case.toml", "--run", "run", "--raw"]));
    assert_told(&told, &["prompts as plain text"]);
}

/// The model with other output for its input: it prefers the characters of `alphabet` by far.
fn writes_in(weights: &Weights, alphabet: std::ops::RangeInclusive<char>) -> Weights {
    let mut weights = weights.clone();
    for (name, shape, values) in &mut weights {
        if name.ends_with("embed_tokens.weight") {
            let rows = values.chunks_mut(shape[1]).take(95);
            for (row, c) in rows.zip(' '..='~') {
                row[0] = if alphabet.contains(&c) { 3.0 } else { 1.0 };
            }
        }
    }
    weights
}

/// Two teachers write in capitals, suspect, base and controls in small letters: what a peer calls derived at
/// 0.98, because the answers are alike in length and form. Each of our probes abstains, or puts no candidate
/// first by more than prompts and other fine-tunes of the base explain.
#[test]
fn teachers_of_another_script_are_no_evidence() {
    let bench = Bench::new(60);
    let base = tiny::weights(22);
    let write = |name: &str, weights: &Weights, alphabet| {
        tiny::write_model(&bench.path(name), &writes_in(weights, alphabet));
    };
    write("base", &base, 'a'..='z');
    write("t1", &tiny::weights(23), 'A'..='Z');
    write("t2", &tiny::weights(24), 'A'..='Z');
    let tuned = |seed| tiny::blend(&base, &tiny::weights(seed), 0.1);
    for (name, seed) in [
        ("suspect", 21),
        ("c1", 31),
        ("c2", 32),
        ("c3", 33),
        ("c4", 34),
    ] {
        write(name, &tuned(seed), 'a'..='z');
    }
    let probes = "[\"tlu-did\", \"choice-priors\", \"directional-displacement\", \
                  \"divergence-agreement\", \"reversed-typicality\", \"template-residue\", \
                  \"style-displacement\"]";
    let teachers = "teachers = [\"t1\", \"t2\"]";
    let parties = format!("{teachers}\ncontrols = [\"c1\", \"c2\", \"c3\", \"c4\"]");
    report(
        &bench,
        &[
            (
                "[\"weight-lineage\", \"tlu-did\", \"choice-priors\"]",
                probes,
            ),
            ("max_tokens = 12", "max_tokens = 24"),
            (teachers, &parties),
        ],
    );
    let (mut scored, mut abstained) = (Vec::new(), 0);
    for file in fs::read_dir(bench.path("changed/evidence")).expect("evidence") {
        let path = file.expect("a file").path();
        let text = fs::read_to_string(&path).expect("reads");
        let found: Value = serde_json::from_str(&text).expect("JSON");
        let outcome = &found["record"]["outcome"];
        let Some(candidates) = outcome["statistic"]["candidates"].as_array() else {
            assert!(outcome["abstention"].is_object(), "{found}");
            abstained += 1;
            continue;
        };
        for candidate in candidates {
            let name = candidate["candidate"].as_str().expect("a name");
            let p = format!("log10-p-among-controls/{name}");
            let p = outcome["statistic"]["details"][&p].as_f64();
            let ahead = candidate["interval"]["lower"].as_f64() > Some(0.0);
            let stands_out = ahead && p.expect("four controls") <= -2.0;
            assert!(!stands_out, "{}: {candidate} at {p:?}", path.display());
        }
        scored.push(path);
    }
    assert_eq!(scored.len() + abstained, 7);
    assert!(
        scored.iter().any(|p| p.ends_with("tlu-did.json")),
        "{scored:?}"
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
