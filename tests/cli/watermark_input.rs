//! `watermark detect` on what it should not be fooled by, and on several keys, tables and sequences.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use filiation_watermark::rng::Mersenne;
use filiation_watermark::scheme::Kgw;
use filiation_watermark::{KeyFile, Scheme};
use serde_json::{Value, json};

const VOCABULARY: u32 = 1000;
const KEY: u64 = 15_485_863;

fn key(more: &str) -> String {
    format!(
        "scheme = \"kgw@lm-watermarking\"\nkey = {KEY}\ngamma = 0.25\nvocabulary = {VOCABULARY}\n\
         device = \"cpu\"\n{more}"
    )
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("writes");
    }

    fn texts(&self, name: &str, texts: &[Vec<u32>]) {
        let lines: String = texts
            .iter()
            .map(|tokens| json!({ "tokens": tokens }).to_string() + "\n")
            .collect();
        self.write(name, lines);
    }

    fn detect(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_filiation"))
            .current_dir(self.0.path())
            .args(["watermark", "detect"])
            .args(arguments)
            .output()
            .expect("the binary was built")
    }

    fn found(&self, arguments: &[&str]) -> Value {
        let output = self.detect(&[arguments, &["--json"]].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn refused(&self, arguments: &[&str], told: &str) {
        let output = self.detect(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{arguments:?}"
        );
        assert!(error.contains(told), "`{told}` is not in\n{error}");
        // No key stands in a message.
        assert!(!error.contains(&KEY.to_string()), "{error}");
    }
}

/// Tokens below `below`, of two offered the greener one.
fn marked(key: u64, tokens: usize, below: u32) -> Vec<u32> {
    let scheme = Kgw::simple_1(key as i64, VOCABULARY, 0.25);
    let mut rng = Mersenne::new(7);
    let mut text = vec![5];
    while text.len() < tokens {
        let offered = [rng.next_u32() % below, rng.next_u32() % below];
        let scores = scheme.scores(&text[text.len() - 1..], &offered);
        text.push(offered[usize::from(scores[1] > scores[0])]);
    }
    text
}

fn p(found: &Value) -> f64 {
    found["log10_p"]
        .as_f64()
        .unwrap_or_else(|| panic!("no p in {found}"))
}

#[test]
fn a_wrong_vocabulary_is_refused_or_noted() {
    let folder = Folder::new();
    folder.texts("text.jsonl", &[marked(KEY, 400, VOCABULARY)]);
    folder.write("key.toml", key(""));
    assert!(p(&folder.found(&["text.jsonl", "--key", "key.toml"])) < -6.0);
    // Too small: there are ids that the lists do not have.
    folder.write("small.toml", key("").replace("1000", "900"));
    let arguments = ["text.jsonl", "--key", "small.toml"];
    folder.refused(&arguments, "is outside the key's vocabulary of 900");
    // Too large: other lists. Nothing is found, and nothing accused; with the tokenizer it is said.
    folder.write("large.toml", key("").replace("1000", "1003"));
    folder.write("tokenizer.json", tokenizer());
    let arguments = [
        "text.jsonl",
        "--key",
        "large.toml",
        "--tokenizer",
        "tokenizer.json",
    ];
    let found = folder.found(&arguments);
    assert!(p(&found) > -3.0, "{found}");
    let note = found["keys"][0]["notes"][0].as_str().expect("a note");
    assert!(
        note.contains("over 1003 tokens, the tokenizer has"),
        "{note}"
    );
}

/// A tokenizer of three words.
fn tokenizer() -> String {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": { "a": 0, "b": 1, "[UNK]": 2 }, "unk_token": "[UNK]" }
    })
    .to_string()
}

#[test]
fn a_key_for_another_tokenizer_is_refused() {
    let folder = Folder::new();
    folder.write("text.txt", "a b a b b a a b");
    folder.write("tokenizer.json", tokenizer());
    folder.write(
        "key.toml",
        key(&format!("tokenizer = \"{}\"\n", "0".repeat(64))),
    );
    let arguments = [
        "text.txt",
        "--key",
        "key.toml",
        "--tokenizer",
        "tokenizer.json",
    ];
    folder.refused(&arguments, "the key is for tokenizer 0000");
    let own = filiation_core::Digest::of(tokenizer().as_bytes());
    folder.write("own.toml", key(&format!("tokenizer = \"{own}\"\n")));
    let found = folder.found(&[
        "text.txt",
        "--key",
        "own.toml",
        "--tokenizer",
        "tokenizer.json",
    ]);
    assert_eq!(found["texts"], 1);
}

#[test]
fn short_and_repeated_texts_abstain_or_count_once() {
    let folder = Folder::new();
    folder.write("key.toml", key(""));
    for (name, texts) in [
        ("empty", vec![vec![]]),
        ("short", vec![vec![7]]),
        ("zeros", vec![vec![0; 500]]),
    ] {
        folder.texts("text.jsonl", &texts);
        let found = folder.found(&["text.jsonl", "--key", "key.toml"]);
        assert_eq!(found["log10_p"], Value::Null, "{name}");
        let why = found["abstention"].as_str().expect("a reason");
        assert!(why.contains("0 tokens can be scored"), "{name}: {why}");
    }
    folder.texts("text.jsonl", &[[3, 4].repeat(4000)]);
    let found = folder.found(&["text.jsonl", "--key", "key.toml"]);
    assert_eq!(found["residue"]["scored"], 2);
    assert!(p(&found) > -1.5, "{found}");
    folder.write("nothing.jsonl", "\n\n");
    let found = folder.found(&["nothing.jsonl", "--key", "key.toml"]);
    assert_eq!(
        (&found["texts"], &found["log10_p"]),
        (&json!(0), &Value::Null)
    );
}

#[test]
fn key_files_that_cannot_be_trusted_are_refused() {
    let folder = Folder::new();
    folder.texts("text.jsonl", &[marked(KEY, 50, VOCABULARY)]);
    let arguments = ["text.jsonl", "--key", "key.toml"];
    for (text, told) in [
        (
            key("").replace("device = \"cpu\"\n", ""),
            "`device` is missing",
        ),
        (
            key("").replace("\"cpu\"", "\"cuda\""),
            "a table that the key's owner exports",
        ),
        (
            key("").replace("kgw@lm-watermarking", "kgw@lmw"),
            "scheme `kgw@lmw`, expected one of",
        ),
        (
            key("version = \"2\"\n"),
            "`version` is `2`, expected fb602de",
        ),
        (key("tabel = \"x\"\n"), "unknown field"),
        (
            key("table = \"nowhere.jsonl\"\n"),
            "cannot read `nowhere.jsonl`",
        ),
    ] {
        folder.write("key.toml", text);
        folder.refused(&arguments, told);
    }
    folder.write("key.toml", b"scheme = \"\xff\"\n");
    folder.refused(&arguments, "is not UTF-8: byte 10");
    folder.write("key.toml", key(""));
    folder.write("latin.txt", b"caf\xe9 au lait");
    folder.refused(&["latin.txt", "--key", "key.toml"], "is not UTF-8: byte 3");
    folder.write(
        "latin.jsonl",
        b"{\"tokens\": [1]}\n{\"text\": \"caf\xe9\"}\n",
    );
    folder.refused(
        &["latin.jsonl", "--key", "key.toml"],
        "is not UTF-8: byte 29",
    );
}

#[test]
fn every_key_that_is_tried_counts() {
    let folder = Folder::new();
    folder.texts("text.jsonl", &[marked(KEY, 300, VOCABULARY)]);
    folder.write("key.toml", key(""));
    let alone = folder.found(&["text.jsonl", "--key", "key.toml"]);
    let mut arguments = vec!["text.jsonl", "--key", "key.toml"];
    let others = ["1.toml", "2.toml", "3.toml"];
    for (i, other) in others.iter().enumerate() {
        folder.write(
            other,
            key("").replace(&KEY.to_string(), &(1_000_003 + i).to_string()),
        );
        arguments.extend(["--key", other]);
    }
    let found = folder.found(&arguments);
    assert_eq!(found["keys_tried"], 4);
    assert!((p(&found) - p(&alone) - 4_f64.log10()).abs() < 1e-9);
    let shown = found["keys"].as_array().expect("keys");
    assert_eq!(shown.len(), 4);
    assert_eq!(shown[0]["log10_p"], alone["log10_p"]);
    assert_eq!(found["commitment"], shown[0]["commitment"]);
    assert!(
        shown[1..]
            .iter()
            .all(|k| k["log10_p_adjusted"].as_f64() > Some(-2.0))
    );
    let e = |of: &Value| of["log10_e"].as_f64().expect("an e-value");
    assert!(e(&found) < e(&alone) && e(&found) > e(&alone) - 0.7);
    // Tried before and not shown: they cost as much.
    let before = ["text.jsonl", "--key", "key.toml", "--tried-before", "3"];
    let before = folder.found(&before);
    assert!((p(&before) - p(&found)).abs() < 1e-9);
    arguments.extend(["--key", "key.toml"]);
    folder.refused(&arguments, "a key is given twice");

    let commitment = alone["commitment"].as_str().expect("a commitment");
    let held = ["text.jsonl", "--key", "key.toml", "--commitment"];
    folder.found(&[&held[..], &[commitment]].concat());
    let other = "0".repeat(64);
    folder.refused(&[&held[..], &[&other]].concat(), "none that was published");
}

#[test]
fn lists_made_elsewhere_come_as_a_table() {
    let folder = Folder::new();
    // Few windows, so that few lists are exported; the lists stand for those of another device.
    // No key changes the list after token 0, which does not count then; of a table that cannot be seen.
    let text = marked(KEY, 1500, 60)
        .into_iter()
        .filter(|token| *token != 0);
    folder.texts("text.jsonl", &[text.collect()]);
    let scheme = Kgw::simple_1(KEY as i64, VOCABULARY, 0.25);
    let line = |window: u32| {
        json!({ "window": [window], "green": scheme.green_list(&[window]) }).to_string() + "\n"
    };
    folder.write("lists.jsonl", (0..60).map(line).collect::<String>());
    // The owner keeps the key.
    let file = key("table = \"lists.jsonl\"\n")
        .replace("\"cpu\"", "\"cuda\"")
        .replace(&format!("key = {KEY}\n"), "");
    folder.write("cuda.toml", &file);
    let found = folder.found(&["text.jsonl", "--key", "cuda.toml"]);
    folder.write("key.toml", key(""));
    let drawn = folder.found(&["text.jsonl", "--key", "key.toml"]);
    let law = |found: &Value| found["residue"]["log10_p"].as_f64().expect("a p");
    assert!(
        p(&found) < -6.0 && (law(&found) - law(&drawn)).abs() < 0.5,
        "{found}"
    );
    // A part of the lists is the owner's choice: no test.
    folder.write("lists.jsonl", (0..50).map(line).collect::<String>());
    let found = folder.found(&["text.jsonl", "--key", "cuda.toml"]);
    assert_eq!(found["log10_p"], Value::Null);
    let why = found["abstention"].as_str().expect("a reason");
    assert!(why.contains("the table has no list for"), "{why}");
    folder.write("lists.jsonl", line(1).replace("[1]", "[1,2]"));
    folder.refused(
        &["text.jsonl", "--key", "cuda.toml"],
        "a window of 2 tokens, expected 1",
    );
}

#[test]
fn a_sequence_is_found_wherever_it_begins() {
    let folder = Folder::new();
    let (length, vocabulary) = (64_usize, 200_u32);
    let mut rng = Mersenne::new(42);
    let table: Vec<f32> = (0..length * vocabulary as usize)
        .map(|_| rng.next_f32())
        .collect();
    // At each place the token of the greatest uniform among a few.
    let mut offers = Mersenne::new(9);
    let text: Vec<u32> = (0..80)
        .map(|i| {
            let row = (i + 17) % length * vocabulary as usize;
            let offered: Vec<u32> = (0..4).map(|_| offers.next_u32() % vocabulary).collect();
            let u = |t: &u32| table[row + *t as usize];
            offered
                .into_iter()
                .max_by(|a, b| u(a).total_cmp(&u(b)))
                .expect("four")
        })
        .collect();
    folder.texts("text.jsonl", &[vec![3, 1, 4, 1, 5], text]);
    let file = |seed: u32| {
        format!(
            "scheme = \"exp@kuditipudi\"\nkey = {seed}\nlength = {length}\nvocabulary = {vocabulary}\n\
             device = \"cpu\"\n"
        )
    };
    folder.write("key.toml", file(42));
    let found = folder.found(&["text.jsonl", "--key", "key.toml"]);
    assert!(p(&found) < -6.0, "{found}");
    let at = &found["keys"][0]["sequence"];
    assert_eq!((&at["text"], &at["offset"]), (&json!(2), &json!(17)));
    folder.write("other.toml", file(43));
    assert!(p(&folder.found(&["text.jsonl", "--key", "other.toml"])) > -2.0);
    KeyFile::parse(&file(42)).expect("a key file");
}
