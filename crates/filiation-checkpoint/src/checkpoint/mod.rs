mod admit;
mod fp8;
mod integers;
mod texts;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use filiation_core::ModelIdentity;

use self::admit::{Stored, check_tensors, read_config};
use self::texts::{read_template, special_tokens};
use crate::config::ModelConfig;
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
        let Some(mut weights) = Weights::open(&folder, limits)? else {
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
        let mut config_json = json(CONFIG)?.unwrap_or_default();
        let form = Stored {
            block: fp8::take(&small[CONFIG].path, &mut config_json)?,
            integers: integers::take(&small[CONFIG].path, &mut config_json)?,
        };
        let config = read_config(&small[CONFIG].path, &config_json, limits)?;
        let mut found = findings::in_names(&names, &weights);
        found.extend(findings::in_json(CONFIG, &config_json));
        found.extend(check_tensors(
            &mut weights,
            &config,
            &small[CONFIG].path,
            form,
        )?);

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

    /// Lets go of the memory that tensor `name` takes. It stays readable: the file is read again.
    pub fn release(&self, name: &str) {
        self.weights.release(name);
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

#[cfg(test)]
mod tests;
