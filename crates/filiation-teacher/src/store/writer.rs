//! One thread writes. What waits together is written together, so that a disk is waited for once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use filiation_core::Digest;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::exchange::{Draft, Exchange, Kind};
use super::flight::Flight;
use super::{damaged, index, objects};
use crate::TeacherError;

/// Exchanges written together at most.
const TOGETHER: usize = 64;

type Outcome = Result<Exchange, TeacherError>;

struct Job {
    draft: Draft,
    request: Vec<u8>,
    response: Option<Vec<u8>>,
    done: oneshot::Sender<Outcome>,
}

/// Writes exchanges. Dropped, it writes what it was given and ends.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    flight: Flight,
}

impl Writer {
    pub(super) fn start(
        root: PathBuf,
        connection: Connection,
        lock: File,
    ) -> Result<Self, TeacherError> {
        let flight = Flight::open(&root)?;
        let last = index::last(&root, &connection)?;
        let (jobs, waiting) = channel();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                // Held as long as anything may be written.
                let _lock = lock;
                run(&root, connection, last, &waiting);
            })
            .map_err(|e| TeacherError::Start {
                reason: e.to_string(),
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            flight,
        })
    }

    pub(crate) const fn flight(&self) -> &Flight {
        &self.flight
    }

    /// Writes an exchange; it is on disk when the future is done.
    pub(crate) async fn put(
        &self,
        draft: Draft,
        request: Vec<u8>,
        response: Option<Vec<u8>>,
    ) -> Outcome {
        let gone = || TeacherError::Start {
            reason: "the store's writer ended".into(),
        };
        let (done, outcome) = oneshot::channel();
        let job = Job {
            draft,
            request,
            response,
            done,
        };
        self.jobs
            .as_ref()
            .ok_or_else(gone)?
            .send(job)
            .map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(root: &Path, mut connection: Connection, mut last: (u64, Digest), waiting: &Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        let mut jobs = vec![first];
        while jobs.len() < TOGETHER {
            match waiting.try_recv() {
                Ok(job) => jobs.push(job),
                Err(_) => break,
            }
        }
        let (mut drafts, mut answers) = (Vec::new(), Vec::new());
        for job in jobs {
            match objects_of(root, &job) {
                Ok(()) => {
                    drafts.push(job.draft);
                    answers.push(job.done);
                }
                Err(error) => drop(job.done.send(Err(error))),
            }
        }
        let outcomes = match rows(root, &mut connection, last, &drafts) {
            Ok((written, now)) => {
                last = now;
                written.into_iter().map(Ok).collect()
            }
            Err(error) => vec![Err(error); drafts.len()],
        };
        for (done, outcome) in answers.into_iter().zip(outcomes) {
            // Whoever asked may be gone; what was paid for is kept all the same.
            drop(done.send(outcome));
        }
    }
}

fn objects_of(root: &Path, job: &Job) -> Result<(), TeacherError> {
    objects::put(root, &job.draft.request, &job.request)?;
    match (&job.draft.response, &job.response) {
        (Some(digest), Some(bytes)) => objects::put(root, digest, bytes),
        _ => Ok(()),
    }
}

type Written = (Vec<Exchange>, (u64, Digest));

fn rows(
    root: &Path,
    connection: &mut Connection,
    mut last: (u64, Digest),
    drafts: &[Draft],
) -> Result<Written, TeacherError> {
    let failed = |e: rusqlite::Error| damaged(root, e.to_string());
    let transaction = connection.transaction().map_err(failed)?;
    let mut written = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let settles = matches!(draft.kind, Kind::Answer | Kind::Refused);
        let before = match settles {
            true => index::find(root, &transaction, &draft.key)?,
            false => None,
        };
        // The first answer stands. Nobody asks again for what is there; this guards the chain.
        let exchange = match before {
            Some(before) => before,
            None => {
                let (exchange, digest) =
                    index::add(&transaction, draft.clone(), last).map_err(failed)?;
                last = (exchange.seq, digest);
                exchange
            }
        };
        written.push(exchange);
    }
    transaction.commit().map_err(failed)?;
    Ok((written, last))
}
