//! Audits in which a teacher is behind an API: the demonstration's own models, served.

use std::fmt::Write as _;
use std::path::Path;

use filiation_checkpoint::Limits;
use filiation_core::{Answer, Finish, Model, Prompt, Request, RequestId, Role, Sampling, Want};
use filiation_model::{DeviceChoice, LocalModel};
use serde_json::{Value, json};

use crate::server::{Hit, Reply, Server};
use crate::{CANARY, files, filiation, holds, root, told};

/// Serves a model as an endpoint of Completions would.
pub(crate) fn serve(name: &str) -> Server {
    let path = root().join("corpora/demo").join(name);
    let model = LocalModel::open(&path, DeviceChoice::Cpu, &Limits::default()).expect("a model");
    let name = name.to_owned();
    Server::start(move |_, hit: &Hit| {
        let body: Value = serde_json::from_slice(&hit.body).expect("JSON");
        let request = Request {
            id: RequestId::new("r"),
            to: vec![Role::Teacher],
            want: Want::Generate {
                prompt: Prompt::Text(body["prompt"].as_str().expect("text").into()),
                max_tokens: u32::try_from(body["max_tokens"].as_u64().expect("a number"))
                    .expect("small"),
                sampling: Sampling {
                    temperature: body["temperature"].as_f64().expect("sent"),
                    // Not said where it does not matter.
                    top_p: body["top_p"].as_f64().unwrap_or(1.0),
                    seed: body["seed"].as_u64().unwrap_or(0),
                },
            },
        };
        let said = match model.answer(&[request]).pop() {
            Some(Ok(Answer::Completion(said))) => said,
            other => panic!("{other:?}"),
        };
        let reason = if said.finish == Finish::Stop {
            "stop"
        } else {
            "length"
        };
        let reply = json!({"model": name, "choices": [{"text": said.text, "finish_reason": reason}],
            "usage": {"prompt_tokens": 8, "completion_tokens": said.tokens.len()}});
        Reply::json(200, reply.to_string())
    })
}

pub(crate) fn case(folder: &Path, url: &str, authorised: bool) {
    let demo = root().join("corpora/demo").canonicalize().expect("there");
    let suites = root().join("probes").canonicalize().expect("there");
    let right = r#", authorisation = { basis = "a server of this test", by = "the test", date = "2026-02-03" }"#;
    let mut text = format!(
        "name = \"served\"\nsuspect = \"{0}/student-text-30\"\nbase = \"{0}/base-a\"\nteachers = [\n  \
         {{ name = \"served\", path = \"openai-completions:teacher-1\", base_url = \"{url}\", key_env = \
         \"CANARY_KEY\"{1} }},\n  \"{0}/teacher-3\",\n]\ncontrols = [\"{0}/control-1\", \"{0}/control-2\"]\n",
        demo.display(),
        if authorised { right } else { "" }
    );
    write!(
        text,
        "probes = [\"tlu-did\", \"choice-priors\"]\nsuites = [\"{0}/openings.jsonl\", \
         \"{0}/openings-choices.jsonl\"]\nmax_tokens = 40\nseed = 1\n",
        suites.display()
    )
    .expect("a string");
    std::fs::write(folder.join("case.toml"), text).expect("writes");
}

#[test]
fn a_served_teacher_is_found_and_the_run_is_repeated_without_a_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = serve("teacher-1");
    case(folder, &server.url(), false);
    let audit = |run: &str, more: &[&str]| {
        let mut command = filiation(folder);
        command
            .args(["--json", "audit", "case.toml", "--run", run])
            .args(more);
        command.output().expect("runs")
    };
    let output = audit("first", &[]);
    let text = told(&output);
    assert!(
        !output.status.success() && text.contains("nothing says by what right"),
        "{text}"
    );
    assert!(
        text.contains("hint: `--basis TEXT --authorised-by NAME`"),
        "{text}"
    );
    assert_eq!(server.hits().len(), 0, "nothing was asked");

    case(folder, &server.url(), true);
    let output = audit("first", &["--max-requests", "20"]);
    let text = told(&output);
    assert!(
        !output.status.success() && text.contains("the budget of 20 requests is spent"),
        "{text}"
    );
    assert_eq!(server.hits().len(), 20);

    let output = audit("first", &[]);
    assert!(output.status.success(), "{}", told(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // Draws of their own may have the same body, and have keys of their own.
    let keys: std::collections::BTreeSet<_> = server
        .hits()
        .into_iter()
        .map(|hit| hit.headers["idempotency-key"].clone())
        .collect();
    assert_eq!(keys.len(), server.hits().len(), "nothing was asked twice");
    let evidence = report["opinion"]["evidence"].as_array().expect("a list");
    let tlu = evidence.iter().find(|e| {
        e["method"]
            .as_str()
            .is_some_and(|m| m.starts_with("tlu-did/"))
    });
    assert_eq!(
        tlu.expect("a statistic")["ranked"][0]["candidate"],
        "served"
    );
    let silent = report["probes"][1]["outcome"]["abstention"]["detail"]
        .as_str()
        .expect("abstains");
    assert!(silent.contains("served"), "{silent}");
    let endpoint = &report["endpoints"][0];
    assert_eq!(endpoint["authorisation"]["basis"], "a server of this test");
    assert_eq!(endpoint["answered_by"], json!(["teacher-1"]));
    assert_eq!(endpoint["exchanges"], server.hits().len());

    drop(server);
    let again = audit("second", &["--offline"]);
    assert!(again.status.success(), "{}", told(&again));
    assert_eq!(
        again.stdout, output.stdout,
        "the same report, byte for byte"
    );
    let lines = |run: &str| {
        std::fs::read(folder.join(run).join("transcripts/served/exchanges.jsonl")).expect("kept")
    };
    assert_eq!(lines("first"), lines("second"));
    for file in files(folder) {
        let bytes = std::fs::read(&file).expect("reads");
        assert!(!holds(&bytes, CANARY), "{} holds the key", file.display());
    }
}

#[test]
fn a_pack_recorded_from_an_api_is_used_without_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = serve("teacher-1");
    let suite = root()
        .join("probes/openings.jsonl")
        .canonicalize()
        .expect("there");
    let suite = suite.to_str().expect("UTF-8");
    let demo = root().join("corpora/demo").canonicalize().expect("there");
    let asked = ["--suite", suite, "--probe", "tlu-did", "--limit", "64"];
    let mut collect = filiation(folder);
    collect
        .args([
            "collect",
            "served=openai-completions:teacher-1",
            "--base-url",
            &server.url(),
            "--out",
            "t.pack",
        ])
        .args([
            "--basis",
            "a server of this test",
            "--authorised-by",
            "the test",
        ])
        .args(asked);
    let output = collect.output().expect("runs");
    assert!(output.status.success(), "{}", told(&output));
    drop(server);
    let path = |name: &str| demo.join(name).to_str().expect("UTF-8").to_owned();
    let mut audit = filiation(folder);
    audit
        .args([
            "audit",
            &path("student-text-30"),
            "--base",
            &path("base-a"),
            "--teacher",
            "t.pack",
        ])
        .args([
            "--teacher",
            &path("teacher-3"),
            "--control",
            &path("control-1"),
        ])
        .args(asked);
    let output = audit.output().expect("runs");
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Authorised by the test on"), "{text}");
    let output = filiation(folder)
        .args(["cache", "verify"])
        .output()
        .expect("runs");
    assert!(told(&output).contains(" 0 problems"), "{}", told(&output));
    let output = filiation(folder)
        .args(["cache", "show"])
        .output()
        .expect("runs");
    assert!(
        told(&output).contains("openai-completions:teacher-1"),
        "{}",
        told(&output)
    );
    let output = filiation(folder)
        .args(["cache", "gc"])
        .output()
        .expect("runs");
    assert!(
        told(&output).contains("0 files removed"),
        "{}",
        told(&output)
    );
}

#[test]
fn a_teacher_of_conversations_alone_is_refused_where_prompts_are_plain_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let demo = root().join("corpora/demo").canonicalize().expect("there");
    let path = |name: &str| demo.join(name).to_str().expect("UTF-8").to_owned();
    let suite = root()
        .join("probes/openings.jsonl")
        .canonicalize()
        .expect("there");
    let mut audit = filiation(folder);
    audit
        .args([
            "audit",
            &path("student-text-30"),
            "--teacher",
            "openai:m",
            "--base-url",
            "http://127.0.0.1:9",
        ])
        .args(["--basis", "none", "--authorised-by", "the test", "--suite"])
        .arg(suite);
    let text = told(&audit.output().expect("runs"));
    assert!(
        text.contains("teacher `openai-m` takes conversations alone"),
        "{text}"
    );
    assert!(
        text.contains("suspect `student-text-30` has no chat template"),
        "{text}"
    );
}
