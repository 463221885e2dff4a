//! Models by their id, against a Hub on this machine that is sound or hostile, through the binary.

mod api;
mod mock;
#[path = "../teacher/server.rs"]
#[expect(dead_code, reason = "this server is sound")]
mod server;
#[path = "../audit/tiny.rs"]
mod tiny;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use mock::{COMMIT, Faults, Mock, oid, sha256};
use tiny::{Bench, stderr};

const TOKEN: &str = "hf_canary_7b1e";

struct Place {
    bench: Bench,
    mock: Mock,
}

impl Place {
    fn new() -> Self {
        let bench = Bench::new(4);
        let files: BTreeMap<String, Vec<u8>> =
            ["config.json", "tokenizer.json", "model.safetensors"]
                .map(|name| (name.to_owned(), read(&bench.path("t1").join(name))))
                .into();
        let mock = Mock::serve(files);
        mock.put("pytorch_model.bin", b"a pickle");
        mock.put("modeling_tiny.py", b"code");
        mock.put("onnx/model.onnx", b"another format");
        Self { bench, mock }
    }

    fn run(&self, arguments: &[&str], offline: bool) -> Output {
        let mut command = self.bench.command(arguments);
        for name in [
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HF_TOKEN_PATH",
            "TRANSFORMERS_OFFLINE",
        ] {
            command.env_remove(name);
        }
        command
            .env("HF_ENDPOINT", self.mock.url())
            .env("HF_HOME", self.bench.path("hf"))
            .env("HF_TOKEN", TOKEN)
            .env("HF_HUB_OFFLINE", if offline { "1" } else { "0" })
            .output()
            .expect("filiation starts")
    }

    fn inspect(&self) -> Output {
        self.run(&["inspect", "acme/tiny@main", "--json"], false)
    }

    fn folder(&self) -> PathBuf {
        self.bench.path("hf/hub/models--acme--tiny")
    }

    fn snapshot(&self) -> PathBuf {
        self.folder().join("snapshots").join(COMMIT)
    }

    /// Inspects a Hub that misbehaves: refused, saying so, and with nothing of the file kept.
    fn refused(&self, faults: Faults, told: &[&str]) {
        self.mock.misbehave(faults);
        let output = self.inspect();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty(), "{said}");
        for text in told {
            assert!(said.contains(text), "`{text}` is not in\n{said}");
        }
        assert!(!said.contains(TOKEN), "{said}");
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file below a folder, by its path in it.
fn below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").to_string_lossy();
                found.push(name.into_owned());
            }
        }
    }
    found.sort();
    found
}

fn digest(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let source = shown["identity"]["source"].as_str().expect("a source");
    assert_eq!(source, format!("hf:acme/tiny@{COMMIT}"));
    shown["identity"]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned()
}

#[test]
fn a_model_is_downloaded_checked_and_laid_out_as_other_tools_expect() {
    let place = Place::new();
    let found = digest(&place.inspect());
    let local = place.bench.stdout(&["inspect", "t1", "--json"]);
    assert!(local.contains(&found), "the same model as the folder");
    // Nothing but what is read, under the names of its hashes.
    let weights = read(&place.bench.path("t1/model.safetensors"));
    let config = read(&place.bench.path("t1/config.json"));
    let tokenizer = read(&place.bench.path("t1/tokenizer.json"));
    let mut wanted = vec![
        format!(".filiation/{COMMIT}.json"),
        format!("blobs/{}", oid("config.json", &config)),
        format!("blobs/{}", oid("tokenizer.json", &tokenizer)),
        format!("blobs/{}", sha256(&weights)),
        "refs/main".into(),
        format!("snapshots/{COMMIT}/config.json"),
        format!("snapshots/{COMMIT}/model.safetensors"),
        format!("snapshots/{COMMIT}/tokenizer.json"),
    ];
    wanted.sort();
    assert_eq!(below(&place.folder()), wanted);
    assert_eq!(read(&place.folder().join("refs/main")), COMMIT.as_bytes());
    let link = fs::read_link(place.snapshot().join("config.json")).expect("a link");
    assert!(link.starts_with("../../blobs"), "{}", link.display());
    // Paged lists, which may lead elsewhere, are never asked for; a token goes to the Hub alone.
    let seen = place.mock.seen();
    assert!(
        seen.iter()
            .all(|s| s.authorized && !s.path.contains("/tree/")),
        "{seen:?}"
    );
    assert!(
        seen.iter()
            .all(|s| !s.path.contains("pytorch") && !s.path.contains("onnx"))
    );

    // A second time only the branch is asked about; a commit asks nothing.
    assert_eq!(digest(&place.inspect()), found);
    assert_eq!(place.mock.seen().len(), 1);
    let pinned = format!("hf:acme/tiny@{COMMIT}");
    assert_eq!(
        digest(&place.run(&["inspect", &pinned, "--json"], false)),
        found
    );
    assert_eq!(
        digest(&place.run(&["inspect", "acme/tiny@main", "--json"], true)),
        found
    );
    assert!(place.mock.seen().is_empty());
}

#[test]
fn offline_opens_no_socket_and_checks_what_others_downloaded() {
    let place = Place::new();
    let told = place.run(&["inspect", "hf:acme/tiny"], true);
    assert_eq!(told.status.code(), Some(1));
    assert!(stderr(&told).contains("not in the cache, and `HF_HUB_OFFLINE` is set"));
    assert!(stderr(&told).contains("hint: download it where there is a network"));
    let found = digest(&place.inspect());
    place.mock.seen();
    // As Python's tool leaves it.
    fs::remove_dir_all(place.folder().join(".filiation")).expect("removes");
    assert_eq!(
        digest(&place.run(&["inspect", "acme/tiny@main", "--json"], true)),
        found
    );
    fs::remove_dir_all(place.folder().join(".filiation")).expect("removes");
    let blob = fs::canonicalize(place.snapshot().join("config.json")).expect("a blob");
    fs::write(blob, tiny::config().to_string() + " ").expect("spoils");
    let told = place.run(&["inspect", "acme/tiny@main"], true);
    assert!(
        stderr(&told).contains("does not have the hash that it is named by"),
        "{}",
        stderr(&told)
    );
    assert!(place.mock.seen().is_empty());
    // With a network it is put right.
    assert_eq!(digest(&place.inspect()), found);
}

#[test]
fn an_error_page_is_not_a_model() {
    let place = Place::new();
    place.refused(
        Faults {
            denied: true,
            ..Faults::default()
        },
        &[
            "`hf:acme/tiny@",
            "does not give it to you",
            "hint: accept its terms",
        ],
    );
    assert!(
        !below(&place.folder())
            .iter()
            .any(|f| f.starts_with("snapshots"))
    );
    place.mock.misbehave(Faults::default());
    digest(&place.inspect());
}

#[test]
fn content_of_another_hash_is_never_kept() {
    for name in ["model.safetensors", "config.json"] {
        let place = Place::new();
        place.refused(
            Faults {
                spoilt: Some(name),
                ..Faults::default()
            },
            &[
                "came with",
                name,
                "the commit names",
                "nothing of it was kept",
            ],
        );
        let files = below(&place.folder());
        assert!(!files.iter().any(|f| f.ends_with(name)), "{files:?}");
        assert!(
            !files.iter().any(|f| f.ends_with(".incomplete")),
            "{files:?}"
        );
        place.mock.misbehave(Faults::default());
        digest(&place.inspect());
    }
}

#[test]
fn a_torn_download_goes_on_where_it_stopped() {
    for no_ranges in [false, true] {
        let place = Place::new();
        let torn = Faults {
            torn: Some("model.safetensors"),
            no_ranges,
            ..Faults::default()
        };
        place.refused(torn, &["the Hub"]);
        let whole = read(&place.bench.path("t1/model.safetensors")).len() as u64;
        place.mock.seen();
        digest(&place.inspect());
        let ranges: Vec<u64> = place.mock.seen().iter().filter_map(|s| s.range).collect();
        assert_eq!(ranges.len(), 1, "{ranges:?}");
        assert!(ranges[0] > 0 && ranges[0] < whole, "{ranges:?}");
    }
}

#[test]
fn names_that_leave_the_folder_stop_everything() {
    for name in [
        "../../../../escaped.json",
        "/etc/escaped",
        "a/../../escaped",
        "..\\escaped",
    ] {
        let place = Place::new();
        let faults = Faults {
            name: Some(name),
            ..Faults::default()
        };
        place.refused(faults, &["a name that leaves its folder"]);
        assert!(
            !below(place.bench.path(".").as_path())
                .iter()
                .any(|f| f.contains("escaped"))
        );
        assert!(
            place
                .mock
                .seen()
                .iter()
                .all(|s| !s.path.contains("resolve"))
        );
    }
}

#[test]
fn headers_name_no_path() {
    let place = Place::new();
    let found = digest(&place.inspect());
    fs::remove_dir_all(place.bench.path("hf")).expect("removes");
    place.mock.misbehave(Faults {
        headers: vec![
            ("X-Repo-Commit", "../../../escaped".into()),
            ("X-Linked-Etag", "\"../../../escaped\"".into()),
        ],
        ..Faults::default()
    });
    assert_eq!(digest(&place.inspect()), found);
    assert!(
        !below(place.bench.path(".").as_path())
            .iter()
            .any(|f| f.contains("escaped"))
    );
}

#[test]
fn other_commits_and_no_commits_are_refused() {
    let place = Place::new();
    let faults = |commit: &str| Faults {
        commit: Some(commit.into()),
        ..Faults::default()
    };
    place.refused(faults("../../x"), &["gave no sound commit"]);
    // Between the question for the commit and that for its files the answer changes.
    place.mock.misbehave(faults(&"f".repeat(40)));
    let pinned = format!("hf:acme/tiny@{COMMIT}");
    let told = stderr(&place.run(&["inspect", &pinned], false));
    assert!(told.contains("answered for commit `ffff"), "{told}");
    let told = stderr(&place.run(&["inspect", "acme/tiny@v9"], false));
    assert!(told.contains("has no such revision"), "{told}");
}

#[test]
fn no_token_leaves_for_another_address() {
    let place = Place::new();
    let other = Mock::serve(BTreeMap::new());
    // Another page of a list, at another address.
    let link = format!("<{}/api/models?cursor=x>; rel=\"next\"", other.url());
    place.mock.misbehave(Faults {
        headers: vec![("Link", link)],
        ..Faults::default()
    });
    digest(&place.inspect());
    assert!(other.seen().is_empty());
    // An address that is not encrypted, and not here.
    let mut command = place.bench.command(&["inspect", "acme/tiny@main"]);
    command
        .env("HF_ENDPOINT", "http://hub.example.org")
        .env("HF_TOKEN", TOKEN);
    command.env("HF_HOME", place.bench.path("none"));
    let told = command.output().expect("filiation starts");
    assert!(
        stderr(&told).contains("expected `https`"),
        "{}",
        stderr(&told)
    );
    // The token is written nowhere.
    for file in below(place.bench.path("hf").as_path()) {
        let path = place.bench.path("hf").join(&file);
        let bytes = fs::read(&path).unwrap_or_default();
        let found = bytes.windows(TOKEN.len()).any(|w| w == TOKEN.as_bytes());
        assert!(!found, "{file}");
    }
}

#[test]
fn refusals_and_nonsense_are_told() {
    let place = Place::new();
    let status = |status| Faults {
        status: Some(status),
        ..Faults::default()
    };
    place.refused(status(401), &["asks for a token", "hint: set `HF_TOKEN`"]);
    place.refused(status(418), &["answered with status 418"]);
    let html = Faults {
        html: true,
        ..Faults::default()
    };
    place.refused(html, &["the Hub"]);
    place.mock.misbehave(Faults::default());
    let told = stderr(&place.run(&["inspect", "hf:acme/--x"], false));
    assert!(told.contains("is no id of a model"), "{told}");
    let none = place.run(&["inspect", "acme/tiny"], false);
    assert!(
        !stderr(&none).contains("Hub"),
        "a path without `@` asks no network"
    );
    assert_eq!(
        place
            .mock
            .seen()
            .iter()
            .filter(|s| s.path.contains("resolve"))
            .count(),
        0
    );
}

#[test]
fn audits_lineage_and_populations_take_ids_and_keep_the_commit() {
    let place = Place::new();
    let audit = [
        "audit",
        "suspect",
        "--base",
        "base",
        "--teacher",
        "acme/tiny@main",
        "--teacher",
        "t2",
        "--suite",
        "openings.jsonl",
        "--probe",
        "tlu-did",
        "--max-tokens",
        "8",
        "--run",
        "run",
    ];
    let output = place.run(&audit, false);
    assert!(output.status.success(), "{}", stderr(&output));
    let case = fs::read_to_string(place.bench.path("run/case.toml")).expect("reads");
    assert!(case.contains(&format!("hf:acme/tiny@{COMMIT}")), "{case}");
    assert!(case.contains("name = \"tiny\""), "{case}");
    let report = fs::read_to_string(place.bench.path("run/report.json")).expect("reads");
    assert!(report.contains(&format!("hf:acme/tiny@{COMMIT}")));
    assert!(!report.contains("snapshots"), "no path of this machine");
    // The run goes on without a network; a branch that moved is another case.
    assert!(place.run(&audit, true).status.success());
    place.mock.misbehave(Faults {
        commit: Some("f".repeat(40)),
        ..Faults::default()
    });
    let moved = place.run(&audit, false);
    assert_eq!(moved.status.code(), Some(1), "{}", stderr(&moved));
    place.mock.misbehave(Faults::default());
    let pinned = format!("hf:acme/tiny@{COMMIT}");
    let related = place.run(&["lineage", &pinned, "t1"], false);
    assert!(related.status.success(), "{}", stderr(&related));
    assert!(String::from_utf8_lossy(&related.stdout).contains("same model"));
    let packed = place.run(
        &["lineage", "suspect", "--against", "acme/tiny@main", "base"],
        false,
    );
    assert!(packed.status.success(), "{}", stderr(&packed));
    let collected = place.run(
        &[
            "collect",
            "acme/tiny@main",
            "--suite",
            "openings.jsonl",
            "--out",
            "t.pack",
            "--date",
            "2026-01-01",
        ],
        false,
    );
    assert!(collected.status.success(), "{}", stderr(&collected));
    let shown = place.bench.stdout(&["pack", "show", "t.pack"]);
    assert!(shown.contains(&pinned), "{shown}");
}
