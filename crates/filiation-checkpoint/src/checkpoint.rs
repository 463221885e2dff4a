use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use filiation_core::ModelIdentity;
use serde_json::Value;

use crate::config::{ExpectedTensor, ModelConfig};
use crate::digest::digest_all;
use crate::error::shown;
use crate::folder::{Folder, MappedFile, newest_snapshot};
use crate::weights::{TensorView, Weights};
use crate::{
    ChatTemplate, CheckpointError, FileDigest, Finding, GenerationConfig, Instead, Limits,
    Tokenizer, findings,
};

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const TEMPLATE: &str = "chat_template.jinja";

/// A Hugging Face style model folder, opened and checked: every header, every name, and every
/// shape against the configuration. Weights stay in the files, mapped into memory.
#[derive(Debug)]
pub struct Checkpoint {
    folder: Folder,
    limits: Limits,
    weights: Weights,
    small: BTreeMap<&'static str, MappedFile>,
    config: ModelConfig,
    generation: GenerationConfig,
    template: Option<ChatTemplate>,
    findings: Vec<Finding>,
    identified: OnceLock<(Vec<FileDigest>, ModelIdentity)>,
}

impl Checkpoint {
    /// Opens `folder`, which has `model.safetensors`, or `model.safetensors.index.json` and its
    /// shards, and `config.json`; a snapshot folder of a hub cache is one.
    ///
    /// # Errors
    /// For the first thing that is not as the formats require or as `limits` allow; the message
    /// names file, place, what was found and what was expected.
    pub fn open(folder: &Path, limits: &Limits) -> Result<Self, CheckpointError> {
        let folder = Folder::open(folder)?;
        let names = folder.names()?;
        let Some(weights) = Weights::open(&folder, limits)? else {
            return Err(CheckpointError::NoWeights {
                folder: folder.root().to_owned(),
                instead: instead(&folder, &names),
            });
        };
        let mut small = BTreeMap::new();
        small.insert(CONFIG, folder.require(CONFIG, "the model", limits)?);
        for name in [
            GENERATION,
            TOKENIZER,
            TOKENIZER_CONFIG,
            SPECIAL_TOKENS,
            TEMPLATE,
        ] {
            small.extend(folder.map_small(name, limits)?.map(|file| (name, file)));
        }
        let json = |name: &str| small.get(name).map(MappedFile::json).transpose();
        let config_json = json(CONFIG)?.unwrap_or_default();
        let config = read_config(&small[CONFIG].path, &config_json, limits)?;
        let mut found = findings::in_names(&names, &weights);
        found.extend(findings::in_json(CONFIG, &config_json));
        found.extend(check_tensors(&weights, &config, &small[CONFIG].path)?);

        let generation_json = json(GENERATION)?.unwrap_or_default();
        let (generation, strays) = GenerationConfig::read(
            &[
                (GENERATION, &folder.path(GENERATION), &generation_json),
                (CONFIG, &folder.path(CONFIG), &config_json),
            ],
            config.vocabulary,
        )?;
        found.extend(strays.into_iter().map(Finding::from));

        let tokenizer_json = json(TOKENIZER_CONFIG)?.unwrap_or_default();
        found.extend(findings::in_json(TOKENIZER_CONFIG, &tokenizer_json));
        let special = special_tokens(&tokenizer_json, &json(SPECIAL_TOKENS)?.unwrap_or_default());
        let template = read_template(&folder, small.get(TEMPLATE), &tokenizer_json)?
            .map(|(file, source)| ChatTemplate::new(&file, source, special, limits));
        found.extend(template.as_ref().and_then(|t| {
            let reason = shown(t.defect()?);
            Some(Finding::Template { reason })
        }));
        Ok(Self {
            folder,
            limits: limits.clone(),
            weights,
            small,
            config,
            generation,
            template,
            findings: found,
            identified: OnceLock::new(),
        })
    }

    /// The folder, as it was given.
    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    /// The configuration.
    pub const fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Special tokens of generation.
    pub const fn generation(&self) -> &GenerationConfig {
        &self.generation
    }

    /// What the model is. The first call reads all files to digest them.
    pub fn identity(&self) -> &ModelIdentity {
        &self.identified().1
    }

    /// Digests of the files that were read, sorted by name. The first call reads all of them.
    pub fn files(&self) -> &[FileDigest] {
        &self.identified().0
    }

    /// What stops nothing, but should be known.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Names of the tensors, sorted.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.weights.names()
    }

    /// Tensor `name`, in place.
    ///
    /// # Errors
    /// Where there is none.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, CheckpointError> {
        self.weights
            .get(name)
            .ok_or_else(|| CheckpointError::NoSuchTensor {
                folder: self.root().to_owned(),
                tensor: shown(name),
            })
    }

    /// Reads `tokenizer.json`. Costs up to a second for large vocabularies.
    ///
    /// # Errors
    /// Where there is none, it cannot be read, or it has entries that the embedding has no row for.
    pub fn tokenizer(&self) -> Result<Tokenizer, CheckpointError> {
        let file = self
            .small
            .get(TOKENIZER)
            .ok_or_else(|| CheckpointError::MissingFile {
                file: self.folder.path(TOKENIZER),
                needed_by: "every test on text".into(),
            })?;
        Tokenizer::from_bytes(
            &file.path,
            file.bytes(),
            self.config.vocabulary,
            &self.limits,
        )
    }

    /// The chat template, where there is one: that of `chat_template.jinja`, or else of
    /// `tokenizer_config.json`.
    pub const fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Reads all weights, in parallel, for NaN and infinity.
    ///
    /// # Errors
    /// [`CheckpointError::NotFinite`] for the first, by tensor name and element.
    pub fn check_finite(&self) -> Result<(), CheckpointError> {
        self.weights.check_finite()
    }

    fn identified(&self) -> &(Vec<FileDigest>, ModelIdentity) {
        self.identified.get_or_init(|| {
            let files: Vec<_> = self.weights.files().chain(self.small.values()).collect();
            let digests = digest_all(&files);
            let identity = ModelIdentity {
                source: self.root().display().to_string(),
                digest: FileDigest::combine(&digests),
                architecture: self.config.architecture.class().to_owned(),
                parameters: self.weights.elements(),
                tokenizer: digests
                    .iter()
                    .find(|f| f.name == TOKENIZER)
                    .map(|f| f.sha256),
            };
            (digests, identity)
        })
    }
}

fn instead(folder: &Folder, names: &[String]) -> Option<Instead> {
    let first = |test: &dyn Fn(&str) -> bool| names.iter().find(|n| test(n)).map(|n| shown(n));
    let snapshot = || newest_snapshot(folder.root()).map(Instead::Snapshot);
    first(&|n| n.ends_with(".gguf"))
        .map(Instead::Gguf)
        .or_else(|| first(&|n| n.starts_with("adapter_model.")).map(Instead::Adapter))
        .or_else(|| first(&findings::is_pickle).map(Instead::Pickle))
        .or_else(snapshot)
}

fn read_config(file: &Path, json: &Value, limits: &Limits) -> Result<ModelConfig, CheckpointError> {
    let config = ModelConfig::from_json(json).map_err(|source| CheckpointError::Config {
        file: file.to_owned(),
        source,
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
fn check_tensors(
    weights: &Weights,
    config: &ModelConfig,
    file: &Path,
) -> Result<Option<Finding>, CheckpointError> {
    let expected = config.expected_tensors();
    refuse_scales(weights)?;
    for tensor in &expected {
        check_tensor(weights, tensor, file)?;
    }
    let asked: BTreeSet<&str> = expected.iter().map(|t| t.name.as_str()).collect();
    let mut unused = weights.names().filter(|n| !asked.contains(n));
    Ok(unused.next().map(|first| Finding::UnusedTensors {
        first: shown(first),
        count: 1 + unused.count(),
    }))
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

/// FP8 weights are read by their own values only: with scales beside them those are other numbers.
fn refuse_scales(weights: &Weights) -> Result<(), CheckpointError> {
    let fp8 = weights
        .names()
        .any(|n| weights.get(n).is_some_and(|t| t.dtype.is_fp8()));
    let scale = weights
        .names()
        .find(|n| n.ends_with("_scale_inv") || n.ends_with("_scale") || n.ends_with(".scale"));
    match scale.filter(|_| fp8) {
        Some(scale) => Err(CheckpointError::ScaledFp8 {
            file: weights.file_of(scale).unwrap_or(Path::new("")).to_owned(),
            scale: shown(scale),
        }),
        None => Ok(()),
    }
}

/// Special tokens by the names that templates use; the first source that names one wins.
fn special_tokens(tokenizer: &Value, map: &Value) -> BTreeMap<String, String> {
    let keys = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];
    let mut found = BTreeMap::new();
    for key in keys.map(|k| format!("{k}_token")) {
        // A plain string, or the whole added token.
        let text = |source: &Value| {
            let value = source.get(&key)?;
            value
                .as_str()
                .or_else(|| value.get("content")?.as_str())
                .map(str::to_owned)
        };
        if let Some(token) = text(tokenizer).or_else(|| text(map)) {
            found.insert(key, token);
        }
    }
    found
}

/// File and source of the template.
fn read_template(
    folder: &Folder,
    jinja: Option<&MappedFile>,
    tokenizer: &Value,
) -> Result<Option<(std::path::PathBuf, String)>, CheckpointError> {
    if let Some(file) = jinja {
        let source = std::str::from_utf8(file.bytes()).map_err(|e| CheckpointError::Template {
            file: file.path.clone(),
            reason: e.to_string(),
        })?;
        return Ok(Some((file.path.clone(), source.to_owned())));
    }
    let file = folder.path(TOKENIZER_CONFIG);
    let refuse = |found: &Value| CheckpointError::BadValue {
        file: file.clone(),
        key: "chat_template",
        found: shown(&found.to_string()),
        expected: "a template or a list of named templates with one named `default`",
    };
    let source = match tokenizer.get("chat_template") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(source)) => source.clone(),
        Some(found) => found
            .as_array()
            .and_then(|all| {
                all.iter()
                    .find(|t| t.get("name") == Some(&"default".into()))
            })
            .and_then(|t| t.get("template")?.as_str())
            .ok_or_else(|| refuse(found))?
            .to_owned(),
    };
    Ok(Some((file, source)))
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
