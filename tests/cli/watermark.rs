//! `watermark detect` and `watermark commit`, on tokens marked here.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use filiation_watermark::KeyFile;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const VOCABULARY: u32 = 2000;

fn key_toml(key: u64) -> String {
    format!(
        "scheme = \"kgw@lm-watermarking\"\nkey = \"{key}\"\nseeding = \"selfhash\"\ngamma = 0.25\n\
         vocabulary = {VOCABULARY}\ndevice = \"cpu\"\nsalt = \"salt\"\n"
    )
}

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("key.toml"), key_toml(15_485_863)).expect("writes");
        fs::write(folder.path().join("other.toml"), key_toml(32_452_843)).expect("writes");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("writes");
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_filiation"))
            .current_dir(self.folder.path())
            .arg("watermark")
            .args(arguments)
            .output()
            .expect("the binary was built")
    }

    fn found(&self, text: &str, key: &str) -> Value {
        let output = self.run(&["detect", text, "--key", key, "--json"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn refused(&self, arguments: &[&str], told: &str) {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{error}"
        );
        assert!(error.contains(told), "`{told}` is not in\n{error}");
    }
}

/// A text whose maker took, of two tokens, the greener one.
fn marked(key: u64, tokens: usize) -> Vec<u32> {
    let file = KeyFile::parse(&key_toml(key)).expect("a key file");
    let scheme = file.scheme().expect("a known scheme");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut text = vec![5, 6, 7];
    while text.len() < tokens {
        let offered = [
            rng.random_range(0..VOCABULARY),
            rng.random_range(0..VOCABULARY),
        ];
        let scores = scheme.scores(&text[text.len() - 3..], &offered);
        text.push(offered[usize::from(scores[1] > scores[0])]);
    }
    text
}

fn line(tokens: &[u32]) -> String {
    json!({ "tokens": tokens }).to_string() + "\n"
}

#[test]
fn a_mark_is_seen_under_its_key_alone() {
    let bench = Bench::new();
    let text = marked(15_485_863, 400);
    bench.write("marked.jsonl", line(&text[..200]) + &line(&text[200..]));
    let found = bench.found("marked.jsonl", "key.toml");
    assert!(
        found["log10_p"].as_f64().expect("a number") < -6.0,
        "{found}"
    );
    assert_eq!(found["texts"], 2);
    assert_eq!(found["keys_tried"], 1);
    let other = bench.found("marked.jsonl", "other.toml");
    assert!(
        other["log10_p"].as_f64().expect("a number") > -3.0,
        "{other}"
    );

    // Said as a person reads it, the smallest excess that would have been seen among it.
    let output = bench.run(&["detect", "marked.jsonl", "--key", "key.toml"]);
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(
        said.contains("log10 p") && said.contains("would have been seen"),
        "{said}"
    );
}

#[test]
fn the_same_text_a_hundred_times_is_one_text() {
    let bench = Bench::new();
    let text = marked(15_485_863, 60);
    bench.write("once.jsonl", line(&text));
    bench.write("often.jsonl", line(&text).repeat(100));
    let (once, often) = (
        bench.found("once.jsonl", "key.toml"),
        bench.found("often.jsonl", "key.toml"),
    );
    assert_eq!(once["log10_p"], often["log10_p"]);
    assert_eq!(often["residue"]["scored"], once["residue"]["scored"]);
}

#[test]
fn too_short_a_text_abstains() {
    let bench = Bench::new();
    bench.write("short.jsonl", line(&[1, 2]));
    let found = bench.found("short.jsonl", "key.toml");
    assert_eq!(found["log10_p"], Value::Null);
    let why = found["abstention"].as_str().expect("a reason");
    assert!(why.contains("0 tokens can be scored"), "{why}");
}

#[test]
fn a_commitment_binds_key_and_salt() {
    let bench = Bench::new();
    bench.write(
        "salted.toml",
        key_toml(15_485_863).replace("salt = \"salt\"", "salt = \"sea\""),
    );
    let of = |name: &str| {
        let output = bench.run(&["commit", name]);
        String::from_utf8(output.stdout).expect("text")
    };
    let all = [of("key.toml"), of("other.toml"), of("salted.toml")];
    assert_eq!(all[0].trim().len(), 64);
    assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
    assert_eq!(of("key.toml"), all[0]);
}

#[test]
fn bad_input_is_refused() {
    let bench = Bench::new();
    bench.write("text.jsonl", line(&[1, 2, 3, 4, 2000]));
    let detect = |text: &'static str, key: &'static str| ["detect", text, "--key", key];
    bench.refused(
        &detect("text.jsonl", "key.toml"),
        "token id 2000 at position 4",
    );
    bench.write("latin.txt", b"caf\xe9");
    bench.refused(&detect("latin.txt", "key.toml"), "byte 3");
    bench.write("broken.jsonl", "{\"tokens\": [1, 2]}\n{\"tokens\": 7}\n");
    bench.refused(&detect("broken.jsonl", "key.toml"), "line 2");
    bench.write("text.txt", "words");
    bench.refused(&detect("text.txt", "key.toml"), "--tokenizer");
    for (from, to, told) in [
        ("device = \"cpu\"\n", "", "`device` is missing"),
        ("device = \"cpu\"", "device = \"cuda\"", "another generator"),
        ("kgw@lm-watermarking", "kgw@nobody", "scheme `kgw@nobody`"),
        ("gamma = 0.25", "gamma = 1.5", "`gamma` is 1.5"),
        ("vocabulary = 2000", "vocabulary = \"many\"", "line 5"),
        ("selfhash", "selfsame", "`selfsame`"),
    ] {
        let spoilt = key_toml(1).replace(from, to);
        assert_ne!(spoilt, key_toml(1), "{from}");
        bench.write("spoilt.toml", spoilt);
        bench.refused(&detect("text.jsonl", "spoilt.toml"), told);
    }
}
