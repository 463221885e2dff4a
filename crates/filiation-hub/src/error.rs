use std::path::PathBuf;

use crate::HubId;

/// Why a model of the Hub cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The text names no model.
    #[error(
        "`{text}` is no id of a model, expected `OWNER/NAME` or `OWNER/NAME@REVISION`: {reason}"
    )]
    Id {
        /// The text, cut.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The address of the Hub is not one that a token may be sent to.
    #[error("`HF_ENDPOINT` is `{endpoint}`, expected `https`, or `http` on this machine")]
    Endpoint {
        /// The address, without a user or a query.
        endpoint: String,
    },
    /// The model is not in the cache, and nothing else may be asked.
    #[error("`{id}` is not in the cache, and {why}")]
    NotCached {
        /// The model.
        id: HubId,
        /// Why it is not downloaded.
        why: &'static str,
    },
    /// The Hub refused, or could not be reached.
    #[error("`{id}`: the Hub {what}")]
    Refused {
        /// The model.
        id: HubId,
        /// What it said or did.
        what: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
    /// The Hub gave a name that is no plain path below the model's folder.
    #[error(
        "`{id}`: the Hub lists a file with a name that leaves its folder or cannot be one: {name:?}"
    )]
    Name {
        /// The model.
        id: HubId,
        /// The name, cut.
        name: String,
    },
    /// The Hub gave something that is no commit, hash or size.
    #[error("`{id}`: the Hub gave no sound {what}")]
    Malformed {
        /// The model.
        id: HubId,
        /// What was asked for.
        what: &'static str,
    },
    /// The Hub answered with another commit than was asked for.
    #[error("`{id}`: the Hub answered for commit `{found}`")]
    OtherCommit {
        /// The model as asked for.
        id: HubId,
        /// The commit in the answer.
        found: String,
    },
    /// Nothing there that is read as weights.
    #[error("`{id}` holds no weights in safetensors and no single GGUF file ({found} files)")]
    NoWeights {
        /// The model.
        id: HubId,
        /// Files it holds.
        found: usize,
    },
    /// Larger than is read.
    #[error("`{id}`: `{file}` has {bytes} bytes, at most {limit} are downloaded")]
    TooLarge {
        /// The model.
        id: HubId,
        /// The file.
        file: String,
        /// Its size.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// What came is not what the commit names.
    #[error("`{id}`: `{file}` came with {detail}; nothing of it was kept")]
    Hash {
        /// The model.
        id: HubId,
        /// The file.
        file: String,
        /// Bytes and git's hash of what came, and of what the commit names.
        detail: String,
    },
    /// A file of the cache is not what its name says.
    #[error("`{}` in the cache does not have the hash that it is named by", file.display())]
    Spoilt {
        /// The file.
        file: PathBuf,
    },
    /// The cache could not be read or written.
    #[error("cannot use `{}`", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl HubError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotCached { id, .. } => Some(format!(
                "download it where there is a network (`hf download {}`), or give a folder",
                id.plain()
            )),
            Self::Refused { hint, .. } => hint.map(str::to_owned),
            Self::Hash { .. } => Some(
                "give the command again; if it stays so, the address of the Hub (`HF_ENDPOINT`) is not to be trusted"
                    .into(),
            ),
            Self::Spoilt { .. } => Some("remove the file, and it is downloaded again".into()),
            Self::NoWeights { .. } => Some(
                "pickled weights are never read: ask for a conversion to safetensors, or convert it yourself".into(),
            ),
            _ => None,
        }
    }

    pub(crate) fn io(file: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { file, source }
    }
}
