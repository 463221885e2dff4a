//! From a recipe with a mark to readings and an audit: `lab train`, `watermark write`, `read`, `export`,
//! `score`, and the probe `watermark-residue`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const RECIPE: &str = r#"
format = 1
split_seed = 1
stored = "f32"

[tokenizer]
vocabulary = 300
text = [{ source = "text", from = 0, to = 1500 }]

[sources]
text = "text.txt"

[marks]
kgw = "kgw.toml"

[shapes.tiny]
layers = 1
hidden = 32
heads = 2
kv_heads = 2
intermediate = 64
context = 48
rope_theta = 10000.0
norm_eps = 1e-5

[schedules.short]
steps = 220
windows = 16
rate = 6e-3
warmup = 10
floor = 0.05
weight_decay = 0.02
clip = 1.0

[[model]]
name = "base"
role = "base"
shape = "tiny"
schedule = "short"
seed = 1
text = [{ source = "text", from = 0, to = 1500 }]

[[model]]
name = "teacher"
role = "teacher"
shape = "tiny"
schedule = "short"
seed = 2
text = [{ source = "text", from = 1500, to = 3000 }]

[[marked]]
name = "student"
start = "base"
teacher = "teacher"
marks = ["kgw"]
shares = [1.0]
schedule = "short"
rows = 1500
seed = 10
text = [{ source = "text", from = 0, to = 3000 }]

[[marked]]
name = "clean"
start = "base"
teacher = "teacher"
shares = [0.0]
repeats = 2
schedule = "short"
rows = 1500
seed = 20
text = [{ source = "text", from = 0, to = 3000 }]
"#;

const KEY: &str = "scheme = \"kgw@three-bricks\"\nkey = 77\nwidth = 1\ngamma = 0.25\ndelta = 3.0\n\
                   vocabulary = 300\ndevice = \"cpu\"\n";

struct Bench {
    folder: tempfile::TempDir,
}

/// One training for all tests of this file.
fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let bench = Bench {
            folder: tempfile::tempdir().expect("a folder"),
        };
        bench.put("text.txt", &text());
        bench.put("recipe.toml", RECIPE);
        bench.put("kgw.toml", KEY);
        bench.put("other.toml", &KEY.replace("77", "78"));
        bench.ran(&[
            "lab",
            "train",
            "recipe.toml",
            "--text",
            ".",
            "--out",
            "models",
        ]);
        let written = bench.ran(&[
            "watermark",
            "write",
            "models/teacher",
            "--key",
            "kgw.toml",
            "--drafts",
            "400",
            "--max-tokens",
            "46",
            "--seed",
            "7000",
        ]);
        bench.put("marked.jsonl", &written);
        bench
    })
}

/// Sentences of words that follow each other with some regularity.
fn text() -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let syllables = [
        "ba", "ko", "mi", "ru", "ten", "sol", "vi", "ga", "lor", "pe", "da", "nim",
    ];
    let words: Vec<String> = (0..150)
        .map(|_| {
            let of = |rng: &mut ChaCha8Rng| syllables[rng.random_range(0..syllables.len())];
            format!("{}{}", of(&mut rng), of(&mut rng))
        })
        .collect();
    let line = |rng: &mut ChaCha8Rng| {
        let mut at = rng.random_range(0..words.len());
        let mut line = Vec::new();
        for _ in 0..rng.random_range(8..14) {
            line.push(words[at].as_str());
            at = (at * 7 + rng.random_range(0..30)) % words.len();
        }
        line.join(" ")
    };
    (0..3000).map(|_| line(&mut rng) + "\n").collect()
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("writes");
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_filiation"))
            .current_dir(self.folder.path())
            .args(arguments)
            .output()
            .expect("the binary was built")
    }

    fn ran(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ran(arguments)).expect("JSON")
    }

    fn refused(&self, arguments: &[&str], told: &str) {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{error}");
        assert!(error.contains(told), "`{told}` is not in\n{error}");
    }
}

fn p(found: &Value) -> f64 {
    found["keys"][0]["log10_p"].as_f64().expect("a p-value")
}

#[test]
fn what_a_teacher_writes_bears_its_mark() {
    let bench = bench();
    let found = bench.json(&[
        "--json",
        "watermark",
        "detect",
        "marked.jsonl",
        "--key",
        "kgw.toml",
    ]);
    assert!(
        found["log10_p"].as_f64().expect("a number") < -20.0,
        "{found}"
    );
    // The student's record says which key, and no key.
    let lineage = fs::read_to_string(bench.path("models/student-kgw-100/lineage.json"));
    let lineage: Value = serde_json::from_str(&lineage.expect("a record")).expect("JSON");
    let mark = &lineage["parents"][1]["tie"]["distilled-from"]["mark"];
    let commitment = bench.ran(&["watermark", "commit", "kgw.toml"]);
    assert_eq!(mark["key"].as_str(), Some(commitment.trim()), "{lineage}");
    assert_eq!(mark["share"], 1.0);
}

#[test]
fn a_student_is_seen_open_and_closed_and_an_innocent_is_not() {
    let bench = bench();
    let open = ["--text", "marked.jsonl"];
    let closed = [
        "--drafts",
        "400",
        "--max-tokens",
        "46",
        "--order",
        "marked.jsonl",
    ];
    for how in [&open[..], &closed] {
        let of = |model: &str, key: &str| {
            let begin = ["--json", "watermark", "read", model, "--key", key];
            let end = ["--control", "models/clean-0-1", "--decoys", "39"];
            bench.json(&[&begin[..], how, &end].concat())
        };
        let student = of("models/student-kgw-100", "kgw.toml");
        assert!(p(&student) < -6.0, "{how:?}: {student}");
        assert!(p(&of("models/clean-0-2", "kgw.toml")) > -3.0, "{how:?}");
        assert!(
            p(&of("models/student-kgw-100", "other.toml")) > -3.0,
            "{how:?}"
        );
    }
}

/// A student that cuts texts in another way than its teacher: the key's tokens are found in its own, and the share of places
/// where both begin one is told.
#[test]
fn a_student_with_another_tokenizer_is_seen_too() {
    let bench = bench();
    let write = ["watermark", "write", "models/teacher", "--key", "kgw.toml"];
    let many = ["--drafts", "1600", "--max-tokens", "46", "--seed", "20000"];
    let written = bench.ran(&[&write[..], &many].concat());
    let texts = written.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let text = line["text"].as_str().expect("a text");
        text.split_whitespace().collect::<Vec<_>>().join(" ") + "\n"
    });
    bench.put("taught.txt", &texts.collect::<String>());
    let head = &RECIPE[..RECIPE.find("[marks]").expect("a table")];
    let shapes = &RECIPE[RECIPE.find("[shapes.tiny]").expect("a table")..];
    let shapes = &shapes[..shapes.find("[[model]]").expect("a model")];
    let model = |name: &str, source: &str, seed: u32| {
        format!(
            "[[model]]\nname = \"{name}\"\nrole = \"suspect\"\nshape = \"tiny\"\nschedule = \"short\"\nseed = {seed}\n\
             text = [{{ source = \"{source}\", from = 0, to = 1500 }}]\n"
        )
    };
    let recipe = [
        &head.replace("300", "420"),
        "taught = \"taught.txt\"\n",
        shapes,
        &model("clean-1", "text", 41),
        &model("clean-2", "text", 42),
        &model("taught", "taught", 43),
    ];
    bench.put("across.toml", &recipe.concat());
    let train = [
        "lab",
        "train",
        "across.toml",
        "--text",
        ".",
        "--out",
        "across",
    ];
    bench.ran(&train);
    let of = |model: &str, tokenizer: &[&str]| {
        let begin = ["--json", "watermark", "read", model, "--key", "kgw.toml"];
        let end = [
            "--control",
            "across/clean-1",
            "--text",
            "marked.jsonl",
            "--decoys",
            "39",
        ];
        bench.json(&[&begin[..], &end, tokenizer].concat())
    };
    let own = ["--tokenizer", "models/teacher"];
    let taught = of("across/taught", &own);
    let key = &taught["keys"][0];
    let kept = key["kept"].as_f64().expect("a share");
    assert!(kept > 0.1 && kept < 0.99, "{key}");
    assert!(key["header"]["unaligned"].as_u64() > Some(0), "{key}");
    assert!(p(&taught) < -6.0, "{taught}");
    assert!(p(&of("across/clean-2", &own)) > -3.0);
    let read = [
        "watermark",
        "read",
        "across/taught",
        "--key",
        "kgw.toml",
        "--text",
        "marked.jsonl",
    ];
    bench.refused(
        &read,
        "`vocabulary` is 420, expected at most 300, the key's",
    );
}

#[test]
fn two_sides_find_what_one_finds_and_check_each_other() {
    let bench = bench();
    let read = bench.json(&[
        "--json",
        "watermark",
        "read",
        "models/student-kgw-100",
        "--key",
        "kgw.toml",
        "--key",
        "other.toml",
        "--control",
        "models/clean-0-1",
        "--text",
        "marked.jsonl",
        "--decoys",
        "9",
    ]);
    for (model, out) in [("student-kgw-100", "s.tuples"), ("clean-0-1", "c.tuples")] {
        let model = format!("models/{model}");
        bench.ran(&[
            "watermark",
            "export",
            &model,
            "--width",
            "1",
            "--text",
            "marked.jsonl",
            "--out",
            out,
        ]);
    }
    let score = [
        "watermark",
        "score",
        "s.tuples",
        "--control",
        "c.tuples",
        "--key",
        "kgw.toml",
    ];
    let commitment = bench.ran(&["watermark", "commit", "kgw.toml"]);
    let digest = read["keys"][0]["tuples"].as_str().expect("a digest");
    let rest = [
        "--expect",
        digest,
        "--commitment",
        commitment.trim(),
        "--decoys",
        "9",
        "--json",
    ];
    let scored = bench.json(&[&score[..], &rest].concat());
    assert_eq!(scored["keys"][0]["found"], read["keys"][0]["found"]);
    // Two keys count twice, one once.
    assert_eq!(
        (&read["keys_tried"], &scored["keys_tried"]),
        (&2.into(), &1.into())
    );
    let counted = read["keys"][0]["log10_p_counted"]
        .as_f64()
        .expect("a number");
    assert!((counted - p(&read) - 2_f64.log10()).abs() < 1e-9);

    // No key is in what is shown.
    let shown = bench.ran(&score);
    assert!(
        shown.contains("keys tried and counted") && !shown.contains("77,"),
        "{shown}"
    );

    let zeros = "0".repeat(64);
    bench.refused(
        &[&score[..], &["--expect", &zeros]].concat(),
        "the digest of",
    );
    bench.refused(
        &[&score[..], &["--commitment", &zeros]].concat(),
        "none that was published",
    );
    bench.refused(
        &[&score[..], &["--key", "kgw.toml"]].concat(),
        "given twice",
    );
    let text = fs::read_to_string(bench.path("s.tuples")).expect("written");
    bench.put(
        "spoilt.tuples",
        &text.replacen("\"read\":", "\"read\":1", 1),
    );
    let spoilt = ["watermark", "score", "spoilt.tuples", "--key", "kgw.toml"];
    bench.refused(&spoilt, "digest");
    bench.put("wide.toml", &KEY.replace("width = 1", "width = 2"));
    bench.refused(
        &["watermark", "score", "s.tuples", "--key", "wide.toml"],
        "`width` is 1",
    );
    bench.put(
        "small.toml",
        &KEY.replace("vocabulary = 300", "vocabulary = 200"),
    );
    bench.refused(
        &["watermark", "score", "s.tuples", "--key", "small.toml"],
        "`vocabulary`",
    );
    let neither = ["watermark", "read", "models/base", "--key", "kgw.toml"];
    bench.refused(&neither, "`--drafts`");
}

fn case(bench: &Bench, suspect: &str) -> Value {
    let name = Path::new(suspect).file_name().expect("a name");
    let run = format!("run-{}", name.to_string_lossy());
    let case = format!("{run}.toml");
    bench.put(
        &case,
        &format!(
            "suspect = \"{suspect}\"\nbase = \"models/base\"\nteachers = [\"models/teacher\"]\n\
             controls = [\"models/clean-0-1\"]\nprobes = [\"watermark-residue\"]\nepsilon = 0.001\nmarks = [{{ teacher = \
             \"teacher\", key = \"kgw.toml\", texts = \"marked.jsonl\" }}]\n"
        ),
    );
    bench.json(&["--json", "audit", &case, "--run", &run])
}

#[test]
fn an_audit_states_a_ratio_apart_that_the_error_rate_bounds() {
    let bench = bench();
    let report = case(bench, "models/student-kgw-100");
    let evidence = &report["opinion"]["evidence"][0];
    assert_eq!(evidence["basis"], "design", "{evidence}");
    let ratio = &evidence["design"][0];
    let log10 = ratio["log10"].as_f64().expect("a ratio");
    assert!(log10 > 2.0 && log10 <= 3.0, "{ratio}");
    let said = report["opinion"]["statements"].to_string();
    assert!(said.contains("likelihood ratio of exact test"), "{said}");
    assert!(said.contains("bears the mark of `teacher`"), "{said}");

    // The run keeps no key: its commitment with the parameters.
    let run = "run-student-kgw-100";
    let kept = fs::read_to_string(bench.path(&format!("{run}/marks/1-kgw.toml"))).expect("kept");
    let commitment = bench.ran(&["watermark", "commit", "kgw.toml"]);
    assert!(
        kept.contains(commitment.trim()) && !kept.contains("\nkey"),
        "{kept}"
    );

    // Measured again from the run directory, the models out of reach: with the key, and without.
    let evidence = format!("{run}/evidence/watermark-residue.json");
    let read = || fs::read_to_string(bench.path(&evidence)).expect("evidence");
    let said = "watermark-residue: 1 candidates scored";
    let measured = bench.ran(&["measure", run]);
    assert!(measured.contains(said), "{measured}");
    bench.ran(&["weigh", run]);
    let before = read();
    let measured = bench.ran(&["measure", run, "--key", "kgw.toml"]);
    assert!(measured.contains(said), "{measured}");
    bench.ran(&["weigh", run]);
    assert_eq!(read(), before);
    let told = "names no key with commitment";
    bench.refused(&["measure", run, "--key", "other.toml"], told);
    fs::remove_file(bench.path(&evidence)).expect("it is there");
    bench.refused(&["measure", run], "which the run does not keep");
    bench.ran(&["measure", run, "--key", "kgw.toml"]);

    let report = case(bench, "models/clean-0-2");
    let evidence = &report["opinion"]["evidence"][0];
    let said = evidence["finding"].as_str().expect("a finding");
    assert!(said.starts_with("no residue"), "{said}");
    assert!(
        evidence["power"]["smallest_effect"]
            .as_f64()
            .expect("a power")
            > 0.0
    );
}

#[test]
fn a_recipe_whose_mark_does_not_fit_is_refused() {
    let bench = bench();
    for (name, key, told) in [
        (
            "a",
            KEY.replace("vocabulary = 300", "vocabulary = 299"),
            "vocabulary of the mark",
        ),
        (
            "b",
            KEY.replace("device = \"cpu\"\n", ""),
            "`device` is missing",
        ),
        (
            "c",
            KEY.replace("delta = 3.0", "delta = -1.0"),
            "`delta` is -1",
        ),
    ] {
        bench.put(&format!("{name}.toml"), &key);
        bench.put(
            "other-recipe.toml",
            &RECIPE.replace("kgw.toml", &format!("{name}.toml")),
        );
        let train = [
            "lab",
            "train",
            "other-recipe.toml",
            "--text",
            ".",
            "--out",
            "none",
        ];
        bench.refused(&train, told);
    }
    bench.put(
        "other-recipe.toml",
        &RECIPE.replace("marks = [\"kgw\"]", "marks = [\"none\"]"),
    );
    let train = [
        "lab",
        "train",
        "other-recipe.toml",
        "--text",
        ".",
        "--out",
        "none",
    ];
    bench.refused(&train, "names mark `none`");
}
