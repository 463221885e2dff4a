//! Made-up models that count what they are asked and fail when told to.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filiation_audit::{
    AuditError, BoxError, Case, Collection, Order, Pack, Profile, Provider, Run, Seat, Silent,
    measure, report, weigh,
};
use filiation_core::{
    Answer, ChoiceAnswer, Completion, Digest, Finish, Model, ModelError, ModelIdentity, Request,
    ScoredText, ScoredToken, Want, WeightRelation,
};

/// Answers from digests of name and question.
struct Parrot {
    identity: ModelIdentity,
    engine: &'static str,
    open: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Parrot {
    fn draw(&self, request: &Request) -> f64 {
        let text = format!("{}{}{}", self.identity.source, self.engine, request.key());
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
pub(crate) struct Aviary {
    open: Arc<AtomicUsize>,
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) opened: RefCell<Vec<String>>,
    pub(crate) refuse: Cell<Option<&'static str>>,
    /// Who fails when it is opened for the so-many-th time, counted from when this was set.
    pub(crate) fail_at: Cell<Option<(&'static str, u32)>>,
    pub(crate) other: Rc<Cell<bool>>,
    /// Names the engine in answers too, so that two engines can be told apart.
    pub(crate) engine: Cell<&'static str>,
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
            plain: true,
        })
    }

    fn model(&self, seat: &Seat<'_>) -> Result<Box<dyn Model>, BoxError> {
        if self.refuse.get() == Some(seat.name) {
            return Err("the bird has flown".into());
        }
        if let Some((name, times)) = self.fail_at.get().filter(|(name, _)| *name == seat.name) {
            if times <= 1 {
                return Err("the bird has flown".into());
            }
            self.fail_at.set(Some((name, times - 1)));
        }
        assert_eq!(
            self.open.fetch_add(1, Ordering::SeqCst),
            0,
            "two models in memory"
        );
        self.opened.borrow_mut().push(seat.name.into());
        Ok(Box::new(Parrot {
            identity: self.identity(seat),
            engine: self.engine.get(),
            open: Arc::clone(&self.open),
            asked: Arc::clone(&self.asked),
        }))
    }

    fn relate(&self, _: &Seat<'_>, _: &Seat<'_>) -> Result<Option<WeightRelation>, BoxError> {
        Ok(None)
    }

    fn engine(&self) -> String {
        self.engine.get().into()
    }
}

pub(crate) struct Bench {
    folder: tempfile::TempDir,
    pub(crate) birds: Aviary,
}

impl Bench {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn run(&self, name: &str) -> Result<Vec<u8>, AuditError> {
        let case = Case::read(&self.path().join("case.toml"))?;
        let run = Run::begin(&self.path().join(name), case, self.path(), &self.birds)?;
        run.collect(self.path(), &self.birds, &Silent)?;
        measure(&run)?;
        weigh(&run)?;
        Ok(report(&run)?.to_json())
    }

    /// As [`Self::run`], sharing answers through `answers`.
    pub(crate) fn run_sharing(&self, name: &str, answers: &str) -> Result<Vec<u8>, AuditError> {
        let case = Case::read(&self.path().join("case.toml"))?;
        let run = Run::begin(&self.path().join(name), case, self.path(), &self.birds)?;
        let run = run.sharing(Some(self.path().join(answers)));
        run.collect(self.path(), &self.birds, &Silent)?;
        measure(&run)?;
        weigh(&run)?;
        Ok(report(&run)?.to_json())
    }

    /// The teachers of the case, recorded.
    pub(crate) fn record(&self) -> Result<Vec<(PathBuf, Pack)>, AuditError> {
        let case = Case::read(&self.path().join("case.toml"))?;
        let out = self.path().join("packs");
        let order = Order::of_case(&case);
        let collection = Collection::begin(&order, self.path(), &self.birds, &out)?;
        collection.collect(&self.birds, &Silent)?;
        collection.seal(&out, &self.birds, "2026-02-03", Some("spring"))
    }

    /// The case after `change`.
    pub(crate) fn edit_case(&self, change: impl Fn(String) -> String) {
        let file = self.path().join("case.toml");
        let case = std::fs::read_to_string(&file).expect("reads");
        std::fs::write(&file, change(case)).expect("writes");
    }
}
