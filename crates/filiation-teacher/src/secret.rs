use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::TeacherError;

/// A key, from the environment. It is sent in one header and shown nowhere.
#[derive(Clone)]
pub struct Secret {
    variable: String,
    value: SecretString,
}

/// What stands where a key stood.
pub(crate) const REDACTED: &str = "[redacted]";

impl Secret {
    /// The key in an environment variable.
    ///
    /// # Errors
    /// [`TeacherError::NoKey`] where it is not set, or is empty; [`TeacherError::KeyText`] where it
    /// is not printable ASCII, as a header has to be.
    pub fn from_env(variable: &str) -> Result<Self, TeacherError> {
        let value = std::env::var(variable).map_err(|e| match e {
            std::env::VarError::NotPresent => TeacherError::NoKey {
                variable: variable.to_owned(),
            },
            std::env::VarError::NotUnicode(_) => TeacherError::KeyText {
                variable: variable.to_owned(),
            },
        })?;
        Self::new(variable, &value)
    }

    /// A key that was read from `variable`.
    ///
    /// # Errors
    /// As [`Self::from_env`].
    pub fn new(variable: &str, value: &str) -> Result<Self, TeacherError> {
        let value = value.trim();
        if value.is_empty() {
            return Err(TeacherError::NoKey {
                variable: variable.to_owned(),
            });
        }
        if !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TeacherError::KeyText {
                variable: variable.to_owned(),
            });
        }
        Ok(Self {
            variable: variable.to_owned(),
            value: SecretString::from(value),
        })
    }

    /// The variable that it came from.
    pub fn variable(&self) -> &str {
        &self.variable
    }

    pub(crate) fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    /// `bytes` with every occurrence of the key taken out, and whether there was one.
    pub(crate) fn redact(&self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let key = self.expose().as_bytes();
        // A short word would be found everywhere; no provider has such keys.
        if key.len() < 8 {
            return (bytes.to_vec(), false);
        }
        let (mut out, mut rest, mut found) = (Vec::with_capacity(bytes.len()), bytes, false);
        while let Some(at) = find(rest, key) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(REDACTED.as_bytes());
            rest = &rest[at + key.len()..];
            found = true;
        }
        out.extend_from_slice(rest);
        (out, found)
    }

    pub(crate) fn redact_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.redact(text.as_bytes()).0).into_owned()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle[0];
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|b| *b == first) {
        let at = from + at;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.variable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_out_wherever_it_stands() {
        let secret = Secret::new("KEY", " sk-0123456789 ").expect("a key");
        let (out, found) = secret.redact(b"sk-0123456789, then ssk-0123456789.");
        assert!(found);
        assert_eq!(out, b"[redacted], then s[redacted].");
        assert_eq!(secret.redact(b"nothing"), (b"nothing".to_vec(), false));
        assert_eq!(format!("{secret:?}"), "Secret(KEY)");
    }

    #[test]
    fn what_no_header_can_hold_is_refused() {
        for bad in ["", "  ", "a\nb", "é-key"] {
            let text = Secret::new("KEY", bad).expect_err(bad).to_string();
            assert!(text.contains("`KEY`"), "{text}");
        }
    }
}
