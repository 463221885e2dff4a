use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the suspect came to be suspected: what multiplicity a reader must allow for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FoundBy {
    /// Named before any model was looked at.
    #[default]
    NamedInAdvance,
    /// The most striking of this many suspects.
    Batch(u32),
}

/// Why a text is not a [`FoundBy`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a way to be found, expected `named-in-advance` or `batch:m` with m at least 1"
)]
pub struct FoundByError(String);

impl fmt::Display for FoundBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NamedInAdvance => f.write_str("named-in-advance"),
            Self::Batch(m) => write!(f, "batch:{m}"),
        }
    }
}

impl FromStr for FoundBy {
    type Err = FoundByError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "named-in-advance" {
            return Ok(Self::NamedInAdvance);
        }
        text.strip_prefix("batch:")
            .and_then(|m| m.parse().ok())
            .filter(|m| *m > 0)
            .map(Self::Batch)
            .ok_or_else(|| FoundByError(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for FoundBy {
    type Error = FoundByError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FoundBy> for String {
    fn from(found_by: FoundBy) -> Self {
        found_by.to_string()
    }
}

impl schemars::JsonSchema for FoundBy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FoundBy".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(named-in-advance|batch:[1-9][0-9]*)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses() {
        for text in ["named-in-advance", "batch:1", "batch:4000"] {
            let found: FoundBy = text.parse().expect(text);
            assert_eq!(found.to_string(), text);
        }
        for text in ["", "batch:0", "batch:", "batch:-1", "chance"] {
            assert!(text.parse::<FoundBy>().is_err(), "{text}");
        }
    }
}
