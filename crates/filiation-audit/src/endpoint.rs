//! Parties behind an API: by what right they are asked, and what is kept of the asking.

use filiation_core::{Digest, Party, Request, Role};
use filiation_report::EndpointFacts;

use crate::collect::party_error;
use crate::entry::Entry;
use crate::{AuditError, Provider, Seat};

/// Refuses to ask an endpoint where nothing says by what right.
pub(crate) fn authorised(entry: &Entry, role: Role) -> Result<(), AuditError> {
    if !entry.is_endpoint() || entry.authorisation.is_some() {
        return Ok(());
    }
    Err(AuditError::Unauthorised {
        role: role.as_str(),
        name: entry.name.clone(),
        endpoint: entry.path.display().to_string(),
    })
}

/// Refuses a case in which one party takes conversations alone and another takes none: it would be
/// told only after the others were asked, and paid.
pub(crate) fn one_form(parties: &[(&Party, bool, bool)], chat: bool) -> Result<(), AuditError> {
    let only = parties
        .iter()
        .find(|(_, _, plain)| !plain)
        .filter(|_| !chat);
    let Some((party, ..)) = only else {
        return Ok(());
    };
    let without = parties.iter().find(|(_, template, _)| !template);
    let because = match without {
        Some((other, ..)) => format!(
            "{} `{}` has no chat template",
            other.role.as_str(),
            other.name
        ),
        None => "`raw` is set".into(),
    };
    Err(AuditError::ChatOnly {
        role: party.role.as_str(),
        name: party.name.clone(),
        because,
    })
}

/// What is kept of asking an endpoint.
pub(crate) struct Kept {
    /// What a report says of it.
    pub(crate) facts: EndpointFacts,
    /// The exchanges, as lines.
    pub(crate) lines: Vec<u8>,
    /// How it was tested.
    pub(crate) examination: Option<Vec<u8>>,
}

/// What a report says of an endpoint that was asked these requests, and the exchanges, as lines.
pub(crate) fn endpoint_facts(
    provider: &dyn Provider,
    seat: &Seat<'_>,
    entry: &Entry,
    requests: &[Request],
) -> Result<Option<Kept>, AuditError> {
    let Some(authorisation) = entry.authorisation.clone().filter(|_| entry.is_endpoint()) else {
        return Ok(None);
    };
    let asked = provider.asked(seat, requests).map_err(party_error(seat))?;
    Ok(asked.map(|asked| {
        let facts = EndpointFacts {
            party: entry.name.clone(),
            endpoint: asked.endpoint,
            authorisation,
            tier: asked.tier,
            faults: asked.faults,
            tested: asked.tested,
            answered_by: asked.answered_by,
            exchanges: asked.exchanges,
            input_tokens: asked.tokens.0,
            output_tokens: asked.tokens.1,
            first: asked.days.0,
            last: asked.days.1,
            sha256: Digest::of(&asked.lines),
        };
        Kept {
            facts,
            lines: asked.lines,
            examination: asked.examination,
        }
    }))
}
