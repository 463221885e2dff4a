//! `watermark detect`: a text, or many, under one key or several.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use filiation_checkpoint::Tokenizer;
use filiation_core::Digest;
use filiation_report::clean;
use filiation_watermark::scheme::{ExpShift, Shifted};
use filiation_watermark::{KeyFile, Number, Residue, Scheme, Test, Tried, Units, WatermarkError};
use serde::Serialize;

use super::{key_file, lines, listed, tokenizer_at};
use crate::failure::Usage;

/// Tests a text for the mark of a key. H0: its tokens were chosen without the key.
///
/// Repetitions count once, by the rule of the scheme. log10 p is the exact tail of the scheme's law,
/// its variance corrected by decoy keys. Of several keys every p is adjusted by Holm, and the mean of
/// their e-values is an e-value.
#[derive(Args)]
pub(crate) struct Detect {
    /// A text (UTF-8), or JSON lines with `text` or `tokens`, and `prompt` where there is one.
    file: PathBuf,
    /// Key file (TOML), or the key itself beside `--scheme`; repeat for each key that is tried.
    #[arg(long = "key", required = true)]
    keys: Vec<String>,
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
    /// Keys that were tried on this text before, and are not given again: they count as well.
    #[arg(long, default_value_t = 0)]
    tried_before: u32,
    /// Commitment that was published for the key; repeat for each. Refused where one differs.
    #[arg(long, value_name = "SHA256")]
    commitment: Vec<String>,
    /// Decoy keys; 0 for none.
    #[arg(long, default_value_t = 99)]
    decoys: u32,
    /// Seed of the decoy keys.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What all keys show.
#[derive(Serialize)]
pub(super) struct Found {
    texts: usize,
    /// Keys that are counted.
    keys_tried: u32,
    /// The least, all keys counted; `null` where every test abstains.
    log10_p: Option<f64>,
    /// Of the mean of the e-values.
    log10_e: Option<f64>,
    /// Why, where every test abstains.
    abstention: Option<String>,
    // Of the key with the least p.
    scheme: String,
    commitment: String,
    vocabulary: Option<u32>,
    residue: Option<Residue>,
    keys: Vec<OfKey>,
}

/// What one key shows.
#[derive(Clone, Serialize)]
struct OfKey {
    scheme: String,
    commitment: String,
    created: Option<String>,
    vocabulary: Option<u32>,
    /// By itself; `null` where the test abstains.
    log10_p: Option<f64>,
    /// All keys counted.
    log10_p_adjusted: Option<f64>,
    abstention: Option<String>,
    residue: Option<Residue>,
    sequence: Option<Sequence>,
    notes: Vec<String>,
}

/// What a key sequence shows along the text where it fits best.
#[derive(Clone, Serialize)]
struct Sequence {
    text: usize,
    offset: usize,
    scored: u64,
    mean: f64,
}

/// A text as tokens: its prompt and itself.
type Tokens = (Vec<u32>, Vec<u32>);

struct Cut<'a> {
    tokenizer: Option<&'a (Tokenizer, Digest)>,
    texts: Vec<Tokens>,
}

impl Detect {
    pub(super) fn found(&self) -> Result<Found> {
        let lines = lines(&self.file)?;
        let tokenizer = self.tokenizer.as_deref().map(tokenizer_at).transpose()?;
        let known = tokenizer.as_ref().map(|(tokenizer, _)| tokenizer);
        let texts = lines.iter().map(|line| line.tokens(known));
        let cut = Cut {
            texts: texts.collect::<Result<Vec<_>>>()?,
            tokenizer: tokenizer.as_ref(),
        };
        let mut keys: Vec<OfKey> = Vec::new();
        for given in &self.keys {
            let (file, folder) = self.key_file(given, known)?;
            self.check(&file, &cut)?;
            let commitment = file.commitment();
            if keys.iter().any(|key| key.commitment == commitment) {
                bail!("a key is given twice: each is tried once");
            }
            keys.push(self.of_key(&file, &folder, &cut)?);
        }
        let p: Vec<Option<f64>> = keys.iter().map(|key| key.log10_p).collect();
        let e: Vec<Option<f64>> = keys
            .iter()
            .map(|key| key.residue.as_ref().and_then(|r| r.log10_e))
            .collect();
        let tried = Tried::count(&p, &e, self.tried_before)?;
        for (key, adjusted) in keys.iter_mut().zip(&tried.log10_p) {
            key.log10_p_adjusted = *adjusted;
        }
        let of = |key: &OfKey| key.log10_p.unwrap_or(f64::INFINITY);
        let best = keys.iter().min_by(|a, b| of(a).total_cmp(&of(b)));
        let best = best.cloned().context("no key is given")?;
        Ok(Found {
            texts: lines.len(),
            keys_tried: tried.keys,
            log10_p: tried.least(),
            log10_e: tried.log10_e,
            abstention: best.abstention,
            scheme: best.scheme,
            commitment: best.commitment,
            vocabulary: best.vocabulary,
            residue: best.residue,
            keys,
        })
    }

    /// Refuses a key that is another than was committed to, or of another tokenizer.
    fn check(&self, key: &KeyFile, cut: &Cut<'_>) -> Result<()> {
        let commitment = key.commitment();
        if !self.commitment.is_empty() && !self.commitment.contains(&commitment) {
            bail!("the key's commitment is {commitment}, which is none that was published");
        }
        if let (Some(wanted), Some((_, found))) = (&key.tokenizer, cut.tokenizer)
            && *wanted != found.to_string()
        {
            bail!("the key is for tokenizer {wanted}, this one is {found}");
        }
        Ok(())
    }

    fn of_key(&self, file: &KeyFile, folder: &Path, cut: &Cut<'_>) -> Result<OfKey> {
        let of = |vocabulary, outcome: Outcome| OfKey {
            scheme: file.scheme.clone(),
            commitment: file.commitment(),
            created: file.created.clone(),
            log10_p: outcome.log10_p,
            log10_p_adjusted: None,
            abstention: outcome.abstention,
            residue: outcome.residue,
            sequence: outcome.sequence,
            notes: notes(vocabulary, cut),
            vocabulary,
        };
        if let Some(sequence) = file.sequence()? {
            return Ok(of(file.vocabulary, self.along(&sequence, cut)?));
        }
        if let Some(table) = &file.table {
            let listed = listed(file, &folder.join(table))?;
            let units = self.units(&listed, cut)?;
            let lacking = listed.lacking(&units);
            if lacking > 0 {
                let all = units.as_slice().len();
                let why = WatermarkError::Lacking { lacking, all };
                return Ok(of(listed.vocabulary(), Outcome::abstains(&why)));
            }
            return Ok(of(listed.vocabulary(), self.tested(&listed, &units)?));
        }
        let scheme = file.scheme()?;
        let units = self.units(&*scheme, cut)?;
        Ok(of(scheme.vocabulary(), self.tested(&*scheme, &units)?))
    }

    fn units<'a>(&self, scheme: &'a dyn Scheme, cut: &Cut<'_>) -> Result<Units<'a>> {
        let mut units = Units::of(scheme);
        for (i, (prompt, tokens)) in cut.texts.iter().enumerate() {
            units
                .add(prompt, tokens)
                .with_context(|| format!("text {} of `{}`", i + 1, self.file.display()))?;
        }
        Ok(units)
    }

    fn tested(&self, scheme: &dyn Scheme, units: &Units<'_>) -> Result<Outcome> {
        let test = Test {
            decoys: self.decoys,
            seed: self.seed,
            ..Test::default()
        };
        match test.of(scheme, units) {
            Ok(residue) => Ok(Outcome {
                log10_p: Some(residue.reported()),
                residue: Some(residue),
                ..Outcome::default()
            }),
            Err(short @ WatermarkError::TooShort { .. }) => Ok(Outcome::abstains(&short)),
            Err(other) => Err(other.into()),
        }
    }

    /// Each text by itself, since a sequence lies along one; the least p, texts counted.
    fn along(&self, sequence: &ExpShift, cut: &Cut<'_>) -> Result<Outcome> {
        let mut best: Option<(usize, Shifted)> = None;
        let mut texts = 0_u32;
        for (i, (_, tokens)) in cut
            .texts
            .iter()
            .enumerate()
            .filter(|(_, t)| !t.1.is_empty())
        {
            let found = sequence
                .detect(tokens)
                .with_context(|| format!("text {} of `{}`", i + 1, self.file.display()))?;
            texts += 1;
            if best.is_none_or(|(_, b)| found.log10_p < b.log10_p) {
                best = Some((i + 1, found));
            }
        }
        let Some((text, found)) = best else {
            return Ok(Outcome::abstains(&WatermarkError::TooShort {
                found: 0,
                least: 1,
            }));
        };
        Ok(Outcome {
            log10_p: Some((found.log10_p + f64::from(texts).log10()).min(0.0)),
            sequence: Some(Sequence {
                text,
                offset: found.offset,
                scored: found.scored,
                mean: found.sum / found.scored as f64,
            }),
            ..Outcome::default()
        })
    }

    /// The key, and the folder that its table stands beside.
    fn key_file(&self, given: &str, tokenizer: Option<&Tokenizer>) -> Result<(KeyFile, PathBuf)> {
        let Some(scheme) = &self.scheme else {
            let path = Path::new(given);
            let folder = path.parent().unwrap_or_else(|| Path::new(""));
            return Ok((key_file(path)?, folder.to_owned()));
        };
        let width = match scheme.split_once('@').map_or("", |(_, of)| of) {
            "vllm" | "sglang" | "deepmind" => Some(4),
            "transformers" if scheme.starts_with("synthid") => Some(4),
            "transformers" | "markllm" => Some(1),
            "three-bricks" | "textseal" | "aar" => Some(2),
            _ => None,
        };
        let entries = || tokenizer.map(|t| t.vocabulary().len() as u32);
        let several = given.contains(',');
        if several && given.split(',').any(|k| k.trim().is_empty()) {
            return Err(Usage("`--key` has an empty key in its list".into()).into());
        }
        let keys: Vec<Number> = given
            .split(',')
            .map(|k| Number::Text(k.trim().to_owned()))
            .collect();
        let file = KeyFile {
            scheme: scheme.clone(),
            key: (!several).then(|| keys[0].clone()),
            keys: if several { keys } else { Vec::new() },
            vocabulary: self.vocabulary.or_else(entries),
            gamma: Some(self.gamma.unwrap_or(0.25)),
            width: self.width.or(width),
            seeding: self.seeding.clone(),
            device: Some("cpu".into()),
            ..KeyFile::default()
        };
        Ok((file, PathBuf::new()))
    }
}

#[derive(Default)]
struct Outcome {
    log10_p: Option<f64>,
    abstention: Option<String>,
    residue: Option<Residue>,
    sequence: Option<Sequence>,
}

impl Outcome {
    fn abstains(why: &WatermarkError) -> Self {
        Self {
            abstention: Some(why.to_string()),
            ..Self::default()
        }
    }
}

/// What looks wrong and cannot be known to be.
fn notes(vocabulary: Option<u32>, cut: &Cut<'_>) -> Vec<String> {
    let Some(((tokenizer, _), vocabulary)) = cut.tokenizer.zip(vocabulary) else {
        return Vec::new();
    };
    let entries = tokenizer.vocabulary().len() as u32;
    if entries == vocabulary {
        return Vec::new();
    }
    vec![format!(
        "lists are over {vocabulary} tokens, the tokenizer has {entries}: where the first is not the size that \
         marking used, nothing can be found"
    )]
}

impl Found {
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!(
            "{} texts, {} keys tried",
            self.texts, self.keys_tried
        )];
        if self.keys_tried > 1 {
            lines.push(match self.log10_p {
                Some(p) => format!("least log10 p, all keys counted {p:.2}"),
                None => "every test abstains".into(),
            });
            if let Some(e) = self.log10_e {
                lines.push(format!("log10 of the mean e {e:.2}"));
            }
        }
        for key in &self.keys {
            lines.extend(key.lines(self.keys_tried > 1));
        }
        lines.iter().map(|l| clean(l) + "\n").collect()
    }
}

impl OfKey {
    fn lines(&self, several: bool) -> Vec<String> {
        let mut lines = vec![self.scheme.clone()];
        if let Some(why) = &self.abstention {
            lines.push(format!("  abstains: {why}"));
        }
        if let Some(p) = self.log10_p {
            lines.push(format!("  log10 p {p:.2}"));
        }
        if let Some(p) = self.log10_p_adjusted.filter(|_| several) {
            lines.push(format!("  log10 p, all keys counted {p:.2}"));
        }
        if let Some(s) = &self.sequence {
            lines.push(format!(
                "  text {}, offset {}: {} tokens scored, mean score {:.4}, expected 1",
                s.text, s.offset, s.scored, s.mean
            ));
        }
        if let Some(r) = &self.residue {
            lines.extend(told(r));
        }
        lines.extend(self.notes.iter().map(|note| format!("  note: {note}")));
        lines.push(format!("  key commitment {}", self.commitment));
        lines
    }
}

fn told(r: &Residue) -> Vec<String> {
    let mut lines = vec![
        format!("    by the law of the scheme alone {:.2}", r.log10_p),
        format!(
            "  {} units scored; left out: {} repetitions, {} that every key scores alike",
            r.scored, r.repeated, r.keyless
        ),
        format!("  mean score {:.4}, expected {:.4}", r.mean, r.expected),
        format!(
            "  a mean score of {:.4} would have been seen at p = 1e-6 nine times in ten",
            r.smallest
        ),
    ];
    if let Some(d) = &r.decoys {
        lines.insert(
            1,
            format!(
                "    rank among {} decoy keys {:.2}, variance of their sums {:.2} times the law's",
                d.keys, d.log10_p, d.inflation
            ),
        );
    }
    if let Some(e) = r.log10_e {
        lines.push(format!("  log10 e {e:.2}"));
    }
    lines
}
