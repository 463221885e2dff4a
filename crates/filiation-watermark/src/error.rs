use filiation_stats::StatsError;

use std::fmt;

/// What can be wrong with a key, a text or a test.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WatermarkError {
    /// An id that the vocabulary of the key does not have.
    #[error(
        "token id {found} at position {position} is outside the key's vocabulary of {vocabulary}: \
         the text was cut by another tokenizer, or the key names another size"
    )]
    Token {
        /// The id.
        found: u32,
        /// Where it stands.
        position: usize,
        /// Size of the vocabulary.
        vocabulary: u32,
    },
    /// A text shorter than a window.
    #[error("{found} tokens can be scored, expected at least {least}")]
    TooShort {
        /// How many there are.
        found: usize,
        /// How many are needed.
        least: usize,
    },
    /// A scheme that is not known.
    #[error("scheme `{found}`, expected one of {known}")]
    Scheme {
        /// The name.
        found: String,
        /// Those known.
        known: Names,
    },
    /// A parameter of a key that is missing, out of range, or not of the scheme.
    #[error("key of scheme `{scheme}`: `{field}` is {found}, expected {expected}")]
    Field {
        /// The scheme.
        scheme: String,
        /// The parameter.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A file that is no key file.
    #[error("not a key file{}: {reason}", line.map(|l| format!(", line {l}")).unwrap_or_default())]
    KeyFile {
        /// Why.
        reason: String,
        /// Where.
        line: Option<usize>,
    },
    /// A table of green lists that cannot be used.
    #[error("not a table of green lists, line {line}: {reason}")]
    Table {
        /// Where.
        line: usize,
        /// Why.
        reason: String,
    },
    /// Windows that a table of green lists lacks.
    #[error(
        "the table has no list for {lacking} of {all} units: a test of the others would be of a choice \
         that the key's owner made"
    )]
    Lacking {
        /// How many units.
        lacking: usize,
        /// Of how many.
        all: usize,
    },
    /// A file that is no tuple file, or not the one that was sealed.
    #[error("not a tuple file, line {line}: {reason}")]
    Tuples {
        /// Where.
        line: usize,
        /// Why.
        reason: String,
    },
    /// Tuples that cannot be scored under a key, or not with each other.
    #[error("tuples: `{field}` is {found}, expected {expected}")]
    Mismatch {
        /// Of the header.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A test outside its domain.
    #[error(transparent)]
    Stats(#[from] StatsError),
}

/// Names, as a message shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<&'static str>);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted: Vec<_> = self.0.iter().map(|n| format!("`{n}`")).collect();
        f.write_str(&quoted.join(", "))
    }
}
