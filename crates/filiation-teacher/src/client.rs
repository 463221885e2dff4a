//! From a call to a reply, by way of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use filiation_core::Digest;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::attempt::Question;
use crate::budget::Ledger;
use crate::call::{Call, Reply};
use crate::store::{Exchange, Kind, Store};
use crate::transport::{Http, Pace};
use crate::{Budget, Endpoint, Key, Price, Secret, Spent, TeacherError};

/// Where answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// From the store, and what is not there from the endpoint, into the store.
    #[default]
    Record,
    /// From the store alone; what is not there is an error that ends the work.
    Replay,
    /// From the store alone; what is not there is a question not answered. No socket is opened, and
    /// no key is read.
    Offline,
}

/// How an endpoint is asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests under way at a time.
    pub concurrency: usize,
    /// Most requests a minute.
    pub per_minute: Option<NonZeroU32>,
    /// Most attempts at one question.
    pub attempts: u32,
    /// Longest that one question may take, all attempts and waits together.
    pub deadline: Duration,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest silence.
    pub idle: Duration,
    /// Longest that one attempt may take.
    pub whole: Duration,
    /// Bound of the first wait after a failure; it doubles with each.
    pub first_wait: Duration,
    /// Largest answer, bytes.
    pub largest: u64,
    /// What separates answers that are asked again later.
    pub epoch: String,
    /// What may be spent.
    pub budget: Budget,
    /// What tokens cost, where known.
    pub price: Option<Price>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 4,
            per_minute: None,
            attempts: 10,
            deadline: Duration::from_secs(1200),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            whole: Duration::from_secs(600),
            first_wait: Duration::from_millis(500),
            largest: 64 << 20,
            epoch: String::new(),
            budget: Budget::default(),
            price: None,
        }
    }
}

/// A reply with the bytes that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What was read.
    pub reply: Reply,
    /// The row of the store.
    pub exchange: Exchange,
    /// The response, byte for byte.
    pub response: Vec<u8>,
    /// Whether it came from the store.
    pub replayed: bool,
}

/// Asks one endpoint.
pub struct Client {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) identity: Digest,
    pub(crate) options: Options,
    pub(crate) mode: Mode,
    pub(crate) store: Arc<Store>,
    pub(crate) http: Option<Http>,
    pub(crate) pace: Pace,
    pub(crate) ledger: Ledger,
    gate: Semaphore,
    halted: Mutex<Option<String>>,
    is_halted: AtomicBool,
    /// The model that answered first.
    model: Mutex<Option<String>>,
    /// Every question so far.
    touched: Mutex<BTreeSet<Key>>,
}

impl Client {
    /// A client of `endpoint` over `store`. To record, the store must have been opened for that.
    ///
    /// # Errors
    /// [`TeacherError::NoKey`] where a key is needed and the environment holds none,
    /// [`TeacherError::NoPrice`] where a cost is bounded that cannot be known,
    /// [`TeacherError::Start`].
    pub fn new(
        endpoint: Endpoint,
        store: Arc<Store>,
        mode: Mode,
        options: Options,
    ) -> Result<Self, TeacherError> {
        let secret = match (mode, endpoint.key()) {
            (Mode::Record, Some(variable)) => Some(Secret::from_env(variable)?),
            _ => None,
        };
        Self::with_secret(endpoint, store, mode, options, secret)
    }

    /// As [`Self::new`], with a key that was read already.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_secret(
        endpoint: Endpoint,
        store: Arc<Store>,
        mode: Mode,
        options: Options,
        secret: Option<Secret>,
    ) -> Result<Self, TeacherError> {
        let free = endpoint.is_loopback().then_some(Price::FREE);
        let price = options.price.or(free);
        if mode == Mode::Record && options.budget.cost.is_some() && price.is_none() {
            return Err(TeacherError::NoPrice {
                endpoint: endpoint.shown(),
            });
        }
        let recording = mode == Mode::Record;
        if recording && store.writer().is_none() {
            return Err(TeacherError::Start {
                reason: "the store was opened for reading".into(),
            });
        }
        let http = recording
            .then(|| Http::new(&endpoint, secret, &options))
            .transpose()?;
        let runtime = recording
            .then(|| {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .thread_name("teacher")
                    .enable_all()
                    .build()
            })
            .transpose()
            .map_err(|e| TeacherError::Start {
                reason: e.to_string(),
            })?;
        let identity = endpoint.identity().digest;
        let model = store.first_model(&identity, &options.epoch)?;
        let shared = Shared {
            pace: Pace::new(
                options.per_minute,
                options.first_wait,
                Duration::from_secs(60),
            ),
            ledger: Ledger::new(options.budget, price),
            gate: Semaphore::new(options.concurrency.max(1)),
            halted: Mutex::new(None),
            is_halted: AtomicBool::new(false),
            model: Mutex::new(model),
            touched: Mutex::default(),
            endpoint,
            identity,
            options,
            mode,
            store,
            http,
        };
        Ok(Self {
            shared: Arc::new(shared),
            runtime,
        })
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// What separates its answers from those of another time.
    pub fn epoch(&self) -> &str {
        &self.shared.options.epoch
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Where answers come from.
    pub fn mode(&self) -> Mode {
        self.shared.mode
    }

    /// What was spent so far.
    pub fn spent(&self) -> Spent {
        self.shared.ledger.spent()
    }

    /// The questions asked so far, whether answered or not.
    pub fn touched(&self) -> BTreeSet<Key> {
        self.shared
            .touched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks one question.
    ///
    /// # Errors
    /// [`TeacherError`].
    pub fn ask(&self, call: &Call) -> Result<Seen, TeacherError> {
        let mut all = self.ask_all(std::slice::from_ref(call));
        all.pop().unwrap_or_else(|| {
            Err(TeacherError::Stopped {
                reason: "nothing was asked".into(),
            })
        })
    }

    /// Asks many questions at once; one result a question, in order, whenever each answer comes. The
    /// same question twice is asked once.
    pub fn ask_all(&self, calls: &[Call]) -> Vec<Result<Seen, TeacherError>> {
        let mut places: BTreeMap<Key, usize> = BTreeMap::new();
        let mut questions: Vec<Question> = Vec::new();
        let mut of_call = Vec::with_capacity(calls.len());
        for call in calls {
            let question = Question::new(&self.shared, call.clone());
            of_call.push(question.map(|question| {
                *places.entry(question.key).or_insert_with(|| {
                    questions.push(question);
                    questions.len() - 1
                })
            }));
        }
        let keys = places.keys().copied();
        self.shared
            .touched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(keys);
        let results = self.all(questions);
        of_call
            .into_iter()
            .map(|place| place.and_then(|place| results[place].clone()))
            .collect()
    }

    fn all(&self, questions: Vec<Question>) -> Vec<Result<Seen, TeacherError>> {
        let count = questions.len();
        let mut results: Vec<Option<Result<Seen, TeacherError>>> = vec![None; count];
        let mut rest = Vec::new();
        for (place, question) in questions.into_iter().enumerate() {
            match self.shared.known(&question) {
                Ok(Some(seen)) => results[place] = Some(Ok(seen)),
                Ok(None) => rest.push((place, question)),
                Err(error) => results[place] = Some(Err(error)),
            }
        }
        if let Some(runtime) = &self.runtime
            && !rest.is_empty()
        {
            for (place, result) in runtime.block_on(fetch(&self.shared, rest)) {
                results[place] = Some(result);
            }
        }
        let unasked = || TeacherError::Stopped {
            reason: "the work was given up".into(),
        };
        results
            .into_iter()
            .map(|r| r.unwrap_or_else(|| Err(unasked())))
            .collect()
    }
}

type Placed = (usize, Result<Seen, TeacherError>);

async fn fetch(shared: &Arc<Shared>, questions: Vec<(usize, Question)>) -> Vec<Placed> {
    let mut tasks = JoinSet::new();
    for (place, question) in questions {
        let shared = Arc::clone(shared);
        tasks.spawn(async move {
            // Held until what came of it is known to those who wait.
            let permit = shared.gate.acquire().await;
            let result = match shared.reason() {
                None => crate::attempt::answer(&shared, &question).await,
                Some(reason) => Err(TeacherError::Stopped { reason }),
            };
            if let Err(error) = &result {
                shared.halt(error);
            }
            drop(permit);
            (place, result)
        });
    }
    let mut results = Vec::new();
    while let Some(done) = tasks.join_next().await {
        // A task that panicked leaves its place empty.
        results.extend(done);
    }
    results
}

impl Shared {
    /// What the store has. Outside of recording it has to be there.
    fn known(&self, question: &Question) -> Result<Option<Seen>, TeacherError> {
        let Some((exchange, response)) = self.store.find(&question.key)? else {
            return match self.mode {
                Mode::Record => Ok(None),
                Mode::Replay => Err(TeacherError::NotStored {
                    key: question.key.digest(),
                }),
                Mode::Offline => Err(TeacherError::Unsupported {
                    provider: self.endpoint.provider().name,
                    what: "a question that was not asked before, offline".into(),
                }),
            };
        };
        self.ledger.replayed();
        if exchange.kind == Kind::Refused {
            return Err(TeacherError::Refused {
                status: exchange.status.unwrap_or(0),
                message: exchange.note.unwrap_or_default(),
            });
        }
        let reply = self.endpoint.dialect().decode(&question.call, &response);
        let reply = reply.map_err(|failure| TeacherError::Unusable {
            attempts: 1,
            failure,
        })?;
        Ok(Some(Seen {
            reply,
            exchange,
            response,
            replayed: true,
        }))
    }

    /// Stops asking for what is not the one question's own.
    fn halt(&self, error: &TeacherError) {
        if error.is_data() || matches!(error, TeacherError::Stopped { .. }) {
            return;
        }
        let mut halted = self.halted.lock().unwrap_or_else(PoisonError::into_inner);
        halted.get_or_insert_with(|| error.to_string());
        self.is_halted.store(true, Ordering::Release);
    }

    pub(crate) fn reason(&self) -> Option<String> {
        if !self.is_halted.load(Ordering::Acquire) {
            return None;
        }
        self.halted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Holds the model that answers against the one that answered first.
    pub(crate) fn same_model(&self, now: Option<&str>) -> Result<(), TeacherError> {
        let Some(now) = now else { return Ok(()) };
        let mut first = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        match first.as_deref() {
            None => {
                *first = Some(now.to_owned());
                Ok(())
            }
            Some(before) if before == now => Ok(()),
            Some(before) => Err(TeacherError::Switched {
                asked: self.endpoint.model().to_owned(),
                before: before.to_owned(),
                now: now.to_owned(),
            }),
        }
    }
}

/// Milliseconds since 1970, UTC.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
