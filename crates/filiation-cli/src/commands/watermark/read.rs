//! Reading a model: by what it finds likely in a text, or by what it writes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use filiation_checkpoint::{Limits, Tokenizer};
use filiation_core::{Answer, Digest, Model, Prompt, Request, RequestId, Sampling, Want};
use filiation_model::{DeviceChoice, LocalModel};
use filiation_report::clean;
use filiation_watermark::tuples::{
    Collector, FORMAT, Frequencies, Header, Likely, Mode, Spelling, Tuples, align, pieces,
};
use serde::Serialize;

use super::lines;
use super::score::{Key, keys};
use crate::output;

/// Texts that are put to a model at once.
pub(super) const AT_ONCE: usize = 256;

/// How a model is read.
#[derive(Args)]
pub(crate) struct Reading {
    /// Texts that are fed (UTF-8, or JSON lines with `text`, and `prompt` where there is one): open
    /// reading. Texts of the teacher that bear its mark, unless `--unmarked`.
    #[arg(long, value_name = "FILE", conflicts_with = "drafts")]
    text: Option<PathBuf>,
    /// The texts of `--text` bear no mark.
    #[arg(long)]
    unmarked: bool,
    /// Texts that the model writes: closed reading. To each of `--prompts` in turn, or to none.
    #[arg(long, value_name = "N")]
    drafts: Option<usize>,
    /// Prompts for `--drafts` (JSON lines with `text`).
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Tokens of a draft at most.
    #[arg(long, default_value_t = 128)]
    max_tokens: u32,
    /// Temperature of drafts.
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Text whose windows count, the most frequent first: what the suspect is thought to have
    /// learned from. Otherwise windows are taken in the order of their frequency in what is read.
    #[arg(long, value_name = "FILE")]
    order: Option<PathBuf>,
    /// Windows at most, the most frequent ones.
    #[arg(long, default_value_t = 20_000)]
    windows: usize,
    /// Likely tokens that are kept of each place.
    #[arg(long, default_value_t = 64)]
    likely: u32,
    /// Tokens that are fed at once; a longer text is cut.
    #[arg(long, default_value_t = 256)]
    chunk: usize,
    /// Tokenizer of the key (`tokenizer.json`, or its folder) [default: the model's own].
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Seed of drafts.
    #[arg(long, default_value_t = 0)]
    draft_seed: u64,
}

/// Reads a suspect under a key, and controls beside it.
#[derive(Args)]
pub(crate) struct Read {
    /// Model folder or GGUF file.
    suspect: PathBuf,
    /// Key file (TOML); may be given more than once, and each then counts.
    #[arg(long, required = true)]
    key: Vec<PathBuf>,
    /// A model that did not learn from the teacher; the first is what the suspect is held against.
    #[arg(long, value_name = "MODEL")]
    control: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    test: super::score::TestArgs,
}

/// Writes what a model does after each window, for the key's owner to score.
#[derive(Args)]
pub(crate) struct Export {
    /// Model folder or GGUF file.
    model: PathBuf,
    /// Tokens of a window, as the key's owner says.
    #[arg(long)]
    width: usize,
    /// Tuple file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

#[derive(Serialize)]
struct Exported {
    digest: String,
    windows: usize,
    kept: f64,
    header: Header,
}

impl Export {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let tuples = self.reading.tuples(&self.model, self.width)?;
        std::fs::write(&self.out, tuples.to_text())
            .with_context(|| format!("cannot write `{}`", self.out.display()))?;
        let exported = Exported {
            digest: tuples.digest(),
            windows: tuples.rows.len(),
            kept: tuples.header.kept(),
            header: tuples.header,
        };
        if json {
            return output::json(&exported);
        }
        output::text(&clean(&format!(
            "{}: {} windows, {:.1} % of {} positions kept\ndigest {}\n",
            self.out.display(),
            exported.windows,
            100.0 * exported.kept,
            exported.header.positions,
            exported.digest
        )))
    }
}

impl Read {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let keys = keys(&self.key, &self.test.commitment)?;
        let widths: BTreeSet<usize> = keys.iter().map(Key::width).collect();
        let mut scored = Vec::new();
        for width in widths {
            let suspect = self.reading.tuples(&self.suspect, width)?;
            let mut controls = Vec::new();
            for control in &self.control {
                let tuples = self.reading.tuples(control, width)?;
                controls.push((control.display().to_string(), tuples));
            }
            for key in keys.iter().filter(|k| k.width() == width) {
                scored.push(self.test.scored(key, &suspect, &controls)?);
            }
        }
        self.test.counted(scored)?.show(json)
    }
}

/// The key's tokenizer, and what of the model's tokens it has.
struct Ids {
    tokenizer: Tokenizer,
    digest: Digest,
    /// `None` where the model has the same.
    spelling: Option<Spelling>,
}

impl Reading {
    fn tuples(&self, path: &Path, width: usize) -> Result<Tuples> {
        let model = LocalModel::open(path, DeviceChoice::Cpu, &Limits::default())?;
        let ids = self.ids(path, &model)?;
        let order = match &self.order {
            None => None,
            Some(path) => {
                let mut order = Frequencies::default();
                for line in lines(path)? {
                    let (_, text) = line.texts(&ids.tokenizer)?;
                    order.add(width, &ids.tokenizer.encode(&text, false)?.ids);
                }
                Some(order)
            }
        };
        let mut collector = Collector::new(width, order);
        let (mode, texts) = match (&self.text, self.drafts) {
            (Some(path), _) => (Mode::Open, self.feed(&model, &ids, path, &mut collector)?),
            (None, Some(count)) => {
                let texts = self.write(&model, &ids, count, &mut collector)?;
                (Mode::Closed, texts)
            }
            (None, None) => {
                let both = "`--text` (open reading) or `--drafts` (closed reading), one of the two";
                return Err(crate::failure::Usage(both.into()).into());
            }
        };
        let header = Header {
            format: FORMAT,
            mode,
            marked_text: mode == Mode::Open && !self.unmarked,
            width,
            model: model.identity().digest.to_string(),
            tokenizer: ids.digest.to_string(),
            vocabulary: 1 + ids
                .tokenizer
                .vocabulary()
                .iter()
                .map(|(_, id)| *id)
                .max()
                .unwrap_or(0),
            texts,
            positions: 0,
            copied: 0,
            unaligned: 0,
            rare: 0,
        };
        Ok(collector.finish(header, self.windows))
    }

    fn ids(&self, path: &Path, model: &LocalModel) -> Result<Ids> {
        let folder = self.tokenizer.as_deref().unwrap_or(path);
        let (tokenizer, digest) = super::tokenizer_at(folder)?;
        let same = model.identity().tokenizer == Some(digest);
        let spelling = (!same).then(|| {
            let all = tokenizer.vocabulary();
            let texts = all.into_iter().filter_map(|(_, id)| {
                let text = tokenizer.decode(&[id], false).ok()?;
                Some((text, id))
            });
            Spelling::of(texts)
        });
        Ok(Ids {
            tokenizer,
            digest,
            spelling,
        })
    }

    // Feeds the texts; the digest of what was fed.
    fn feed(
        &self,
        model: &LocalModel,
        ids: &Ids,
        path: &Path,
        collector: &mut Collector,
    ) -> Result<String> {
        let mut fed = Vec::new();
        for line in lines(path)? {
            let (prompt, text) = line.texts(&ids.tokenizer)?;
            let own = ids.tokenizer.encode(&text, false)?;
            for piece in pieces(&text, &own.offsets, self.chunk) {
                fed.push((prompt.clone(), piece.to_owned()));
            }
        }
        for some in fed.chunks(AT_ONCE) {
            let requests: Vec<Request> = some
                .iter()
                .map(|(prompt, piece)| {
                    request(Want::Read {
                        prompt: Prompt::Text(prompt.clone()),
                        continuation: piece.clone(),
                        k: self.likely,
                    })
                })
                .collect();
            for ((_, piece), answer) in some.iter().zip(model.answer(&requests)) {
                let Answer::Read(read) = answer.with_context(|| path.display().to_string())? else {
                    bail!("the model gave another kind of answer");
                };
                let own = ids.tokenizer.encode(piece, false)?;
                let starts: Vec<u32> = own.offsets.iter().map(|o| o.0 as u32).collect();
                let likely: Vec<Option<Likely>> = align(&starts, &read, ids.spelling.as_ref());
                collector.fed(&own.ids, &likely);
            }
        }
        let bytes = serde_json::to_vec(&fed)?;
        Ok(Digest::of(&bytes).to_string())
    }

    // Has the model write; the digest of what it was asked.
    fn write(
        &self,
        model: &LocalModel,
        ids: &Ids,
        count: usize,
        collector: &mut Collector,
    ) -> Result<String> {
        let prompts = prompts(self.prompts.as_deref(), &ids.tokenizer)?;
        let asked: Vec<String> = (0..count)
            .map(|i| prompts[i % prompts.len()].clone())
            .collect();
        for (at, some) in asked.chunks(AT_ONCE).enumerate() {
            let requests: Vec<Request> = (some.iter().enumerate())
                .map(|(i, prompt)| self.draft(prompt, at * AT_ONCE + i))
                .collect();
            for (prompt, answer) in some.iter().zip(model.answer(&requests)) {
                let Answer::Completion(written) = answer? else {
                    bail!("the model gave another kind of answer");
                };
                // As the key's tokenizer cuts it: what a reader of the text would have.
                let text = ids.tokenizer.encode(&written.text, false)?.ids;
                collector.written(&ids.tokenizer.encode(prompt, false)?.ids, &text);
            }
        }
        let what = (&asked, self.max_tokens, self.temperature, self.draft_seed);
        Ok(Digest::of(&serde_json::to_vec(&what)?).to_string())
    }

    fn draft(&self, prompt: &str, number: usize) -> Request {
        request(Want::Generate {
            prompt: Prompt::Text(prompt.into()),
            max_tokens: self.max_tokens,
            sampling: Sampling {
                temperature: self.temperature,
                top_p: 1.0,
                seed: self.draft_seed.wrapping_add(number as u64),
            },
        })
    }
}

pub(super) fn request(want: Want) -> Request {
    Request {
        id: RequestId::new("watermark"),
        to: Vec::new(),
        want,
    }
}

/// The prompts of a file, taken in turn; the empty one where no file is named.
pub(super) fn prompts(path: Option<&Path>, tokenizer: &Tokenizer) -> Result<Vec<String>> {
    let Some(path) = path else {
        return Ok(vec![String::new()]);
    };
    let lines = lines(path)?;
    let prompts = lines.iter().map(|line| Ok(line.texts(tokenizer)?.1));
    let prompts = prompts.collect::<Result<Vec<String>>>()?;
    if prompts.is_empty() {
        bail!("`{}` has no prompt, expected at least one", path.display());
    }
    Ok(prompts)
}
