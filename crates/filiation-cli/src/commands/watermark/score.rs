//! The key owner's side: tuples under keys, each key counted.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use filiation_report::clean;
use filiation_watermark::scheme::Listed;
use filiation_watermark::tuples::{Found, Header, Tuples};
use filiation_watermark::{KeyFile, Scheme, Test, Tried, WatermarkError};
use serde::Serialize;

use super::{key_file, listed, read_text};
use crate::output;

/// How tuples are tested.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Keys that were tried on this model before, and are not given again: they count as well.
    #[arg(long, default_value_t = 0)]
    tried_before: u32,
    /// Commitment that was published for the key; repeat for each. Refused where one differs.
    #[arg(long, value_name = "SHA256")]
    pub(super) commitment: Vec<String>,
    /// Decoy keys; 0 for none.
    #[arg(long, default_value_t = 99)]
    decoys: u32,
    /// Seed of the decoy keys.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Scores tuples that the suspect's side exported. The key stays here.
#[derive(Args)]
pub(crate) struct Score {
    /// Tuple file of the suspect.
    tuples: PathBuf,
    /// Key file (TOML); may be given more than once, and each then counts.
    #[arg(long, required = true)]
    key: Vec<PathBuf>,
    /// Tuple file of a control that was read in the same way; the first is what the suspect is held
    /// against.
    #[arg(long, value_name = "FILE")]
    control: Vec<PathBuf>,
    /// Digest that the suspect's side stated for its tuples; refused where it differs.
    #[arg(long, value_name = "SHA256")]
    expect: Option<String>,
    #[command(flatten)]
    test: TestArgs,
}

/// A key, ready to score with.
pub(super) struct Key {
    file: KeyFile,
    scheme: Box<dyn Scheme>,
    /// Lists of a table, where the key is one.
    listed: Option<Listed>,
}

impl Key {
    pub(super) fn width(&self) -> usize {
        self.scheme.reading().width
    }

    fn of(path: &Path) -> Result<Self> {
        let file = key_file(path)?;
        let Some(table) = &file.table else {
            let scheme = file.scheme();
            return Ok(Self {
                scheme: scheme.with_context(|| format!("cannot use `{}`", path.display()))?,
                listed: None,
                file,
            });
        };
        let listed = listed(&file, &path.with_file_name(table))?;
        Ok(Self {
            scheme: Box::new(listed.clone()),
            listed: Some(listed),
            file,
        })
    }

    // Why a table cannot score `tuples`.
    fn lacks(&self, tuples: &Tuples) -> Option<String> {
        let listed = self.listed.as_ref()?;
        let units = tuples.units(listed);
        let (lacking, all) = (listed.lacking(&units), units.as_slice().len());
        let why = WatermarkError::Lacking { lacking, all };
        (lacking > 0).then(|| why.to_string())
    }
}

pub(super) fn keys(paths: &[PathBuf], commitments: &[String]) -> Result<Vec<Key>> {
    let mut keys: Vec<Key> = Vec::new();
    for path in paths {
        let key = Key::of(path)?;
        let commitment = key.file.commitment();
        if !commitments.is_empty() && !commitments.contains(&commitment) {
            bail!("the key's commitment is {commitment}, which is none that was published");
        }
        if keys.iter().any(|k| k.file.commitment() == commitment) {
            bail!("a key is given twice: each is tried once");
        }
        keys.push(key);
    }
    Ok(keys)
}

/// What is said of one key. Neither key nor weights can be had from it.
#[derive(Serialize)]
pub(super) struct OfKey {
    scheme: String,
    /// Commitment of the key, and the day it says that it was made.
    commitment: String,
    created: Option<String>,
    /// Digests of the tuples that were scored.
    tuples: String,
    header: Header,
    kept: f64,
    found: Found,
    controls: Vec<OfControl>,
    /// log10 p of the test that was named in advance; `null` where it abstains.
    log10_p: Option<f64>,
    abstention: Option<String>,
    /// The same with every key counted, by Holm.
    log10_p_counted: Option<f64>,
}

#[derive(Serialize)]
struct OfControl {
    control: String,
    tuples: String,
    found: Found,
}

#[derive(Serialize)]
pub(super) struct Scored {
    keys_tried: u32,
    /// Mean of the e-values of all keys: valid however the keys depend on each other.
    log10_e_mean: Option<f64>,
    keys: Vec<OfKey>,
}

impl TestArgs {
    pub(super) fn scored(
        &self,
        key: &Key,
        suspect: &Tuples,
        controls: &[(String, Tuples)],
    ) -> Result<OfKey> {
        if let Some(want) = &key.file.tokenizer
            && *want != suspect.header.tokenizer
        {
            bail!(
                "the key is for tokenizer `{want}`, the tuples are of `{}`",
                suspect.header.tokenizer
            );
        }
        let test = Test {
            decoys: self.decoys,
            seed: self.seed,
            ..Test::default()
        };
        let first = controls.first().map(|(_, tuples)| tuples);
        let lacks = key.lacks(suspect);
        let found = match &lacks {
            None => test.tuples(&*key.scheme, suspect, first)?,
            Some(_) => Found::default(),
        };
        let readable = controls.iter().filter(|(_, of)| key.lacks(of).is_none());
        let controls = readable.map(|(name, tuples)| {
            Ok(OfControl {
                control: name.clone(),
                tuples: tuples.digest(),
                found: test.tuples(&*key.scheme, tuples, None)?,
            })
        });
        let log10_p = found.reported();
        Ok(OfKey {
            scheme: key.file.scheme.clone(),
            commitment: key.file.commitment(),
            created: key.file.created.clone(),
            tuples: suspect.digest(),
            header: suspect.header.clone(),
            kept: suspect.header.kept(),
            controls: controls.collect::<Result<_>>()?,
            log10_p,
            abstention: log10_p.is_none().then(|| {
                let none =
                    "no window is left to be scored: all repeat, are copied, or are without a key";
                lacks.unwrap_or_else(|| none.into())
            }),
            log10_p_counted: None,
            found,
        })
    }
}

impl TestArgs {
    pub(super) fn counted(&self, mut keys: Vec<OfKey>) -> Result<Scored> {
        let p: Vec<Option<f64>> = keys.iter().map(|k| k.log10_p).collect();
        let e: Vec<Option<f64>> = (keys.iter())
            .map(|k| k.found.named().map(|w| w.log10_e))
            .collect();
        let tried = Tried::count(&p, &e, self.tried_before)?;
        for (key, counted) in keys.iter_mut().zip(&tried.log10_p) {
            key.log10_p_counted = *counted;
        }
        Ok(Scored {
            keys_tried: tried.keys,
            log10_e_mean: tried.log10_e,
            keys,
        })
    }
}

impl Score {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let keys = keys(&self.key, &self.test.commitment)?;
        let suspect = tuples(&self.tuples)?;
        if let Some(want) = &self.expect
            && !suspect.digest().eq_ignore_ascii_case(want)
        {
            bail!(
                "the digest of `{}` is {}, expected {}",
                self.tuples.display(),
                suspect.digest(),
                clean(want)
            );
        }
        let mut controls = Vec::new();
        for path in &self.control {
            controls.push((path.display().to_string(), tuples(path)?));
        }
        let scored = keys
            .iter()
            .map(|key| self.test.scored(key, &suspect, &controls))
            .collect::<Result<Vec<_>>>()?;
        self.test.counted(scored)?.show(json)
    }
}

fn tuples(path: &Path) -> Result<Tuples> {
    Tuples::parse(&read_text(path)?).with_context(|| format!("cannot use `{}`", path.display()))
}

impl Scored {
    pub(super) fn show(&self, json: bool) -> Result<()> {
        if json {
            return output::json(self);
        }
        let mut lines = Vec::new();
        for key in &self.keys {
            lines.extend(key.lines());
        }
        lines.push(format!("{} keys tried and counted", self.keys_tried));
        if let Some(e) = self.log10_e_mean {
            lines.push(format!("log10 e, mean over the keys {e:.2}"));
        }
        output::text(&lines.iter().map(|l| clean(l) + "\n").collect::<String>())
    }
}

impl OfKey {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{}, {:?} reading: {:.1} % of {} positions kept",
            self.scheme,
            self.header.mode,
            100.0 * self.kept,
            self.header.positions
        )];
        if let Some(why) = &self.abstention {
            lines.push(format!("abstains: {why}"));
        }
        lines.extend(self.found.lines(""));
        for control in &self.controls {
            lines.extend(control.found.lines(&format!("{}: ", control.control)));
        }
        if let Some(p) = self.log10_p {
            let counted = self.log10_p_counted.unwrap_or(p);
            lines.push(format!("log10 p {p:.2}, all keys counted {counted:.2}"));
        }
        lines.push(format!("key commitment {}", self.commitment));
        lines.push(format!("tuples {}", self.tuples));
        lines
    }
}

trait Lines {
    fn lines(&self, of: &str) -> Vec<String>;
}

impl Lines for Found {
    fn lines(&self, of: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let tests = [
            ("probabilities", self.mass.as_ref()),
            (
                "probabilities beyond the control's",
                self.beyond_control.as_ref(),
            ),
        ];
        for (name, test) in tests {
            let Some(w) = test else { continue };
            lines.push(format!(
                "{of}{name}: {} windows, excess {:+.5} ({:+.5} would have been seen), log10 p {:.2}, \
                 log10 e {:.2}, log10 p at any point {:.2}",
                w.windows,
                w.excess,
                w.smallest,
                w.reported(),
                w.log10_e,
                w.log10_p_anytime
            ));
            if let Some(d) = &w.decoys {
                lines.push(format!(
                    "  rank among {} decoy keys {:.2}, variance of their sums {:.2} times the law's",
                    d.keys, d.log10_p, d.inflation
                ));
            }
        }
        if let Some(r) = &self.argmax {
            lines.push(format!(
                "{of}likeliest tokens: {} units, mean score {:.4}, expected {:.4}, log10 p {:.2}",
                r.scored,
                r.mean,
                r.expected,
                r.reported()
            ));
        }
        lines
    }
}
