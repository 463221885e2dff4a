use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use filiation_checkpoint::config::ModelConfig;
use filiation_checkpoint::{ChatTemplate, Checkpoint, CheckpointError, Limits, Tokenizer};
use filiation_core::{
    Answer, Mark, Message, Model, ModelError, ModelIdentity, Prompt, Request, Want,
};

use crate::answers::Plan;
use crate::decoder::{Decoder, resident};
use crate::gguf::Gguf;
use crate::rows::Read;
use crate::source::WeightSource;
use crate::text::{Render, Text};
use crate::{DeviceChoice, LoadError};

/// A model on this machine, ready to answer: every position's full distribution, and hidden states.
///
/// Requests are worked off in batches of bounded size, sorted by length. A row is never padded and
/// draws from its own seed, so an answer does not depend on what else was asked.
pub struct LocalModel {
    decoder: Decoder,
    text: Text,
    ends: Vec<u32>,
    origin: Origin,
    mark: Option<Arc<dyn Mark>>,
}

enum Origin {
    Folder(Arc<Checkpoint>),
    Gguf(Arc<Gguf>),
}

impl LocalModel {
    /// Opens a Hugging Face style folder, a GGUF file, or a folder with one GGUF file and no
    /// `config.json`.
    ///
    /// # Errors
    /// [`LoadError`] for whatever is unsound or not supported in the files, weights that are not
    /// finite among it, and for a device that is not in this build or does not start.
    pub fn open(path: &Path, device: DeviceChoice, limits: &Limits) -> Result<Self, LoadError> {
        Self::open_within(path, device, limits, None)
    }

    /// As [`Self::open`], in `memory` bytes: of this process on the processor, of the device
    /// elsewhere. A model that does not fit is computed one layer after the other, with the same
    /// results.
    ///
    /// # Errors
    /// As [`Self::open`], and [`LoadError::Memory`] where not even one layer fits.
    pub fn open_within(
        path: &Path,
        device: DeviceChoice,
        limits: &Limits,
        memory: Option<u64>,
    ) -> Result<Self, LoadError> {
        let device = device.start()?;
        if let Some(file) = Gguf::find(path)? {
            let gguf = Arc::new(Gguf::open(&file, limits)?);
            let text = || gguf_text(&gguf, limits);
            let (decoder, text) =
                load(gguf.config(), Arc::clone(&gguf) as _, &device, memory, text)?;
            return Ok(Self {
                decoder,
                text,
                ends: gguf.ends()?,
                origin: Origin::Gguf(gguf),
                mark: None,
            });
        }
        let checkpoint = Arc::new(Checkpoint::open(path, limits)?);
        let text = || {
            checkpoint.check_finite()?;
            Ok(folder_text(&checkpoint)?)
        };
        let source = Arc::new(Arc::clone(&checkpoint));
        let (decoder, text) = load(checkpoint.config(), source, &device, memory, text)?;
        Ok(Self {
            decoder,
            text,
            ends: checkpoint.generation().eos.clone(),
            origin: Origin::Folder(checkpoint),
            mark: None,
        })
    }

    /// The same model, all that it writes marked.
    pub fn marked(self, mark: Arc<dyn Mark>) -> Self {
        Self {
            mark: Some(mark),
            ..self
        }
    }

    /// The network, for work on tokens.
    pub const fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The folder, where the model is one.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        match &self.origin {
            Origin::Folder(checkpoint) => Some(checkpoint),
            Origin::Gguf(..) => None,
        }
    }

    /// Log-probability, nats, of each token of each row after those before it in the row; the first
    /// token of a row has none.
    ///
    /// # Errors
    /// An error a row: [`ModelError::Tokenizer`] for an id outside the embedding,
    /// [`ModelError::TooLong`], [`ModelError::NotFinite`], [`ModelError::Engine`].
    pub fn log_probs(&self, rows: &[&[u32]]) -> Vec<Result<Vec<f64>, ModelError>> {
        let row = |ids: &&[u32]| (ids.to_vec(), Read::From(1));
        let rows: Vec<_> = rows.iter().map(row).collect();
        let values = |row: Vec<(u32, f64)>| row.into_iter().map(|(_, logprob)| logprob).collect();
        let read = crate::rows::read(&self.decoder, &rows);
        read.into_iter().map(|row| row.map(values)).collect()
    }

    fn takes(&self, prompt: &Prompt) -> bool {
        matches!(prompt, Prompt::Text(_)) || self.text.has_template()
    }
}

impl Model for LocalModel {
    fn identity(&self) -> &ModelIdentity {
        match &self.origin {
            Origin::Folder(checkpoint) => checkpoint.identity(),
            Origin::Gguf(gguf) => gguf.identity(),
        }
    }

    fn supports(&self, want: &Want) -> bool {
        match want {
            Want::Generate { prompt, .. }
            | Want::Score { prompt, .. }
            | Want::TopK { prompt, .. }
            | Want::Read { prompt, .. }
            | Want::Choice { prompt, .. } => self.takes(prompt),
            Want::Hidden { layers, .. } => {
                let last = self.decoder.config().layers.len();
                layers.iter().all(|&layer| layer as usize <= last)
            }
            Want::ScoreAnswers { .. } | Want::CompareWeights { .. } | Want::Only { .. } => false,
        }
    }

    fn answer(&self, requests: &[Request]) -> Vec<Result<Answer, ModelError>> {
        let mark = self.mark.as_deref();
        Plan::new(&self.text, requests).carry_out(&self.decoder, &self.text, &self.ends, mark)
    }
}

impl std::fmt::Debug for LocalModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalModel")
            .field("config", self.decoder.config())
            .finish_non_exhaustive()
    }
}

/// Network and text side by side; under a bound the text first, so that it counts.
fn load(
    config: &ModelConfig,
    source: Arc<dyn WeightSource + Send + Sync>,
    device: &Device,
    memory: Option<u64>,
    text: impl FnOnce() -> Result<Text, LoadError> + Send,
) -> Result<(Decoder, Text), LoadError> {
    let Some(memory) = memory else {
        let decoder = || Decoder::load(config, &*source, device);
        let (decoder, text) = rayon::join(decoder, text);
        return Ok((decoder?, text?));
    };
    let text = text()?;
    let taken = if device.is_cpu() { resident() } else { 0 };
    let space = memory.saturating_sub(taken);
    match Decoder::load_within(config, source, device, space) {
        Ok(decoder) => Ok((decoder, text)),
        Err(LoadError::Memory { least, .. }) => Err(LoadError::Memory {
            least: least + taken,
            space: memory,
        }),
        Err(error) => Err(error),
    }
}

fn folder_text(checkpoint: &Arc<Checkpoint>) -> Result<Text, CheckpointError> {
    let tokenizer = checkpoint.tokenizer()?;
    let render = checkpoint.template().is_some().then(|| -> Render {
        let checkpoint = Arc::clone(checkpoint);
        Box::new(move |messages: &[Message]| match checkpoint.template() {
            Some(template) => rendered(template, messages),
            None => Err("the model has no chat template".into()),
        })
    });
    Text::new(tokenizer, render)
}

fn gguf_text(gguf: &Gguf, limits: &Limits) -> Result<Text, LoadError> {
    let json = filiation_core::canonical::to_bytes(&gguf.tokenizer_json()?);
    let rows = gguf.config().vocabulary;
    let tokenizer = Tokenizer::from_bytes(gguf.path(), &json, rows, limits)?;
    let mut special = std::collections::BTreeMap::new();
    for (name, key) in [
        ("bos", "bos"),
        ("eos", "eos"),
        ("unk", "unknown"),
        ("pad", "padding"),
    ] {
        if let Some((_, text)) = gguf.token(key)? {
            special.insert(format!("{name}_token"), text);
        }
    }
    let render = gguf.template()?.map(|source| -> Render {
        let template = ChatTemplate::new(gguf.path(), source, special, limits);
        Box::new(move |messages: &[Message]| rendered(&template, messages))
    });
    Ok(Text::new(tokenizer, render)?)
}

fn rendered(template: &ChatTemplate, messages: &[Message]) -> Result<String, String> {
    template.render(messages, true).map_err(|e| e.to_string())
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
