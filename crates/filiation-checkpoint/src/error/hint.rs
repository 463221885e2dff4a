use std::path::PathBuf;

use super::CheckpointError;

/// What a folder without safetensors has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instead {
    /// A GGUF file of this name.
    Gguf(String),
    /// Pickled weights of this name.
    Pickle(String),
    /// An adapter (LoRA) of this name.
    Adapter(String),
    /// A hub cache entry; its snapshot.
    Snapshot(PathBuf),
}

impl CheckpointError {
    /// What to do about it, in one line, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoWeights { instead, .. } => return instead.as_ref().map(Instead::hint),
            Self::EscapesFolder { .. } => {
                "copy the file into the folder; only links inside a hub cache are followed".into()
            }
            Self::Misaligned { .. } => {
                "save the model again with safetensors 0.4 or later, which aligns tensors".into()
            }
            Self::Truncated { .. } | Self::OutsideFile { .. } => {
                "the file is cut short or its header lies: download it again".into()
            }
            Self::ScaledFp8 { .. } => {
                "dequantise the model to bfloat16 and save it before it is audited".into()
            }
            Self::OverLimit { .. } => {
                "where the folder is trusted, raise this limit in `Limits`".into()
            }
            Self::MissingFile { file, .. } if file.ends_with("tokenizer.json") => {
                "load the tokenizer with `transformers` and call `save_pretrained`, which writes it"
                    .into()
            }
            Self::MissingFile { .. } => "complete the download".into(),
            _ => return None,
        })
    }
}

impl Instead {
    fn hint(&self) -> String {
        match self {
            Self::Gguf(name) => format!("the folder has `{name}`: give that file's path"),
            Self::Pickle(name) => format!(
                "`{name}` is a pickle, which can run code when loaded and is never opened: \
                 convert it to safetensors in a sandbox"
            ),
            Self::Adapter(name) => {
                format!(
                    "`{name}` is an adapter: merge it into its base with \
                     `filiation lab merge BASE ADAPTER --out FOLDER`"
                )
            }
            Self::Snapshot(path) => format!("this is a hub cache: give `{}`", path.display()),
        }
    }
}
