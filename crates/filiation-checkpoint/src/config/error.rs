/// Why a `config.json` does not describe a model that can be computed exactly.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The document is not an object.
    #[error("configuration is {found}, expected an object")]
    NotAnObject {
        /// Kind of JSON value.
        found: &'static str,
    },
    /// No architecture is named, or one that is not supported.
    #[error(
        "architecture `{found}` is not supported, expected one of {}",
        super::Architecture::names()
    )]
    Architecture {
        /// What the file names.
        found: String,
    },
    /// A key without which there is no model.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// A value of the wrong kind or out of range.
    #[error("`{key}` is `{found}`, expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value, cut to 80 characters.
        found: String,
        /// What would have been accepted.
        expected: String,
    },
    /// A key that this version does not know; it may change the computation.
    #[error("`{key}` = `{found}` is not known, and may change what the model computes")]
    UnknownKey {
        /// The key.
        key: String,
        /// The value, cut to 80 characters.
        found: String,
    },
}
