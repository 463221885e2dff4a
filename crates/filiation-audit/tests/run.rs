//! Runs of made-up models, that count what they are asked and fail when told to.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filiation_audit::{
    AuditError, BoxError, Case, Profile, Provider, Run, Seat, Silent, measure, report, weigh,
};
use filiation_core::{
    Answer, ChoiceAnswer, Completion, Digest, Finish, Model, ModelError, ModelIdentity, Request,
    Role, ScoredText, ScoredToken, Want, WeightRelation,
};

/// Answers from digests of name and question.
struct Parrot {
    identity: ModelIdentity,
    open: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Parrot {
    fn draw(&self, request: &Request) -> f64 {
        let text = format!("{}{}", self.identity.source, request.key());
        f64::from(Digest::of(text.as_bytes()).as_bytes()[0]) / 256.0
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Model for Parrot {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn supports(&self, want: &Want) -> bool {
        !matches!(want, Want::Choice { .. } if self.identity.source == "t2")
    }

    fn answer(&self, requests: &[Request]) -> Vec<Result<Answer, ModelError>> {
        self.asked.fetch_add(requests.len(), Ordering::SeqCst);
        let answer = |request: &Request| match &request.want {
            Want::Generate { .. } => Ok(Answer::Completion(Completion {
                text: format!("said {}", self.draw(request)),
                tokens: vec![1, 2],
                finish: Finish::Length,
            })),
            Want::Score { continuation, .. } => Ok(Answer::Scored(ScoredText {
                tokens: vec![ScoredToken {
                    id: 1,
                    start: 0,
                    end: continuation.len() as u32,
                    logprob: -1.0 - self.draw(request),
                }],
                bytes: continuation.len() as u32,
            })),
            Want::Choice { options, .. } => Ok(Answer::Choice(ChoiceAnswer {
                logprobs: options.iter().map(|_| -2.0 - self.draw(request)).collect(),
            })),
            other => Err(ModelError::Unsupported {
                want: other.kind().into(),
            }),
        };
        requests.iter().map(answer).collect()
    }
}

#[derive(Default)]
struct Aviary {
    open: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    opened: RefCell<Vec<String>>,
    refuse: Cell<Option<&'static str>>,
    other: Rc<Cell<bool>>,
}

impl Aviary {
    fn identity(&self, seat: &Seat<'_>) -> ModelIdentity {
        let salt = if self.other.get() { "other" } else { "" };
        ModelIdentity {
            source: seat.name.into(),
            digest: Digest::of(format!("{}{salt}", seat.name).as_bytes()),
            architecture: "Parrot".into(),
            parameters: 2,
            tokenizer: None,
        }
    }
}

impl Provider for Aviary {
    fn profile(&self, seat: &Seat<'_>) -> Result<Profile, BoxError> {
        Ok(Profile {
            identity: self.identity(seat),
            chat: false,
        })
    }

    fn model(&self, seat: &Seat<'_>) -> Result<Box<dyn Model>, BoxError> {
        if self.refuse.get() == Some(seat.name) {
            return Err("the bird has flown".into());
        }
        assert_eq!(
            self.open.fetch_add(1, Ordering::SeqCst),
            0,
            "two models in memory"
        );
        self.opened.borrow_mut().push(seat.name.into());
        Ok(Box::new(Parrot {
            identity: self.identity(seat),
            open: Arc::clone(&self.open),
            asked: Arc::clone(&self.asked),
        }))
    }

    fn relate(&self, _: &Seat<'_>, _: &Seat<'_>) -> Result<Option<WeightRelation>, BoxError> {
        Ok(None)
    }
}

struct Bench {
    folder: tempfile::TempDir,
    birds: Aviary,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut lines = String::new();
        for i in 0..40 {
            let end = r#""language":"en","licence":"Apache-2.0"}"#;
            lines += &format!(r#"{{"id":"o-{i}","text":"open {i}","domain":"opening",{end}"#);
            lines += "\n";
            lines += &format!(
                r#"{{"id":"c-{i}","text":"pick {i}","domain":"choice-opening","options":["a","b"],{end}"#
            );
            lines += "\n";
        }
        std::fs::write(folder.path().join("suite.jsonl"), lines).expect("writes");
        let case = r#"
            name = "birds"
            probes = ["tlu-did", "choice-priors"]
            suites = ["suite.jsonl"]
            suspect = "s"
            base = "b"
            teachers = ["t1", "t2", "t3"]
            controls = ["c"]
        "#;
        std::fs::write(folder.path().join("case.toml"), case).expect("writes");
        Self {
            folder,
            birds: Aviary::default(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, name: &str) -> Result<Vec<u8>, AuditError> {
        let case = Case::read(&self.path().join("case.toml"))?;
        let run = Run::begin(&self.path().join(name), case, self.path(), &self.birds)?;
        run.collect(self.path(), &self.birds, &Silent)?;
        measure(&run)?;
        weigh(&run)?;
        Ok(report(&run)?.to_json())
    }
}

#[test]
fn models_come_one_at_a_time_teachers_first() {
    let bench = Bench::new();
    bench.run("run").expect("runs");
    let opened = bench.birds.opened.borrow();
    assert_eq!(opened[..3], ["t1", "t2", "t3"]);
    for (name, role) in [
        ("s", Role::Suspect),
        ("b", Role::Base),
        ("c", Role::Control),
    ] {
        let times = opened.iter().filter(|o| *o == name).count();
        assert_eq!(times, 1, "{} opened {times} times", role.as_str());
    }
}

#[test]
fn nothing_is_asked_twice() {
    let bench = Bench::new();
    let first = bench.run("run").expect("runs");
    let asked = bench.birds.asked.load(Ordering::SeqCst);
    let opened = bench.birds.opened.borrow().len();
    assert!(asked > 0);
    assert_eq!(bench.run("run").expect("runs again"), first);
    assert_eq!(bench.birds.asked.load(Ordering::SeqCst), asked);
    assert_eq!(bench.birds.opened.borrow().len(), opened);
}

#[test]
fn a_model_that_fails_costs_nothing_collected() {
    let bench = Bench::new();
    let whole = bench.run("whole").expect("runs");
    let asked = bench.birds.asked.swap(0, Ordering::SeqCst);

    bench.birds.refuse.set(Some("s"));
    let error = bench.run("broken").expect_err("the suspect fails");
    assert_eq!(error.to_string(), "suspect `s` cannot be used");
    assert!(
        bench.birds.asked.load(Ordering::SeqCst) > 0,
        "teachers were asked"
    );
    bench.birds.refuse.set(None);
    assert_eq!(bench.run("broken").expect("goes on"), whole);
    assert_eq!(bench.birds.asked.load(Ordering::SeqCst), asked);
}

#[test]
fn a_question_that_a_model_does_not_answer_is_data() {
    let bench = Bench::new();
    let report = bench.run("run").expect("runs");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    let choice = &report["probes"][1];
    assert!(
        choice["method"]
            .as_str()
            .expect("a method")
            .starts_with("choice-priors/")
    );
    let failed: BTreeMap<_, _> = choice["inputs"]
        .as_array()
        .expect("inputs")
        .iter()
        .map(|i| (i["party"].as_str().expect("a name"), i["failed"].as_u64()))
        .collect();
    assert_eq!(failed["t2"], Some(40));
    assert_eq!(failed["t1"], Some(0));
}

/// Runs at two temperatures are two cases, and their methods tell them apart.
#[test]
fn another_temperature_is_another_case() {
    let bench = Bench::new();
    let warm = bench.run("run").expect("runs");
    let file = bench.path().join("case.toml");
    let case = std::fs::read_to_string(&file).expect("reads");
    std::fs::write(&file, format!("temperature = 0.5\n{case}")).expect("writes");
    let error = bench.run("run").expect_err("other temperature");
    assert!(matches!(error, AuditError::OtherCase { .. }), "{error}");
    let cool = bench.run("cool").expect("runs");
    let says = |report: &[u8], text: &str| String::from_utf8_lossy(report).contains(text);
    assert!(says(&warm, ";temperature=1;") && !says(&warm, ";temperature=0.5;"));
    assert!(says(&cool, ";temperature=0.5;") && !says(&cool, ";temperature=1;"));
}

#[test]
fn a_model_that_changed_is_refused() {
    let bench = Bench::new();
    bench.run("run").expect("runs");
    bench.birds.other.set(true);
    let error = bench.run("run").expect_err("other digests");
    assert!(matches!(error, AuditError::OtherModel { .. }), "{error}");
}

#[test]
fn a_run_in_use_is_refused() {
    let bench = Bench::new();
    bench.run("run").expect("runs");
    let _held = Run::open(&bench.path().join("run")).expect("opens");
    let error = Run::open(&bench.path().join("run")).err().expect("locked");
    assert!(matches!(error, AuditError::Locked { .. }), "{error}");
}

#[test]
fn a_run_opens_without_its_models() {
    let bench = Bench::new();
    let whole = bench.run("run").expect("runs");
    std::fs::remove_file(bench.path().join("suite.jsonl")).expect("removes");
    let run = Run::open(&bench.path().join("run")).expect("opens");
    measure(&run).expect("measures");
    let error = report(&run).expect_err("not weighed");
    assert_eq!(error.hint().as_deref(), Some("run `filiation weigh` first"));
    weigh(&run).expect("weighs");
    assert_eq!(report(&run).expect("reports").to_json(), whole);
}
