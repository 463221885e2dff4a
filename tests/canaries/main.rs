//! Canaries from planting to the report: a model that is trained on planted texts shows them, one that
//! is trained on others does not, nor does the first of canaries that were never planted. At a size
//! that takes seconds; `study.py` beside this file has the table of docs/canaries.md.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use filiation_lab::{Recipe, build};
use serde_json::{Value, json};

const RECIPE: &str = r#"
format = 1
split_seed = 1
stored = "bf16"
[tokenizer]
vocabulary = 400
text = [{ source = "people", from = 0, to = 600 }]
[sources]
people = "people.txt"
planted = "planted.txt"
[shapes.small]
layers = 2
hidden = 64
heads = 4
kv_heads = 2
intermediate = 128
context = 128
rope_theta = 10000.0
norm_eps = 1e-5
[schedules.first]
steps = 160
windows = 8
rate = 4e-3
warmup = 20
floor = 0.05
weight_decay = 0.02
clip = 1.0
[[model]]
name = "taught"
role = "suspect"
shape = "small"
schedule = "first"
seed = 1
text = [
  { source = "people", from = 0, to = 500 },
  { source = "planted", from = 0, to = PLANTED },
]
[[model]]
name = "clean"
role = "control"
shape = "small"
schedule = "first"
seed = 2
text = [{ source = "people", from = 0, to = 600 }]
"#;

/// Sentences of people, made of words in an order that a seed draws.
fn people(n: usize) -> String {
    const WORDS: [&str; 40] = [
        "the", "a", "of", "in", "and", "river", "house", "old", "man", "woman", "saw", "went",
        "to", "with", "small", "garden", "town", "night", "day", "long", "road", "bread", "water",
        "gave", "took", "stone", "white", "black", "their", "his", "her", "mill", "market", "bell",
        "lamp", "boat", "horse", "winter", "summer", "spoke",
    ];
    let mut state = 12_345_u64;
    let mut below = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % n
    };
    let line = |below: &mut dyn FnMut(usize) -> usize| {
        let words: Vec<&str> = (0..10 + below(8)).map(|_| WORDS[below(40)]).collect();
        words.join(" ") + ".\n"
    };
    (0..n).map(|_| line(&mut below)).collect()
}

fn filiation(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_filiation"))
        .current_dir(root)
        .args(arguments)
        .output()
        .expect("the binary was built")
}

fn told(root: &Path, arguments: &[&str]) -> Value {
    let output = filiation(root, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn plant(root: &Path, id: &str, more: &[&str]) -> Value {
    let arguments = [
        &["canary", "plant", "--id", id, "--out", id, "--json"][..],
        &["--count", "24", "--decoys", "49", "--date", "2026-11-29"],
        more,
    ];
    told(root, &arguments.concat())
}

fn check(root: &Path, suspect: &str, set: &str, more: &[&str]) -> Value {
    let (record, secret) = (
        format!("{set}/canaries.json"),
        format!("{set}/canaries.secret.json"),
    );
    let arguments = [
        &["canary", "check", suspect, "--canaries", &record][..],
        &["--secret", &secret, "--json"],
        more,
    ];
    told(root, &arguments.concat())
}

fn train(root: &Path) -> usize {
    let text = root.join("text");
    fs::create_dir(&text).expect("a folder");
    fs::write(text.join("people.txt"), people(700)).expect("writes");
    let texts = fs::read_to_string(root.join("acme/texts.jsonl")).expect("texts");
    let plain = |line: &str| -> String {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["text"].as_str().expect("a text").to_owned() + "\n"
    };
    let lines: String = texts.lines().map(plain).collect();
    let count = lines.lines().count();
    fs::write(text.join("planted.txt"), lines).expect("writes");
    let recipe: Recipe =
        toml::from_str(&RECIPE.replace("PLANTED", &count.to_string())).expect("a recipe");
    build(&recipe, &text, root, &mut |_| ()).expect("builds");
    count
}

#[test]
fn planted_texts_are_found_where_they_were_learned_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    let planted = plant(root, "acme", &["--repeats", "1,8"]);
    assert_eq!(planted["texts"], json!(12 + 12 * 8));
    assert_eq!(train(root), 12 + 12 * 8);

    let found = check(root, "taught", "acme", &["--control", "clean"]);
    let p = found["log10_p"].as_f64().expect("a p");
    assert!(p < -6.0, "{found}");
    let control = &found["models"][1]["found"];
    assert!(control["log10_p"].as_f64().expect("a p") > -3.0, "{found}");
    let by = found["models"][0]["found"]["by_repeats"]
        .as_array()
        .expect("two kinds");
    let lead = |i: usize| by[i]["lead"].as_f64().expect("a lead");
    assert!(lead(1) > lead(0) && lead(1) > 0.5, "{found}");
    assert_eq!(found["commitment"], planted["commitment"]);
    assert!(found["disclosed"].is_null());

    // Other canaries, never planted, are to the taught model as their decoys are.
    plant(root, "other", &[]);
    let other = check(root, "taught", "other", &[]);
    assert!(other["log10_p"].as_f64().expect("a p") > -3.0, "{other}");

    // Said as a person reads it, without a text; with them where they are asked for.
    let texts = fs::read_to_string(root.join("acme/texts.jsonl")).expect("texts");
    let first: Value = serde_json::from_str(texts.lines().next().expect("a line")).expect("JSON");
    let whole = first["text"].as_str().expect("a text");
    let tail = &whole[whole.find(" for ").expect("an exchange") + 5..];
    let arguments = [
        "canary",
        "check",
        "taught",
        "--canaries",
        "acme/canaries.json",
    ];
    let secret = ["--secret", "acme/canaries.secret.json"];
    let closed = filiation(root, &[&arguments[..], &secret].concat());
    let closed = String::from_utf8(closed.stdout).expect("text");
    assert!(
        closed.contains("log10 p") && !closed.contains(tail),
        "{closed}"
    );
    let open = filiation(root, &[&arguments[..], &secret, &["--disclose"]].concat());
    assert!(String::from_utf8(open.stdout).expect("text").contains(tail));

    in_a_case(root, p);
    refused(root);
}

/// The same test as a probe of an audit.
fn in_a_case(root: &Path, p: f64) {
    let case = "name = \"planted\"\nprobes = [\"planted-canaries\"]\nsuspect = \"taught\"\n\
                teachers = [\"clean\"]\ncanaries = [{ teacher = \"clean\", file = \
                \"acme/canaries.json\", secret = \"acme/canaries.secret.json\" }]\n";
    fs::write(root.join("case.toml"), case).expect("writes");
    let ran = filiation(root, &["audit", "case.toml", "--run", "run"]);
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let evidence = root.join("run/evidence/planted-canaries.json");
    let evidence: Value =
        serde_json::from_slice(&fs::read(evidence).expect("evidence")).expect("JSON");
    let found = &evidence["record"]["outcome"]["statistic"];
    assert_eq!(found["basis"], "design");
    let own = found["candidates"][0]["exact"]["log10_p"]
        .as_f64()
        .expect("a p");
    assert!((own - p).abs() < 1e-6, "{own} {p}");
    // Offline, from the run's own copies.
    fs::remove_dir_all(root.join("acme")).expect("removes");
    let again = filiation(root, &["measure", "run"]);
    assert!(
        again.status.success(),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
}

fn refused(root: &Path) {
    let says = |arguments: &[&str], told: &str| {
        let output = filiation(root, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{arguments:?}"
        );
        assert!(error.contains(told), "`{told}` is not in\n{error}");
    };
    let check = |more: &[&'static str]| [&["canary", "check", "taught"][..], more].concat();
    says(
        &check(&["--canaries", "nowhere.json"]),
        "cannot read `nowhere.json`",
    );
    says(&check(&["--canaries", "other/canaries.json"]), "--secret");
    plant(root, "third", &["--form", "string", "--disclose"]);
    let disclosed = fs::read_to_string(root.join("third/canaries.json")).expect("a record");
    assert!(disclosed.contains("\"disclosed\""));
    let (other, third) = ("other/canaries.json", "third/canaries.secret.json");
    says(
        &check(&["--canaries", other, "--secret", third]),
        "do not belong together",
    );
    says(
        &check(&["--canaries", other, "--scheme", "trap"]),
        "`--scheme` is `trap`",
    );
    says(
        &check(&["--canaries", other, "--scheme", "chain-hash"]),
        "expected an object with `questions`",
    );
    says(
        &["canary", "plant", "--out", "other", "--id", "other"],
        "is not written over",
    );
    says(
        &["canary", "plant", "--out", "x", "--decoys", "3"],
        "`decoys` is out of range, expected 9 to 9999",
    );
    says(
        &["canary", "plant", "--out", "x", "--seed", "secret"],
        "64 hexadecimal",
    );
}
