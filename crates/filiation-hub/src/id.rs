use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use crate::HubError;

/// What ids begin with in files, so that none is taken for a folder.
const SCHEME: &str = "hf:";
const MOST_NAME: usize = 96;
const MOST_REVISION: usize = 200;

/// A model on the Hub: `hf:OWNER/NAME@REVISION`, the main branch where no revision is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HubId {
    owner: Option<String>,
    name: String,
    revision: Option<String>,
}

impl HubId {
    /// The id that a path of a case or a manifest holds, wherever the path was joined to: the part from
    /// `hf:` on.
    pub fn in_path(path: &Path) -> Option<Result<Self, HubError>> {
        let parts: Option<Vec<&str>> = path
            .components()
            .filter_map(|c| match c {
                Component::Normal(part) => Some(part.to_str()),
                _ => None,
            })
            .collect();
        let parts = parts?;
        let start = parts.iter().position(|p| p.starts_with(SCHEME))?;
        Some(parts[start..].join("/").parse())
    }

    /// The id that a word of the command line is: with `hf:` in front, or `OWNER/NAME@REVISION` where no
    /// such folder is there. A word without either is a path, so that a slip of the pen asks no network.
    pub fn of_word(text: &str) -> Option<Result<Self, HubError>> {
        if text.starts_with(SCHEME) {
            return Some(text.parse());
        }
        let (id, _) = text.split_once('@')?;
        let parts: Vec<&str> = id.split('/').collect();
        let shaped = parts.len() == 2 && parts.iter().all(|p| is_name(p));
        if !shaped || Path::new(text).exists() {
            return None;
        }
        Some(format!("{SCHEME}{text}").parse())
    }

    /// Who it belongs to; empty for the oldest models, which have no owner.
    pub fn owner(&self) -> &str {
        self.owner.as_deref().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Branch, tag or commit.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The commit, where the revision is one.
    pub fn commit(&self) -> Option<&str> {
        self.revision.as_deref().filter(|r| is_commit(r))
    }

    /// Whether the revision is a commit.
    pub fn is_pinned(&self) -> bool {
        self.commit().is_some()
    }

    /// `OWNER/NAME`.
    pub fn plain(&self) -> String {
        match &self.owner {
            Some(owner) => format!("{owner}/{}", self.name),
            None => self.name.clone(),
        }
    }

    pub(crate) fn at(&self, commit: &str) -> Self {
        Self {
            revision: Some(commit.to_owned()),
            ..self.clone()
        }
    }
}

/// Whether a text is the hash of a commit.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

pub(crate) fn is_hex(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.bytes().all(hex)
}

// As the Hub has them; `--` would be the separator of the cache's folders.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = text.as_bytes();
    (1..=MOST_NAME).contains(&text.len())
        && text.bytes().all(plain)
        && edge(bytes.first())
        && edge(bytes.last())
        && !text.contains("--")
        && !text.contains("..")
}

fn is_revision(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    let part =
        |p: &str| !p.is_empty() && !p.starts_with('.') && !p.starts_with('-') && !p.ends_with('.');
    (1..=MOST_REVISION).contains(&text.len())
        && text.bytes().all(plain)
        && !text.contains("..")
        && text.split('/').all(part)
}

impl FromStr for HubId {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let refuse = |reason| HubError::Id {
            text: text.chars().take(120).collect(),
            reason,
        };
        let plain = text.strip_prefix(SCHEME).unwrap_or(text);
        let (id, revision) = match plain.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (plain, None),
        };
        let (owner, name) = match id.split_once('/') {
            Some((owner, name)) => (Some(owner), name),
            None => (None, id),
        };
        if !is_name(name) || owner.is_some_and(|o| !is_name(o)) {
            return Err(refuse(
                "names are letters, digits, `.`, `_` and `-`, without `--` and `..`",
            ));
        }
        if revision.is_some_and(|r| !is_revision(r)) {
            return Err(refuse("the revision is no branch, tag or commit"));
        }
        Ok(Self {
            owner: owner.map(str::to_owned),
            name: name.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.plain())?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_are_found_in_joined_paths() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for text in [
            "hf:acme/tiny".to_owned(),
            "hf:gpt2".into(),
            "hf:acme/tiny-1.5_b@refs/pr/3".into(),
            format!("hf:acme/tiny@{commit}"),
        ] {
            let id: HubId = text.parse().expect("an id");
            assert_eq!(id.to_string(), text);
            let joined = Path::new("cases/a").join(&text);
            let found = HubId::in_path(&joined).expect("there").expect("an id");
            assert_eq!(found, id);
            assert_eq!(id.is_pinned(), text.ends_with(commit));
        }
        assert!(HubId::in_path(Path::new("models/t1")).is_none());
        let plain: HubId = "acme/tiny@v1".parse().expect("an id");
        assert_eq!(
            (plain.owner(), plain.name(), plain.revision()),
            ("acme", "tiny", "v1")
        );
        assert_eq!(
            "hf:gpt2".parse::<HubId>().expect("an id").revision(),
            "main"
        );
    }

    #[test]
    fn words_that_are_folders_or_other_things_are_no_ids() {
        for word in [
            "models",
            "models/t1",
            "a/b/c@d",
            "./a@b",
            "../a@b",
            "openai:gpt-4o",
            "C:\\a@b",
        ] {
            assert!(HubId::of_word(word).is_none(), "{word}");
        }
        assert!(HubId::of_word("acme/tiny@main").is_some_and(|id| id.is_ok()));
        assert!(HubId::of_word("hf:a/../b").is_some_and(|id| id.is_err()));
    }

    #[test]
    fn what_could_leave_the_cache_is_refused() {
        for text in [
            "",
            "hf:",
            "a/b/c",
            "a//b",
            "../b",
            "a/..",
            "a/.b",
            "a/b--c",
            "-a/b",
            "a/b.",
            "a b/c",
            "a/b@",
            "a/b@../x",
            "a/b@x/../y",
            "a/b@-x",
            "a/b@x y",
            "a/b@.git",
            "a/b@/x",
            "a/\u{202e}b",
            "a\0/b",
        ] {
            assert!(text.parse::<HubId>().is_err(), "{text:?}");
        }
    }
}
