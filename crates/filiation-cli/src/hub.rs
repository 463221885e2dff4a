//! Models that are named by their id on the Hub.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use filiation_audit::{Entry, Progress};
use filiation_hub::{Hub, HubError, HubId, Settings, Watch};

use crate::progress::Shown;

/// Progress is shown in these.
const MIB: u64 = 1 << 20;

/// The id that a word of the command line, or a path of a case, holds.
fn id(path: &Path) -> Option<Result<HubId, HubError>> {
    HubId::in_path(path).or_else(|| HubId::of_word(path.to_str()?))
}

/// Where a model that a word names lies, downloaded where it is on the Hub, and what to call it then.
pub(crate) fn place(path: &Path) -> Result<(PathBuf, Option<HubId>), HubError> {
    let Some(id) = id(path) else {
        return Ok((path.to_owned(), None));
    };
    let hub = Hub::new(Settings::from_env());
    let id = hub.pin(&id?)?;
    let folder = hub.fetch(&id, &Download::default())?;
    Ok((folder, Some(id)))
}

/// As [`place`] for a path of a case or a manifest: there only `hf:` makes an id.
pub(crate) fn folder(path: &Path) -> Result<PathBuf, HubError> {
    match HubId::in_path(path) {
        Some(_) => place(path).map(|(folder, _)| folder),
        None => Ok(path.to_owned()),
    }
}

/// Turns ids into ids of a commit: what a case names stays what it was.
pub(crate) fn pin(entry: &mut Entry) -> Result<(), HubError> {
    let Some(id) = id(&entry.path) else {
        return Ok(());
    };
    let pinned = Hub::new(Settings::from_env()).pin(&id?)?;
    entry.path = PathBuf::from(pinned.to_string());
    Ok(())
}

/// What a model is called in a report when nothing else is said: its name, without owner and revision.
pub(crate) fn name(text: &str) -> Option<String> {
    let id = HubId::of_word(text)?.ok()?;
    Some(Entry::at(id.name()).name)
}

/// A download as it is shown.
struct Download {
    shown: Shown,
    bytes: Cell<u64>,
}

impl Default for Download {
    fn default() -> Self {
        Self {
            shown: Shown::new(),
            bytes: Cell::new(0),
        }
    }
}

impl Watch for Download {
    fn begin(&self, name: &str, bytes: u64, total: u64) {
        self.bytes.set(bytes % MIB);
        let name = filiation_report::clean(name);
        let stage = format!("download {name} (MiB)");
        self.shown.begin(&stage, bytes / MIB, total.div_ceil(MIB));
    }

    fn advance(&self, bytes: u64) {
        let sum = self.bytes.get() + bytes;
        self.shown.advance(sum / MIB);
        self.bytes.set(sum % MIB);
    }

    fn end(&self) {
        self.shown.advance(u64::from(self.bytes.get() > 0));
        self.shown.end();
    }
}
