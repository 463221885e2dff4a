//! Logs of evaluations become packs that audits take, suites and logs of served responses.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::tiny::{Bench, stderr};

/// A log of lm-eval with a text for each prompt of the bench's openings, and options for its choices.
fn log(bench: &Bench, path: &str, texts: usize, word: &str) {
    let suite = fs::read_to_string(bench.path("openings.jsonl")).expect("reads");
    let items = suite
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("an item"));
    let mut lines: Vec<String> = items
        .take(texts)
        .enumerate()
        .map(|(i, item)| {
            json!({
                "doc_id": i, "target": "", "filter": "none",
                "arguments": { "gen_args_0": { "arg_0": item["text"],
                    "arg_1": { "until": [], "temperature": 1.0, "max_gen_toks": 12 } } },
                "resps": [[format!(" {word} number {i} it is")]], "filtered_resps": []
            })
            .to_string()
        })
        .collect();
    let choices = fs::read_to_string(bench.path("choices.jsonl")).expect("reads");
    for (i, line) in choices.lines().enumerate() {
        let item: Value = serde_json::from_str(line).expect("an item");
        let option = |j: usize| json!({ "arg_0": item["text"], "arg_1": item["options"][j] });
        lines.push(
            json!({
                "doc_id": 100 + i, "target": "0", "filter": "none",
                "arguments": { "gen_args_0": option(0), "gen_args_1": option(1), "gen_args_2": option(2),
                    "gen_args_3": option(3) },
                "resps": [[["-1.0", "True"]], [["-1.5", "False"]], [["-2.5", "False"]], [["-3.0", "False"]]]
            })
            .to_string(),
        );
    }
    fs::write(bench.path(path), lines.join("\n") + "\n").expect("writes the log");
}

fn import(bench: &Bench, log: &str, pack: &str, more: &[&str]) -> Output {
    let mut words = vec![
        "pack",
        "import",
        "lm-eval",
        log,
        "--model",
        "t9",
        "--date",
        "2026-02-03",
        "--suite",
        "openings.jsonl",
        "--suite",
        "choices.jsonl",
        "--probe",
        "tlu-did",
        "--probe",
        "choice-priors",
        "--seed",
        "5",
        "--out",
        pack,
    ];
    words.extend(more);
    bench.run(&words)
}

#[test]
fn an_imported_log_answers_an_audit() {
    let bench = Bench::new(26);
    log(&bench, "samples.jsonl", 21, "one");
    log(&bench, "others.jsonl", 26, "two");
    let told = import(&bench, "samples.jsonl", "a.pack", &["--json"]);
    assert!(told.status.success(), "{}", stderr(&told));
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let pack = &told["pack"];
    assert_eq!(
        (&pack["logged"], &pack["used"]),
        (&json!(33), &json!(33)),
        "{pack}"
    );
    // Every opening and every choice; five openings are not in the log.
    assert_eq!(
        (&pack["asked"], &pack["answered"]),
        (&json!(38), &json!(33)),
        "{pack}"
    );
    assert_eq!(pack["finish_unstated"], json!(21));
    assert!(
        import(&bench, "others.jsonl", "b.pack", &[])
            .status
            .success()
    );
    let shown = bench.stdout(&["pack", "show", "a.pack"]);
    for text in [
        "t9 (known by a log of lm-eval alone)",
        "answers 33 of 38 questions",
        "temperature 1",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let case = fs::read_to_string(bench.path("case.toml")).expect("reads");
    let case = case.replace(r#"["t1", "t2"]"#, r#"["a.pack", "b.pack"]"#);
    let case = case.replace(r#""weight-lineage", "#, "");
    fs::write(bench.path("logs.toml"), case).expect("writes");
    let report = bench.stdout(&["audit", "logs.toml", "--run", "run", "--json"]);
    assert!(
        report.contains("answers taken from a log of lm-eval"),
        "{report}"
    );
    let evidence = fs::read_to_string(bench.path("run/evidence/tlu-did.json")).expect("reads");
    let evidence: Value = serde_json::from_str(&evidence).expect("JSON");
    // The five that one log lacks are left out for everyone.
    assert_eq!(
        evidence["record"]["outcome"]["statistic"]["candidates"][0]["units"],
        json!(21),
        "{evidence}"
    );
}

#[test]
fn what_a_log_does_not_say_is_asked_for_and_what_it_says_must_agree() {
    let bench = Bench::new(6);
    log(&bench, "samples.jsonl", 6, "one");
    let other = import(&bench, "samples.jsonl", "a.pack", &["--temperature", "0.7"]);
    let told = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(other.status.success(), "{}", stderr(&other));
    assert!(
        told.contains("not used: 6, a prompt, or a way of sampling, that is not asked for"),
        "{told}"
    );
    let text = fs::read_to_string(bench.path("samples.jsonl")).expect("reads");
    fs::write(
        bench.path("silent.jsonl"),
        text.replace(r#""temperature":1.0,"#, ""),
    )
    .expect("writes");
    let silent = import(&bench, "silent.jsonl", "b.pack", &[]);
    assert_eq!(silent.status.code(), Some(2), "{}", stderr(&silent));
    assert!(stderr(&silent).contains("give `--temperature`"));
    assert!(
        import(&bench, "silent.jsonl", "b.pack", &["--temperature", "1"])
            .status
            .success()
    );
    let again = import(&bench, "silent.jsonl", "b.pack", &["--temperature", "1"]);
    assert!(
        stderr(&again).contains("is there already"),
        "{}",
        stderr(&again)
    );
    let nothing = bench.run(&["pack", "import", "lm-eval", "samples.jsonl"]);
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn a_suite_of_the_log_makes_every_text_count() {
    let bench = Bench::new(4);
    let line = |id: usize| {
        let messages = json!([{ "role": "user", "content": format!("Say {id}.") }]);
        let body =
            json!({ "model": "t", "messages": messages, "temperature": 0.5, "max_tokens": 9 });
        json!({ "custom_id": format!("r{id}"), "method": "POST", "url": "/v1/chat/completions", "body": body })
    };
    let result = |id: usize| {
        let choice = json!({ "message": { "role": "assistant", "content": format!("Said {id}.") },
            "finish_reason": "stop" });
        json!({ "custom_id": format!("r{id}"), "error": null, "response": { "status_code": 200,
            "body": { "model": "vendor/t-1", "created": 1_770_000_000, "choices": [choice] } } })
    };
    let lines =
        |of: &dyn Fn(usize) -> Value| (0..12).map(|i| format!("{}\n", of(i))).collect::<String>();
    fs::write(bench.path("batch.jsonl"), lines(&line)).expect("writes");
    fs::write(bench.path("results.jsonl"), lines(&result)).expect("writes");
    let words = [
        "pack",
        "import",
        "vllm",
        "results.jsonl",
        "--requests",
        "batch.jsonl",
        "--new-suite",
        "new.jsonl",
        "--served",
        "served.jsonl",
        "--out",
        "t.pack",
    ];
    let told = bench.stdout(&words);
    for text in [
        "questions read: 12",
        "new.jsonl: 12 prompts",
        "served.jsonl: 12 responses",
        "12 of 12 answers used",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    let shown = bench.stdout(&["pack", "show", "t.pack"]);
    for text in [
        "vendor/t-1",
        "2026-02-02",
        "max tokens 9, temperature 0.5, in chat templates",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    // Nothing is written over.
    assert!(stderr(&bench.run(&words)).contains("cannot write `new.jsonl`"));
}

#[test]
fn a_malformed_log_is_refused_by_file_and_line() {
    let bench = Bench::new(4);
    log(&bench, "samples.jsonl", 4, "one");
    let text = fs::read_to_string(bench.path("samples.jsonl")).expect("reads");
    let cut = &text[..text.len() - 20];
    fs::write(bench.path("cut.jsonl"), cut).expect("writes");
    let told = import(&bench, "cut.jsonl", "a.pack", &[]);
    assert_eq!(told.status.code(), Some(1));
    let said = stderr(&told);
    assert!(said.contains("`cut.jsonl`, line 16: broken JSON"), "{said}");
    assert!(!bench.path("a.pack").exists());
    let told = bench.run(&["pack", "import", "garak", "cut.jsonl", "--out", "a.pack"]);
    assert!(
        stderr(&told).contains("expected lm-eval, inspect or vllm"),
        "{}",
        stderr(&told)
    );
}
