//! A teacher serves twenty accounts, a student learns from the traffic of one, and the log says
//! which: from training to the report, at a size that takes seconds.

#![expect(
    clippy::print_stdout,
    reason = "what a study found is for those who read on"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use filiation_checkpoint::Limits;
use filiation_core::{Answer, Model, Prompt, Request, RequestId, Role, Sampling, Want};
use filiation_lab::{Recipe, build};
use filiation_model::{DeviceChoice, LocalModel};
use serde_json::{Value, json};

const ACCOUNTS: usize = 20;
const PAIRS: usize = 25;
const LEAK: usize = 7;
const TOKENS: u32 = 20;

/// Made-up words that follow each other by a table of their own, so that there is something to
/// learn and no sentence is anyone's.
struct Tongue {
    state: u64,
    table: Vec<[usize; 6]>,
}

impl Tongue {
    const WORDS: usize = 240;

    fn new(table: u64, draws: u64) -> Self {
        let mut tongue = Self {
            state: table,
            table: Vec::new(),
        };
        tongue.table = (0..Self::WORDS)
            .map(|_| [(); 6].map(|()| tongue.below(Self::WORDS)))
            .collect();
        tongue.state = draws;
        tongue
    }

    fn below(&mut self, n: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.state >> 33) as usize) % n
    }

    fn word(at: usize) -> String {
        let parts = [
            "ba", "de", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "ze",
        ];
        format!(
            "{}{}{}",
            parts[at % 12],
            parts[at / 12 % 12],
            if at >= 144 { "n" } else { "" }
        )
    }

    fn line(&mut self) -> String {
        let mut at = self.below(Self::WORDS);
        let mut words = vec![Self::word(at)];
        for _ in 0..8 + self.below(5) {
            let next = self.below(6);
            at = self.table[at][next];
            words.push(Self::word(at));
        }
        words.join(" ")
    }

    fn lines(&mut self, n: usize) -> Vec<String> {
        (0..n).map(|_| self.line()).collect()
    }
}

const RECIPE: &str = r#"
format = 1
split_seed = 1
stored = "bf16"
[tokenizer]
vocabulary = 400
text = [{ source = "people", from = 0, to = 400 }]
[sources]
people = "people.txt"
school = "school.txt"
[shapes.small]
layers = 2
hidden = 64
heads = 4
kv_heads = 2
intermediate = 128
context = 48
rope_theta = 10000.0
norm_eps = 1e-5
[schedules.first]
steps = 250
windows = 8
rate = 4e-3
warmup = 20
floor = 0.05
weight_decay = 0.02
clip = 1.0
[schedules.tune]
steps = 120
windows = 8
rate = 3e-3
warmup = 10
floor = 0.05
weight_decay = 0.02
clip = 1.0
[[model]]
name = "base"
role = "base"
shape = "small"
schedule = "first"
seed = 1
text = [{ source = "people", from = 0, to = 1500 }]
[[model]]
name = "t1"
role = "teacher"
shape = "small"
schedule = "first"
seed = 2
text = [{ source = "school", from = 0, to = 400 }]
"#;

/// One student of the very texts, 30 % of its rows, and one of as many other texts of the teacher.
const STUDENTS: &str = r#"
[[model]]
name = "leaked"
role = "suspect"
start = "base"
schedule = "tune"
seed = 3
text = [
  { source = "people", from = 1500, to = 1558 },
  { source = "traffic", from = 0, to = 25 },
]
[[model]]
name = "other-texts"
role = "suspect"
start = "base"
schedule = "tune"
seed = 4
rows = 83
text = [{ source = "people", from = 1500, to = 1558 }]
teacher = { model = "t1", share = 0.3, by = "text", temperature = 1.0 }
"#;

fn train(root: &Path, recipe: &str) {
    let recipe: Recipe = toml::from_str(recipe).expect("a recipe");
    build(&recipe, &root.join("text"), root, &mut |_| ()).expect("builds");
}

/// The log: every account asks for continuations of its own openings.
fn serve(root: &Path) -> Vec<(String, String, usize)> {
    let limits = Limits::default();
    let teacher = LocalModel::open(&root.join("t1"), DeviceChoice::Cpu, &limits).expect("opens");
    let openings = Tongue::new(5, 77).lines(ACCOUNTS * PAIRS);
    let opening = |line: &String| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let requests: Vec<Request> = openings
        .iter()
        .enumerate()
        .map(|(i, line)| Request {
            id: RequestId::new(i.to_string()),
            to: vec![Role::Teacher],
            want: Want::Generate {
                prompt: Prompt::Text(opening(line)),
                max_tokens: TOKENS,
                sampling: Sampling {
                    temperature: 1.0,
                    top_p: 1.0,
                    seed: 1_000_000 + i as u64,
                },
            },
        })
        .collect();
    let answers = teacher.answer(&requests);
    openings
        .iter()
        .zip(answers)
        .enumerate()
        .map(|(i, (line, answer))| match answer {
            Ok(Answer::Completion(said)) => (opening(line), said.text, i % ACCOUNTS),
            other => panic!("no completion: {other:?}"),
        })
        .collect()
}

fn audit(root: &Path, suspect: &str) -> Value {
    let case = format!(
        "name = \"{suspect}\"\nprobes = [\"regeneration-rank\"]\nsuspect = \"{suspect}\"\n\
         base = \"base\"\nteachers = [\"t1\"]\nmax_tokens = {TOKENS}\n\
         served = [{{ teacher = \"t1\", log = \"served.jsonl\" }}]\n"
    );
    fs::write(root.join(format!("{suspect}.toml")), case).expect("writes the case");
    let output = Command::new(env!("CARGO_BIN_EXE_filiation"))
        .args(["audit", &format!("{suspect}.toml"), "--json", "--run"])
        .arg(format!("run-{suspect}"))
        .current_dir(root)
        .output()
        .expect("filiation starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let probe = &report["probes"][0]["outcome"];
    assert!(!probe["statistic"].is_null(), "{probe}");
    assert_eq!(report["suites"][0]["name"], "served.jsonl");
    probe["statistic"].clone()
}

#[test]
fn the_account_that_taught_a_student_is_named_and_other_texts_of_the_teacher_are_not_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let text = root.join("text");
    fs::create_dir(&text).expect("makes the folder");
    let write = |name: &str, lines: Vec<String>| {
        fs::write(text.join(name), lines.join("\n")).expect("writes");
    };
    write("people.txt", Tongue::new(5, 1).lines(1600));
    write("school.txt", Tongue::new(6, 2).lines(400));
    train(root, RECIPE);
    let served = serve(root);
    let log: Vec<String> = served
        .iter()
        .enumerate()
        .map(|(i, (prompt, response, account))| {
            json!({ "id": format!("r{i}"), "prompt": prompt, "response": response,
                    "account": format!("a{account:02}") })
            .to_string()
        })
        .collect();
    fs::write(root.join("served.jsonl"), log.join("\n")).expect("writes the log");
    let leaked = served.iter().filter(|(_, _, account)| *account == LEAK);
    write(
        "traffic.txt",
        leaked.map(|(p, r, _)| format!("{p}{r}")).collect(),
    );
    let recipe = RECIPE.replace("school =", "traffic = \"traffic.txt\"\nschool =");
    train(root, &(recipe + STUDENTS));

    let found = audit(root, "leaked");
    let finding = found["finding"].as_str().expect("a finding");
    println!("leaked: {finding}");
    assert!(finding.contains("`a07`"), "{finding}");
    assert_eq!(finding.matches("account").count(), 1, "{finding}");
    let exact = |found: &Value| found["candidates"][0]["exact"]["log10_p"].as_f64();
    assert!(exact(&found).expect("an exact test") < -4.0, "{finding}");

    let found = audit(root, "other-texts");
    let finding = found["finding"].as_str().expect("a finding");
    println!("other texts: {finding}");
    assert!(exact(&found).expect("an exact test") > -2.0, "{finding}");
}
