use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::error::shown;
use crate::{CheckpointError, Limits};

/// A text as tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// Token ids, each below the rows of the embedding.
    pub ids: Vec<u32>,
    /// First byte and one past the last byte of each token in the text.
    ///
    /// Tokens that the tokenizer adds have an empty range. Bytes that a tokenizer leaves between
    /// two tokens (a blank that it folds into the next) belong to the later one, so that no byte
    /// of a text is lost. Tokens that share a character, as byte-level ones may, share its range.
    pub offsets: Vec<(usize, usize)>,
}

/// A `tokenizer.json`, held against the embedding.
pub struct Tokenizer {
    file: PathBuf,
    rows: usize,
    inner: tokenizers::Tokenizer,
    extra: usize,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("file", &self.file)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads `bytes`, the content of `file` (used in messages only), for an embedding of `rows`
    /// rows. Truncation and padding that the file asks for are switched off.
    ///
    /// # Errors
    /// [`CheckpointError::Tokenizer`] for what is no tokenizer,
    /// [`CheckpointError::TokenizerTooLarge`] where an entry of the vocabulary has no row. Added
    /// tokens without a row, which some releases carry for inputs other than text, are refused
    /// only where a text has one.
    pub fn from_bytes(
        file: &Path,
        bytes: &[u8],
        rows: usize,
        limits: &Limits,
    ) -> Result<Self, CheckpointError> {
        if bytes.len() as u64 > limits.json_bytes {
            return Err(CheckpointError::OverLimit {
                file: file.to_owned(),
                what: "the size in bytes",
                found: bytes.len() as u64,
                limit: limits.json_bytes,
            });
        }
        let mut inner = guard(file, || tokenizers::Tokenizer::from_bytes(bytes))?;
        inner.with_padding(None);
        guard(file, || inner.with_truncation(None).map(|_| ()))?;
        let extra = check_vocabulary(file, &inner, rows)?;
        Ok(Self {
            file: file.to_owned(),
            rows,
            inner,
            extra,
        })
    }

    /// `text` as tokens; `special` adds what the tokenizer puts around a text, such as its
    /// beginning-of-text token.
    ///
    /// # Errors
    /// Where the tokenizer fails, or gives an id that the embedding has no row for.
    pub fn encode(&self, text: &str, special: bool) -> Result<Encoding, CheckpointError> {
        let found = guard(&self.file, || self.inner.encode(text, special))?;
        let ids = found.get_ids().to_vec();
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.rows) {
            return Err(CheckpointError::TokenOutOfRange {
                file: self.file.clone(),
                found: id,
                rows: self.rows,
            });
        }
        let mut offsets = found.get_offsets().to_vec();
        close_gaps(&mut offsets, found.get_special_tokens_mask(), text.len());
        Ok(Encoding { ids, offsets })
    }

    /// The text of `ids`; `skip_special` leaves out special tokens.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, CheckpointError> {
        guard(&self.file, || self.inner.decode(ids, skip_special))
    }

    /// Id of the vocabulary entry or added token `token`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Entry of `id`, as the vocabulary writes it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether `id` is a special token.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        self.token(id).is_some_and(|t| added.is_special_token(&t))
    }

    /// Entries and their ids, added tokens included, sorted by entry.
    pub fn vocabulary(&self) -> Vec<(String, u32)> {
        let mut entries: Vec<_> = self.inner.get_vocab(true).into_iter().collect();
        entries.sort();
        entries
    }

    /// Rows of the embedding.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Added tokens that the embedding has no row for.
    pub const fn tokens_beyond_embedding(&self) -> usize {
        self.extra
    }
}

/// Refuses a vocabulary with ids beyond `rows`; counts added tokens beyond it.
fn check_vocabulary(
    file: &Path,
    inner: &tokenizers::Tokenizer,
    rows: usize,
) -> Result<usize, CheckpointError> {
    let highest = inner.get_vocab(false).into_iter().max_by_key(|e| e.1);
    if let Some((token, found)) = highest.filter(|e| e.1 as usize >= rows) {
        return Err(CheckpointError::TokenizerTooLarge {
            file: file.to_owned(),
            token: shown(&token),
            found,
            rows,
        });
    }
    let added = inner.get_added_tokens_decoder();
    Ok(added.keys().filter(|&&id| id as usize >= rows).count())
}

/// Extends each token over the bytes between it and the one before.
fn close_gaps(offsets: &mut [(usize, usize)], special: &[u32], length: usize) {
    let mut reached = 0;
    let mut last = None;
    for (i, span) in offsets.iter_mut().enumerate() {
        if special.get(i) == Some(&1) && span.0 == span.1 {
            *span = (reached, reached);
            continue;
        }
        if span.0 > reached {
            span.0 = reached;
        }
        reached = reached.max(span.1);
        last = Some(i);
    }
    if let Some(i) = last {
        let end = offsets[i].1.max(length);
        offsets[i].1 = end;
        for span in &mut offsets[i + 1..] {
            *span = (end, end);
        }
    }
}

/// Runs tokenizer code, which may fail or, on a hostile file, panic.
fn guard<T>(
    file: &Path,
    work: impl FnOnce() -> tokenizers::Result<T>,
) -> Result<T, CheckpointError> {
    let refuse = |reason: String| CheckpointError::Tokenizer {
        file: file.to_owned(),
        reason: shown(&reason),
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|e| refuse(e.to_string())),
        Err(_) => Err(refuse("the tokenizer library failed on this file".into())),
    }
}

#[cfg(test)]
mod tests;
