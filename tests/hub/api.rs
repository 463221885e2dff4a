//! A model of the Hub, held against teachers behind an API.

use std::fs;
use std::path::Path;

use filiation_checkpoint::Limits;
use filiation_core::{Answer, Model, Prompt, Request, RequestId, Role, Sampling, Want};
use filiation_model::{DeviceChoice, LocalModel};
use serde_json::{Value, json};

use crate::mock::COMMIT;
use crate::server::{Hit, Reply, Server};
use crate::tiny::stderr;
use crate::{Place, TOKEN};

/// A model behind Chat Completions.
fn serve(folder: &Path) -> Server {
    let model = LocalModel::open(folder, DeviceChoice::Cpu, &Limits::default()).expect("a model");
    Server::start(move |_, hit: &Hit| {
        let body: Value = serde_json::from_slice(&hit.body).expect("JSON");
        let asked = body["messages"][0]["content"].as_str().expect("a question");
        let most = body["max_tokens"].as_u64();
        let most = most
            .or(body["max_completion_tokens"].as_u64())
            .expect("a bound");
        let request = Request {
            id: RequestId::new("r"),
            to: vec![Role::Teacher],
            want: Want::Generate {
                prompt: Prompt::user(asked),
                max_tokens: u32::try_from(most).expect("small"),
                sampling: Sampling {
                    temperature: body["temperature"].as_f64().unwrap_or(1.0),
                    top_p: 1.0,
                    seed: body["seed"].as_u64().unwrap_or(0),
                },
            },
        };
        let Some(Ok(Answer::Completion(said))) = model.answer(&[request]).pop() else {
            panic!("no answer to {body}");
        };
        let reply = json!({"model": "acme-large", "choices": [{"index": 0, "finish_reason": "length",
            "message": {"role": "assistant", "content": said.text}}],
            "usage": {"prompt_tokens": 8, "completion_tokens": said.tokens.len()}});
        Reply::json(200, reply.to_string())
    })
}

#[test]
fn a_model_of_the_hub_is_held_against_teachers_behind_an_api_in_one_command() {
    let place = Place::new();
    let template = json!({"chat_template": "{% for m in messages %}{{ m.role }}: {{ m.content }}. {% endfor %}"});
    for name in ["base", "t1", "t2"] {
        let path = place.bench.path(name).join("tokenizer_config.json");
        fs::write(path, template.to_string()).expect("writes");
    }
    let template = template.to_string();
    place.mock.put("tokenizer_config.json", template.as_bytes());
    let server = serve(&place.bench.path("t1"));
    let openings: String = (0..40)
        .map(|i| {
            json!({"id": format!("chat-{i:02}"), "text": format!("say {i} things"), "domain": "chat",
                "language": "en", "licence": "Apache-2.0"})
            .to_string()
                + "\n"
        })
        .collect();
    fs::write(place.bench.path("chat.jsonl"), openings).expect("writes");
    let url = server.url();
    let output = place.run(
        &[
            "audit",
            "acme/tiny@main",
            "--teacher",
            "large=openai:acme-large",
            "--teacher",
            "t2",
            "--base",
            "base",
            "--base-url",
            &url,
            "--key-env",
            "HF_TOKEN",
            "--basis",
            "a server of this test",
            "--authorised-by",
            "the test",
            "--suite",
            "chat.jsonl",
            "--probe",
            "tlu-did",
            "--max-tokens",
            "16",
            "--run",
            "run",
        ],
        false,
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let report = fs::read_to_string(place.bench.path("run/report.json")).expect("reads");
    assert!(!report.contains(TOKEN), "no key is kept");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let told = report.to_string();
    assert!(
        told.contains(&format!("hf:acme/tiny@{COMMIT}")),
        "{report:#}"
    );
    // The suspect is what is served, and not the other.
    let ranked = &report["opinion"]["evidence"][0]["ranked"];
    assert_eq!(ranked[0]["candidate"], "large", "{report:#}");
    assert!(server.hits().len() >= 40 && place.mock.seen().len() >= 4);
}
