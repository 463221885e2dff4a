use std::fmt;
use std::path::PathBuf;

use filiation_checkpoint::CheckpointError;

use crate::canaries::CanaryProblem;
use crate::served::ServedProblem;

/// Why probes could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A model folder could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No probe has this name.
    #[error("no probe is called `{name}`, expected one of {}", .known.join(", "))]
    UnknownProbe {
        /// The name.
        name: String,
        /// The names there are.
        known: &'static [&'static str],
    },
    /// A suite file could not be read.
    #[error("suite `{}` cannot be read", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A suite holds nothing.
    #[error("suite `{file}` is empty: line 1 is missing, expected one JSON object a line")]
    EmptySuite {
        /// The file.
        file: String,
    },
    /// A line of a suite is not an item.
    #[error("suite `{file}`, line {line}: {problem}")]
    Line {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// A line of a log of served responses is no entry.
    #[error("log `{file}`, line {line}: {problem}")]
    Served {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong with it. Never holds the text of a prompt or a response.
        problem: ServedProblem,
    },
    /// A file of canaries cannot be used.
    #[error("canaries `{file}`: {problem}")]
    Canaries {
        /// The file.
        file: String,
        /// What is wrong with it. Never holds a prompt or a text.
        problem: CanaryProblem,
    },
    /// Two files of canaries are of one teacher.
    #[error("two files of canaries are of teacher `{teacher}`, expected one")]
    SharedCanaries {
        /// The teacher.
        teacher: String,
    },
    /// The case names no canaries.
    #[error("probe `{probe}` finds no canaries, expected `canaries` in the case")]
    NoCanaries {
        /// The probe.
        probe: &'static str,
    },
    /// A key, its texts or its tokenizer cannot be used.
    #[error("marks `{file}`, line {line}: {reason}")]
    Marks {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// Why. Never holds a key or a text.
        reason: String,
    },
    /// The case names no marked texts.
    #[error("probe `{probe}` finds no marked texts, expected `marks` in the case")]
    NoMarks {
        /// The probe.
        probe: &'static str,
    },
    /// Two logs are of one teacher, so that its regenerations could not be told apart.
    #[error("two logs are of teacher `{teacher}`, expected one; hint: put them into one file")]
    SharedTeacher {
        /// The teacher.
        teacher: String,
    },
    /// The case names no log of served responses.
    #[error("probe `{probe}` finds no log of served responses, expected `served` in the case")]
    NoServed {
        /// The probe.
        probe: &'static str,
    },
    /// Two suites of a run share an id, so that transcripts could not tell them apart.
    #[error("suites `{first}` and `{second}` both have an item `{id}`, expected distinct ids")]
    SharedId {
        /// The id.
        id: String,
        /// One suite.
        first: String,
        /// The other.
        second: String,
    },
    /// No suite has what the probe asks.
    #[error("probe `{probe}` finds no {needed} in the suites {}", quoted(.suites))]
    NoItems {
        /// The probe.
        probe: &'static str,
        /// What it needs.
        needed: &'static str,
        /// The suites that were given.
        suites: Vec<String>,
    },
    /// A file is no sound lineage pack.
    #[error("lineage pack `{}`: {problem}", .file.display())]
    Pack {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: PackProblem,
    },
    /// A lineage pack could not be read.
    #[error("lineage pack `{}` cannot be read", .file.display())]
    ReadPack {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A model has too little to make a pack of.
    #[error("`{model}` has {found} {what}, needed at least {needed} for a lineage pack")]
    TooSmall {
        /// The model.
        model: String,
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
    /// An option is out of range.
    #[error("probe option `{name}` is {got}, expected {expected}")]
    Option {
        /// The option.
        name: &'static str,
        /// Its value.
        got: f64,
        /// What is allowed.
        expected: &'static str,
    },
}

/// What is wrong with a lineage pack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackProblem {
    /// Other first bytes.
    #[error("it does not begin as one does, expected `FLNPACK` and a version")]
    Magic,
    /// Another version of the format.
    #[error("format version {found}, expected 1")]
    Version {
        /// The version.
        found: u8,
    },
    /// The header is not what it should be; what the parser said.
    #[error("header: {0}")]
    Header(String),
    /// Sketches of another kind.
    #[error("made by `{found}`, expected `{expected}`")]
    Method {
        /// The method.
        found: String,
        /// That of this version.
        expected: &'static str,
    },
    /// More than is read.
    #[error("{what} is {found}, more than the limit of {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: u64,
        /// How many are read.
        limit: u64,
    },
    /// Shorter or longer than its header says.
    #[error("{found} bytes, expected {expected} by its header")]
    Length {
        /// Bytes of the file.
        found: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// The content is not that which was written.
    #[error("its digest does not agree with its content: the file was changed")]
    Digest,
    /// NaN or infinity.
    #[error("a value is not finite")]
    NotFinite,
}

/// What is wrong with a line of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineProblem {
    /// Not UTF-8.
    NotUtf8,
    /// Nothing but white space.
    Blank,
    /// Not the JSON of an item; what the parser said.
    Json(String),
    /// The id is empty or has other characters than lower-case letters, digits and `-`.
    Id(String),
    /// An earlier line has the same id.
    DuplicateId {
        /// The id.
        id: String,
        /// The earlier line.
        earlier: usize,
    },
    /// A text is empty.
    EmptyText(String),
    /// The domain is none of those known.
    Domain(String),
    /// Options in a domain that has none, or none in one that has.
    OptionsForDomain(String),
    /// A key in a domain that has none, or none of the options as key of a closed question.
    Key(String),
    /// A twin outside the domain `seen`.
    Twin(String),
    /// A twin that is no other item of the suite.
    NoTwin(String),
    /// Fewer than two options.
    TooFewOptions(usize),
    /// An option is empty.
    EmptyOption,
    /// An option begins another, so that their probabilities overlap.
    Prefix {
        /// The shorter.
        shorter: String,
        /// The longer, or its equal.
        longer: String,
    },
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("not UTF-8, expected a JSON object in UTF-8"),
            Self::Blank => f.write_str("blank, expected a JSON object"),
            Self::Json(said) => write!(f, "not an item: {said}"),
            Self::Id(id) => write!(f, "id `{id}`, expected lower-case letters, digits and `-`"),
            Self::DuplicateId { id, earlier } => {
                write!(f, "id `{id}` stands on line {earlier} already")
            }
            Self::EmptyText(id) => write!(f, "item `{id}` has no text"),
            Self::Domain(domain) => write!(
                f,
                "domain `{domain}`, expected one of {}",
                crate::suite::DOMAINS.join(", ")
            ),
            Self::OptionsForDomain(domain) => write!(
                f,
                "domain `{domain}`: `options` belong to the choice and question domains, and only there"
            ),
            Self::Key(domain) => write!(
                f,
                "domain `{domain}`: `key` belongs to the question domains, is one of the options, \
                 and stands only there"
            ),
            Self::Twin(domain) => {
                write!(
                    f,
                    "domain `{domain}`: `twin` belongs to `seen`, and only there"
                )
            }
            Self::NoTwin(twin) => {
                write!(
                    f,
                    "twin `{twin}`, expected the id of another item of the suite"
                )
            }
            Self::TooFewOptions(got) => write!(f, "{got} options, expected at least 2"),
            Self::EmptyOption => f.write_str("an empty option, expected a text"),
            Self::Prefix { shorter, longer } => write!(
                f,
                "option `{shorter}` begins option `{longer}`, expected options of which none is \
                 a prefix of another"
            ),
        }
    }
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "(none given)".into();
    }
    let quoted: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
    quoted.join(", ")
}
