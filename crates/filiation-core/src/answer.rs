use std::collections::BTreeMap;

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

/// A place in a text that was fed, and what was likely there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadToken {
    /// First byte in the continuation of the token that stands there.
    pub start: u32,
    /// The most likely tokens and their log-probabilities (nats, to five decimals), most likely first; ties
    /// by lower id.
    pub likely: Vec<(u32, f64)>,
}

/// A text that was fed, place by place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadText {
    /// The places in order.
    pub tokens: Vec<ReadToken>,
    /// The text of each token that is named, as the tokenizer decodes it alone.
    pub texts: BTreeMap<u32, String>,
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
    /// Whether its neurons had to be put in another order to align.
    pub neurons_permuted: bool,
    /// Whether its attention heads had to be put in another order to align.
    pub heads_permuted: bool,
}

/// What is known of the rank of a change W − W', of which rounding lets only a part be seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRank {
    /// Singular values above `floor`: the change was of at least this rank before it was rounded.
    pub at_least: u32,
    /// Whether what they leave is no more than the rounding of both files: the change is then that
    /// of rank `at_least`, up to rounding. Otherwise more of them were there than were looked for,
    /// or the change is dense.
    pub rest_is_rounding: bool,
    /// Their share of ‖W − W'‖².
    pub share: f64,
    /// Largest singular value that rounding explains, relative to ‖W − W'‖.
    pub floor: f64,
}

/// A tensor that differs from its counterpart by more than an exact rounding test explains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedTensor {
    /// Its name in the model asked.
    pub tensor: String,
    /// Its dimensions, outermost first.
    pub shape: Vec<u32>,
    /// ‖W − W'‖ / ‖W'‖ after undoing permutations.
    pub relative_change: f64,
    /// Of a matrix; `None` for a vector, and for a matrix too large or of integers.
    pub rank: Option<ChangeRank>,
}

/// What sketches say of two models whose weights, as they lie, share nothing: sketches are in terms
/// that no change of basis moves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SketchRelation {
    /// log10 p of "no layer shares neurons with its counterpart", over all layers; `None` where too
    /// few tokens are shared.
    pub log10_p: Option<f64>,
    /// Mean over the layers of the unbiased CKA of queries and keys over tokens. Models trained apart
    /// see words alike, so theirs is not 0.
    pub cka: Option<f64>,
    /// The layers of the model asked that share neurons with one of the other.
    pub inherited: Vec<u32>,
    /// Whether it is settled that weights are shared, or that none are.
    pub settled: bool,
    /// Disguises that were undone, and other differences.
    pub notes: Vec<String>,
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
    /// Hidden dimensions that CKA is computed over. Over random pairings of n of them a CKA has
    /// mean 0 and variance 2/(n(n − 3)).
    pub aligned_dimensions: u32,
    /// Largest relative change ‖W − W'‖ / ‖W'‖ of any matrix after alignment, where shapes agree.
    /// Matrices that an exact rounding test explains are left out, so 0 means the same weights up
    /// to permutation and storage precision.
    pub largest_change: Option<f64>,
    /// The matched layers.
    pub layers: Vec<LayerRelation>,
    /// Where the models share neurons: the tensors that changed, layer by layer, then the others.
    pub changed: Vec<ChangedTensor>,
    /// Where the weights as they lie share no neurons and are not the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<SketchRelation>,
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
    /// To `Read`.
    Read(ReadText),
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
