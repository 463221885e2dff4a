//! Weights in whole numbers of a few bits: what the configuration says of them, and which tensors
//! make up which matrix.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::config::{ConfigError, ExpectedTensor};
use crate::error::shown;
use crate::packed::{Packed, Way};
use crate::weights::Weights;
use crate::{CheckpointError, Dtype, Finding};

const KEY: &str = "quantization_config";

/// What may stand in a configuration of GPTQ or AWQ beside what is read: how the codes were found,
/// and which kernels are to be used.
const UNDERSTOOD: [&str; 35] = [
    "backend",
    "batch_size",
    "bits",
    "block_name_to_quantize",
    "cache_block_outputs",
    "checkpoint_format",
    "damp_auto_increment",
    "damp_percent",
    "dataset",
    "desc_act",
    "disable_exllama",
    "do_fuse",
    "exllama_config",
    "format",
    "fuse_max_seq_len",
    "group_size",
    "is_marlin_format",
    "lm_head",
    "max_input_length",
    "meta",
    "model_file_base_name",
    "model_name_or_path",
    "model_seqlen",
    "modules_in_block_to_quantize",
    "modules_to_not_convert",
    "pack_dtype",
    "pad_token_id",
    "quant_method",
    "static_groups",
    "sym",
    "tokenizer",
    "true_sequential",
    "use_exllama",
    "version",
    "zero_point",
];

/// The same of `compressed-tensors`.
const UNDERSTOOD_ROWS: [&str; 8] = [
    "config_groups",
    "format",
    "global_compression_ratio",
    "ignore",
    "kv_cache_scheme",
    "quant_method",
    "quantization_status",
    "version",
];

/// How all packed matrices of a model lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    way: Way,
    bits: usize,
    /// `None` for one group of all inputs.
    group: Option<usize>,
}

/// Takes what the configuration says of packed codes out of it. Other ways of quantisation stay,
/// and are refused with the configuration.
pub(super) fn take(file: &Path, json: &mut Value) -> Result<Option<Form>, CheckpointError> {
    let Some(found) = json.get(KEY).filter(|v| v.is_object()) else {
        return Ok(None);
    };
    let at = Section { file, of: found };
    let form = match found.get("quant_method").and_then(Value::as_str) {
        Some("gptq") => at.gptq()?,
        Some("awq") => at.awq()?,
        Some("compressed-tensors") if found["format"] == "pack-quantized" => at.rows()?,
        _ => return Ok(None),
    };
    if let Some(map) = json.as_object_mut() {
        map.remove(KEY);
    }
    Ok(Some(form))
}

struct Section<'a> {
    file: &'a Path,
    of: &'a Value,
}

impl Section<'_> {
    fn gptq(&self) -> Result<Form, CheckpointError> {
        self.no_others(&UNDERSTOOD)?;
        self.one_of("is_marlin_format", &[Value::Null, false.into()])?;
        self.one_of("pack_dtype", &[Value::Null, "int32".into()])?;
        let key = match self.of["checkpoint_format"] {
            Value::Null => "format",
            _ => "checkpoint_format",
        };
        self.one_of(key, &[Value::Null, "gptq".into(), "gptq_v2".into()])?;
        let less = u8::from(self.of[key] != "gptq_v2");
        Ok(Form {
            way: Way::Gptq { less },
            bits: self.bits(self.of, "", &[2, 3, 4, 8])?,
            group: self.group(self.of, "")?,
        })
    }

    fn awq(&self) -> Result<Form, CheckpointError> {
        self.no_others(&UNDERSTOOD)?;
        let key = match self.of["version"] {
            Value::Null => "format",
            _ => "version",
        };
        self.one_of(key, &[Value::Null, "gemm".into(), "GEMM".into()])?;
        Ok(Form {
            way: Way::Awq,
            bits: self.bits(self.of, "", &[4])?,
            group: self.group(self.of, "")?,
        })
    }

    fn rows(&self) -> Result<Form, CheckpointError> {
        self.no_others(&UNDERSTOOD_ROWS)?;
        let mut form = None;
        let groups = self.of["config_groups"].as_object();
        for (name, group) in groups.into_iter().flatten() {
            let inside = format!("config_groups.{}.weights.", shown(name));
            let weights = &group["weights"];
            if weights["type"] != "int" {
                return Err(self.wrong(&format!("{inside}type"), &weights["type"], "`int`"));
            }
            let this = Form {
                way: Way::Rows,
                bits: self.bits(weights, &inside, &[4, 8])?,
                group: self.group(weights, &inside)?,
            };
            if form.is_some_and(|first| first != this) {
                return Err(self.wrong(&inside, weights, "the same for all matrices"));
            }
            form = Some(this);
        }
        form.ok_or_else(|| {
            let found = &self.of["config_groups"];
            self.wrong("config_groups", found, "a group of weights")
        })
    }

    fn bits(&self, of: &Value, inside: &str, known: &[u64]) -> Result<usize, CheckpointError> {
        let key = if inside.is_empty() {
            "bits"
        } else {
            "num_bits"
        };
        let found = of[key].as_u64().filter(|n| known.contains(n));
        found.map(|n| n as usize).ok_or_else(|| {
            let all: Vec<String> = known.iter().map(u64::to_string).collect();
            self.wrong(&format!("{inside}{key}"), &of[key], &all.join(", "))
        })
    }

    fn group(&self, of: &Value, inside: &str) -> Result<Option<usize>, CheckpointError> {
        match &of["group_size"] {
            Value::Null if !inside.is_empty() => Ok(None),
            value if value.as_i64() == Some(-1) => Ok(None),
            value => {
                let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
                size.filter(|n| *n > 0).map(Some).ok_or_else(|| {
                    let key = format!("{inside}group_size");
                    self.wrong(&key, value, "a whole number above zero, or -1")
                })
            }
        }
    }

    fn one_of(&self, key: &str, known: &[Value]) -> Result<(), CheckpointError> {
        let found = &self.of[key];
        if known.contains(found) {
            return Ok(());
        }
        let all: Vec<String> = known.iter().map(Value::to_string).collect();
        Err(self.wrong(key, found, &format!("one of {}", all.join(", "))))
    }

    fn no_others(&self, understood: &[&str]) -> Result<(), CheckpointError> {
        let says = |value: &Value| {
            !value.is_null()
                && value.as_object().is_none_or(|map| !map.is_empty())
                && *value != Value::Bool(false)
        };
        let all = self.of.as_object().into_iter().flatten();
        let mut strange = all.filter(|(k, v)| says(v) && !understood.contains(&k.as_str()));
        match strange.next() {
            None => Ok(()),
            Some((key, value)) => Err(CheckpointError::Config {
                file: self.file.to_owned(),
                cause: ConfigError::UnknownKey {
                    key: format!("{KEY}.{}", shown(key)),
                    found: shown(&value.to_string()),
                },
            }),
        }
    }

    fn wrong(&self, key: &str, found: &Value, expected: &str) -> CheckpointError {
        CheckpointError::Config {
            file: self.file.to_owned(),
            cause: ConfigError::Value {
                key: format!("{KEY}.{key}"),
                found: shown(&found.to_string()),
                expected: expected.to_owned(),
            },
        }
    }
}

/// Puts packed matrices where the configuration asks for a tensor that is not there; the names of all
/// tensors that they are made of.
pub(super) fn attach(
    weights: &mut Weights,
    expected: &[ExpectedTensor],
    form: Option<Form>,
) -> Result<(BTreeSet<String>, Option<Finding>), CheckpointError> {
    let Some(form) = form else {
        return Ok((BTreeSet::new(), None));
    };
    let (mut all, mut names) = (BTreeMap::new(), BTreeSet::new());
    for tensor in expected {
        let Some(stem) = tensor.name.strip_suffix("weight") else {
            continue;
        };
        if let Some(packed) = form.matrix(weights, tensor, stem)? {
            names.extend(packed.parts().map(str::to_owned));
            all.insert(tensor.name.clone(), packed);
        }
    }
    let found = (!all.is_empty()).then_some(Finding::Packed {
        count: all.len(),
        bits: form.bits as u32,
        way: match form.way {
            Way::Gptq { .. } => "GPTQ",
            Way::Awq => "AWQ",
            Way::Rows => "compressed-tensors",
        },
    });
    weights.unpack(all);
    Ok((names, found))
}

impl Form {
    // Names of codes, scales, zeros and groups.
    fn names(self, stem: &str) -> [String; 4] {
        let names = match self.way {
            Way::Rows => [
                "weight_packed",
                "weight_scale",
                "weight_zero_point",
                "weight_g_idx",
            ],
            _ => ["qweight", "scales", "qzeros", "g_idx"],
        };
        names.map(|name| format!("{stem}{name}"))
    }

    fn matrix(
        self,
        weights: &Weights,
        tensor: &ExpectedTensor,
        stem: &str,
    ) -> Result<Option<Packed>, CheckpointError> {
        let [codes, scales, zeros, groups] = self.names(stem);
        if weights.get(&tensor.name).is_some() || weights.get(&codes).is_none() {
            return Ok(None);
        }
        let &[outputs, inputs] = tensor.shape.as_slice() else {
            return Ok(None);
        };
        let group = self.group.unwrap_or(inputs).min(inputs.max(1));
        let count = inputs.div_ceil(group.max(1));
        let words = |n: usize| (n * self.bits).div_ceil(32);
        let (of_codes, of_scales, of_zeros) = match self.way {
            Way::Gptq { .. } => (
                [words(inputs), outputs],
                [count, outputs],
                [count, words(outputs)],
            ),
            Way::Awq => (
                [inputs, words(outputs)],
                [count, outputs],
                [count, words(outputs)],
            ),
            Way::Rows => (
                [outputs, words(inputs)],
                [outputs, count],
                [words(outputs), count],
            ),
        };
        let part = Part { weights, tensor };
        part.words(&codes, &of_codes)?;
        part.scales(&scales, &of_scales)?;
        let zeros = match weights.get(&zeros) {
            Some(_) => {
                part.words(&zeros, &of_zeros)?;
                Some(zeros)
            }
            // Codes that lie along inputs may be symmetric, and then say so by having no zeros.
            None if self.way == Way::Rows => None,
            None => return Err(part.missing(&zeros, &of_zeros)),
        };
        let mut beside = Vec::new();
        let shape = format!("{stem}weight_shape");
        if self.way == Way::Rows && weights.get(&shape).is_some() {
            beside.push(shape);
        }
        let listed = match weights.get(&groups) {
            Some(_) => {
                beside.push(groups.clone());
                part.groups(&groups, inputs, group, count)?
            }
            None => None,
        };
        let packed = Packed {
            way: self.way,
            bits: self.bits,
            shape: vec![outputs, inputs],
            group,
            codes,
            scales,
            zeros,
            beside,
            groups: listed,
        };
        Ok(Some(packed))
    }
}

struct Part<'a> {
    weights: &'a Weights,
    tensor: &'a ExpectedTensor,
}

impl Part<'_> {
    fn file(&self, name: &str) -> std::path::PathBuf {
        self.weights
            .file_of(name)
            .unwrap_or(Path::new(""))
            .to_owned()
    }

    fn missing(&self, name: &str, shape: &[usize]) -> CheckpointError {
        CheckpointError::MissingTensor {
            file: self.file(&self.tensor.name),
            tensor: shown(name),
            expected: shape.to_vec(),
        }
    }

    fn words(&self, name: &str, shape: &[usize]) -> Result<(), CheckpointError> {
        let view = self.weights.get(name);
        let view = view.ok_or_else(|| self.missing(name, shape))?;
        if view.dtype != Dtype::I32 {
            return Err(CheckpointError::NotWords {
                file: self.file(name),
                tensor: shown(name),
                found: view.dtype,
            });
        }
        self.shape(name, view.shape, shape)
    }

    fn shape(&self, name: &str, found: &[usize], shape: &[usize]) -> Result<(), CheckpointError> {
        if found == shape {
            return Ok(());
        }
        Err(CheckpointError::WrongShape {
            file: self.file(name),
            tensor: shown(name),
            found: found.to_vec(),
            expected: shape.to_vec(),
        })
    }

    fn scales(&self, name: &str, shape: &[usize]) -> Result<(), CheckpointError> {
        let view = self.weights.get(name);
        let view = view.ok_or_else(|| self.missing(name, shape))?;
        if !view.dtype.is_float() || view.dtype.is_fp8() {
            return Err(CheckpointError::NotFloat {
                file: self.file(name),
                tensor: shown(name),
                found: view.dtype,
            });
        }
        self.shape(name, view.shape, shape)?;
        match view.dtype.first_not_finite(view.data) {
            None => Ok(()),
            Some(index) => Err(CheckpointError::NotFinite {
                file: self.file(name),
                tensor: shown(name),
                index: index as u64,
                value: view.to_f32()[index].into(),
            }),
        }
    }

    /// The group of each input; `None` where they follow each other.
    fn groups(
        &self,
        name: &str,
        inputs: usize,
        group: usize,
        count: usize,
    ) -> Result<Option<Vec<u32>>, CheckpointError> {
        self.words(name, &[inputs])?;
        let view = self.weights.get(name);
        let data = view.map_or(&[][..], |v| v.data);
        let all: Vec<i32> = data
            .as_chunks()
            .0
            .iter()
            .map(|b| i32::from_le_bytes(*b))
            .collect();
        let outside = |g: &i32| usize::try_from(*g).map_or(true, |g| g >= count);
        if let Some(index) = all.iter().position(outside) {
            return Err(CheckpointError::GroupIndex {
                file: self.file(name),
                tensor: shown(name),
                index: index as u64,
                found: all[index],
                groups: count as u64,
            });
        }
        let follow = all
            .iter()
            .enumerate()
            .all(|(i, g)| *g as usize == i / group);
        Ok((!follow).then(|| all.into_iter().map(|g| g as u32).collect()))
    }
}
