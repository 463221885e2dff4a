//! GGUF files: one file that holds weights (often quantised), configuration and tokenizer.

mod config;
mod header;
mod names;
mod tokenizer;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::{QStorage, QTensor};
use filiation_checkpoint::Limits;
use filiation_checkpoint::config::ModelConfig;
use memmap2::Mmap;

pub(crate) use self::config::ARCHITECTURES;
use self::config::{Metadata, config_json};
use self::header::{Header, TensorInfo};
use self::names::{Change, transformers_name, undo};
use crate::error::{GgufProblem, LoadError};
use crate::source::{WeightData, WeightSource};

const FREQUENCIES: &str = "rope_freqs.weight";

/// An opened GGUF file, its header validated and held against its configuration.
#[derive(Debug)]
pub(crate) struct Gguf {
    path: PathBuf,
    map: Mmap,
    header: Header,
    config: ModelConfig,
    /// Name in transformers to name here.
    names: BTreeMap<String, (String, Change)>,
}

impl Gguf {
    /// The GGUF file that `path` is, or holds, if any.
    pub(crate) fn find(path: &Path) -> Result<Option<PathBuf>, LoadError> {
        let is_gguf = |p: &Path| p.extension().is_some_and(|e| e == "gguf");
        if !path.is_dir() {
            return Ok(is_gguf(path).then(|| path.to_owned()));
        }
        let io = |source| LoadError::Io {
            path: path.to_owned(),
            source,
        };
        let mut found = Vec::new();
        for entry in path.read_dir().map_err(io)? {
            let entry = entry.map_err(io)?.path();
            if is_gguf(&entry) {
                found.push(entry);
            }
        }
        if path.join("config.json").exists() || found.is_empty() {
            return Ok(None);
        }
        match found.len() {
            1 => Ok(found.pop()),
            found => Err(LoadError::Gguf {
                path: path.to_owned(),
                problem: GgufProblem::NotOneFile { found },
            }),
        }
    }

    pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Self, LoadError> {
        let io = |source| LoadError::Io {
            path: path.to_owned(),
            source,
        };
        let problem = |problem| LoadError::Gguf {
            path: path.to_owned(),
            problem,
        };
        let file = File::open(path).map_err(io)?;
        #[expect(
            unsafe_code,
            reason = "a map is undefined where the file changes under it: inputs are read-only by contract"
        )]
        // SAFETY: the map is only read, and lives as long as `Self`.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let header = Header::read(&map, limits.tensors).map_err(problem)?;
        let config = Self::configuration(path, &map, &header, limits)?;
        let names = names(&header).map_err(problem)?;
        let gguf = Self {
            path: path.to_owned(),
            map,
            header,
            config,
            names,
        };
        gguf.check_shapes()?;
        Ok(gguf)
    }

    fn configuration(
        path: &Path,
        map: &Mmap,
        header: &Header,
        limits: &Limits,
    ) -> Result<ModelConfig, LoadError> {
        let problem = |problem| LoadError::Gguf {
            path: path.to_owned(),
            problem,
        };
        let factors = match header.tensors.get(FREQUENCIES) {
            Some(tensor) => Some(dequantise(map, tensor)?),
            None => None,
        };
        let json = config_json(header, factors.as_deref()).map_err(problem)?;
        let limited = [
            ("layers", &json["num_hidden_layers"], limits.layers),
            (
                "tokens in the vocabulary",
                &json["vocab_size"],
                limits.vocabulary,
            ),
        ];
        for (what, found, limit) in limited {
            let (found, limit) = (found.as_u64().unwrap_or(0), limit as u64);
            if found > limit {
                return Err(problem(GgufProblem::TooMany { what, found, limit }));
            }
        }
        ModelConfig::from_json(&json).map_err(|source| LoadError::Config {
            path: path.to_owned(),
            source,
        })
    }

    fn check_shapes(&self) -> Result<(), LoadError> {
        for expected in self.config.expected_tensors() {
            let found = self.names.get(&expected.name);
            match found.and_then(|(name, _)| self.header.tensors.get(name)) {
                Some(tensor) if tensor.shape == expected.shape => {}
                Some(tensor) => {
                    return Err(LoadError::TensorShape {
                        name: expected.name,
                        found: tensor.shape.clone(),
                        expected: expected.shape,
                    });
                }
                None if expected.optional => {}
                None => {
                    return Err(LoadError::MissingTensor {
                        name: expected.name,
                    });
                }
            }
        }
        Ok(())
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Weights stored, one a matrix element.
    pub(crate) fn parameters(&self) -> u64 {
        let elements = |t: &TensorInfo| t.shape.iter().map(|&n| n as u64).product::<u64>();
        self.header.tensors.values().map(elements).sum()
    }

    /// Lets the pages of a tensor go until they are read again.
    fn release(&self, info: &TensorInfo) {
        #[cfg(unix)]
        {
            #[expect(
                unsafe_code,
                reason = "the map is read-only and of a file: what is dropped would be read again"
            )]
            // SAFETY: as above; the contract is that of the map.
            let advised = unsafe {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                self.map
                    .unchecked_advise_range(advice, info.start, info.bytes)
            };
            // Only memory is at stake.
            drop(advised);
        }
        #[cfg(not(unix))]
        let _ = info;
    }

    fn metadata(&self) -> Result<Metadata<'_>, LoadError> {
        Metadata::new(&self.header).map_err(|problem| self.problem(problem))
    }

    fn problem(&self, problem: GgufProblem) -> LoadError {
        LoadError::Gguf {
            path: self.path.clone(),
            problem,
        }
    }

    /// The vocabulary as a `tokenizer.json`.
    pub(crate) fn tokenizer_json(&self) -> Result<serde_json::Value, LoadError> {
        tokenizer::tokenizer_json(&self.metadata()?).map_err(|p| self.problem(p))
    }

    /// The chat template, where there is one.
    pub(crate) fn template(&self) -> Result<Option<&str>, LoadError> {
        let template = self.metadata()?.text("tokenizer.chat_template");
        template.map_err(|p| self.problem(p))
    }

    /// The text of the token that `key` (`bos`, `eos`, …) names.
    pub(crate) fn token(&self, key: &str) -> Result<Option<(u32, String)>, LoadError> {
        tokenizer::named(&self.metadata()?, key).map_err(|p| self.problem(p))
    }

    /// Ids that end a text, sorted.
    pub(crate) fn ends(&self) -> Result<Vec<u32>, LoadError> {
        let mut ids = Vec::new();
        for key in ["eos", "eot", "eom"] {
            ids.extend(self.token(key)?.map(|(id, _)| id));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

impl WeightSource for Gguf {
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, WeightData), LoadError> {
        let missing = || LoadError::MissingTensor { name: name.into() };
        let (stored, change) = self.names.get(name).ok_or_else(missing)?;
        let info = self.header.tensors.get(stored).ok_or_else(missing)?;
        let values = dequantise(&self.map, info)?;
        self.release(info);
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(self.problem(GgufProblem::NotFinite {
                name: stored.clone(),
                index,
            }));
        }
        let values = if *change == Change::None {
            values
        } else {
            let tensor = candle_core::Tensor::from_vec(values, &info.shape[..], &Device::Cpu)?;
            undo(tensor, *change, self.config.heads, self.config.kv_heads)?
                .flatten_all()?
                .to_vec1()?
        };
        Ok((info.shape.clone(), WeightData::Owned(Arc::new(values))))
    }

    fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }
}

fn names(header: &Header) -> Result<BTreeMap<String, (String, Change)>, GgufProblem> {
    let architecture = Metadata::new(header)?.architecture;
    let stored = header.tensors.keys().filter(|name| *name != FREQUENCIES);
    stored
        .map(|name| {
            let (known, change) = transformers_name(architecture, name).ok_or_else(|| {
                GgufProblem::UnknownTensor {
                    name: name.clone(),
                    architecture: architecture.into(),
                }
            })?;
            Ok((known, (name.clone(), change)))
        })
        .collect()
}

fn dequantise(file: &[u8], info: &TensorInfo) -> Result<Vec<f32>, LoadError> {
    // candle casts the bytes in place and asserts their alignment, which the file decides: copy.
    let mut aligned = vec![0_u32; info.bytes.div_ceil(4)];
    let bytes = &mut bytemuck::cast_slice_mut(&mut aligned)[..info.bytes];
    bytes.copy_from_slice(&file[info.start..info.start + info.bytes]);
    let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, info.dtype)?;
    let tensor = QTensor::new(storage, &info.shape[..])?.dequantize(&Device::Cpu)?;
    Ok(tensor.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests;
