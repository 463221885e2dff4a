use std::fmt;

/// What is wrong with an entry of a log. No text of the log is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportProblem {
    /// Nothing in the file.
    Empty,
    /// More of something than is read.
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// Not UTF-8.
    NotUtf8,
    /// Not the JSON of an entry.
    Json {
        /// Whether the JSON is broken, rather than of another shape.
        broken: bool,
        /// Where the parser stopped: line and column of the entry.
        at: (usize, usize),
        /// What an entry looks like.
        expected: &'static str,
    },
    /// A number that is none, or out of range.
    Number(&'static str),
    /// Another model than earlier entries.
    OtherModel,
    /// Options and log-probabilities differ in number.
    Options {
        /// Options.
        options: usize,
        /// Log-probabilities.
        answers: usize,
    },
    /// The archive cannot be read.
    Archive(String),
    /// The archive lacks a file.
    NoFile(&'static str),
    /// Two requests of a batch have one id.
    DuplicateId,
}

impl fmt::Display for ImportProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no entry"),
            Self::TooLarge { what, limit } => write!(f, "more than {limit} {what}"),
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::Json {
                broken,
                at: (line, column),
                expected,
            } => {
                let what = if *broken { "broken JSON" } else { "another shape" };
                write!(f, "{what} at {line}:{column}, expected {expected}")
            }
            Self::Number(key) => write!(f, "`{key}` is no number in its range"),
            Self::OtherModel => f.write_str(
                "another model than in earlier entries; hint: one log a model, since a pack is of one",
            ),
            Self::Options { options, answers } => {
                write!(f, "{options} options and {answers} log-probabilities")
            }
            Self::Archive(reason) => write!(f, "the archive cannot be read: {reason}"),
            Self::NoFile(name) => write!(f, "the archive holds no `{name}`"),
            Self::DuplicateId => f.write_str("`custom_id` stands in an earlier line already"),
        }
    }
}

impl ImportProblem {
    /// What a parser said, its message left out: it may quote the log.
    pub(super) fn json(error: &serde_json::Error, expected: &'static str) -> Self {
        Self::Json {
            broken: error.is_syntax() || error.is_eof(),
            at: (error.line(), error.column()),
            expected,
        }
    }
}
