//! FP8 weights: which tensor scales which, and by what blocks.
//!
//! Three ways are in use, and all mean element times factor: `weight_scale_inv`, a factor for each
//! block (DeepSeek-V3, transformers' `fp8`); `weight_scale`, one for each output (`fbgemm_fp8`,
//! `compressed-tensors`) or one for the matrix.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::config::{ConfigError, ExpectedTensor};
use crate::error::shown;
use crate::weights::{Factors, Weights};
use crate::{CheckpointError, Finding};

const KEY: &str = "quantization_config";

/// Blocks of transformers' `fp8` where the configuration does not say.
const BLOCK: [usize; 2] = [128, 128];

/// Beside a weight in one of the ways, for activations and caches, which are not rounded here.
const OTHER: [&str; 4] = [".input_scale", ".output_scale", ".k_scale", ".v_scale"];

/// What a configuration of one of the ways may say: none of it changes what a weight stands for.
const UNDERSTOOD: [&str; 16] = [
    "activation_scale_ub",
    "activation_scheme",
    "config_groups",
    "dequantize",
    "fmt",
    "format",
    "global_compression_ratio",
    "ignore",
    "ignored_layers",
    "kv_cache_scheme",
    "modules_to_not_convert",
    "quant_method",
    "quantization_status",
    "scale_fmt",
    "version",
    "weight_block_size",
];

/// Takes what the configuration says of FP8 out of it: rows and columns of a block. Other ways of
/// quantisation stay, and are refused with the configuration.
pub(super) fn take(file: &Path, json: &mut Value) -> Result<[usize; 2], CheckpointError> {
    let Some(found) = json.get(KEY).filter(|v| v.is_object()) else {
        return Ok(BLOCK);
    };
    let method = found.get("quant_method").and_then(Value::as_str);
    let floats = |group: &Value| {
        let weights = &group["weights"];
        // Without symmetry there are zero points, which are not read.
        weights["num_bits"] == 8 && weights["type"] == "float" && weights["symmetric"] != false
    };
    let groups = found["config_groups"].as_object();
    let known = match method {
        Some("fp8" | "fbgemm_fp8") => true,
        Some("compressed-tensors") => {
            groups.is_some_and(|g| !g.is_empty() && g.values().all(floats))
        }
        _ => false,
    };
    if !known {
        return Ok(BLOCK);
    }
    let strange = found
        .as_object()
        .into_iter()
        .flatten()
        .find(|(key, value)| {
            let says = !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty());
            says && !UNDERSTOOD.contains(&key.as_str())
        });
    if let Some((key, value)) = strange {
        return Err(CheckpointError::Config {
            file: file.to_owned(),
            cause: ConfigError::UnknownKey {
                key: format!("{KEY}.{}", shown(key)),
                found: shown(&value.to_string()),
            },
        });
    }
    let key = "weight_block_size";
    let block = match &found[key] {
        Value::Null => BLOCK,
        value => {
            let size = |at: usize| value[at].as_u64().and_then(|n| usize::try_from(n).ok());
            let sizes = size(0).zip(size(1)).filter(|(a, b)| *a > 0 && *b > 0);
            let (rows, columns) = sizes.ok_or_else(|| CheckpointError::Config {
                file: file.to_owned(),
                cause: ConfigError::Value {
                    key: format!("{KEY}.{key}"),
                    found: shown(&value.to_string()),
                    expected: "two whole numbers above zero".into(),
                },
            })?;
            [rows, columns]
        }
    };
    if let Some(map) = json.as_object_mut() {
        map.remove(KEY);
    }
    Ok(block)
}

/// Puts factors beside the FP8 matrices that have them; the names of all tensors that scale.
pub(super) fn attach(
    weights: &mut Weights,
    expected: &[ExpectedTensor],
    block: [usize; 2],
) -> Result<(BTreeSet<String>, Option<Finding>), CheckpointError> {
    let fp8 = |name: &str| weights.get(name).is_some_and(|t| t.dtype.is_fp8());
    let scales: BTreeSet<String> = weights
        .names()
        .filter(|n| n.ends_with("_scale_inv") || n.ends_with("_scale") || n.ends_with(".scale"))
        .map(str::to_owned)
        .collect();
    if scales.is_empty() || !expected.iter().any(|t| fp8(&t.name)) {
        return Ok((scales, None));
    }
    let mut found = BTreeMap::new();
    let mut used = BTreeSet::new();
    for tensor in expected.iter().filter(|t| fp8(&t.name)) {
        let ways = [
            format!("{}_scale_inv", tensor.name),
            format!("{}_scale", tensor.name),
        ];
        let Some(scale) = ways.into_iter().find(|way| scales.contains(way)) else {
            // Among scaled ones a weight without a scale has lost it.
            return Err(CheckpointError::MissingTensor {
                file: weights
                    .file_of(&tensor.name)
                    .unwrap_or(Path::new(""))
                    .to_owned(),
                tensor: shown(&format!("{}_scale", tensor.name)),
                expected: vec![],
            });
        };
        found.insert(
            tensor.name.clone(),
            factors(weights, tensor, &scale, block)?,
        );
        used.insert(scale);
    }
    let strange = |n: &&String| !used.contains(*n) && !OTHER.iter().any(|end| n.ends_with(end));
    if let Some(scale) = scales.iter().find(strange) {
        return Err(CheckpointError::ScaledFp8 {
            file: weights.file_of(scale).unwrap_or(Path::new("")).to_owned(),
            scale: shown(scale),
        });
    }
    let count = found.len();
    weights.scale(found);
    Ok((scales, Some(Finding::ScaledFp8 { count })))
}

fn factors(
    weights: &Weights,
    tensor: &ExpectedTensor,
    scale: &str,
    block: [usize; 2],
) -> Result<Factors, CheckpointError> {
    let file = || weights.file_of(scale).unwrap_or(Path::new("")).to_owned();
    let wrong = |found: &[usize], expected: Vec<usize>| CheckpointError::WrongShape {
        file: file(),
        tensor: shown(scale),
        found: found.to_vec(),
        expected,
    };
    let (Some(view), &[rows, columns]) = (weights.get(scale), tensor.shape.as_slice()) else {
        return Err(wrong(&tensor.shape, vec![0, 0]));
    };
    if !view.dtype.is_float() || view.dtype.is_fp8() {
        return Err(CheckpointError::NotFloat {
            file: file(),
            tensor: shown(scale),
            found: view.dtype,
        });
    }
    let blocks = [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
    let block = match view.shape {
        [] | [1] | [1, 1] if !scale.ends_with("_inv") || blocks == [1, 1] => [rows, columns],
        [n] | [n, 1] if *n == rows && !scale.ends_with("_inv") => [1, columns],
        shape if *shape == blocks => block,
        shape => return Err(wrong(shape, blocks.to_vec())),
    };
    let values = view.to_f32();
    match values.iter().position(|f| !(f.is_finite() && *f > 0.0)) {
        Some(index) => Err(CheckpointError::NotFinite {
            file: file(),
            tensor: shown(scale),
            index: index as u64,
            value: values[index].into(),
        }),
        None => Ok(Factors { values, block }),
    }
}
