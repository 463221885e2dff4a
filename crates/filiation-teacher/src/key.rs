use std::fmt;

use filiation_core::Digest;
use serde::{Deserialize, Serialize};

/// What a question is addressed by in the store: SHA-256 of its canonical form (RFC 8785), in which
/// stand the dialect, the address, the request's bytes by their digest, the number of the sample,
/// and the epoch. No header is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Digest);

#[derive(Serialize)]
struct Canonical<'a> {
    form: &'static str,
    dialect: &'a str,
    url: &'a str,
    request: Digest,
    // As text: RFC 8785 numbers are doubles, and a seed may have 64 bits.
    sample: String,
    epoch: &'a str,
}

impl Key {
    /// The key of a request.
    ///
    /// # Panics
    /// Never: the form holds nothing that has no canonical JSON.
    pub fn of(dialect: &str, url: &str, request: Digest, sample: u64, epoch: &str) -> Self {
        let form = Canonical {
            form: "filiation-exchange/1",
            dialect,
            url,
            request,
            sample: sample.to_string(),
            epoch,
        };
        Self(Digest::of(&canonical(&form)))
    }

    /// The digest.
    pub const fn digest(self) -> Digest {
        self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Canonical JSON by RFC 8785.
pub(crate) fn canonical<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value)
        .expect("what we send holds text, integers and finite numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let request = Digest::of(b"{}");
        let base = Key::of("openai", "https://a/v1/chat", request, 0, "");
        for other in [
            Key::of("vllm", "https://a/v1/chat", request, 0, ""),
            Key::of("openai", "https://b/v1/chat", request, 0, ""),
            Key::of("openai", "https://a/v1/chat", Digest::of(b"[]"), 0, ""),
            Key::of("openai", "https://a/v1/chat", request, 1, ""),
            Key::of("openai", "https://a/v1/chat", request, 0, "2026-11"),
        ] {
            assert_ne!(base, other);
        }
        let large = |n| Key::of("openai", "u", request, n, "");
        assert_ne!(
            large(u64::MAX),
            large(u64::MAX - 1),
            "beyond the integers of a double"
        );
    }

    #[test]
    fn numbers_are_those_of_rfc_8785() {
        let value = serde_json::json!({ "b": 1.0, "a": 1e21, "c": 0.000_001 });
        assert_eq!(canonical(&value), br#"{"a":1e+21,"b":1,"c":0.000001}"#);
    }
}
