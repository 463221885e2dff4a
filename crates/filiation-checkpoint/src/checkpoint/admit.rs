//! The configuration held against the weights, before anything is built from either.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{fp8, integers};
use crate::config::{ExpectedTensor, ModelConfig};
use crate::error::shown;
use crate::weights::Weights;
use crate::{CheckpointError, Finding, Limits};

/// What the configuration says of how weights are stored.
pub(super) struct Stored {
    /// Rows and columns of a block of FP8 with a factor of its own.
    pub(super) block: [usize; 2],
    /// Codes of a few bits.
    pub(super) integers: Option<integers::Form>,
}

/// The configuration in `json`, within `limits`.
pub(super) fn read_config(
    file: &Path,
    json: &Value,
    limits: &Limits,
) -> Result<ModelConfig, CheckpointError> {
    let config = ModelConfig::from_json(json).map_err(|cause| CheckpointError::Config {
        file: file.to_owned(),
        cause,
    })?;
    for (what, found, limit) in [
        ("the vocabulary", config.vocabulary, limits.vocabulary),
        ("the number of layers", config.layers.len(), limits.layers),
    ] {
        if found > limit {
            return Err(CheckpointError::OverLimit {
                file: file.to_owned(),
                what,
                found: found as u64,
                limit: limit as u64,
            });
        }
    }
    Ok(config)
}

/// Every tensor that the configuration asks for is there, in its shape, in floating point.
///
/// FP8 matrices get their factors, packed ones their parts.
pub(super) fn check_tensors(
    weights: &mut Weights,
    config: &ModelConfig,
    file: &Path,
    stored: Stored,
) -> Result<Vec<Finding>, CheckpointError> {
    let expected = config.expected_tensors();
    let (parts, packed) = integers::attach(weights, &expected, stored.integers)?;
    for tensor in &expected {
        check_tensor(weights, tensor, file)?;
    }
    let (scales, scaled) = fp8::attach(weights, &expected, stored.block)?;
    let is_fp8 = scaled.is_some();
    let mut found: Vec<Finding> = scaled.into_iter().chain(packed).collect();
    let asked: BTreeSet<&str> = expected.iter().map(|t| t.name.as_str()).collect();
    let known = |n: &&str| asked.contains(n) || is_fp8 && scales.contains(*n) || parts.contains(*n);
    let mut unused = weights.names().filter(|n| !known(n));
    let first = unused.next().map(|first| Finding::UnusedTensors {
        first: shown(first),
        count: 1 + unused.count(),
    });
    found.extend(first);
    Ok(found)
}

fn check_tensor(
    weights: &Weights,
    expected: &ExpectedTensor,
    file: &Path,
) -> Result<(), CheckpointError> {
    let tensor = || shown(&expected.name);
    let holder = || weights.file_of(&expected.name).unwrap_or(file).to_owned();
    match weights.get(&expected.name) {
        None if expected.optional => Ok(()),
        None => Err(CheckpointError::MissingTensor {
            file: file.to_owned(),
            tensor: tensor(),
            expected: expected.shape.clone(),
        }),
        Some(found) if found.shape != expected.shape => Err(CheckpointError::WrongShape {
            file: holder(),
            tensor: tensor(),
            found: found.shape.to_vec(),
            expected: expected.shape.clone(),
        }),
        Some(found) if found.packed.is_some() => Ok(()),
        Some(found) if !found.dtype.is_float() && !expected.optional => {
            Err(CheckpointError::NotFloat {
                file: holder(),
                tensor: tensor(),
                found: found.dtype,
            })
        }
        Some(_) => Ok(()),
    }
}
