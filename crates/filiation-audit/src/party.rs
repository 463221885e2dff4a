//! A party of a case as it was found.

use std::path::{Path, PathBuf};

use filiation_core::{Digest, ModelIdentity, Party, Role};
use filiation_report::{EndpointFacts, RecordingFacts};
use serde::{Deserialize, Serialize};

use crate::collect::{Place, party_error};
use crate::endpoint::authorised;
use crate::entry::Entry;
use crate::pack::{Pack, is_pack};
use crate::{AuditError, Case, Profile, Provider};

/// `transcripts/<party>/party.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartyFile {
    pub(crate) party: Party,
    pub(crate) chat: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recording: Option<RecordingFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<EndpointFacts>,
}

/// A party as it was found.
pub(crate) struct Found {
    pub(crate) file: PartyFile,
    pub(crate) pack: Option<Pack>,
    pub(crate) plain: bool,
}

impl PartyFile {
    /// Its place in a run.
    pub(crate) fn place(root: &Path, party: &str) -> PathBuf {
        root.join("transcripts").join(party).join("party.json")
    }
}

/// The parties of a case, each looked at once: folders, endpoints and recordings.
pub(crate) fn found(
    case: &Case,
    folder: &Path,
    provider: &dyn Provider,
) -> Result<Vec<Found>, AuditError> {
    let mut all = Vec::new();
    for (role, entry) in case.entries() {
        let place = Place::of(entry, folder);
        let (path, seat) = (place.path(), place.seat(role));
        authorised(entry, role)?;
        let (profile, pack) = if is_pack(path) {
            let read = Pack::read(path).map_err(|e| party_error(&seat)(e.into()))?;
            (read.profile(), Some(read))
        } else {
            (provider.profile(&seat).map_err(party_error(&seat))?, None)
        };
        let Profile {
            identity,
            chat,
            plain,
        } = profile;
        let digest = pack.as_ref().map_or(identity.digest, Pack::digest);
        check_pin(entry, role, digest)?;
        let file = PartyFile {
            party: party_of(entry, role, identity),
            chat,
            recording: pack.as_ref().map(|pack| pack.facts(&entry.name)),
            endpoint: pack.as_ref().and_then(|pack| pack.endpoint(&entry.name)),
        };
        all.push(Found { file, pack, plain });
    }
    Ok(all)
}

/// Refuses a party that is not what the case says it is.
pub(crate) fn check_pin(entry: &Entry, role: Role, found: Digest) -> Result<(), AuditError> {
    match entry.digest {
        Some(expected) if expected != found => Err(AuditError::Pinned {
            role: role.as_str(),
            name: entry.name.clone(),
            found,
            expected,
        }),
        _ => Ok(()),
    }
}

pub(crate) fn party_of(entry: &Entry, role: Role, mut identity: ModelIdentity) -> Party {
    // An endpoint says of itself where it is.
    if !entry.is_endpoint() {
        identity.source = source(&entry.path);
    }
    Party {
        name: entry.name.clone(),
        role,
        identity,
    }
}

// As the case wrote it; of a path from the root of a machine only the last part, since a report
// is the same wherever it is made.
fn source(path: &Path) -> String {
    let told = if path.is_absolute() {
        path.file_name().map(Path::new).unwrap_or(path)
    } else {
        path
    };
    told.to_string_lossy().replace('\\', "/")
}
