use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A method with every parameter that changes its result: `tlu-did/1;clip=2;max_tokens=48`.
///
/// Two statistics with equal ids were computed the same way; calibration relies on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MethodId {
    name: String,
    version: u32,
    parameters: Vec<(String, String)>,
}

/// Why a text is not a [`MethodId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a method id, expected `name/version;key=value;…` with sorted keys")]
pub struct MethodIdError(String);

impl MethodId {
    /// A method id. Parameters are sorted by key, so the order of arguments does not matter.
    pub fn new(name: &str, version: u32, parameters: &[(&str, &dyn fmt::Display)]) -> Self {
        let mut parameters: Vec<_> = parameters
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.to_string()))
            .collect();
        parameters.sort();
        Self {
            name: name.to_owned(),
            version,
            parameters,
        }
    }

    /// The name alone: `tlu-did`. It names the probe's file, docs page and evidence file too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the method, raised when the same inputs would give another result.
    pub const fn version(&self) -> u32 {
        self.version
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)?;
        self.parameters
            .iter()
            .try_for_each(|(key, value)| write!(f, ";{key}={value}"))
    }
}

impl FromStr for MethodId {
    type Err = MethodIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || MethodIdError(text.chars().take(200).collect());
        let mut parts = text.split(';');
        let (name, version) = parts
            .next()
            .and_then(|head| head.split_once('/'))
            .ok_or_else(refuse)?;
        let parameters = parts
            .map(|p| p.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(refuse)?;
        let id = Self {
            name: name.to_owned(),
            version: version.parse().map_err(|_| refuse())?,
            parameters,
        };
        let sorted = id.parameters.is_sorted_by(|a, b| a.0 < b.0);
        let plain = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (sorted && plain).then_some(id).ok_or_else(refuse)
    }
}

impl TryFrom<String> for MethodId {
    type Error = MethodIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MethodId> for String {
    fn from(id: MethodId) -> Self {
        id.to_string()
    }
}

impl schemars::JsonSchema for MethodId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MethodId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[a-z0-9-]+/[0-9]+(;[^;=]+=[^;]*)*$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let id = MethodId::new("tlu-did", 1, &[("max_tokens", &48), ("clip", &2.5)]);
        assert_eq!(id.to_string(), "tlu-did/1;clip=2.5;max_tokens=48");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn refuses_other_shapes() {
        for text in [
            "",
            "tlu-did",
            "tlu-did/x",
            "a/1;b",
            "a/1;b=1;a=2",
            "A/1",
            "/1",
        ] {
            assert!(text.parse::<MethodId>().is_err(), "{text}");
        }
    }
}
