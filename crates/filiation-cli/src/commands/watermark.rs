use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use filiation_checkpoint::{Limits, Tokenizer};
use filiation_report::clean;
use filiation_watermark::{KeyFile, Number, Residue, Test, Units, WatermarkError};
use serde::{Deserialize, Serialize};

use crate::failure::Usage;
use crate::output;

/// Reads watermarks under a key.
#[derive(Subcommand)]
pub(crate) enum Watermark {
    /// Test a text, or many as JSON lines, for the mark of one key.
    Detect(Detect),
    /// Show the commitment of a key file, to be published before a model appears.
    Commit {
        /// Key file (TOML).
        key: PathBuf,
    },
}

/// Tests a text for the mark of one key. H0: its tokens were chosen without the key.
///
/// Repetitions count once, by the rule of the scheme. log10 p is the exact tail of the scheme's law,
/// its variance corrected by decoy keys.
#[derive(Args)]
pub(crate) struct Detect {
    /// A text (UTF-8), or JSON lines with `text` or `tokens`, and `prompt` where there is one.
    file: PathBuf,
    /// Key file (TOML), or the key itself beside `--scheme`.
    #[arg(long)]
    key: String,
    /// Scheme as `scheme@implementation`, where `--key` is no file.
    #[arg(long)]
    scheme: Option<String>,
    /// How a window seeds (`simple_1`, `selfhash`, …).
    #[arg(long)]
    seeding: Option<String>,
    /// Share of green tokens [default: 0.25 for green lists].
    #[arg(long)]
    gamma: Option<f64>,
    /// Tokens of a window [default: that of the implementation].
    #[arg(long)]
    width: Option<usize>,
    /// Tokens of the vocabulary that lists are drawn over [default: entries of the tokenizer].
    #[arg(long)]
    vocabulary: Option<u32>,
    /// `tokenizer.json`, or the folder that holds it. Not needed where all lines have `tokens`.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Decoy keys; 0 for none.
    #[arg(long, default_value_t = 99)]
    decoys: u32,
    /// Seed of the decoy keys.
    #[arg(long, default_value_t = 0)]
    seed: u64,
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

#[derive(Serialize)]
struct Found {
    scheme: String,
    commitment: String,
    texts: usize,
    vocabulary: Option<u32>,
    /// `null` where the test abstains.
    log10_p: Option<f64>,
    abstention: Option<String>,
    residue: Option<Residue>,
    keys_tried: u32,
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

fn read(path: &Path) -> Result<String> {
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
    let text = read(path)?;
    KeyFile::parse(&text).with_context(|| format!("cannot use `{}`", path.display()))
}

impl Detect {
    fn found(&self) -> Result<Found> {
        let lines = self.lines()?;
        let tokenizer = self.tokenizer()?;
        let key = self.key_file(tokenizer.as_ref())?;
        let scheme = key.scheme()?;
        let mut units = Units::of(&*scheme);
        for (i, line) in lines.iter().enumerate() {
            let (prompt, tokens) = line.tokens(tokenizer.as_ref())?;
            units
                .add(&prompt, &tokens)
                .with_context(|| format!("text {} of `{}`", i + 1, self.file.display()))?;
        }
        let test = Test {
            decoys: self.decoys,
            seed: self.seed,
            ..Test::default()
        };
        let (residue, abstention) = match test.of(&*scheme, &units) {
            Ok(residue) => (Some(residue), None),
            Err(short @ WatermarkError::TooShort { .. }) => (None, Some(short.to_string())),
            Err(other) => return Err(other.into()),
        };
        Ok(Found {
            commitment: key.commitment(),
            vocabulary: scheme.vocabulary(),
            scheme: key.scheme,
            texts: lines.len(),
            log10_p: residue.as_ref().map(Residue::reported),
            abstention,
            residue,
            keys_tried: 1,
        })
    }

    // JSON lines where every line is an object, else one text.
    fn lines(&self) -> Result<Vec<Line>> {
        let text = read(&self.file)?;
        let named = self.file.extension().is_some_and(|e| e == "jsonl");
        if !named {
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
                    .with_context(|| format!("`{}`, line {}", self.file.display(), i + 1))
            })
            .collect()
    }

    fn tokenizer(&self) -> Result<Option<Tokenizer>> {
        let Some(path) = &self.tokenizer else {
            return Ok(None);
        };
        let file = if path.is_dir() {
            path.join("tokenizer.json")
        } else {
            path.clone()
        };
        let bytes = fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let limits = Limits::default();
        Ok(Some(Tokenizer::from_bytes(
            &file,
            &bytes,
            usize::MAX,
            &limits,
        )?))
    }

    fn key_file(&self, tokenizer: Option<&Tokenizer>) -> Result<KeyFile> {
        let Some(scheme) = &self.scheme else {
            return key_file(Path::new(&self.key));
        };
        let width = match scheme.split_once('@').map_or("", |(_, of)| of) {
            "vllm" | "sglang" | "deepmind" => Some(4),
            "transformers" if scheme.starts_with("synthid") => Some(4),
            "transformers" | "markllm" => Some(1),
            "three-bricks" | "textseal" | "aar" => Some(2),
            _ => None,
        };
        let entries = || tokenizer.map(|t| t.vocabulary().len() as u32);
        let several = self.key.contains(',');
        if several && self.key.split(',').any(|k| k.trim().is_empty()) {
            return Err(Usage("`--key` has an empty key in its list".into()).into());
        }
        let keys: Vec<Number> = self
            .key
            .split(',')
            .map(|k| Number::Text(k.trim().to_owned()))
            .collect();
        Ok(KeyFile {
            scheme: scheme.clone(),
            version: None,
            key: (!several).then(|| keys[0].clone()),
            keys: if several { keys } else { Vec::new() },
            vocabulary: self.vocabulary.or_else(entries),
            gamma: Some(self.gamma.unwrap_or(0.25)),
            width: self.width.or(width),
            seeding: self.seeding.clone(),
            alpha: None,
            device: Some("cpu".into()),
            tokenizer: None,
            created: None,
            salt: None,
        })
    }
}

impl Line {
    fn tokens(&self, tokenizer: Option<&Tokenizer>) -> Result<(Vec<u32>, Vec<u32>)> {
        let encode = |text: &str| -> Result<Vec<u32>> {
            match tokenizer {
                Some(tokenizer) => Ok(tokenizer.encode(text, false)?.ids),
                None => Err(Usage("a text needs `--tokenizer`".into()).into()),
            }
        };
        let tokens = match (&self.tokens, &self.text) {
            (Some(tokens), None) => tokens.clone(),
            (None, Some(text)) => encode(text)?,
            _ => bail!("a line has `text` or `tokens`, one of the two"),
        };
        let prompt = match &self.prompt {
            Prompt::None => Vec::new(),
            Prompt::Text(text) => encode(text)?,
            Prompt::Tokens(tokens) => tokens.clone(),
        };
        Ok((prompt, tokens))
    }
}

impl Found {
    fn text(&self) -> String {
        let mut lines = vec![format!("{}, {} texts", self.scheme, self.texts)];
        if let Some(why) = &self.abstention {
            lines.push(format!("abstains: {why}"));
        }
        if let Some(r) = &self.residue {
            lines.push(format!(
                "{} units scored; left out: {} repetitions, {} that every key scores alike",
                r.scored, r.repeated, r.keyless
            ));
            lines.push(format!(
                "mean score {:.4}, expected {:.4}",
                r.mean, r.expected
            ));
            lines.push(format!("log10 p {:.2}", r.reported()));
            lines.push(format!("  by the law of the scheme alone {:.2}", r.log10_p));
            if let Some(d) = &r.decoys {
                lines.push(format!(
                    "  rank among {} decoy keys {:.2}, variance of their sums {:.2} times the law's",
                    d.keys, d.log10_p, d.inflation
                ));
            }
            if let Some(e) = r.log10_e {
                lines.push(format!("log10 e {e:.2}"));
            }
            lines.push(format!(
                "a mean score of {:.4} would have been seen at p = 1e-6 nine times in ten",
                r.smallest
            ));
        }
        lines.push(format!("key commitment {}", self.commitment));
        lines.iter().map(|l| clean(l) + "\n").collect()
    }
}
