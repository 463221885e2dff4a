use std::fmt;

use super::{MOST_DECOYS, MOST_TEXT, MOST_TEXTS};

/// What is wrong with a file of canaries. Never holds a prompt or a text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CanaryProblem {
    /// No canary in the file.
    Empty,
    /// More than is read.
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// Not UTF-8.
    NotUtf8(usize),
    /// Not the JSON that was expected.
    Json {
        /// Line, from 1.
        line: usize,
        /// Where the parser stopped.
        column: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// Another format, or another version of it.
    Format {
        /// What the file says.
        found: String,
        /// What is read.
        expected: &'static str,
    },
    /// A value is out of range.
    Value {
        /// Its name.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// A prompt or text is empty or too long.
    Length {
        /// Which entry, from 1.
        entry: usize,
        /// Which of the two.
        what: &'static str,
    },
    /// Two entries share what must be distinct.
    Repeated {
        /// What.
        what: &'static str,
        /// The later entry, from 1.
        entry: usize,
    },
    /// A commitment is not that of the secret.
    Commitment {
        /// Of the whole record, of one canary, or of what it discloses.
        of: &'static str,
        /// Which canary, from 1, where it is of one.
        entry: Option<usize>,
    },
    /// A record without its secret.
    NoSecret,
}

impl std::error::Error for CanaryProblem {}

impl fmt::Display for CanaryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no canary in it, expected at least one"),
            Self::TooLarge { what, limit } => write!(f, "more than {limit} {what}"),
            Self::NotUtf8(at) => write!(f, "not UTF-8: byte {at} cannot be read"),
            Self::Json {
                line,
                column,
                expected,
            } => write!(f, "line {line}, column {column}: expected {expected}"),
            Self::Format { found, expected } => {
                write!(f, "format `{found}`, expected `{expected}`")
            }
            Self::Value { name, expected } => {
                write!(f, "`{name}` is out of range, expected {expected}")
            }
            Self::Length { entry, what } => write!(
                f,
                "entry {entry}: its {what} is empty or has more than {MOST_TEXT} bytes"
            ),
            Self::Repeated { what, entry } => {
                write!(f, "entry {entry}: {what} stands in an earlier one already")
            }
            Self::Commitment { of, entry } => {
                if let Some(entry) = entry {
                    write!(f, "canary {entry}: ")?;
                }
                write!(
                    f,
                    "the commitment {of} is not that of the secret: record and secret do not belong \
                     together, or one of them was changed"
                )
            }
            Self::NoSecret => f.write_str(
                "a record of planted canaries is read with its secret; hint: `--secret FILE`",
            ),
        }
    }
}

impl CanaryProblem {
    pub(super) const COUNT: Self = Self::Value {
        name: "count",
        expected: "1 to 4096",
    };
    pub(super) const DECOYS: Self = Self::Value {
        name: "decoys",
        expected: "9 to 9999",
    };
    pub(super) const TEXTS: Self = Self::TooLarge {
        what: "texts, decoys counted",
        limit: MOST_TEXTS as usize,
    };
}

// The words above name these numbers.
const _: () = assert!(MOST_DECOYS == 9_999);
