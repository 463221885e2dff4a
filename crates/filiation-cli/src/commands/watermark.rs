mod detect;
mod read;
mod score;
mod write;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use filiation_checkpoint::{Limits, Tokenizer};
use filiation_core::Digest;
use filiation_watermark::KeyFile;
use filiation_watermark::scheme::{Listed, MOST_TABLE_BYTES};
use serde::Deserialize;

use crate::failure::Usage;
use crate::output;

/// Reads watermarks under a key.
#[derive(Subcommand)]
pub(crate) enum Watermark {
    /// Test a text, or many as JSON lines, for the mark of one key or several.
    Detect(Box<detect::Detect>),
    /// Read a model under a key: by what it finds likely after the teacher's text, or by what it writes.
    Read(Box<read::Read>),
    /// Write what a model does after each window, for the key's owner to score.
    Export(Box<read::Export>),
    /// Score exported tuples under a key, which stays with its owner.
    Score(Box<score::Score>),
    /// Have a model write texts that bear the mark of a key.
    Write(write::Write),
    /// Show the commitment of a key file, to be published before a model appears.
    Commit {
        /// Key file (TOML).
        key: PathBuf,
    },
}

// A line of the input.
#[derive(Deserialize)]
struct Line {
    text: Option<String>,
    tokens: Option<Vec<u32>>,
    #[serde(default)]
    prompt: Prompt,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Prompt {
    #[default]
    None,
    Text(String),
    Tokens(Vec<u32>),
}

impl Watermark {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        match self {
            Self::Detect(detect) => {
                let found = detect.found()?;
                if json {
                    output::json(&found)
                } else {
                    output::text(&found.text())
                }
            }
            Self::Read(read) => read.run(json),
            Self::Export(export) => export.run(json),
            Self::Score(score) => score.run(json),
            Self::Write(write) => write.run(),
            Self::Commit { key } => {
                let commitment = key_file(&key)?.commitment();
                if json {
                    output::json(&serde_json::json!({ "commitment": commitment }))
                } else {
                    output::text(&format!("{commitment}\n"))
                }
            }
        }
    }
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(e) => bail!(
            "`{}` is not UTF-8: byte {} cannot be read",
            path.display(),
            e.utf8_error().valid_up_to()
        ),
    }
}

fn key_file(path: &Path) -> Result<KeyFile> {
    let text = read_text(path)?;
    KeyFile::parse(&text).with_context(|| format!("cannot use `{}`", path.display()))
}

// The lists that a key's owner exported.
fn listed(key: &KeyFile, path: &Path) -> Result<Listed> {
    let size = fs::metadata(path).map_or(0, |m| m.len());
    if size > MOST_TABLE_BYTES as u64 {
        bail!(
            "`{}` has more than {MOST_TABLE_BYTES} bytes",
            path.display()
        );
    }
    key.listed(&read_text(path)?)
        .with_context(|| format!("cannot use `{}`", path.display()))
}

// JSON lines where every line is an object, else one text.
fn lines(path: &Path) -> Result<Vec<Line>> {
    let text = read_text(path)?;
    if path.extension().is_none_or(|e| e != "jsonl") {
        return Ok(vec![Line {
            text: Some(text),
            tokens: None,
            prompt: Prompt::None,
        }]);
    }
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("`{}`, line {}", path.display(), i + 1))
        })
        .collect()
}

// A `tokenizer.json` or the one of a folder, with its digest.
fn tokenizer_at(path: &Path) -> Result<(Tokenizer, Digest)> {
    let file = if path.is_dir() {
        path.join("tokenizer.json")
    } else {
        path.to_owned()
    };
    let bytes = fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let tokenizer = Tokenizer::from_bytes(&file, &bytes, usize::MAX, &Limits::default())?;
    Ok((tokenizer, Digest::of(&bytes)))
}

impl Line {
    /// As text, and what stands before it.
    fn texts(&self, tokenizer: &Tokenizer) -> Result<(String, String)> {
        let text = match (&self.tokens, &self.text) {
            (_, Some(text)) => text.clone(),
            (Some(tokens), None) => tokenizer.decode(tokens, true)?,
            (None, None) => bail!("a line has neither `text` nor `tokens`"),
        };
        let prompt = match &self.prompt {
            Prompt::None => String::new(),
            Prompt::Text(text) => text.clone(),
            Prompt::Tokens(tokens) => tokenizer.decode(tokens, true)?,
        };
        Ok((prompt, text))
    }

    fn tokens(&self, tokenizer: Option<&Tokenizer>) -> Result<(Vec<u32>, Vec<u32>)> {
        let encode = |text: &str| -> Result<Vec<u32>> {
            match tokenizer {
                _ if text.is_empty() => Ok(Vec::new()),
                Some(tokenizer) => Ok(tokenizer.encode(text, false)?.ids),
                None => Err(Usage("a text needs `--tokenizer`".into()).into()),
            }
        };
        let tokens = match (&self.tokens, &self.text) {
            (Some(tokens), _) => tokens.clone(),
            (None, Some(text)) => encode(text)?,
            (None, None) => bail!("a line has neither `text` nor `tokens`"),
        };
        let prompt = match &self.prompt {
            Prompt::None => Vec::new(),
            Prompt::Text(text) => encode(text)?,
            Prompt::Tokens(tokens) => tokens.clone(),
        };
        Ok((prompt, tokens))
    }
}
