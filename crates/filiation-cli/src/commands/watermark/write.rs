//! Texts that bear a mark.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use filiation_checkpoint::Limits;
use filiation_core::{Answer, Model, Prompt, Request, Sampling, Want};
use filiation_model::{DeviceChoice, LocalModel};
use serde::Serialize;

use super::key_file;
use super::read::{AT_ONCE, prompts, request};
use crate::output;

/// Has a model write texts that bear the mark of a key.
#[derive(Args)]
pub(crate) struct Write {
    /// Model folder or GGUF file.
    model: PathBuf,
    /// Key file (TOML).
    #[arg(long)]
    key: PathBuf,
    /// Texts to write, JSON lines with `prompt`, `text` and `tokens`.
    #[arg(long, value_name = "N")]
    drafts: usize,
    /// Prompts (JSON lines with `text`), taken in turn.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Tokens of a text at most.
    #[arg(long, default_value_t = 128)]
    max_tokens: u32,
    /// Temperature.
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Nucleus.
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Seed of the first; each next one has one more.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Serialize)]
struct Written<'a> {
    prompt: &'a str,
    text: &'a str,
    tokens: &'a [u32],
}

impl Write {
    pub(crate) fn run(self) -> Result<()> {
        let key = key_file(&self.key)?;
        let marker = key
            .marker()
            .with_context(|| format!("cannot use `{}`", self.key.display()))?;
        let model = LocalModel::open(&self.model, DeviceChoice::Cpu, &Limits::default())?;
        let (tokenizer, _) = super::tokenizer_at(&self.model)?;
        let prompts = prompts(self.prompts.as_deref(), &tokenizer)?;
        let model = model.marked(Arc::new(marker));
        for from in (0..self.drafts).step_by(AT_ONCE) {
            let numbers = from..(from + AT_ONCE).min(self.drafts);
            let prompt = |i: usize| &prompts[i % prompts.len()];
            let requests: Vec<Request> =
                numbers.clone().map(|i| self.draft(prompt(i), i)).collect();
            for (i, answer) in numbers.zip(model.answer(&requests)) {
                let Answer::Completion(written) = answer? else {
                    bail!("the model gave another kind of answer");
                };
                let line = serde_json::to_string(&Written {
                    prompt: prompt(i),
                    text: &written.text,
                    tokens: &written.tokens,
                })?;
                output::text(&(line + "\n"))?;
            }
        }
        Ok(())
    }

    fn draft(&self, prompt: &str, number: usize) -> Request {
        request(Want::Generate {
            prompt: Prompt::Text(prompt.into()),
            max_tokens: self.max_tokens,
            sampling: Sampling {
                temperature: self.temperature,
                top_p: self.top_p,
                seed: self.seed.wrapping_add(number as u64),
            },
        })
    }
}
