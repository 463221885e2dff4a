//! What is kept of a key by those who must not have it.

use serde::{Deserialize, Serialize};

use super::KeyFile;
use crate::WatermarkError;

/// A key file without key and salt: its commitment, and the parameters that are no secret. TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedKey {
    /// [`KeyFile::commitment`] of the whole.
    pub commitment: String,
    /// The whole less `key`, `keys`, `salt` and `table`.
    pub parameters: KeyFile,
}

impl KeyFile {
    /// What may be written down where the key must not be.
    pub fn sealed(&self) -> SealedKey {
        SealedKey {
            commitment: self.commitment(),
            parameters: Self {
                key: None,
                keys: Vec::new(),
                salt: None,
                table: None,
                ..self.clone()
            },
        }
    }
}

impl SealedKey {
    /// Reads what [`Self::to_toml`] gave.
    ///
    /// # Errors
    /// [`WatermarkError::KeyFile`] for what is none, or holds a key.
    pub fn parse(text: &str) -> Result<Self, WatermarkError> {
        let bad = |reason: String| WatermarkError::KeyFile { reason, line: None };
        let sealed: Self = toml::from_str(text).map_err(|e| bad(e.message().to_owned()))?;
        let of = &sealed.parameters;
        if of.key.is_some() || !of.keys.is_empty() || of.salt.is_some() {
            return Err(bad("a sealed key that holds its key, expected none".into()));
        }
        Ok(sealed)
    }

    /// The file. The same key gives the same bytes.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a key file holds only what TOML can say")
    }

    /// Whether `key` is the one that was sealed.
    pub fn is_of(&self, key: &KeyFile) -> bool {
        self.commitment == key.commitment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_names_the_key_and_does_not_hold_it() {
        let text = "scheme = \"synthid@transformers\"\nkey = \"918273645\"\nkeys = [654321, 400]\nwidth = 2\n\
                    salt = \"pepper\"\ncreated = \"2026-01-31\"\n";
        let key = KeyFile::parse(text).expect("a key file");
        let kept = key.sealed().to_toml();
        for secret in ["918273645", "654321", "pepper"] {
            assert!(!kept.contains(secret), "{kept}");
        }
        let sealed = SealedKey::parse(&kept).expect("what was written");
        assert_eq!((&sealed, sealed.parameters.width), (&key.sealed(), Some(2)));
        assert!(sealed.is_of(&key));
        let other = KeyFile {
            salt: Some("salt".into()),
            ..key
        };
        assert!(!sealed.is_of(&other));
        let said = SealedKey::parse(&(kept + "key = 3\n")).expect_err("a key");
        assert!(said.to_string().contains("holds its key"), "{said}");
    }
}
