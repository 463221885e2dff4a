//! The Hub by `hf-hub`, of which only three calls are used, none of them on trust.
//!
//! Of hf-hub 1.0.0 it is known that downloads into the cache do not look at the status of the answer and
//! check no hash, that names from a server become paths, that lists are followed to any address with the
//! token, that the id of git-lfs is lost from lists, and that `HF_HUB_OFFLINE` is not read. So here: what
//! a model is comes from one answer (never a list in pages), the hash of each file from the tree of the
//! commit, and content from the streaming call, whose status is checked; what arrives is written beside
//! its place and moved there when its hash is right.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use hf_hub::repository::RepoTreeEntry;
use hf_hub::{HFClient, HFError, HFRepository, RepoTypeModel};
use reqwest::Url;
use tokio::runtime::Runtime;

use crate::cache::{Cache, Checked, remove};
use crate::id::is_commit;
use crate::verify::{Found, Hashes};
use crate::{HubError, HubId, Settings, Watch, names};

const OWN: &str = "https://huggingface.co";
/// Longest wait for a connection, and for more bytes.
const CONNECT: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(60);
/// Names asked about at once.
const BATCH: usize = 50;
/// Files that a model may have, and bytes of a small one and of weights.
const MOST_FILES: usize = 100_000;
const MOST_SMALL: u64 = 256 << 20;
const MOST_WEIGHTS: u64 = 1 << 40;

pub(crate) struct Remote {
    client: HFClient,
    runtime: Runtime,
}

/// A file of a commit, as its tree names it.
struct Wanted {
    name: String,
    bytes: u64,
    /// Git's hash: of the content, or of the pointer in its place.
    oid: String,
    /// Whether a pointer stands in its place.
    lfs: bool,
}

impl Wanted {
    fn matches(&self, found: &Found) -> bool {
        let hash = if self.lfs {
            &found.pointer
        } else {
            &found.blob
        };
        found.bytes == self.bytes && *hash == self.oid
    }

    /// As the cache names the content.
    fn checked(&self, found: &Found) -> Checked {
        Checked {
            name: self.name.clone(),
            bytes: self.bytes,
            blob: if self.lfs { &found.sha256 } else { &found.blob }.clone(),
        }
    }
}

impl Remote {
    pub(crate) fn new(settings: &Settings) -> Result<Self, HubError> {
        let endpoint = settings.endpoint.as_deref().unwrap_or(OWN);
        let address = Url::parse(endpoint).ok().filter(may_be_told_a_token);
        let Some(address) = address else {
            let shown = endpoint.split(['?', '#']).next().unwrap_or_default();
            return Err(HubError::Endpoint {
                endpoint: shown.rsplit('@').next().unwrap_or_default().into(),
            });
        };
        let redirect = reqwest::redirect::Policy::custom(|attempt| {
            if attempt.previous().len() > 10 || !may_be_told_a_token(attempt.url()) {
                attempt.stop()
            } else {
                attempt.follow()
            }
        });
        let agent = concat!("filiation/", env!("CARGO_PKG_VERSION"));
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .redirect(redirect)
            .user_agent(agent)
            .build();
        let broken = |what: String| HubError::Endpoint { endpoint: what };
        let http = http.map_err(|e| broken(e.to_string()))?;
        let client = HFClient::builder()
            .client(http)
            .endpoint(address.as_str().trim_end_matches('/'))
            .cache_enabled(false)
            .build()
            .map_err(|e| broken(cut(&e.to_string())))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| broken(e.to_string()))?;
        Ok(Self { client, runtime })
    }

    fn model(&self, id: &HubId) -> HFRepository<RepoTypeModel> {
        self.client.model(id.owner(), id.name())
    }

    /// The commit of a revision.
    pub(crate) fn commit(&self, id: &HubId) -> Result<String, HubError> {
        self.info(id).map(|(commit, _)| commit)
    }

    // The commit of a revision and the names of its files.
    fn info(&self, id: &HubId) -> Result<(String, Vec<String>), HubError> {
        let model = self.model(id);
        let asked = model.info().revision(id.revision()).send();
        let info = self.runtime.block_on(asked).map_err(|e| refused(id, &e))?;
        let malformed = |what| HubError::Malformed {
            id: id.clone(),
            what,
        };
        let commit = info
            .sha
            .filter(|s| is_commit(s))
            .ok_or_else(|| malformed("commit"))?;
        if id.commit().is_some_and(|asked| asked != commit) {
            return Err(HubError::OtherCommit {
                id: id.clone(),
                found: commit,
            });
        }
        let files = info.siblings.unwrap_or_default();
        if files.len() > MOST_FILES {
            return Err(malformed("number of files"));
        }
        Ok((commit, files.into_iter().map(|f| f.rfilename).collect()))
    }

    /// Downloads what an audit reads of a commit and is not there yet.
    pub(crate) fn fetch(
        &self,
        id: &HubId,
        commit: &str,
        cache: &Cache,
        watch: &dyn Watch,
    ) -> Result<PathBuf, HubError> {
        let (_, listed) = self.info(id)?;
        let names = wanted(id, &listed)?;
        let mut checked = Vec::new();
        for file in self.entries(id, commit, &names)? {
            checked.push(self.have(id, commit, &file, cache, watch)?);
        }
        cache.note_checked(id, commit, &checked)?;
        Ok(cache.snapshot(id, commit))
    }

    // What the commit's tree says of each file.
    fn entries(&self, id: &HubId, commit: &str, names: &[String]) -> Result<Vec<Wanted>, HubError> {
        let malformed = |what| HubError::Malformed {
            id: id.clone(),
            what,
        };
        let mut all = BTreeMap::new();
        for batch in names.chunks(BATCH) {
            let model = self.model(id);
            let asked = model
                .get_paths_info()
                .paths(batch.to_vec())
                .revision(commit)
                .send();
            let entries = self.runtime.block_on(asked).map_err(|e| refused(id, &e))?;
            for entry in entries {
                if let RepoTreeEntry::File {
                    oid,
                    size,
                    path,
                    lfs,
                    ..
                } = entry
                {
                    if !is_commit(&oid) {
                        return Err(malformed("hash of a file"));
                    }
                    all.insert(path, (oid, size, lfs.is_some()));
                }
            }
        }
        // Only what was asked for is looked at.
        let of = |name: &String| {
            let (oid, bytes, lfs) = all
                .get(name)
                .cloned()
                .ok_or_else(|| malformed("entry of a file"))?;
            let limit = if names::is_weights(name) {
                MOST_WEIGHTS
            } else {
                MOST_SMALL
            };
            if bytes > limit {
                return Err(HubError::TooLarge {
                    id: id.clone(),
                    file: name.clone(),
                    bytes,
                    limit,
                });
            }
            Ok(Wanted {
                name: name.clone(),
                bytes,
                oid,
                lfs,
            })
        };
        names.iter().map(of).collect()
    }

    // A file is had when its content has the hash of the commit, whoever put it there.
    fn have(
        &self,
        id: &HubId,
        commit: &str,
        file: &Wanted,
        cache: &Cache,
        watch: &dyn Watch,
    ) -> Result<Checked, HubError> {
        let _held = cache.lock(id, &file.oid)?;
        let place = cache.snapshot(id, commit).join(&file.name);
        if place.is_file() {
            let found = Found::of_file(&place).map_err(HubError::io(&place))?;
            if file.matches(&found) {
                return Ok(file.checked(&found));
            }
            cache.drop_file(id, commit, &file.name)?;
        }
        if !file.lfs {
            // A blob by this name may be that of another revision.
            let blob = cache.blob(id, &file.oid);
            if blob.is_file() {
                let found = Found::of_file(&blob).map_err(HubError::io(&blob))?;
                if file.matches(&found) {
                    let checked = file.checked(&found);
                    cache.link(id, commit, &checked)?;
                    return Ok(checked);
                }
            }
        }
        self.download(id, commit, file, cache, watch)
    }

    fn download(
        &self,
        id: &HubId,
        commit: &str,
        file: &Wanted,
        cache: &Cache,
        watch: &dyn Watch,
    ) -> Result<Checked, HubError> {
        let part = cache.blob(id, &format!("{}.incomplete", file.oid));
        if let Some(folder) = part.parent() {
            fs::create_dir_all(folder).map_err(HubError::io(folder))?;
        }
        let mut found = self.stream(id, commit, file, &part, watch)?;
        if !file.matches(&found.0) && found.1 > 0 {
            // What an earlier attempt left may be at fault: once more from the beginning.
            remove(&part)?;
            found = self.stream(id, commit, file, &part, watch)?;
        }
        let (found, _) = found;
        if !file.matches(&found) {
            remove(&part)?;
            let hash = if file.lfs {
                &found.pointer
            } else {
                &found.blob
            };
            return Err(HubError::Hash {
                id: id.clone(),
                file: file.name.clone(),
                detail: format!(
                    "{} bytes of hash {hash}, the commit names {} bytes of {}",
                    found.bytes, file.bytes, file.oid
                ),
            });
        }
        let checked = file.checked(&found);
        cache.install(id, commit, &checked, &part)?;
        Ok(checked)
    }

    // Goes on with what is there. The hashes, and how many bytes were there before.
    fn stream(
        &self,
        id: &HubId,
        commit: &str,
        file: &Wanted,
        part: &std::path::Path,
        watch: &dyn Watch,
    ) -> Result<(Found, u64), HubError> {
        let io = || HubError::io(part);
        let mut hashes = Hashes::of(file.bytes);
        let mut there = fs::metadata(part).map_or(0, |m| m.len());
        if there >= file.bytes {
            remove(part)?;
            there = 0;
        }
        let mut out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(part)
            .map_err(io())?;
        if there > 0 {
            hash_file(part, &mut hashes).map_err(io())?;
        }
        watch.begin(&file.name, there, file.bytes);
        if file.bytes > there {
            self.runtime.block_on(async {
                let model = self.model(id);
                let asked = model
                    .download_file_stream()
                    .filename(file.name.as_str())
                    .revision(commit);
                let range = (there > 0).then_some(there..file.bytes);
                let sent = asked.maybe_range(range).send().await;
                let (_, mut stream) = sent.map_err(|e| refused(id, &e))?;
                while let Some(bytes) = stream.next().await {
                    let bytes = bytes.map_err(|e| refused(id, &e))?;
                    hashes.update(&bytes);
                    // More than there is to come is never written.
                    if hashes.bytes() > file.bytes {
                        break;
                    }
                    out.write_all(&bytes).map_err(io())?;
                    watch.advance(bytes.len() as u64);
                }
                Ok(())
            })?;
        }
        out.sync_all().map_err(io())?;
        watch.end();
        Ok((hashes.finish(), there))
    }
}

fn hash_file(path: &std::path::Path, hashes: &mut Hashes) -> std::io::Result<()> {
    use std::io::Read;
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            n => hashes.update(&buffer[..n]),
        }
    }
}

// What an audit reads of the files listed. A list with a name that climbs is a hostile one.
fn wanted(id: &HubId, listed: &[String]) -> Result<Vec<String>, HubError> {
    let climbs = |name: &&String| {
        let up = name.split(['/', '\\']).any(|part| part == "..");
        up || name.starts_with(['/', '\\']) || name.contains('\0')
    };
    if let Some(name) = listed.iter().find(climbs) {
        return Err(HubError::Name {
            id: id.clone(),
            name: cut(name),
        });
    }
    let plain = || listed.iter().filter(|n| names::is_plain(n));
    let safetensors = plain().any(|n| names::is_safetensors(n));
    let gguf: Vec<&String> = plain().filter(|n| names::is_gguf(n)).collect();
    let read = |n: &&String| match safetensors {
        true => names::is_small(n) || names::is_safetensors(n),
        false => names::is_gguf(n),
    };
    if !safetensors && gguf.len() != 1 {
        return Err(HubError::NoWeights {
            id: id.clone(),
            found: listed.len(),
        });
    }
    let mut names: Vec<String> = plain().filter(read).cloned().collect();
    names.sort();
    names.dedup();
    Ok(names)
}

// Encrypted, or on this machine.
fn may_be_told_a_token(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    let plain = url.username().is_empty() && url.password().is_none();
    plain && (url.scheme() == "https" || url.scheme() == "http" && here)
}

fn refused(id: &HubId, error: &HFError) -> HubError {
    let (what, hint): (String, Option<&'static str>) = match error {
        HFError::AuthRequired { .. } => (
            "asks for a token (or there is no such model)".into(),
            Some("set `HF_TOKEN`, or log in with `hf auth login`"),
        ),
        HFError::Forbidden { .. } => (
            "does not give it to you".into(),
            Some("accept its terms on its page, or use another token"),
        ),
        HFError::RepoNotFound { .. } => ("has no such model".into(), None),
        HFError::RevisionNotFound { .. } => ("has no such revision of it".into(), None),
        HFError::EntryNotFound { path, .. } => (format!("has no `{}` in it", cut(path)), None),
        HFError::RateLimited { .. } => (
            "asks to wait".into(),
            Some("give the command again later: what came is kept"),
        ),
        HFError::Http { context } => (format!("answered with status {}", context.status), None),
        HFError::Request { source, .. } => (
            format!("could not be reached: {}", cut(&source.to_string())),
            Some(
                "check the network and `HF_ENDPOINT`; with `HF_HUB_OFFLINE=1` the cache alone is used",
            ),
        ),
        other => (
            format!("could not be understood: {}", cut(&other.to_string())),
            None,
        ),
    };
    HubError::Refused {
        id: id.clone(),
        what,
        hint,
    }
}

// What a server says may be long and hostile.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(160).collect()
}
