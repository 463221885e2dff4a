//! Marked texts of a teacher with their key, as the owner of both keeps them. `probes/README.md`
//! describes the files.

use std::path::Path;

use filiation_checkpoint::{Limits, Tokenizer};
use filiation_core::Digest;
pub use filiation_watermark::KeyFile;
use filiation_watermark::tuples::{Spelling, pieces};
use filiation_watermark::{Scheme, SealedKey, WatermarkError};
use serde::Deserialize;

use crate::ProbeError;

/// Bytes that a file of texts may have.
pub const MOST_BYTES: usize = 64 << 20;
/// Tokens that are fed at once; a longer text is cut.
const CHUNK: usize = 256;

/// A text, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedText {
    /// What stands before it.
    pub prompt: String,
    /// It.
    pub text: String,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// First byte of each.
    pub starts: Vec<u32>,
}

/// Texts of one teacher, and the key that they are read under.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkLog {
    /// Party name of the teacher.
    pub teacher: String,
    /// What may be known of the key.
    pub key: SealedKey,
    /// The key itself, where it is at hand. No run keeps it.
    pub open: Option<KeyFile>,
    /// Digest of the file of texts.
    pub digest: Digest,
    /// Digest of the key's tokenizer.
    pub tokenizer: Digest,
    /// Entries of the key's tokenizer.
    pub vocabulary: u32,
    /// The texts of its tokens.
    pub spelling: Spelling,
    /// Whether the texts bear the mark.
    pub marked: bool,
    /// The texts in the order of the file; never empty.
    pub texts: Vec<MarkedText>,
}

/// The files of a [`MarkLog`], each with the name that errors call it by.
#[derive(Debug, Clone, Copy)]
pub struct MarkFiles<'a> {
    /// Key file (TOML), or a sealed one.
    pub key: (&'a str, &'a [u8]),
    /// Texts (JSON lines).
    pub texts: (&'a str, &'a [u8]),
    /// `tokenizer.json` of the key.
    pub tokenizer: (&'a str, &'a [u8]),
}

#[derive(Deserialize)]
struct Line {
    text: String,
    #[serde(default)]
    prompt: String,
}

impl MarkLog {
    /// From the bytes of the files. At most `limit` texts are taken.
    ///
    /// # Errors
    /// [`ProbeError::Marks`], naming file and line, and never quoting a key or a text.
    pub fn parse(
        teacher: &str,
        files: MarkFiles<'_>,
        marked: bool,
        limit: Option<usize>,
    ) -> Result<Self, ProbeError> {
        let (key, open) = key(files.key)?;
        let (name, bytes) = files.tokenizer;
        let tokenizer =
            Tokenizer::from_bytes(Path::new(name), bytes, usize::MAX, &Limits::default())?;
        let digest = Digest::of(bytes);
        let wanted = key.parameters.tokenizer.as_ref();
        if let Some(want) = wanted.filter(|t| **t != digest.to_string()) {
            let reason = format!("the key is for tokenizer `{want}`, this one is `{digest}`");
            return Err(bad(name, 1, reason));
        }
        let entries = tokenizer.vocabulary();
        let spelled = entries.iter().filter_map(|(_, id)| {
            let text = tokenizer.decode(&[*id], false).ok()?;
            Some((text, *id))
        });
        Ok(Self {
            teacher: teacher.to_owned(),
            digest: Digest::of(files.texts.1),
            tokenizer: digest,
            vocabulary: 1 + entries.iter().map(|(_, id)| *id).max().unwrap_or(0),
            spelling: Spelling::of(spelled),
            marked,
            texts: texts(files.texts, &tokenizer, limit.unwrap_or(usize::MAX))?,
            key,
            open,
        })
    }

    /// The same with the key, where `key` is the one that was sealed.
    pub fn opened(self, key: &KeyFile) -> Self {
        match self.key.is_of(key) {
            true => Self {
                open: Some(key.clone()),
                ..self
            },
            false => self,
        }
    }

    /// The scheme under the key; `None` where the key is not at hand.
    ///
    /// # Errors
    /// As [`KeyFile::scheme`].
    pub fn scheme(&self) -> Option<Result<Box<dyn Scheme>, WatermarkError>> {
        self.open.as_ref().map(KeyFile::scheme)
    }
}

fn bad(file: &str, line: usize, reason: String) -> ProbeError {
    ProbeError::Marks {
        file: file.to_owned(),
        line,
        reason,
    }
}

fn utf8<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, ProbeError> {
    if bytes.len() > MOST_BYTES {
        return Err(bad(name, 1, format!("more than {MOST_BYTES} bytes")));
    }
    std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        bad(name, line, "not UTF-8".into())
    })
}

fn key((name, bytes): (&str, &[u8])) -> Result<(SealedKey, Option<KeyFile>), ProbeError> {
    let text = utf8(name, bytes)?;
    if let Ok(sealed) = SealedKey::parse(text) {
        return Ok((sealed, None));
    }
    let refused = |e: WatermarkError| bad(name, 1, e.to_string());
    let key = KeyFile::parse(text).map_err(refused)?;
    // A key that cannot be scored with is refused before anything is asked.
    key.scheme().map_err(refused)?;
    Ok((key.sealed(), Some(key)))
}

fn texts(
    (name, bytes): (&str, &[u8]),
    tokenizer: &Tokenizer,
    limit: usize,
) -> Result<Vec<MarkedText>, ProbeError> {
    let lines = utf8(name, bytes)?.lines().enumerate();
    let mut all = Vec::new();
    for (i, line) in lines
        .filter(|(_, line)| !line.trim().is_empty())
        .take(limit)
    {
        // What the parser says may quote the line.
        let line: Line = serde_json::from_str(line).map_err(|e| {
            let what = format!(
                "no entry at column {}, expected an object with `text`",
                e.column()
            );
            bad(name, i + 1, what)
        })?;
        let offsets = tokenizer.encode(&line.text, false)?.offsets;
        for piece in pieces(&line.text, &offsets, CHUNK) {
            let own = tokenizer.encode(piece, false)?;
            all.push(MarkedText {
                prompt: line.prompt.clone(),
                text: piece.to_owned(),
                starts: own.offsets.iter().map(|o| o.0 as u32).collect(),
                ids: own.ids,
            });
        }
    }
    if all.is_empty() {
        return Err(bad(
            name,
            1,
            "no text, expected one JSON object a line".into(),
        ));
    }
    Ok(all)
}
