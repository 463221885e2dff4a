//! GGUF files: one file that holds weights (often quantised), configuration and tokenizer.

mod config;
mod header;
mod lattice;
mod names;
mod tokenizer;
mod weights;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use candle_core::Device;
use candle_core::quantized::{QStorage, QTensor};
use filiation_checkpoint::config::ModelConfig;
use filiation_checkpoint::{FileDigest, Limits, Mapping};
use filiation_core::ModelIdentity;

pub(crate) use self::config::ARCHITECTURES;
use self::config::{Metadata, config_json};
use self::header::{Header, TensorInfo};
use self::names::{Change, transformers_name, undo};
use crate::error::{GgufProblem, LoadError};
use crate::source::{Footprint, WeightData, WeightSource};

const FREQUENCIES: &str = "rope_freqs.weight";

/// An opened GGUF file, its header validated and held against its configuration.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    map: Mapping,
    header: Header,
    config: ModelConfig,
    /// Name in transformers to name here.
    names: BTreeMap<String, (String, Change)>,
    identified: OnceLock<(FileDigest, ModelIdentity)>,
}

impl Gguf {
    /// The GGUF file that `path` is, or holds beside no `config.json`, if any.
    ///
    /// # Errors
    /// Where the folder cannot be read or holds several.
    pub fn find(path: &Path) -> Result<Option<PathBuf>, LoadError> {
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

    /// Opens a file.
    ///
    /// # Errors
    /// [`LoadError`] for whatever is unsound or not understood in its header.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, LoadError> {
        let io = |source| LoadError::Io {
            path: path.to_owned(),
            source,
        };
        let problem = |problem| LoadError::Gguf {
            path: path.to_owned(),
            problem,
        };
        let file = File::open(path).map_err(io)?;
        let map = Mapping::new(&file).map_err(io)?;
        let header = Header::read(map.bytes(), limits.tensors).map_err(problem)?;
        let config = Self::configuration(path, &map, &header, limits)?;
        let names = names(&header).map_err(problem)?;
        let gguf = Self {
            path: path.to_owned(),
            map,
            header,
            config,
            names,
            identified: OnceLock::new(),
        };
        gguf.check_shapes()?;
        Ok(gguf)
    }

    fn configuration(
        path: &Path,
        map: &Mapping,
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

    /// The configuration, as transformers would have it.
    pub const fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The file, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the model is. The first call reads the whole file to digest it.
    pub fn identity(&self) -> &ModelIdentity {
        &self.identified().1
    }

    /// Name, size and digest of the file. The first call reads all of it.
    pub fn file(&self) -> &FileDigest {
        &self.identified().0
    }

    fn identified(&self) -> &(FileDigest, ModelIdentity) {
        self.identified.get_or_init(|| {
            let name = self.path.file_name().unwrap_or_default();
            let digest = FileDigest::of(name.to_string_lossy(), &self.map);
            let identity = ModelIdentity {
                source: self.path.display().to_string(),
                digest: FileDigest::combine(std::slice::from_ref(&digest)),
                architecture: self.config.architecture.class().to_owned(),
                parameters: self.parameters(),
                tokenizer: None,
            };
            (digest, identity)
        })
    }

    /// The storage types of its tensors and how many have each, most first.
    pub fn types(&self) -> Vec<(String, usize)> {
        let mut counts = BTreeMap::new();
        for tensor in self.header.tensors.values() {
            *counts.entry(format!("{:?}", tensor.dtype)).or_insert(0) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// Reads all weights for NaN and infinity.
    ///
    /// # Errors
    /// For the first, by tensor and element.
    pub fn check_finite(&self) -> Result<(), LoadError> {
        /// Rows at a time: bounds memory on large embeddings.
        const ROWS: usize = 4096;
        for (name, info) in &self.header.tensors {
            let height = info.shape.first().copied().unwrap_or(1);
            let columns = info.shape[1.min(info.shape.len())..]
                .iter()
                .product::<usize>();
            // A vector's blocks are not cut.
            let step = if columns == 1 { height.max(1) } else { ROWS };
            for start in (0..height).step_by(step) {
                let values = dequantise_rows(&self.map, info, start..height.min(start + step))?;
                self.finite(name, start * columns, &values)?;
            }
        }
        Ok(())
    }

    /// Weights stored, one a matrix element.
    fn parameters(&self) -> u64 {
        let elements = |t: &TensorInfo| t.shape.iter().map(|&n| n as u64).product::<u64>();
        self.header.tensors.values().map(elements).sum()
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
    ///
    /// # Errors
    /// Where it is no text.
    pub fn template(&self) -> Result<Option<&str>, LoadError> {
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

impl Gguf {
    fn find_tensor(&self, name: &str) -> Result<(&str, &TensorInfo, Change), LoadError> {
        let missing = || LoadError::MissingTensor { name: name.into() };
        let (stored, change) = self.names.get(name).ok_or_else(missing)?;
        let info = self.header.tensors.get(stored).ok_or_else(missing)?;
        Ok((stored, info, *change))
    }

    fn finite(&self, name: &str, first: usize, values: &[f32]) -> Result<(), LoadError> {
        match values.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(at) => Err(self.problem(GgufProblem::NotFinite {
                name: name.into(),
                index: first + at,
            })),
        }
    }
}

impl WeightSource for Gguf {
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, WeightData), LoadError> {
        let (stored, info, change) = self.find_tensor(name)?;
        let values = dequantise(&self.map, info)?;
        self.finite(stored, 0, &values)?;
        let values = if change == Change::None {
            values
        } else {
            let tensor = candle_core::Tensor::from_vec(values, &info.shape[..], &Device::Cpu)?;
            undo(tensor, change, self.config.heads, self.config.kv_heads)?
                .flatten_all()?
                .to_vec1()?
        };
        Ok((info.shape.clone(), WeightData::Owned(Arc::new(values))))
    }

    fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<WeightData, LoadError> {
        let (stored, info, change) = self.find_tensor(name)?;
        if change != Change::None {
            // Rows of such a tensor lie elsewhere in the file; none is large.
            let (shape, data) = self.tensor(name)?;
            return Ok(data.slice(rows, shape.first().copied().unwrap_or(1)));
        }
        let values = dequantise_rows(&self.map, info, rows.clone())?;
        let row = values.len() / rows.len().max(1);
        self.finite(stored, rows.start * row, &values)?;
        Ok(WeightData::Owned(Arc::new(values)))
    }

    fn footprint(&self, name: &str) -> Result<Footprint, LoadError> {
        let (_, info, _) = self.find_tensor(name)?;
        let ready = 4 * info.shape.iter().map(|&n| n as u64).product::<u64>();
        // The file's bytes and a copy of them; then the values, copied once or twice.
        Ok(Footprint {
            ready,
            transient: 2 * info.bytes as u64 + 3 * ready,
        })
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

fn dequantise(map: &Mapping, info: &TensorInfo) -> Result<Vec<f32>, LoadError> {
    let rows = info.shape.first().copied().unwrap_or(1);
    dequantise_rows(map, info, 0..rows)
}

/// Some of the outermost rows. The types cut a row into blocks of their own, never across rows.
fn dequantise_rows(
    map: &Mapping,
    info: &TensorInfo,
    rows: Range<usize>,
) -> Result<Vec<f32>, LoadError> {
    let all = info.shape.first().copied().unwrap_or(1).max(1);
    // In a product, so that all rows are all bytes whatever a row has.
    let place = |row: usize| info.start + info.bytes * row / all;
    let range = place(rows.start)..place(rows.end);
    // candle casts the bytes in place and asserts their alignment, which the file decides: copy.
    let mut aligned = vec![0_u32; range.len().div_ceil(4)];
    let bytes = &mut bytemuck::cast_slice_mut(&mut aligned)[..range.len()];
    bytes.copy_from_slice(&map.bytes()[range.clone()]);
    map.release(range);
    let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, info.dtype)?;
    let mut shape = info.shape.clone();
    if let Some(first) = shape.first_mut() {
        *first = rows.len();
    }
    let tensor = QTensor::new(storage, shape)?.dequantize(&Device::Cpu)?;
    Ok(tensor.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests;
