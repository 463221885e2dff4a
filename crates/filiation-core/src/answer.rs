use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// The model ended its text.
    Stop,
    /// The allowed number of tokens was reached.
    Length,
}

/// A completion, prompt not included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    /// The text, special tokens left out.
    pub text: String,
    /// Token ids, where the model gives them.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
}

/// One scored token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoredToken {
    /// Token id.
    pub id: u32,
    /// First byte in the continuation.
    pub start: u32,
    /// One past the last byte in the continuation.
    pub end: u32,
    /// Log-probability, nats.
    pub logprob: f64,
}

/// A text under teacher forcing.
///
/// Prompt and continuation are tokenised together. A token that begins in the prompt and ends in
/// the continuation belongs to the prompt: its bytes are not counted in `bytes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoredText {
    /// The scored tokens in order.
    pub tokens: Vec<ScoredToken>,
    /// UTF-8 bytes of the continuation that they cover.
    pub bytes: u32,
}

impl ScoredText {
    /// Sum of the log-probabilities, nats.
    pub fn total(&self) -> f64 {
        self.tokens.iter().map(|t| t.logprob).sum()
    }

    /// Log-probability per UTF-8 byte, nats; `None` for an empty text.
    pub fn per_byte(&self) -> Option<f64> {
        (self.bytes > 0).then(|| self.total() / f64::from(self.bytes))
    }
}

/// A token and its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenProb {
    /// Token id.
    pub id: u32,
    /// Its text as the tokenizer decodes it alone.
    pub text: String,
    /// Log-probability, nats.
    pub logprob: f64,
}

/// The most likely next tokens, most likely first; ties by lower id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopK {
    /// The tokens.
    pub tokens: Vec<TokenProb>,
}

/// Log-probabilities of the options of a choice, in the order asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoiceAnswer {
    /// Nats; `exp` of these sums to at most one, the rest is "something else".
    pub logprobs: Vec<f64>,
}

/// Hidden states of one token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HiddenStates {
    /// One vector a layer asked, in the order asked.
    pub layers: Vec<Vec<f32>>,
}

/// How one layer of a model relates to its counterpart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerRelation {
    /// Layer of the model asked.
    pub layer: u32,
    /// Matched layer of the model compared with.
    pub counterpart: u32,
    /// Unbiased linear CKA of the query projections over aligned hidden dimensions, in about [-1, 1].
    pub cka_q: f64,
    /// The same for the key projections.
    pub cka_k: f64,
    /// MATCH: log10 p of the rank correlation of the gate and up neuron assignments, where there
    /// are both.
    pub match_log10_p: Option<f64>,
    /// ‖W − W'‖ / ‖W'‖ over the layer's matrices after undoing permutations, where shapes agree.
    pub relative_change: Option<f64>,
}

/// The weights of one model against those of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightRelation {
    /// Digest of the model asked.
    pub this: Digest,
    /// Digest of the model compared with.
    pub other: Digest,
    /// Vocabulary entries that the two tokenizers share.
    pub shared_vocabulary: u32,
    /// Whether the configurations (not the weights) are the same.
    pub same_configuration: bool,
    /// Whether the hidden dimensions had to be permuted or sign-flipped to align.
    pub permuted: bool,
    /// Largest relative change ‖W − W'‖ / ‖W'‖ of any matrix after alignment, where shapes agree.
    /// Matrices that an exact rounding test explains are left out, so 0 means the same weights up
    /// to permutation and storage precision.
    pub largest_change: Option<f64>,
    /// The matched layers.
    pub layers: Vec<LayerRelation>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To `Generate`.
    Completion(Completion),
    /// To `Score`.
    Scored(ScoredText),
    /// To `TopK`.
    TopK(TopK),
    /// To `Choice`.
    Choice(ChoiceAnswer),
    /// To `Hidden`.
    Hidden(HiddenStates),
    /// To `CompareWeights`.
    Weights(WeightRelation),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_byte_is_none_without_bytes() {
        let empty = ScoredText {
            tokens: vec![],
            bytes: 0,
        };
        assert_eq!(empty.per_byte(), None);
    }
}
