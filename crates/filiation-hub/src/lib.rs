//! Models by their id on the Hugging Face Hub.
//!
//! [`HubId`] names a model and a revision, [`Hub::pin`] turns the revision into a commit, and
//! [`Hub::fetch`] gives the folder of that commit in the standard cache, which Python's
//! `huggingface_hub` shares. The variables `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`,
//! `HF_TOKEN_PATH` and `HF_HUB_OFFLINE` mean what they mean there.
//!
//! The library `hf-hub` speaks to the Hub (feature `hub`; without it, ids are found in the cache alone).
//! Nothing that a server says is taken on trust: a name never becomes a path unchecked, no list is
//! followed to another page, no byte is kept under a name that its hash does not earn. The server may
//! be a mirror that lies consistently; the digest of a model, not its id, is what names it in evidence.

#![forbid(unsafe_code)]

mod cache;
mod error;
mod id;
mod names;
#[cfg(feature = "hub")]
mod remote;
mod verify;

pub use error::HubError;
pub use id::HubId;

use std::path::PathBuf;

use cache::Cache;

/// Where models come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Address of the Hub; `None` for its own.
    pub endpoint: Option<String>,
    /// Folder of the cache, such as `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// Open no socket: what is not in the cache is not there.
    pub offline: bool,
}

impl Settings {
    /// As the variables of Hugging Face's own tools say.
    pub fn from_env() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let folder = |name: &str| set(name).map(PathBuf::from);
        let yes = |name: &str| {
            let value = set(name).map(|v| v.to_string_lossy().to_lowercase());
            value.is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.as_str()))
        };
        let home = folder("HF_HOME")
            .or_else(|| folder("XDG_CACHE_HOME").map(|x| x.join("huggingface")))
            .or_else(|| folder("HOME").map(|h| h.join(".cache/huggingface")))
            .unwrap_or_else(|| PathBuf::from(".cache/huggingface"));
        let cache = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE"));
        Self {
            endpoint: set("HF_ENDPOINT").map(|e| e.to_string_lossy().into_owned()),
            cache: cache.unwrap_or_else(|| home.join("hub")),
            offline: yes("HF_HUB_OFFLINE") || yes("TRANSFORMERS_OFFLINE"),
        }
    }
}

/// Told what is being downloaded.
pub trait Watch {
    /// A file begins; `bytes` of it are there already.
    fn begin(&self, name: &str, bytes: u64, total: u64);
    /// More bytes came.
    fn advance(&self, bytes: u64);
    /// The file is there.
    fn end(&self);
}

/// Says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn begin(&self, _: &str, _: u64, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

/// The Hub, and the cache of what came from it.
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
    cache: Cache,
}

impl Hub {
    /// A hub with these settings; nothing is opened yet.
    pub fn new(settings: Settings) -> Self {
        let cache = Cache::at(settings.cache.clone());
        Self { settings, cache }
    }

    /// The id with its revision turned into a commit: asked of the Hub, and offline what the cache
    /// last saw.
    ///
    /// # Errors
    /// [`HubError`]: no such model or revision, no access, no network, or not in the cache.
    pub fn pin(&self, id: &HubId) -> Result<HubId, HubError> {
        if id.is_pinned() {
            return Ok(id.clone());
        }
        if self.settings.offline {
            let commit = self.cache.commit(id)?;
            let why = self.why_offline();
            return commit
                .map(|c| id.at(&c))
                .ok_or_else(|| HubError::NotCached {
                    id: id.clone(),
                    why,
                });
        }
        self.remote_commit(id)
    }

    /// The folder of a pinned model: configuration, tokenizer, templates, and weights in safetensors, or
    /// one file of GGUF. What is missing is downloaded, checked against the hashes of the commit, and
    /// kept.
    ///
    /// # Errors
    /// [`HubError`], naming the file; what was downloaded and checked before it is kept.
    pub fn fetch(&self, id: &HubId, watch: &dyn Watch) -> Result<PathBuf, HubError> {
        let Some(commit) = id.commit() else {
            return self.fetch(&self.pin(id)?, watch);
        };
        if self.cache.is_checked(id, commit)? {
            return Ok(self.cache.snapshot(id, commit));
        }
        if self.settings.offline {
            // Another tool may have put it there; then every file is checked against its name.
            return match self.cache.check_snapshot(id, commit)? {
                true => Ok(self.cache.snapshot(id, commit)),
                false => Err(HubError::NotCached {
                    id: id.clone(),
                    why: self.why_offline(),
                }),
            };
        }
        self.remote_fetch(id, commit, watch)
    }

    const fn why_offline(&self) -> &'static str {
        "`HF_HUB_OFFLINE` is set"
    }

    #[cfg(feature = "hub")]
    fn remote_commit(&self, id: &HubId) -> Result<HubId, HubError> {
        let commit = remote::Remote::new(&self.settings)?.commit(id)?;
        self.cache.remember(id, &commit)?;
        Ok(id.at(&commit))
    }

    #[cfg(feature = "hub")]
    fn remote_fetch(
        &self,
        id: &HubId,
        commit: &str,
        watch: &dyn Watch,
    ) -> Result<PathBuf, HubError> {
        remote::Remote::new(&self.settings)?.fetch(id, commit, &self.cache, watch)
    }

    #[cfg(not(feature = "hub"))]
    fn remote_commit(&self, id: &HubId) -> Result<HubId, HubError> {
        let commit = self.cache.commit(id)?;
        commit
            .map(|c| id.at(&c))
            .ok_or_else(|| HubError::NotCached {
                id: id.clone(),
                why: NOT_BUILT,
            })
    }

    #[cfg(not(feature = "hub"))]
    fn remote_fetch(&self, id: &HubId, commit: &str, _: &dyn Watch) -> Result<PathBuf, HubError> {
        match self.cache.check_snapshot(id, commit)? {
            true => Ok(self.cache.snapshot(id, commit)),
            false => Err(HubError::NotCached {
                id: id.clone(),
                why: NOT_BUILT,
            }),
        }
    }
}

#[cfg(not(feature = "hub"))]
const NOT_BUILT: &str = "this program was built without the feature `hub`";
