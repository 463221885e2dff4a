//! Between texts and token ids.

use std::fmt;

use filiation_checkpoint::{CheckpointError, Encoding, Tokenizer};
use filiation_core::{Message, ModelError, Prompt};

/// Renders a conversation, generation prompt included; says why where it cannot.
pub(crate) type Render = Box<dyn Fn(&[Message]) -> Result<String, String> + Send + Sync>;

/// Tokenizer and chat template of a model.
pub(crate) struct Text {
    tokenizer: Tokenizer,
    render: Option<Render>,
    /// What the tokenizer puts before a raw text: usually nothing, or the beginning-of-text token.
    prefix: Vec<u32>,
}

/// A continuation after its prompt, in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joint {
    /// Prompt and continuation.
    pub(crate) ids: Vec<u32>,
    /// Index of the first token of the continuation.
    pub(crate) first: usize,
    /// Bytes of the continuation that each token from `first` on covers.
    pub(crate) spans: Vec<(u32, u32)>,
}

impl Text {
    pub(crate) fn new(
        tokenizer: Tokenizer,
        render: Option<Render>,
    ) -> Result<Self, CheckpointError> {
        let plain = tokenizer.encode("a", false)?.ids;
        let whole = tokenizer.encode("a", true)?.ids;
        let at = whole
            .windows(plain.len().max(1))
            .position(|window| window == plain);
        Ok(Self {
            tokenizer,
            render,
            prefix: whole[..at.unwrap_or(0)].to_vec(),
        })
    }

    pub(crate) fn has_template(&self) -> bool {
        self.render.is_some()
    }

    /// The prompt as text, and the ids that precede it.
    fn lay_out(&self, prompt: &Prompt) -> Result<(&[u32], String), ModelError> {
        match prompt {
            Prompt::Text(text) => Ok((&self.prefix, text.clone())),
            Prompt::Chat(messages) => {
                let missing = || "the model has no chat template".to_owned();
                let rendered = self
                    .render
                    .as_ref()
                    .ok_or_else(missing)
                    .and_then(|render| render(messages))
                    .map_err(|reason| ModelError::Template { reason })?;
                Ok((&[], rendered))
            }
        }
    }

    /// The ids of a prompt; an error where there are none, since nothing can follow nothing.
    pub(crate) fn prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, ModelError> {
        let (prefix, text) = self.lay_out(prompt)?;
        let mut ids = prefix.to_vec();
        ids.extend(self.encode(&text)?.ids);
        if ids.is_empty() {
            return Err(ModelError::Tokenizer {
                reason: "the prompt has no tokens, expected at least one".into(),
            });
        }
        Ok(ids)
    }

    /// Prompt and continuation tokenised together. A token that begins in the prompt belongs to it,
    /// and so does a token with nothing before it, which has no probability.
    pub(crate) fn joint(&self, prompt: &Prompt, continuation: &str) -> Result<Joint, ModelError> {
        let (prefix, mut text) = self.lay_out(prompt)?;
        let boundary = text.len();
        text.push_str(continuation);
        let Encoding { ids: own, offsets } = self.encode(&text)?;
        let ids = [prefix, &own[..]].concat();
        let in_prompt = offsets.iter().take_while(|o| o.0 < boundary).count();
        let skipped = in_prompt.max(usize::from(prefix.is_empty()));
        let skipped = skipped.min(offsets.len());
        // Offsets of the parts of one character repeat it; ends that only grow count a byte once.
        let mut end = offsets[..skipped]
            .iter()
            .fold(boundary, |end, o| end.max(o.1));
        let mut spans = Vec::with_capacity(offsets.len() - skipped);
        for (i, offset) in offsets.iter().enumerate().skip(skipped) {
            let last = i + 1 == offsets.len();
            let stop = if last { text.len() } else { offset.1.max(end) };
            spans.push(((end - boundary) as u32, (stop - boundary) as u32));
            end = stop;
        }
        Ok(Joint {
            first: prefix.len() + skipped,
            ids,
            spans,
        })
    }

    /// The tokens of `option` after `prompt`, whose own ids are `before`: as tokenised together
    /// where that leaves the prompt's tokens alone, apart otherwise.
    pub(crate) fn option(
        &self,
        prompt: &Prompt,
        before: &[u32],
        option: &str,
    ) -> Result<Vec<u32>, ModelError> {
        let joint = self.joint(prompt, option)?;
        let tail = match joint.ids.strip_prefix(before) {
            Some(tail) => tail.to_vec(),
            None => self.encode(option)?.ids,
        };
        if tail.is_empty() {
            return Err(ModelError::Tokenizer {
                reason: format!("option `{option}` has no tokens, expected at least one"),
            });
        }
        Ok(tail)
    }

    /// The text of `ids`, special tokens left out.
    pub(crate) fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        self.tokenizer.decode(ids, true).map_err(|e| failed(&e))
    }

    /// The text of one token, special or not.
    pub(crate) fn token(&self, id: u32) -> Result<String, ModelError> {
        self.tokenizer.decode(&[id], false).map_err(|e| failed(&e))
    }

    fn encode(&self, text: &str) -> Result<Encoding, ModelError> {
        self.tokenizer.encode(text, false).map_err(|e| failed(&e))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn failed(error: &CheckpointError) -> ModelError {
    ModelError::Tokenizer {
        reason: error.to_string(),
    }
}
