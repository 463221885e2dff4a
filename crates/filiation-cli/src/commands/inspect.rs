use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use filiation_checkpoint::config::ModelConfig;
use filiation_checkpoint::{Checkpoint, CheckpointError, FileDigest, Limits, ModelWeights};
use filiation_core::ModelIdentity;
use filiation_model::Gguf;
use filiation_report::clean;
use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::hub;
use crate::output;

/// Shows what a model folder or GGUF file holds: identity, configuration, files with their digests, tokenizer,
/// chat template, and what a reader should know. Nothing is run.
#[derive(Args)]
pub(crate) struct Inspect {
    /// Folder, GGUF file, or `hf:OWNER/NAME@REVISION` of the Hugging Face Hub.
    suspect: PathBuf,
}

#[derive(Serialize)]
struct Inspection {
    identity: ModelIdentity,
    configuration: Configuration,
    /// Storage types of a GGUF file's tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<String>,
    files: Vec<FileDigest>,
    tokenizer: Option<TokenizerFacts>,
    template: Option<String>,
    findings: Vec<String>,
}

// The sizes that tell two models apart at a glance.
#[derive(Serialize)]
struct Configuration {
    vocabulary: usize,
    layers: usize,
    width: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    feed_forward: usize,
    positions: usize,
    tied: bool,
}

#[derive(Serialize)]
struct TokenizerFacts {
    entries: usize,
    embedding_rows: usize,
}

impl Configuration {
    fn of(config: &ModelConfig) -> Self {
        Self {
            vocabulary: config.vocabulary,
            layers: config.layers.len(),
            width: config.width,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            feed_forward: config.feed_forward,
            positions: config.positions,
            tied: config.tied,
        }
    }
}

impl Inspect {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let limits = Limits::default();
        let (path, id) = hub::place(&self.suspect)?;
        let mut found = match Gguf::find(&path)? {
            Some(file) => Inspection::of_gguf(&Gguf::open(&file, &limits)?)?,
            None => Inspection::of(&Checkpoint::open(&path, &limits)?)?,
        };
        if let Some(id) = id {
            found.identity.source = id.to_string();
        }
        if json {
            output::json(&found)
        } else {
            output::text(&found.text())
        }
    }
}

impl Inspection {
    fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let mut findings: Vec<_> = checkpoint
            .findings()
            .iter()
            .map(|f| f.to_string())
            .collect();
        if let Err(error) = checkpoint.check_finite() {
            findings.push(error.to_string());
        }
        let identity = checkpoint.identity().clone();
        let tokenizer = match identity.tokenizer {
            Some(_) => {
                let tokenizer = checkpoint.tokenizer()?;
                Some(TokenizerFacts {
                    entries: tokenizer.vocabulary().len(),
                    embedding_rows: tokenizer.rows(),
                })
            }
            None => None,
        };
        Ok(Self {
            identity,
            configuration: Configuration::of(checkpoint.config()),
            stored: None,
            files: checkpoint.files().to_vec(),
            tokenizer,
            template: checkpoint.template().map(|t| t.source().to_owned()),
            findings,
        })
    }

    fn of_gguf(gguf: &Gguf) -> Result<Self> {
        let tokenizer = match gguf.vocabulary() {
            Ok(entries) => Some(TokenizerFacts {
                entries: entries.len(),
                embedding_rows: gguf.config().vocabulary,
            }),
            Err(CheckpointError::MissingFile { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let types = gguf.types();
        let each = types.iter().map(|(name, count)| format!("{count} {name}"));
        Ok(Self {
            identity: gguf.identity().clone(),
            configuration: Configuration::of(gguf.config()),
            stored: Some(each.collect::<Vec<_>>().join(", ")),
            files: vec![gguf.file().clone()],
            tokenizer,
            template: gguf.template()?.map(str::to_owned),
            findings: gguf
                .check_finite()
                .err()
                .iter()
                .map(ToString::to_string)
                .collect(),
        })
    }

    fn text(&self) -> String {
        let identity = &self.identity;
        let mut lines = vec![
            format!("source        {}", identity.source),
            format!("architecture  {}", identity.architecture),
            format!("parameters    {}", identity.parameters),
            format!("sha-256       {}", identity.digest),
        ];
        let c = &self.configuration;
        lines.push(format!(
            "shape         {} layers, width {}, feed-forward {}, {} heads of {} ({} for keys)",
            c.layers, c.width, c.feed_forward, c.heads, c.head_dim, c.kv_heads
        ));
        lines.push(format!(
            "vocabulary    {} rows, head {}, context {}",
            c.vocabulary,
            if c.tied { "tied" } else { "untied" },
            c.positions
        ));
        if let Some(stored) = &self.stored {
            lines.push(format!("stored        {stored}"));
        }
        if let Some(t) = &self.tokenizer {
            lines.push(format!("tokenizer     {} entries", t.entries));
        }
        let template = self.template.as_ref();
        lines.push(template.map_or_else(
            || "template      none".into(),
            |t| format!("template      {} characters", t.chars().count()),
        ));
        lines.extend(self.findings.iter().map(|f| format!("note          {f}")));
        let mut text: String = lines.iter().map(|l| clean(l) + "\n").collect();
        if !self.files.is_empty() {
            text.push('\n');
            text.push_str(&self.table());
            text.push('\n');
        }
        text
    }

    fn table(&self) -> String {
        let mut builder = Builder::new();
        builder.push_record(["file", "bytes", "sha-256"]);
        for file in &self.files {
            builder.push_record([
                clean(&file.name),
                file.bytes.to_string(),
                file.sha256.to_string(),
            ]);
        }
        builder.build().with(Style::psql()).to_string()
    }
}
