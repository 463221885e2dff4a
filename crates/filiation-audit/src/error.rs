use std::path::PathBuf;

use filiation_core::{Digest, RequestId};

/// What a [`Provider`](crate::Provider) says when it cannot give a model.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a case could not be run. Whatever was collected before stays in the run directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{}`; what was collected before is kept", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The case file is not TOML of the expected shape.
    #[error("case `{}` is not valid", path.display())]
    Case {
        /// The case file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: Box<toml::de::Error>,
        /// The known key nearest to an unknown one.
        nearest: Option<&'static str>,
    },
    /// The manifest or the calibration of a population is not TOML of the expected shape.
    #[error("`{}` is not valid", path.display())]
    Population {
        /// The manifest.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The folder holds scores that were made in another way.
    #[error("`{}` holds a population with other settings than this manifest", path.display())]
    OtherPopulation {
        /// The folder.
        path: PathBuf,
    },
    /// Scores that make no calibration.
    #[error("population `{}` cannot be used", path.display())]
    Calibration {
        /// Its folder, or the run that it is kept in.
        path: PathBuf,
        /// Why.
        #[source]
        source: filiation_lr::LrError,
    },
    /// A value of the case is out of range.
    #[error("`{field}` is {found}, expected {expected}")]
    Value {
        /// The key of the case.
        field: &'static str,
        /// What it held.
        found: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// Two parties share a name.
    #[error("two parties are named `{name}`, expected distinct names")]
    DuplicateParty {
        /// The name.
        name: String,
    },
    /// A probe or suite is not usable.
    #[error("the probes cannot be planned")]
    Plan(#[source] filiation_probes::ProbeError),
    /// A model could not be opened, read or compared.
    #[error("{role} `{name}` cannot be used")]
    Party {
        /// Its role.
        role: &'static str,
        /// Its name.
        name: String,
        /// What the provider said.
        #[source]
        source: BoxError,
    },
    /// The run directory belongs to another case.
    #[error("run `{}` holds another {what} than this case, expected the same", path.display())]
    OtherCase {
        /// The run directory.
        path: PathBuf,
        /// What differs: case, suite, plan.
        what: &'static str,
    },
    /// The plan is not what this version plans.
    #[error("`{}` is not what this version of filiation plans for the case", path.join("plan.jsonl").display())]
    OtherPlan {
        /// The run directory.
        path: PathBuf,
    },
    /// A model changed since the run began.
    #[error("{role} `{name}` has digest {found}, the run was begun with {expected}")]
    OtherModel {
        /// Its role.
        role: &'static str,
        /// Its name.
        name: String,
        /// Digest now.
        found: Digest,
        /// Digest then.
        expected: Digest,
    },
    /// A party is not the one that the case names by its digest.
    #[error("{role} `{name}` has digest {found}, the case expects {expected}")]
    Pinned {
        /// Its role.
        role: &'static str,
        /// Its name.
        name: String,
        /// Its digest: of the model, or of the pack.
        found: Digest,
        /// What the case says.
        expected: Digest,
    },
    /// The file is no pack.
    #[error("`{}` is not a pack: {reason}", path.display())]
    NotAPack {
        /// The file.
        path: PathBuf,
        /// What is wrong with its first line.
        reason: String,
    },
    /// The pack was written by another version.
    #[error("pack `{}` has format `{found}`, expected `{expected}`", path.display())]
    PackFormat {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What this version reads.
        expected: &'static str,
    },
    /// The head of a pack was changed.
    #[error("pack `{}`: what it says of itself does not fit the digest beside it", path.display())]
    PackSeal {
        /// The file.
        path: PathBuf,
    },
    /// The answers of a pack are cut short or changed.
    #[error(
        "pack `{}` holds {found} bytes of answers of another digest than its head names, expected {expected} bytes",
        path.display()
    )]
    PackAnswers {
        /// The file.
        path: PathBuf,
        /// Bytes there.
        found: u64,
        /// Bytes as sealed.
        expected: u64,
    },
    /// A pack lies where one is to be made.
    #[error("`{}` is there already", path.display())]
    PackExists {
        /// The file.
        path: PathBuf,
    },
    /// A log of an evaluation is malformed.
    #[error("`{}`, {place}: {problem}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: String,
        /// What is wrong.
        problem: crate::ImportProblem,
    },
    /// A log does not say what model it is of.
    #[error("`{}` does not say which model answered", path.display())]
    ImportModel {
        /// The file.
        path: PathBuf,
    },
    /// A log answers nothing of a plan.
    #[error(
        "none of the {logged} answers in `{}` is to one of the {asked} questions of these suites, asked this way",
        path.display()
    )]
    NothingImported {
        /// The file.
        path: PathBuf,
        /// Answers in it.
        logged: u64,
        /// Questions of the plan.
        asked: u64,
    },
    /// What is to be recorded is a recording.
    #[error("`{}` is a recording, expected a model to record", path.display())]
    PackedAlready {
        /// The file.
        path: PathBuf,
    },
    /// A recording of something else was begun in the same place.
    #[error("`{}` holds a recording of other models, prompts or options, begun before", path.display())]
    OtherCollection {
        /// The folder.
        path: PathBuf,
    },
    /// A recording lacks answers that the case asks for.
    #[error(
        "{role} `{name}` is a recording that lacks {lacking} of {asked} answers, the first to `{first}`{}",
        told(differs)
    )]
    NotRecorded {
        /// Its role.
        role: &'static str,
        /// Its name.
        name: String,
        /// Answers missing.
        lacking: usize,
        /// Answers needed.
        asked: usize,
        /// The first request without one.
        first: RequestId,
        /// Where the recording was made otherwise than the case asks.
        differs: Vec<String>,
    },
    /// The folder is there and holds something else than a run.
    #[error("`{}` holds files and no `case.toml`, expected a run directory or none", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the run is damaged.
    #[error("`{}` line {line} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A step needs what an earlier step writes.
    #[error("run `{}` has no `{missing}`, expected it from `{step}`", path.display())]
    Incomplete {
        /// The run directory.
        path: PathBuf,
        /// The file or answers that are missing.
        missing: String,
        /// The command that makes them.
        step: &'static str,
    },
    /// A probe needs a secret that no run keeps, and was not measured with it yet.
    #[error("run `{}`: probe `{probe}` needs {secret}, which the run does not keep", path.display())]
    Withheld {
        /// The run directory.
        path: PathBuf,
        /// The probe.
        probe: String,
        /// The secret, in words.
        secret: String,
    },
    /// A key file that is none, or of a key that the run does not name.
    #[error("key `{}`: {reason}", path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used. Never holds a key.
        reason: String,
    },
    /// Another process works in the run directory.
    #[error("run `{}` is in use by another process", path.display())]
    Locked {
        /// The run directory.
        path: PathBuf,
    },
    /// A model behind an API has no answer now.
    #[error("{role} `{name}` gives no more answers; those that came are kept: {reason}")]
    Unavailable {
        /// Its role.
        role: &'static str,
        /// Its name.
        name: String,
        /// What happened.
        reason: String,
    },
    /// Nobody said by what right a model behind an API is asked.
    #[error("{role} `{name}` is `{endpoint}`, and nothing says by what right it is asked")]
    Unauthorised {
        /// Its role.
        role: &'static str,
        /// Its name.
        name: String,
        /// What is asked for.
        endpoint: String,
    },
    /// A model takes conversations alone, and another takes none.
    #[error(
        "{role} `{name}` takes conversations alone, and prompts are put as plain text: {because}"
    )]
    ChatOnly {
        /// Its role.
        role: &'static str,
        /// Its name.
        name: String,
        /// Why they are.
        because: String,
    },
    /// A model gave another number of answers than it was asked.
    #[error("{role} `{name}` gave {found} answers to {expected} requests")]
    AnswerCount {
        /// Its role.
        role: &'static str,
        /// Its name.
        name: String,
        /// Answers given.
        found: usize,
        /// Requests put.
        expected: usize,
    },
}

impl AuditError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Write { source, .. } => Some(match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::FileTooLarge => {
                    "free some space, then give the same command again: it goes on where it stopped"
                        .into()
                }
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    "choose a folder that you may write to, with `--run DIR`".into()
                }
                _ => "give the same command again: it goes on where it stopped".into(),
            }),
            Self::Case { nearest, .. } => nearest.map(|key| format!("did you mean `{key}`?")),
            Self::OtherCase { .. } | Self::OtherModel { .. } | Self::NotARun { .. } => Some(
                "choose another folder with `--run DIR`, or remove this one to begin again".into(),
            ),
            Self::OtherPopulation { .. } => Some(
                "choose another folder with `--out DIR`: probes, prompts, sampling and teachers are \
                 the same for all of a population"
                    .into(),
            ),
            Self::Incomplete { step, .. } => Some(format!("run `filiation {step}` first")),
            Self::Withheld { .. } => Some("name its file: `filiation measure RUN --key FILE`".into()),
            Self::DuplicateParty { .. } => {
                Some("give a party a name of its own: `{ name = \"…\", path = \"…\" }`".into())
            }
            Self::OtherPlan { .. } => {
                Some("use the version that began the run, or begin another with `--run DIR`".into())
            }
            Self::Unauthorised { .. } => Some(
                "`--basis TEXT --authorised-by NAME`, or `authorisation = { basis, by, date }` in the case: \
                 a contract, terms that allow it, or the owner's consent; the report shows it"
                    .into(),
            ),
            Self::ChatOnly { .. } => Some(
                "leave out the model without a chat template, or ask the teacher through an API that \
                 continues plain text"
                    .into(),
            ),
            Self::Locked { .. } => Some("wait for it to end, or end it".into()),
            Self::PackSeal { .. } | Self::PackAnswers { .. } => {
                Some("fetch or record it again: it was cut short or changed since it was sealed".into())
            }
            Self::PackExists { .. } => Some("choose another `--out`, or remove it".into()),
            Self::ImportModel { .. } => Some("name it with `--model NAME`".into()),
            Self::NothingImported { .. } => Some(
                "make a suite of the log's own prompts with `--new-suite FILE`, or say how its answers \
                 were drawn with `--temperature` and `--max-tokens`"
                    .into(),
            ),
            Self::PackedAlready { .. } => Some("copy the file: a pack is the same anywhere".into()),
            Self::OtherCollection { .. } => Some(
                "give the command that began it to go on with it, choose another `--out`, or remove the folder"
                    .into(),
            ),
            Self::NotRecorded { .. } => Some(
                "ask as the recording was asked (`filiation pack show PACK`), leave out what it lacks \
                 with `--probe` and `--suite`, or record it again with `filiation collect`"
                    .into(),
            ),
            _ => None,
        }
    }
}

fn told(differs: &[String]) -> String {
    if differs.is_empty() {
        return String::new();
    }
    format!(": {}", differs.join("; "))
}
