use std::path::Path;

use filiation_core::{Model, ModelIdentity, Request, Role, WeightRelation};

use crate::BoxError;

/// A party as the case names it, before it is opened.
#[derive(Debug, Clone, Copy)]
pub struct Seat<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its role.
    pub role: Role,
    /// Its folder or file; `PROVIDER:MODEL` for a model behind an API.
    pub path: &'a Path,
    /// How the model behind an API is reached; nothing else has it.
    pub reach: Reach<'a>,
}

/// How a model behind an API is reached, as far as the case says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach<'a> {
    /// Address, where it is not the provider's own.
    pub base_url: Option<&'a str>,
    /// Environment variable of the key.
    pub key_env: Option<&'a str>,
    /// Fields added to the body of every completion.
    pub extra: Option<&'a serde_json::Map<String, serde_json::Value>>,
}

/// What is known of a party without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What it is.
    pub identity: ModelIdentity,
    /// Whether it has a chat template.
    pub chat: bool,
    /// Whether it takes plain text, without a chat template.
    pub plain: bool,
}

/// What is behind a party that answers over a network, as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What was asked for, and where.
    pub endpoint: String,
    /// How much of the model it shows.
    pub tier: String,
    /// What testing it found.
    pub faults: Vec<String>,
    /// Day it was tested.
    pub tested: Option<String>,
    /// The whole of that test, as JSON.
    pub examination: Option<Vec<u8>>,
    /// Models that answered, in the endpoint's words.
    pub answered_by: Vec<String>,
    /// Number of exchanges.
    pub exchanges: u64,
    /// Tokens of inputs and of outputs, as the endpoint counted them.
    pub tokens: (u64, u64),
    /// Day of the first and of the last.
    pub days: (String, String),
    /// The exchanges, one JSON object a line, with requests and responses byte for byte.
    pub lines: Vec<u8>,
}

/// Gives the models of a case. Only one is asked for at a time, and dropped before the next.
pub trait Provider {
    /// Reads what a party is: digests, configuration, template. No inference.
    ///
    /// # Errors
    /// When the folder is not a model, says who and why.
    fn profile(&self, seat: &Seat<'_>) -> Result<Profile, BoxError>;

    /// Opens a party for inference.
    ///
    /// # Errors
    /// When its weights cannot be used.
    fn model(&self, seat: &Seat<'_>) -> Result<Box<dyn Model>, BoxError>;

    /// Compares the weights of two parties; `None` where they cannot be read side by side.
    ///
    /// # Errors
    /// When a folder that should be comparable cannot be read.
    fn relate(&self, this: &Seat<'_>, other: &Seat<'_>)
    -> Result<Option<WeightRelation>, BoxError>;

    /// The exchanges that a party's answers to these requests are from; `None` of a model that is
    /// not behind an API.
    ///
    /// # Errors
    /// When one of them is not kept, or damaged.
    fn asked(&self, _: &Seat<'_>, _: &[Request]) -> Result<Option<Asked>, BoxError> {
        Ok(None)
    }

    /// By what answers are computed, as far as it may change their last digits (the device, the
    /// version of the engine). Runs share answers only where it is the same.
    fn engine(&self) -> String {
        String::new()
    }
}
