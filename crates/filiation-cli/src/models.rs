//! Models in local folders and files, and in the cache of the Hub.

use std::path::Path;

use filiation_audit::{BoxError, Profile, Provider, Seat};
use filiation_checkpoint::{ChatTemplate, Checkpoint, CheckpointError, Limits, ModelWeights};
use filiation_core::{Message, Model, Prompt, Want, WeightRelation};
use filiation_model::{DeviceChoice, Gguf, LoadError, LocalModel};

use crate::hub;
use crate::size::Size;

/// Opens folders (safetensors) and files (GGUF) on one device.
pub(crate) struct Local {
    device: DeviceChoice,
    limits: Limits,
    /// Bytes that a model may take.
    memory: Option<u64>,
    raw: bool,
}

/// A chat template that cannot be meant for what is asked through it.
#[derive(Debug)]
pub(crate) enum TrialRender {
    /// It fails on a single user turn.
    Fails(CheckpointError),
    /// What the user says is not in what it writes: the model would be asked nothing, or one thing always.
    DropsTurn,
}

impl TrialRender {
    pub(crate) const HINT: &str = "to go on without chat templates, every prompt as plain text: \
        `--raw`, or `raw = true` in the case";
}

impl std::fmt::Display for TrialRender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fails(_) => "its chat template fails on a single user turn",
            Self::DropsTurn => {
                "its chat template leaves out what the user says: it is not this model's"
            }
        })
    }
}

impl std::error::Error for TrialRender {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Fails(error) => Some(error),
            Self::DropsTurn => None,
        }
    }
}

impl Local {
    pub(crate) fn on(device: DeviceChoice, memory: Option<Size>) -> Self {
        Self {
            device,
            limits: Limits::default(),
            memory: memory.map(|Size(bytes)| bytes),
            raw: false,
        }
    }

    /// The same without chat templates, sound or not.
    pub(crate) fn raw(self, raw: bool) -> Self {
        Self { raw, ..self }
    }

    fn open(&self, path: &Path) -> Result<LocalModel, LoadError> {
        LocalModel::open_within(path, self.device, &self.limits, self.memory)
    }

    fn profile_of(&self, path: &Path) -> Result<Profile, BoxError> {
        if is_gguf(path) {
            let model = self.open(path)?;
            return Ok(Profile {
                identity: model.identity().clone(),
                chat: has_template(&model),
                plain: true,
            });
        }
        let checkpoint = Checkpoint::open(path, &self.limits)?;
        // All that can be wrong is told now, not after hours of collecting.
        checkpoint.check_finite()?;
        let identity = checkpoint.identity().clone();
        if identity.tokenizer.is_some() {
            checkpoint.tokenizer()?;
        }
        if let Some(template) = checkpoint.template().filter(|_| !self.raw) {
            try_render(template)?;
        }
        Ok(Profile {
            identity,
            chat: checkpoint.template().is_some(),
            plain: true,
        })
    }
}

fn try_render(template: &ChatTemplate) -> Result<(), TrialRender> {
    let said = "Hello there, 4711";
    let message = Message {
        role: "user".into(),
        content: said.into(),
    };
    let text = template.render(&[message], true);
    if !text.map_err(TrialRender::Fails)?.contains(said) {
        return Err(TrialRender::DropsTurn);
    }
    Ok(())
}

/// Whether a path is to be read as GGUF: a file of that name, or a folder with nothing else.
pub(crate) fn is_gguf(path: &Path) -> bool {
    let named = |p: &Path| {
        p.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
    };
    if path.is_file() {
        return named(path);
    }
    let holds = |test: &dyn Fn(&Path) -> bool| {
        path.read_dir()
            .is_ok_and(|entries| entries.flatten().any(|e| test(&e.path())))
    };
    holds(&named) && !path.join("config.json").is_file()
}

/// The weights at a path, nothing of which is run.
pub(crate) fn weights(path: &Path, limits: &Limits) -> Result<Box<dyn ModelWeights>, BoxError> {
    Ok(match Gguf::find(path)? {
        Some(file) => Box::new(Gguf::open(&file, limits)?),
        None => Box::new(Checkpoint::open(path, limits)?),
    })
}

#[cfg(target_arch = "x86_64")]
fn features() -> &'static str {
    if is_x86_feature_detected!("avx512f") {
        " avx512"
    } else if is_x86_feature_detected!("avx2") {
        " avx2"
    } else {
        ""
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> &'static str {
    ""
}

fn has_template(model: &LocalModel) -> bool {
    model.supports(&Want::TopK {
        prompt: Prompt::user("Hello"),
        k: 1,
    })
}

impl Provider for Local {
    fn profile(&self, seat: &Seat<'_>) -> Result<Profile, BoxError> {
        self.profile_of(&hub::folder(seat.path)?)
    }

    fn model(&self, seat: &Seat<'_>) -> Result<Box<dyn Model>, BoxError> {
        Ok(Box::new(self.open(&hub::folder(seat.path)?)?))
    }

    // Kernels differ by what the processor can do, and so may the last digits.
    fn engine(&self) -> String {
        let wide = features();
        let (version, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
        format!("filiation {version} on {} ({arch}{wide})", self.device)
    }

    fn relate(
        &self,
        this: &Seat<'_>,
        other: &Seat<'_>,
    ) -> Result<Option<WeightRelation>, BoxError> {
        let this = weights(&hub::folder(this.path)?, &self.limits)?;
        let other = weights(&hub::folder(other.path)?, &self.limits)?;
        Ok(Some(filiation_probes::lineage::relate(&*this, &*other)?))
    }
}
