//! One question: attempts until there is an answer, each of them recorded.

use std::time::{Instant, SystemTime};

use filiation_core::Digest;

use crate::call::{Call, Reply};
use crate::client::{Seen, Shared, now};
use crate::dialect::{Encoded, message};
use crate::store::{Draft, Kind};
use crate::transport::{Attempt, retry_after};
use crate::{Failure, Key, TeacherError, Usage};

/// A call, written and addressed.
pub(crate) struct Question {
    pub(crate) call: Call,
    pub(crate) key: Key,
    encoded: Encoded,
    request: Digest,
    url: String,
    sample: u64,
}

impl Question {
    pub(crate) fn new(shared: &Shared, call: Call) -> Result<Self, TeacherError> {
        let dialect = shared.endpoint.dialect();
        let encoded = dialect.encode(&shared.endpoint, &call)?;
        let request = Digest::of(&encoded.body);
        let url = shared.endpoint.url(&encoded.path);
        let sample = match &call {
            Call::Complete(complete) => complete.sample,
            _ => 0,
        };
        Ok(Self {
            key: Key::of(dialect.name(), &url, request, sample, &shared.options.epoch),
            call,
            encoded,
            request,
            url,
            sample,
        })
    }

    const fn max_tokens(&self) -> u32 {
        match &self.call {
            Call::Complete(complete) => complete.max_tokens,
            _ => 0,
        }
    }

    fn draft(&self, shared: &Shared, attempt: u32) -> Draft {
        Draft {
            key: self.key,
            kind: Kind::Fault,
            endpoint: shared.identity,
            provider: shared.endpoint.provider().name.into(),
            dialect: shared.endpoint.dialect().name().into(),
            method: self.encoded.method.into(),
            url: self.url.clone(),
            model_asked: shared.endpoint.model().into(),
            model_returned: None,
            fingerprint: None,
            request: self.request,
            response: None,
            status: None,
            headers: std::collections::BTreeMap::new(),
            began: now(),
            ended: None,
            attempt,
            sample: self.sample.to_string(),
            epoch: shared.options.epoch.clone(),
            usage: None,
            note: None,
            redacted: false,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// What to do after an attempt.
enum Verdict {
    Answer(Box<Reply>),
    Again(Failure),
    Give(TeacherError),
}

/// Asks until there is an answer, a definite refusal, or no more patience.
pub(crate) async fn answer(shared: &Shared, question: &Question) -> Result<Seen, TeacherError> {
    let Some((http, writer)) = shared.http.as_ref().zip(shared.store.writer()) else {
        return Err(TeacherError::NotStored {
            key: question.key.digest(),
        });
    };
    let began = Instant::now();
    for number in 1.. {
        shared.pace.ready().await;
        if let Some(reason) = shared.reason() {
            return Err(TeacherError::Stopped { reason });
        }
        let reserved = shared
            .ledger
            .reserve(question.encoded.body.len(), question.max_tokens())?;
        let mut draft = question.draft(shared, number);
        writer.flight().depart(&draft)?;
        let attempt = http
            .send(&question.url, &question.encoded, &question.key)
            .await;
        draft.ended = Some(now());
        let verdict = judge(shared, question, &attempt, &mut draft);
        let usage = draft.usage;
        let answered = draft.kind == Kind::Answer;
        let wait = retry_after(&attempt.headers, SystemTime::now());
        let response = attempt.status.is_some().then_some(attempt.body);
        draft.response = response.as_deref().map(Digest::of);
        let kept = response.clone();
        let written = writer.put(draft, question.encoded.body.clone(), kept).await;
        shared.ledger.settle(reserved, usage, answered);
        let exchange = written?;
        writer.flight().arrive()?;
        let failure = match verdict {
            Verdict::Answer(reply) => {
                return Ok(Seen {
                    reply: *reply,
                    exchange,
                    response: response.unwrap_or_default(),
                    replayed: false,
                });
            }
            Verdict::Give(error) => return Err(error),
            Verdict::Again(failure) => failure,
        };
        if let Some(wait) = wait {
            shared.pace.hold(wait.min(shared.options.deadline));
        }
        let backoff = shared.pace.backoff(&question.key.digest(), number - 1);
        let until = began.elapsed() + backoff.max(wait.unwrap_or_default());
        if number >= shared.options.attempts || until > shared.options.deadline {
            return Err(given_up(question, number, failure));
        }
        tokio::time::sleep(backoff).await;
    }
    unreachable!("attempts are bounded")
}

fn given_up(question: &Question, attempts: u32, failure: Failure) -> TeacherError {
    match failure {
        // An endpoint that answers, and never so that it can be read, has answered.
        Failure::Malformed { .. } => TeacherError::Unusable { attempts, failure },
        failure => TeacherError::Unreachable {
            url: question.url.clone(),
            attempts,
            failure,
        },
    }
}

fn judge(shared: &Shared, question: &Question, attempt: &Attempt, draft: &mut Draft) -> Verdict {
    draft.status = attempt.status;
    draft.headers.clone_from(&attempt.headers);
    draft.redacted = attempt.redacted;
    let verdict = match (&attempt.failure, attempt.status) {
        (Some(failure), _) => again(failure.clone()),
        (None, Some(200)) => read(shared, question, attempt, draft),
        (None, status) => refused(shared, question, attempt, status.unwrap_or(0), draft),
    };
    draft.note = match &verdict {
        Verdict::Answer(_) => None,
        Verdict::Again(failure) => Some(failure.to_string()),
        Verdict::Give(TeacherError::Refused { message, .. }) => Some(message.clone()),
        Verdict::Give(error) => Some(error.to_string()),
    };
    verdict
}

fn again(failure: Failure) -> Verdict {
    if failure.passes() {
        return Verdict::Again(failure);
    }
    Verdict::Give(TeacherError::Unusable {
        attempts: 1,
        failure,
    })
}

fn read(shared: &Shared, question: &Question, attempt: &Attempt, draft: &mut Draft) -> Verdict {
    let reply = match shared
        .endpoint
        .dialect()
        .decode(&question.call, &attempt.body)
    {
        Ok(reply) => reply,
        Err(failure) => return again(failure),
    };
    if let Reply::Completed(completed) = &reply {
        draft.model_returned.clone_from(&completed.model);
        draft.fingerprint.clone_from(&completed.fingerprint);
        draft.usage = completed.usage.map(|usage: Usage| usage);
        if let Err(switched) = shared.same_model(completed.model.as_deref()) {
            return Verdict::Give(switched);
        }
    }
    draft.kind = Kind::Answer;
    Verdict::Answer(Box::new(reply))
}

fn refused(
    shared: &Shared,
    question: &Question,
    attempt: &Attempt,
    status: u16,
    draft: &mut Draft,
) -> Verdict {
    let message = message(&attempt.body);
    let lower = message.to_lowercase();
    let url = question.url.clone();
    let model = || shared.endpoint.model().to_owned();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // The sentence about a quota is said of limits by the minute too; the code is not.
    let code = String::from_utf8_lossy(&attempt.body).contains("insufficient_quota");
    let quota = status == 402 || status == 429 && code;
    if quota {
        return Verdict::Give(TeacherError::Quota {
            url,
            status,
            message,
        });
    }
    let denied = matches!(status, 401 | 403) || status == 400 && says(&["api key", "api_key"]);
    if denied {
        let secret = shared.http.as_ref().and_then(|http| http.secret());
        let key = secret.map_or_else(|| "none".to_owned(), |s| format!("from `{}`", s.variable()));
        return Verdict::Give(TeacherError::Denied {
            url,
            key,
            status,
            message,
        });
    }
    match status {
        408 | 409 | 425 | 429 | 500..=599 => Verdict::Again(Failure::Busy { status, message }),
        300..=399 => {
            let to = attempt.headers.get("location").cloned().unwrap_or_default();
            let message = format!("it redirects to `{to}`");
            Verdict::Give(TeacherError::Gone {
                url,
                model: model(),
                status,
                message,
            })
        }
        404 | 405 | 410 => Verdict::Give(TeacherError::Gone {
            url,
            model: model(),
            status,
            message,
        }),
        400 if lower.contains("model")
            && says(&["not exist", "not found", "deprecated", "decommissioned"]) =>
        {
            Verdict::Give(TeacherError::Gone {
                url,
                model: model(),
                status,
                message,
            })
        }
        _ => {
            draft.kind = Kind::Refused;
            Verdict::Give(TeacherError::Refused { status, message })
        }
    }
}
