//! The nouns of filiation: who is compared, what is asked, what was answered, what it says.
//!
//! No I/O, no tensors, no async. Every value is immutable once built and serialises to the same
//! bytes each time, because a transcript is evidence. Log-probabilities are in nats; likelihood
//! ratios are in log10; only renderers round.

#![forbid(unsafe_code)]

mod answer;
pub mod canonical;
mod digest;
mod llr;
mod mark;
mod method;
mod model;
mod observations;
mod party;
mod probe;
mod proposition;
mod request;
mod statistic;

pub use answer::{
    Answer, ChangeRank, ChangedTensor, ChoiceAnswer, Completion, Finish, HiddenStates,
    LayerRelation, ReadText, ReadToken, ScoredText, ScoredToken, SketchRelation, TokenProb, TopK,
    WeightRelation,
};
pub use digest::{Digest, DigestError};
pub use llr::{BoundedLlr, BoundsError};
pub use mark::{Mark, Marking};
pub use method::{MethodId, MethodIdError};
pub use model::{Model, ModelError};
pub use observations::Observations;
pub use party::{ModelIdentity, Party, Role};
pub use probe::{Abstention, Probe, Reason, Stop, Stream, Watch};
pub use proposition::Proposition;
pub use request::{Message, Prompt, Request, RequestId, Sampling, Want, Whose};
pub use statistic::{Axis, Basis, CandidateScore, Exact, Interval, Power, Statistic};
