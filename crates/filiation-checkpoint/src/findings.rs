use std::fmt;

use serde_json::Value;

use crate::error::shown;
use crate::generation::StrayId;
use crate::weights::{SINGLE, Weights};

/// Something about a folder that a reader of the evidence should know, and that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Finding {
    /// A pickle: loading it can run code. It was not opened.
    Pickle {
        /// The file.
        file: String,
    },
    /// Python code. It was not run.
    RemoteCode {
        /// The file, or the configuration that names code.
        file: String,
    },
    /// A safetensors file that is no part of the model.
    UnusedFile {
        /// The file.
        file: String,
    },
    /// Tensors that the configuration does not ask for.
    UnusedTensors {
        /// How many.
        count: usize,
        /// The first, by name.
        first: String,
    },
    /// FP8 weights with factors beside them. They are computed with as the floats that they stand
    /// for; engines that round activations to 8 bits too compute something else.
    ScaledFp8 {
        /// How many matrices.
        count: usize,
    },
    /// Weights in whole numbers of a few bits. They are computed with as the floats that they stand
    /// for.
    Packed {
        /// How many matrices.
        count: usize,
        /// Bits of a number.
        bits: u32,
        /// Whose way of packing them.
        way: &'static str,
    },
    /// A special token id that the embedding has no row for.
    StrayTokenId {
        /// The file.
        file: String,
        /// The key.
        key: &'static str,
        /// The id.
        id: u64,
    },
    /// The chat template does not compile.
    Template {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pickle { file } => write!(f, "`{file}` is a pickle, which was not opened"),
            Self::RemoteCode { file } => write!(f, "`{file}` brings code, which was not run"),
            Self::UnusedFile { file } => write!(f, "`{file}` is no part of the model"),
            Self::UnusedTensors { count, first } => write!(
                f,
                "{count} tensors that the configuration does not ask for, `{first}` first"
            ),
            Self::ScaledFp8 { count } => write!(
                f,
                "{count} matrices of FP8 with scales, computed as the floats that they stand for"
            ),
            Self::Packed { count, bits, way } => write!(
                f,
                "{count} matrices of {bits}-bit integers ({way}), computed as the floats that they \
                 stand for"
            ),
            Self::StrayTokenId { file, key, id } => {
                write!(
                    f,
                    "`{file}`: `{key}` is {id}, which has no row in the embedding"
                )
            }
            Self::Template { reason } => write!(f, "chat template does not compile: {reason}"),
        }
    }
}

const PICKLES: [&str; 7] = ["bin", "pt", "pth", "ckpt", "pkl", "pickle", "joblib"];

pub(crate) fn is_pickle(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
    ending.is_some_and(|e| PICKLES.contains(&e.as_str()))
}

/// Findings in the names of the folder.
pub(crate) fn in_names(names: &[String], weights: &Weights) -> Vec<Finding> {
    let part = |name: &str| weights.files().any(|f| f.name == name);
    let whole = names.iter().any(|n| n == SINGLE);
    names
        .iter()
        .filter_map(|name| {
            let file = shown(name);
            if is_pickle(name) {
                Some(Finding::Pickle { file })
            } else if name.ends_with(".py") {
                Some(Finding::RemoteCode { file })
            } else if name.ends_with(".safetensors") && !part(name)
                || whole && name == crate::weights::INDEX
            {
                Some(Finding::UnusedFile { file })
            } else {
                None
            }
        })
        .collect()
}

/// Findings in `config.json` and its like.
pub(crate) fn in_json(file: &str, value: &Value) -> Option<Finding> {
    value.get("auto_map").map(|_| Finding::RemoteCode {
        file: file.to_owned(),
    })
}

impl From<StrayId> for Finding {
    fn from(stray: StrayId) -> Self {
        Self::StrayTokenId {
            file: stray.file,
            key: stray.key,
            id: stray.id,
        }
    }
}
