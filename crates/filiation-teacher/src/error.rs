use std::path::PathBuf;

use filiation_core::Digest;

/// Why one attempt gave no answer. Each is recorded; whether it is tried again is in
/// [`Failure::passes`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No connection.
    #[error("cannot connect: {reason}")]
    Connect {
        /// What the system said.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("nothing came for {seconds} s")]
    Hung {
        /// How long.
        seconds: u64,
    },
    /// The connection ended before the body did.
    #[error("the connection ended after {found} bytes of the answer: {reason}")]
    Cut {
        /// Bytes that came.
        found: u64,
        /// What the system said.
        reason: String,
    },
    /// The body is larger than allowed.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// A page for people instead of an answer.
    #[error("HTML came instead of JSON")]
    Html,
    /// Another type of content.
    #[error("`{found}` came instead of JSON")]
    ContentType {
        /// What the endpoint says it sent.
        found: String,
    },
    /// A status that says to try again.
    #[error("status {status}: {message}")]
    Busy {
        /// HTTP status.
        status: u16,
        /// What the body said.
        message: String,
    },
    /// The body is not the JSON of the dialect.
    #[error("the answer cannot be read: {reason}")]
    Malformed {
        /// What is wrong, and where.
        reason: String,
    },
    /// What was asked for is not in an answer that is otherwise sound.
    #[error("{what} is ignored")]
    Ignored {
        /// The field of the request, and what tells.
        what: String,
    },
    /// A number that is no log-probability.
    #[error("the answer holds `{found}` where a log-probability should be")]
    NotFinite {
        /// What stood there.
        found: String,
    },
}

impl Failure {
    /// Whether another attempt may give an answer.
    pub const fn passes(&self) -> bool {
        !matches!(
            self,
            Self::TooLarge { .. } | Self::NotFinite { .. } | Self::Ignored { .. }
        )
    }
}

/// Why there is no answer. What was received before is in the store.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TeacherError {
    /// The text names no endpoint.
    #[error("`{text}` names no endpoint, expected `PROVIDER:MODEL` with one of {expected}")]
    Endpoint {
        /// The text.
        text: String,
        /// The providers known.
        expected: String,
    },
    /// The base address cannot be used.
    #[error("base URL `{url}`: {reason}")]
    BaseUrl {
        /// The address.
        url: String,
        /// Why not.
        reason: String,
    },
    /// No key is set.
    #[error("no key in the environment variable `{variable}`")]
    NoKey {
        /// The variable.
        variable: String,
    },
    /// The key cannot stand in a header.
    #[error("the key in `{variable}` is not printable ASCII")]
    KeyText {
        /// The variable.
        variable: String,
    },
    /// The endpoint cannot answer this.
    #[error("`{provider}` endpoints do not answer this: {what}")]
    Unsupported {
        /// The provider.
        provider: &'static str,
        /// What was asked.
        what: String,
    },
    /// The endpoint refused the question. Data: the same question is refused again.
    #[error("refused with status {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the body said.
        message: String,
    },
    /// The answer cannot be used, and no other came.
    #[error("after {attempts} attempts: {failure}")]
    Unusable {
        /// Attempts made.
        attempts: u32,
        /// What was wrong with the last.
        failure: Failure,
    },
    /// No answer came.
    #[error("`{url}` gave no answer in {attempts} attempts: {failure}")]
    Unreachable {
        /// The address.
        url: String,
        /// Attempts made.
        attempts: u32,
        /// What was wrong with the last.
        failure: Failure,
    },
    /// The endpoint does not accept the key, or none was sent.
    #[error("`{url}` does not accept the key ({key}), status {status}: {message}")]
    Denied {
        /// The address.
        url: String,
        /// Which key was sent.
        key: String,
        /// HTTP status.
        status: u16,
        /// What the body said.
        message: String,
    },
    /// The account may not ask any more.
    #[error("`{url}` wants to be paid, status {status}: {message}")]
    Quota {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
        /// What the body said.
        message: String,
    },
    /// Model or address is not there.
    #[error("`{url}` does not serve `{model}`, status {status}: {message}")]
    Gone {
        /// The address.
        url: String,
        /// The model.
        model: String,
        /// HTTP status.
        status: u16,
        /// What the body or the `location` header said.
        message: String,
    },
    /// Another model answers than before.
    #[error("`{asked}` was answered by `{now}`, before that by `{before}`")]
    Switched {
        /// Model asked for.
        asked: String,
        /// Model that answered before.
        before: String,
        /// Model that answers now.
        now: String,
    },
    /// The budget is spent.
    #[error("the budget of {limit} is spent: {spent} so far")]
    Budget {
        /// What was allowed.
        limit: String,
        /// What was spent.
        spent: String,
    },
    /// A replay lacks an answer.
    #[error("the store has no answer to {key}")]
    NotStored {
        /// The question.
        key: Digest,
    },
    /// Asking was stopped by what happened to another question.
    #[error("not asked: {reason}")]
    Stopped {
        /// What happened.
        reason: String,
    },
    /// The engine below could not be started.
    #[error("cannot start: {reason}")]
    Start {
        /// What the system said.
        reason: String,
    },
    /// A file of the store could not be read or written.
    #[error("cannot {what} `{}`: {reason}", path.display())]
    Disk {
        /// Read or write.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The store is damaged.
    #[error("store `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process records in the store.
    #[error("store `{}` is in use by another process", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// A table of prices cannot be used.
    #[error("prices `{}`: {reason}", path.display())]
    Prices {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No price is known, and a cost is bounded.
    #[error("no price is known for `{endpoint}`, expected one where a cost is bounded")]
    NoPrice {
        /// The endpoint.
        endpoint: String,
    },
}

impl TeacherError {
    /// Whether it is an answer to the one question, and no reason to stop asking others.
    pub const fn is_data(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::Unsupported { .. } | Self::Unusable { .. }
        )
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let again =
            "give the same command again later: what was answered is kept and not bought twice";
        Some(match self {
            Self::NoKey { variable } => {
                format!("set it: `export {variable}=…`; name another with `--key-env`")
            }
            Self::Denied { .. } => {
                "check the key; with `--base-url` a key is sent only from a variable \
                 named by `--key-env`"
                    .into()
            }
            Self::Quota { .. } | Self::Unreachable { .. } | Self::Stopped { .. } => again.into(),
            Self::Gone { .. } => {
                "check the model's name and `--base-url`; redirects are not followed".into()
            }
            Self::Switched { .. } => "ask a dated version of the model, or begin another epoch \
                 with `--epoch TEXT`: answers of two models are not one teacher's"
                .into(),
            Self::Budget { .. } => {
                "give the same command with a larger `--max-cost` or `--max-requests`: \
                 what was answered is kept"
                    .into()
            }
            Self::NotStored { .. } => "record it first, without `--offline`".into(),
            Self::InUse { .. } => {
                "wait for it to end, or choose another folder with `--store DIR`".into()
            }
            Self::NoPrice { .. } => {
                "give a table with `--prices FILE` (`filiation plan --help`)".into()
            }
            Self::Damaged { .. } => "`filiation cache verify` says where".into(),
            _ => return None,
        })
    }
}
