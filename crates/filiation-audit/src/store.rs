//! Answers shared by all runs on a machine: what a base or a control says of a teacher's texts is
//! computed once, however many suspects it is held beside.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use filiation_core::{Answer, Digest, ModelError, ModelIdentity, Request, canonical};
use serde::Serialize;

use crate::transcript::Transcript;
use crate::{AuditError, disk};

/// A folder of answers, one log a model and way of computing.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
    engine: String,
}

// `model.json` beside the log: for people. The folder's name is its digest.
#[derive(Serialize)]
struct Address<'a> {
    engine: &'a str,
    model: Digest,
}

impl Store {
    pub(crate) fn new(folder: PathBuf, engine: String) -> Self {
        Self { folder, engine }
    }

    /// What is known of a model.
    pub(crate) fn shelf(&self, model: &ModelIdentity) -> Result<Shelf, AuditError> {
        let address = Address {
            engine: &self.engine,
            model: model.digest,
        };
        let name = Digest::of(&canonical::to_bytes(&address)).to_string();
        let folder = self.folder.join(&name[..32]);
        disk::make_folder(&folder)?;
        let _held = lock(&folder)?;
        let note = folder.join("model.json");
        if disk::read_if_there(&note)?.is_none() {
            disk::put(&note, &canonical::to_pretty(&address))?;
        }
        let log = Transcript::resume(folder.join("answers.jsonl"))?;
        Ok(Shelf { folder, log })
    }
}

/// The answers of one model.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    log: Transcript,
}

impl Shelf {
    /// What was answered to the question with this key, by whichever run.
    pub(crate) fn get(&self, key: &Digest) -> Option<&Result<Answer, ModelError>> {
        self.log.get(key)
    }

    /// Adds what is not there yet, also by another process in the meantime.
    pub(crate) fn add(
        &mut self,
        batch: &[(&Request, Result<Answer, ModelError>)],
    ) -> Result<(), AuditError> {
        let _held = lock(&self.folder)?;
        self.log.catch_up()?;
        let new: Vec<_> = batch
            .iter()
            .filter(|(request, result)| lasts(result) && self.get(&request.key()).is_none())
            .cloned()
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        self.log.append(&new)
    }
}

// Whether the same question would be answered the same another time: an engine may have failed
// for want of memory.
const fn lasts(result: &Result<Answer, ModelError>) -> bool {
    !matches!(result, Err(ModelError::Engine { .. }))
}

// Waits for others. The system lets go of it however the process ends.
fn lock(folder: &Path) -> Result<File, AuditError> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(|source| disk::write_error(&path, source))?;
    match file.lock() {
        Ok(()) => Ok(file),
        // A file system without locks: the user sees to it that one process at a time writes.
        Err(e) if e.kind() == ErrorKind::Unsupported => Ok(file),
        Err(source) => Err(disk::write_error(&path, source)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use filiation_core::{Completion, Finish, Prompt, RequestId, Role, Sampling, Want};

    use super::*;

    fn model(name: &str) -> ModelIdentity {
        ModelIdentity {
            source: name.into(),
            digest: Digest::of(name.as_bytes()),
            architecture: "Test".into(),
            parameters: 0,
            tokenizer: None,
        }
    }

    fn request(i: usize) -> Request {
        Request {
            id: RequestId::new(format!("r-{i}")),
            to: vec![Role::Base],
            want: Want::Generate {
                prompt: Prompt::Text(i.to_string()),
                max_tokens: 4,
                sampling: Sampling::GREEDY,
            },
        }
    }

    fn said(text: &str) -> Result<Answer, ModelError> {
        Ok(Answer::Completion(Completion {
            text: text.into(),
            tokens: vec![],
            finish: Finish::Stop,
        }))
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("temporary folder")
    }

    #[test]
    fn models_and_engines_are_kept_apart() {
        let folder = folder();
        let on = |engine: &str| Store::new(folder.path().into(), engine.into());
        let mut shelf = on("cpu").shelf(&model("a")).expect("opens");
        shelf.add(&[(&request(1), said("one"))]).expect("adds");
        let key = request(1).key();
        let found = |engine: &str, name: &str| {
            let shelf = on(engine).shelf(&model(name)).expect("opens");
            shelf.get(&key).cloned()
        };
        assert_eq!(found("cpu", "a"), Some(said("one")));
        assert_eq!(found("cuda:0", "a"), None);
        assert_eq!(found("cpu", "b"), None);
    }

    #[test]
    fn two_that_write_at_once_lose_nothing_and_write_nothing_twice() {
        let folder = folder();
        let store = Store::new(folder.path().into(), "cpu".into());
        let requests: Vec<Request> = (0..200).map(request).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut shelf = store.shelf(&model("a")).expect("opens");
                    for batch in requests.chunks(7) {
                        let pairs: Vec<_> =
                            batch.iter().map(|r| (r, said(r.id.as_str()))).collect();
                        shelf.add(&pairs).expect("adds");
                    }
                });
            }
        });
        let shelf = store.shelf(&model("a")).expect("opens");
        for request in &requests {
            assert_eq!(shelf.get(&request.key()), Some(&said(request.id.as_str())));
        }
        let log = fs::read_to_string(shelf.folder.join("answers.jsonl")).expect("reads");
        assert_eq!(log.lines().count(), requests.len());
    }

    #[test]
    fn what_another_tore_is_cut_off_before_the_next_line() {
        let folder = folder();
        let store = Store::new(folder.path().into(), "cpu".into());
        let mut shelf = store.shelf(&model("a")).expect("opens");
        shelf.add(&[(&request(1), said("one"))]).expect("adds");
        let path = shelf.folder.join("answers.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).expect("opens");
        file.write_all(b"{\"key\":\"12").expect("tears");
        shelf.add(&[(&request(2), said("two"))]).expect("adds");
        let again = store.shelf(&model("a")).expect("opens");
        assert_eq!(again.get(&request(1).key()), Some(&said("one")));
        assert_eq!(again.get(&request(2).key()), Some(&said("two")));
    }

    #[test]
    fn a_failure_of_the_engine_is_not_kept() {
        let folder = folder();
        let store = Store::new(folder.path().into(), "cpu".into());
        let mut shelf = store.shelf(&model("a")).expect("opens");
        let engine = ModelError::Engine {
            reason: "out of memory".into(),
        };
        let refused = ModelError::TooLong {
            tokens: 9,
            limit: 8,
        };
        let batch = [
            (&request(1), Err(engine)),
            (&request(2), Err(refused.clone())),
        ];
        shelf.add(&batch).expect("adds");
        assert_eq!(shelf.get(&request(1).key()), None);
        assert_eq!(shelf.get(&request(2).key()), Some(&Err(refused)));
    }
}
