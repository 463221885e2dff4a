//! Each bad input gives one clear error that names the file, what was found and what was
//! expected; exit code 1, an empty standard output, and nothing lost.

use std::fs;

use serde_json::json;

use crate::tiny::{self, Bench, VOCABULARY, WIDTH, stderr};

/// Audits after `spoil`; the error must hold every text of `told`.
fn refused(spoil: impl Fn(&Bench), told: &[&str]) {
    let bench = Bench::new(4);
    spoil(&bench);
    let output = bench.run(&["audit", "case.toml"]);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty(), "{error}");
    assert_eq!(error.matches("error: ").count(), 1, "{error}");
    for text in told {
        assert!(error.contains(text), "`{text}` is not in\n{error}");
    }
    assert!(!bench.path("runs").exists(), "a run was left behind");
}

fn edit_config(bench: &Bench, party: &str, key: &str, value: serde_json::Value) {
    let mut config = tiny::config();
    config[key] = value;
    fs::write(bench.path(party).join("config.json"), config.to_string()).expect("writes");
}

#[test]
fn truncated_weights() {
    refused(
        |bench| {
            let path = bench.path("suspect/model.safetensors");
            let bytes = fs::read(&path).expect("reads");
            fs::write(path, &bytes[..bytes.len() - 100]).expect("cuts");
        },
        &[
            "suspect `suspect`",
            "suspect/model.safetensors",
            "expected within",
        ],
    );
}

#[test]
fn a_shard_index_that_leaves_the_folder() {
    refused(
        |bench| {
            let folder = bench.path("t1");
            fs::remove_file(folder.join("model.safetensors")).expect("removes");
            let index = json!({ "metadata": { "total_size": 8 },
                                "weight_map": { "model.norm.weight": "../x.safetensors" } });
            fs::write(
                folder.join("model.safetensors.index.json"),
                index.to_string(),
            )
            .expect("writes");
        },
        &[
            "teacher `t1`",
            "t1/model.safetensors.index.json",
            "../x.safetensors",
        ],
    );
}

#[test]
fn a_config_that_disagrees_with_the_tensors() {
    refused(
        |bench| edit_config(bench, "base", "intermediate_size", json!(96)),
        &["base `base`", "model.layers.0.mlp", "[64, 32]", "[96, 32]"],
    );
}

#[test]
fn a_config_that_is_not_understood() {
    refused(
        |bench| {
            let scaling = json!({ "rope_type": "spiral", "factor": 2.0 });
            edit_config(bench, "t2", "rope_scaling", scaling);
        },
        &["teacher `t2`", "t2/config.json", "spiral"],
    );
}

#[test]
fn a_tokenizer_larger_than_the_embedding() {
    refused(
        |bench| {
            let tokenizer = tiny::tokenizer(40).to_string();
            fs::write(bench.path("t1/tokenizer.json"), tokenizer).expect("writes");
        },
        &["teacher `t1`", "t1/tokenizer.json", &VOCABULARY.to_string()],
    );
}

#[test]
fn weights_that_are_not_numbers() {
    refused(
        |bench| {
            let mut weights = tiny::weights(1);
            weights[3].2[WIDTH + 1] = f32::NAN;
            fs::write(
                bench.path("suspect/model.safetensors"),
                tiny::safetensors(&weights),
            )
            .expect("writes");
        },
        &["suspect `suspect`", "model.safetensors", "v_proj", "NaN"],
    );
}

#[test]
fn a_template_that_loops() {
    refused(
        |bench| {
            let deep = "{% for i in range(9999) %}".repeat(6) + "x" + &"{% endfor %}".repeat(6);
            fs::write(bench.path("t1/chat_template.jinja"), deep).expect("writes");
        },
        &[
            "teacher `t1`",
            "t1/chat_template.jinja",
            "hint: to go on without chat templates",
            "`--raw`",
        ],
    );
}

#[test]
fn an_empty_suite() {
    refused(
        |bench| fs::write(bench.path("openings.jsonl"), "\n").expect("empties"),
        &["openings.jsonl", "expected"],
    );
}

#[test]
fn a_suite_line_that_is_no_prompt() {
    refused(
        |bench| fs::write(bench.path("openings.jsonl"), "{\"id\":\"a\"}\n").expect("writes"),
        &["openings.jsonl", "1"],
    );
}

#[test]
fn a_missing_model() {
    refused(
        |bench| fs::remove_dir_all(bench.path("t2")).expect("removes"),
        &["teacher `t2`", "t2"],
    );
}

#[test]
fn an_unknown_key_or_probe() {
    refused(
        |bench| {
            let case = fs::read_to_string(bench.path("case.toml")).expect("reads");
            let case = case.replace("max_tokens", "max_tokenz");
            fs::write(bench.path("case.toml"), case).expect("writes");
        },
        &[
            "case.toml",
            "max_tokenz",
            "hint: did you mean `max_tokens`?",
        ],
    );
    refused(
        |bench| {
            let case = fs::read_to_string(bench.path("case.toml")).expect("reads");
            fs::write(bench.path("case.toml"), case.replace("tlu-did", "tlu-dad")).expect("writes");
        },
        &["tlu-dad", "tlu-did"],
    );
}

#[test]
fn a_device_that_is_not_built_in() {
    if cfg!(feature = "cuda") {
        return;
    }
    let bench = Bench::new(4);
    let output = bench.run(&["audit", "case.toml", "--device", "cuda:1"]);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("cuda:1") && error.contains("--features cuda"),
        "{error}"
    );
}

#[test]
fn a_bound_on_memory_that_nothing_fits() {
    let bench = Bench::new(4);
    let output = bench.run(&["audit", "case.toml", "--max-memory", "1MB"]);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("1000000 bytes of memory"), "{error}");
    assert!(error.contains("hint: `--max-memory "), "{error}");
}

#[test]
fn a_run_directory_that_cannot_be_made() {
    let bench = Bench::new(4);
    let output = bench.run(&["audit", "case.toml", "--run", "case.toml/run"]);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("case.toml/run"), "{error}");
}

/// A model that goes bad after the run began takes nothing away that was collected.
#[test]
fn what_was_collected_stays() {
    let bench = Bench::new(4);
    bench.stdout(&["audit", "case.toml"]);
    let path = bench.path("runs/tiny/transcripts/t1/answers.jsonl");
    let before = fs::read(&path).expect("reads");
    fs::write(bench.path("suspect/model.safetensors"), b"short").expect("spoils");
    let output = bench.run(&["audit", "case.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("suspect/model.safetensors"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read(&path).expect("reads"), before);
}
