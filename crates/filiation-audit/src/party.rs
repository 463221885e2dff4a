//! A party of a case as it was found.

use std::path::Path;

use filiation_core::{Digest, ModelIdentity, Party, Role};

use crate::AuditError;
use crate::entry::Entry;

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
