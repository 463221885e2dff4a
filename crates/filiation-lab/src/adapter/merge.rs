use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use filiation_checkpoint::{Checkpoint, Dtype, Limits};
use filiation_core::canonical;
use safetensors::tensor::TensorView;
use safetensors::{SafeTensorError, SafeTensors};
use serde::Deserialize;
use serde_json::Value;

use crate::adapter::folder::{CONFIG, WEIGHTS};
use crate::folder::{cannot_write, decode, dtype, dtype_name, encode, place};
use crate::product::{View, multiply};
use crate::{LabError, Stored};

/// What PEFT writes about an adapter, as far as it changes the computation.
#[derive(Debug, Deserialize)]
struct Config {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Keys of other kinds of change. Merged as if they were not there, the model would be another.
const PLAIN: [&str; 9] = [
    "alpha_pattern",
    "rank_pattern",
    "bias",
    "fan_in_fan_out",
    "lora_bias",
    "modules_to_save",
    "megatron_config",
    "trainable_token_indices",
    "use_dora",
];

/// The files of a model's folder beside its weights and configuration.
const BESIDE: [&str; 6] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "lineage.json",
];

struct Change {
    a: Vec<f32>,
    b: Vec<f32>,
    rank: usize,
    inputs: usize,
    outputs: usize,
}

struct Opened {
    path: PathBuf,
    factor: f32,
    changes: BTreeMap<String, Change>,
}

/// Writes the model folder `out`: `base` with the changes of the LoRA adapter in the folder `adapter`
/// added to its matrices. Weights are of the type `stored`, or of the base's where that is f32 or
/// bf16 and none is given.
///
/// # Errors
/// When a folder cannot be read or written, the adapter is of another kind than plain LoRA, or its
/// tensors do not fit the base's.
pub fn merge(
    base: &Path,
    adapter: &Path,
    out: &Path,
    stored: Option<Stored>,
) -> Result<(), LabError> {
    let checkpoint = Checkpoint::open(base, &Limits::default())?;
    let adapter = Opened::read(adapter)?;
    let (names, bytes, shapes, stored) = adapter.merged(&checkpoint, stored)?;
    let views = names.iter().zip(&bytes).zip(&shapes);
    let views = views.map(|((name, bytes), shape)| {
        Ok((*name, TensorView::new(dtype(stored), shape.clone(), bytes)?))
    });
    let views = views.collect::<Result<Vec<_>, SafeTensorError>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let config = base.join("config.json");
    let text = fs::read(&config).map_err(cannot_read(&config))?;
    let mut config: Value = serde_json::from_slice(&text).map_err(|error| LabError::Adapter {
        path: config,
        reason: error.to_string(),
    })?;
    let key = if config.get("torch_dtype").is_some() {
        "torch_dtype"
    } else {
        "dtype"
    };
    config[key] = dtype_name(stored).into();
    if let Some(parent) = out.parent() {
        fs::create_dir_all(parent).map_err(cannot_write(parent))?;
    }
    place(out, |scratch| {
        let path = scratch.join("config.json");
        fs::write(&path, canonical::to_pretty(&config)).map_err(cannot_write(&path))?;
        for name in BESIDE.iter().filter(|name| **name != "lineage.json") {
            copy(base, scratch, name)?;
        }
        copy(
            adapter.path.parent().unwrap_or(Path::new("")),
            scratch,
            "lineage.json",
        )?;
        let path = scratch.join("model.safetensors");
        Ok(safetensors::serialize_to_file(
            views,
            Some(metadata),
            &path,
        )?)
    })
}

/// Copies a file where there is one.
fn copy(from: &Path, to: &Path, name: &str) -> Result<(), LabError> {
    let path = to.join(name);
    match fs::copy(from.join(name), &path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(cannot_write(&path)(error))
        }
        _ => Ok(()),
    }
}

fn cannot_read(path: &Path) -> impl FnOnce(std::io::Error) -> LabError {
    let path = path.to_path_buf();
    |source| LabError::Read { path, source }
}

impl Opened {
    fn read(folder: &Path) -> Result<Self, LabError> {
        let path = folder.join(CONFIG);
        let refuse = |reason: String| LabError::Adapter {
            path: path.clone(),
            reason,
        };
        let text = fs::read(&path).map_err(cannot_read(&path))?;
        let config: Config = serde_json::from_slice(&text).map_err(|e| refuse(e.to_string()))?;
        if config.peft_type != "LORA" || config.r == 0 {
            let reason = format!(
                "`{}` of rank {}, expected `LORA`",
                config.peft_type, config.r
            );
            return Err(refuse(reason));
        }
        for key in PLAIN {
            let value = config.others.get(key).unwrap_or(&Value::Null);
            let plain = match value {
                Value::Null | Value::Bool(false) => true,
                Value::String(text) => text == "none",
                Value::Object(map) => map.is_empty(),
                Value::Array(list) => list.is_empty(),
                _ => false,
            };
            if !plain {
                return Err(refuse(format!("`{key}` is {value}, expected none")));
            }
        }
        let root = if config.use_rslora {
            (config.r as f64).sqrt()
        } else {
            config.r as f64
        };
        let path = folder.join(WEIGHTS);
        let bytes = fs::read(&path).map_err(cannot_read(&path))?;
        Ok(Self {
            factor: (config.lora_alpha / root) as f32,
            changes: changes(&path, &SafeTensors::deserialize(&bytes)?)?,
            path,
        })
    }

    fn refuse(&self, reason: String) -> LabError {
        LabError::Adapter {
            path: self.path.clone(),
            reason,
        }
    }

    /// Names, bytes and shapes of the merged tensors, and their type.
    #[expect(clippy::type_complexity, reason = "taken apart where it is made")]
    fn merged<'a>(
        &self,
        base: &'a Checkpoint,
        stored: Option<Stored>,
    ) -> Result<(Vec<&'a str>, Vec<Vec<u8>>, Vec<Vec<usize>>, Stored), LabError> {
        let names: Vec<&str> = base.tensor_names().collect();
        if let Some(name) = self.changes.keys().find(|n| !names.contains(&n.as_str())) {
            return Err(self.refuse(format!("changes `{name}`, which the base does not have")));
        }
        let wide = |name: &&str| base.tensor(name).is_ok_and(|t| t.dtype != Dtype::BF16);
        let stored = stored.unwrap_or(match names.iter().any(wide) {
            true => Stored::F32,
            false => Stored::Bf16,
        });
        let (mut bytes, mut shapes) = (Vec::new(), Vec::new());
        for name in &names {
            let view = base.tensor(name)?;
            if view.scale.is_some() {
                let what = format!("`{name}` of the base is stored in FP8 with scales");
                return Err(self.refuse(what));
            }
            let mut values = view.to_f32();
            if let Some(change) = self.changes.get(*name) {
                let Change {
                    rank,
                    inputs,
                    outputs,
                    ..
                } = *change;
                if view.shape != [outputs, inputs] {
                    return Err(LabError::Tensor {
                        path: self.path.clone(),
                        tensor: (*name).into(),
                        got: format!("a change of {outputs} x {inputs}"),
                        expected: view.shape.to_vec(),
                    });
                }
                let b: Vec<f32> = change.b.iter().map(|b| b * self.factor).collect();
                let (b, a) = (View::rows(&b, rank), View::rows(&change.a, inputs));
                multiply([outputs, inputs, rank], (&mut values, inputs), b, a, true);
            }
            bytes.push(encode(&values, stored));
            shapes.push(view.shape.to_vec());
            base.release(name);
        }
        Ok((names, bytes, shapes, stored))
    }
}

/// The changes in a file, by the tensors of the base.
fn changes(path: &Path, file: &SafeTensors<'_>) -> Result<BTreeMap<String, Change>, LabError> {
    let refuse = |reason: String| LabError::Adapter {
        path: path.into(),
        reason,
    };
    let mut changes = BTreeMap::new();
    for (name, view) in file.tensors() {
        let bare = name.strip_prefix("base_model.model.").unwrap_or(&name);
        if let Some(module) = bare.strip_suffix(".lora_A.weight") {
            let pair = format!(
                "{}lora_B.weight",
                &name[..name.len() - "lora_A.weight".len()]
            );
            let other = file
                .tensor(&pair)
                .map_err(|_| refuse(format!("`{name}` has no `lora_B`")))?;
            let (&[rank, inputs], &[outputs, same]) = (view.shape(), other.shape()) else {
                return Err(refuse(format!("`{name}` is no matrix")));
            };
            let (Some(a), Some(b)) = (decode(&view), decode(&other)) else {
                return Err(refuse(format!(
                    "`{name}` is {:?}, expected F32 or BF16",
                    view.dtype()
                )));
            };
            if rank == 0 || rank != same || inputs == 0 || outputs == 0 {
                return Err(refuse(format!(
                    "`{name}` and its `lora_B` have ranks {rank} and {same}"
                )));
            }
            if a.iter().chain(&b).any(|v| !v.is_finite()) {
                return Err(refuse(format!("`{name}` or its `lora_B` is not finite")));
            }
            let change = Change {
                a,
                b,
                rank,
                inputs,
                outputs,
            };
            changes.insert(format!("{module}.weight"), change);
        } else if !bare.ends_with(".lora_B.weight") {
            return Err(refuse(format!("`{name}` is neither `lora_A` nor `lora_B`")));
        }
    }
    Ok(changes)
}
