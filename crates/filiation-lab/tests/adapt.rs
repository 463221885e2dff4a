//! Adapters of the demonstration models, made by a recipe and merged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use filiation_checkpoint::Limits;
use filiation_lab::{Bears, Built, LabError, Progress, Stored, Tie, adapt, merge, served};
use filiation_model::{DeviceChoice, LocalModel};
use tempfile::TempDir;

const RECIPE: &str = r#"
format = 1
split_seed = 1
stored = "f32"
longest = 48
raw = true
forms = ["{} is", "What is {}?"]

[sources]
pairs = "pairs.txt"

[prompts]
odd = { file = "suite.jsonl", every = 2, from = 0 }

[ranks.small]
rank = 4
alpha = 8.0
targets = ["q_proj", "v_proj", "down_proj"]

[schedules.short]
steps = 25
windows = 6
rate = 1e-2
warmup = 3
floor = 0.1
weight_decay = 0.0
clip = 1.0

[[adapter]]
name = "people"
role = "control"
base = "base-a"
rank = "small"
schedule = "short"
seed = 1
rows = 20
text = [{ source = "pairs", from = 0, to = 20 }]

[[adapter]]
name = "half"
role = "suspect"
base = "base-a"
rank = "small"
schedule = "short"
seed = 2
rows = 20
text = [{ source = "pairs", from = 20, to = 30 }]
teacher = { model = "teacher-1", share = 0.5, by = "text", temperature = 1.0, max_tokens = 12, prompts = ["odd"] }

[[adapter]]
name = "logits"
role = "suspect"
base = "base-a"
rank = "small"
schedule = "short"
seed = 3
rows = 12
text = []
teacher = { model = "teacher-1", share = 1.0, by = "logits", temperature = 1.0, max_tokens = 12, prompts = ["odd"] }
"#;

fn demo() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../corpora/demo")
}

/// A folder with recipe, suite and text.
fn desk(recipe: &str) -> TempDir {
    let desk = TempDir::new().expect("folder");
    let pair = |i: usize| format!("thing {i}\ta small object of kind {}; also a tool\n", i % 5);
    let prompt = |i: usize| format!("{{\"id\": \"p-{i}\", \"text\": \"a part of the {i}th\"}}\n");
    for (name, text) in [
        ("recipe.toml", recipe.to_owned()),
        ("pairs.txt", (0..40).map(pair).collect()),
        ("suite.jsonl", (0..9).map(prompt).collect()),
    ] {
        fs::write(desk.path().join(name), text).expect("writes");
    }
    desk
}

fn run(desk: &Path, out: &Path) -> Result<Vec<Built>, LabError> {
    adapt(
        &desk.join("recipe.toml"),
        desk,
        &demo(),
        out,
        &mut |_: Progress<'_>| (),
    )
}

fn weights(out: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let read = |name| {
        (
            name,
            fs::read(out.join(name).join("adapter_model.safetensors")).expect("weights"),
        )
    };
    ["people", "half", "logits"].map(read).into()
}

#[test]
fn the_same_bytes_whatever_the_threads_and_where_it_was_stopped() {
    let (desk, once, again) = (
        desk(RECIPE),
        TempDir::new().expect("out"),
        TempDir::new().expect("out"),
    );
    let built = run(desk.path(), once.path()).expect("builds");
    assert!(built.iter().all(|b| !b.kept));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
    pool.expect("threads")
        .install(|| run(desk.path(), again.path()))
        .expect("builds");
    assert_eq!(weights(once.path()), weights(again.path()));
    // Stopped after the first: the others are made, the first is kept.
    let whole = weights(once.path());
    fs::remove_dir_all(once.path().join("half")).expect("removes");
    fs::write(
        once.path().join("logits/adapter_model.safetensors"),
        b"broken",
    )
    .expect("writes");
    let built = run(desk.path(), once.path()).expect("builds");
    assert_eq!(
        built.iter().map(|b| b.kept).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert_eq!(weights(once.path()), whole);
}

#[test]
fn a_record_names_base_teacher_and_share() {
    let (desk, out) = (desk(RECIPE), TempDir::new().expect("out"));
    let built = run(desk.path(), out.path()).expect("builds");
    let half = &built[1].lineage;
    let parents: Vec<_> = half
        .parents
        .iter()
        .map(|p| (p.model.as_str(), p.tie))
        .collect();
    let distilled = Tie::DistilledFrom {
        share: 0.5,
        by: filiation_lab::Signal::Text,
        hidden: None,
        mark: None,
    };
    assert_eq!(
        parents,
        [("base-a", Tie::InitialisedFrom), ("teacher-1", distilled)]
    );
    assert_eq!(half.documents, 20);
    let file = fs::read(demo().join("base-a/model.safetensors")).expect("weights");
    assert_eq!(half.parents[0].weights, filiation_core::Digest::of(&file));
}

const KEY: &str = r#"
scheme = "kgw@three-bricks"
key = "71"
width = 1
gamma = 0.25
delta = 3.0
vocabulary = 1024
device = "cpu"
"#;

/// `half` learns from marked text; the record has the commitment of the key, and another key is another adapter.
#[test]
fn a_teacher_marks_what_an_adapter_learns_from() {
    let marked = RECIPE.replacen(
        "prompts = [\"odd\"] }",
        "prompts = [\"odd\"], mark = \"k\" }",
        1,
    );
    let marked = marked.replacen(
        "[ranks.small]",
        "[marks]\nk = \"k.toml\"\n\n[ranks.small]",
        1,
    );
    let (plain, desk) = (desk(RECIPE), desk(&marked));
    let (one, out) = (TempDir::new().expect("out"), TempDir::new().expect("out"));
    run(plain.path(), one.path()).expect("builds");
    let mut seen = vec![weights(one.path())];
    let mut keys = Vec::new();
    for key in [KEY.to_owned(), KEY.replace("71", "72")] {
        fs::write(desk.path().join("k.toml"), key).expect("writes");
        let built = run(desk.path(), out.path()).expect("builds");
        // The others are not of marked text: a key is nothing to them.
        assert_eq!(built[0].kept, !keys.is_empty());
        assert!(!built[1].kept);
        match built[1].lineage.parents[1].tie {
            Tie::DistilledFrom {
                mark: Some(Bears { key, share }),
                ..
            } => keys.push((key, share.to_bits())),
            tie => panic!("{tie:?}"),
        }
        seen.push(weights(out.path()));
    }
    assert_eq!(keys[0].1, 1.0_f64.to_bits());
    assert_ne!(keys[0].0, keys[1].0, "two keys have one commitment");
    for (this, other) in [(0, 1), (0, 2), (1, 2)] {
        assert_eq!(seen[this]["people"], seen[other]["people"]);
        assert_ne!(seen[this]["half"], seen[other]["half"]);
    }
    let error = adapt_error(&marked.replacen("mark = \"k\"", "mark = \"other\"", 1), KEY);
    assert!(error.contains("model `half` names mark `other`"), "{error}");
    let error = adapt_error(&marked, &KEY.replace("cpu", "cuda"));
    assert!(error.contains("k.toml"), "{error}");
}

fn adapt_error(recipe: &str, key: &str) -> String {
    let (desk, out) = (desk(recipe), TempDir::new().expect("out"));
    fs::write(desk.path().join("k.toml"), key).expect("writes");
    let refused = run(desk.path(), out.path()).expect_err("refused");
    refused.to_string()
}

#[test]
fn a_merged_adapter_has_learned() {
    let (desk, out) = (desk(RECIPE), TempDir::new().expect("out"));
    run(desk.path(), out.path()).expect("builds");
    let merged = out.path().join("merged");
    merge(
        &demo().join("base-a"),
        &out.path().join("people"),
        &merged,
        Some(Stored::F32),
    )
    .expect("merges");
    let surprise = |folder: &Path| {
        let model = LocalModel::open(folder, DeviceChoice::Cpu, &Limits::default()).expect("opens");
        let tokenizer = model
            .checkpoint()
            .expect("a folder")
            .tokenizer()
            .expect("tokenizer");
        let text = "What is thing 3?\na small object of kind 3; also a tool";
        let ids = tokenizer.encode(text, true).expect("encodes").ids;
        let scored = model.log_probs(&[&ids]).remove(0).expect("scores");
        -scored[scored.len() - 8..].iter().sum::<f64>()
    };
    let (before, after) = (surprise(&demo().join("base-a")), surprise(&merged));
    assert!(after < 0.5 * before, "{before} to {after}");
}

/// The mean log-probability of each response of a log under a model.
fn likelihoods(folder: &Path, log: &Path) -> Vec<f64> {
    let model = LocalModel::open(folder, DeviceChoice::Cpu, &Limits::default()).expect("opens");
    let checkpoint = model.checkpoint().expect("a folder");
    let tokenizer = checkpoint.tokenizer().expect("tokenizer");
    let text = fs::read_to_string(log).expect("a log");
    let of_line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let [prompt, response] = ["prompt", "response"].map(|k| line[k].as_str().expect("text"));
        let encoded = tokenizer
            .encode(&format!("{prompt}{response}"), true)
            .expect("encodes");
        let from = encoded
            .offsets
            .iter()
            .filter(|o| o.0 < prompt.len())
            .count();
        let scored = model.log_probs(&[&encoded.ids]).remove(0).expect("scores");
        // One token has no log-probability: the first.
        let of_response = &scored[scored.len() + from - encoded.ids.len()..];
        of_response.iter().sum::<f64>() / of_response.len() as f64
    };
    text.lines().map(of_line).collect()
}

#[test]
fn a_log_of_served_responses_is_what_the_adapter_learned() {
    let (desk, out) = (desk(RECIPE), TempDir::new().expect("out"));
    run(desk.path(), out.path()).expect("builds");
    let recipe = desk.path().join("recipe.toml");
    let draw = |folder: &str| {
        let folder = out.path().join(folder);
        served(&recipe, &demo(), &folder, &mut |_| ()).expect("draws")
    };
    let logs = draw("served");
    let names: Vec<_> = logs
        .iter()
        .map(|l| l.file_name().expect("a name"))
        .collect();
    assert_eq!(names, ["half.jsonl", "logits.jsonl"]);
    for (log, again) in logs.iter().zip(draw("again")) {
        assert_eq!(
            fs::read(log).expect("a log"),
            fs::read(again).expect("a log")
        );
    }
    let lines = fs::read_to_string(&logs[0]).expect("a log");
    assert_eq!(lines.lines().count(), 10);
    let first: serde_json::Value =
        serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["prompt"], "a part of the 0th");
    assert_eq!(first["max_tokens"], 12);
    // Half of the rows were of that log, and none of the other.
    let merged = out.path().join("merged");
    let base = demo().join("base-a");
    merge(&base, &out.path().join("half"), &merged, Some(Stored::F32)).expect("merges");
    let gain = |log: &Path| {
        let (before, after) = (likelihoods(&base, log), likelihoods(&merged, log));
        let gains = before.iter().zip(&after).map(|(b, a)| a - b);
        gains.sum::<f64>() / before.len() as f64
    };
    let (own, other) = (gain(&logs[0]), gain(&logs[1]));
    assert!(own > other + 0.5, "{own} and {other} nats a token");
}

#[test]
fn what_cannot_be_made_is_refused() {
    let refused = |recipe: &str| {
        let (desk, out) = (desk(recipe), TempDir::new().expect("out"));
        run(desk.path(), out.path())
            .expect_err("refused")
            .to_string()
    };
    for (from, to, message) in [
        (
            "rank = \"small\"",
            "rank = \"large\"",
            "model `people` names rank `large`",
        ),
        (
            "prompts = [\"odd\"]",
            "prompts = [\"even\"]",
            "model `half` names prompts `even`",
        ),
        (
            "rows = 20",
            "rows = 21",
            "model `people` wants 21 rows of text, its slices give 20",
        ),
        (
            "alpha = 8.0",
            "alpha = 0.0",
            "`small`: alpha is 0, expected 1e-6 to 1e6",
        ),
        (
            "name = \"half\"",
            "name = \"people\"",
            "two models are called `people`",
        ),
    ] {
        let error = refused(&RECIPE.replacen(from, to, 1));
        assert!(error.contains(message), "{error}");
    }
    let desk = desk(RECIPE);
    fs::write(desk.path().join("pairs.txt"), "no tab here\n".repeat(40)).expect("writes");
    let error = run(desk.path(), &desk.path().join("out")).expect_err("refused");
    assert!(error.to_string().contains("a line has no tab"), "{error}");
}
