use std::path::Path;

use filiation_core::{Model, ModelIdentity, Role, WeightRelation};

use crate::BoxError;

/// A party as the case names it, before it is opened.
#[derive(Debug, Clone, Copy)]
pub struct Seat<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its role.
    pub role: Role,
    /// Its folder or file.
    pub path: &'a Path,
}

/// What is known of a party without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What it is.
    pub identity: ModelIdentity,
    /// Whether it has a chat template.
    pub chat: bool,
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

    /// By what answers are computed, as far as it may change their last digits (the device, the
    /// version of the engine). Runs share answers only where it is the same.
    fn engine(&self) -> String {
        String::new()
    }
}
