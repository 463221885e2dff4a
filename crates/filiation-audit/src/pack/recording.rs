use std::collections::BTreeMap;

use filiation_core::{
    Answer, Digest, Model, ModelError, ModelIdentity, Party, Request, Want, WeightRelation,
};

use super::{Pack, is_pack};
use crate::plan::Plan;
use crate::suites::SuiteFile;
use crate::{Asked, Asking, AuditError, BoxError, Profile, Provider, Seat};

/// A model that answers what was recorded of it, and nothing else.
#[derive(Debug)]
pub(crate) struct Recording {
    identity: ModelIdentity,
    answers: BTreeMap<Digest, Result<Answer, ModelError>>,
}

impl Recording {
    pub(super) const fn new(
        identity: ModelIdentity,
        answers: BTreeMap<Digest, Result<Answer, ModelError>>,
    ) -> Self {
        Self { identity, answers }
    }
}

impl Model for Recording {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn supports(&self, want: &Want) -> bool {
        self.answers.contains_key(&want.key())
    }

    fn answer(&self, requests: &[Request]) -> Vec<Result<Answer, ModelError>> {
        let unsupported = |request: &Request| {
            Err(ModelError::Unsupported {
                want: request.want.kind().into(),
            })
        };
        let answer = |r: &Request| self.answers.get(&r.key()).cloned();
        let all = requests
            .iter()
            .map(|r| answer(r).unwrap_or_else(|| unsupported(r)));
        all.collect()
    }
}

/// A provider that opens packs itself and leaves the rest to another.
pub(crate) struct WithPacks<'a>(pub(crate) &'a dyn Provider);

impl Provider for WithPacks<'_> {
    fn profile(&self, seat: &Seat<'_>) -> Result<Profile, BoxError> {
        if !is_pack(seat.path) {
            return self.0.profile(seat);
        }
        Ok(Pack::read(seat.path)?.profile())
    }

    fn model(&self, seat: &Seat<'_>) -> Result<Box<dyn Model>, BoxError> {
        if is_pack(seat.path) {
            return Ok(Box::new(Pack::read(seat.path)?.into_model()));
        }
        self.0.model(seat)
    }

    fn relate(
        &self,
        this: &Seat<'_>,
        other: &Seat<'_>,
    ) -> Result<Option<WeightRelation>, BoxError> {
        if is_pack(this.path) || is_pack(other.path) {
            return Ok(None);
        }
        self.0.relate(this, other)
    }

    fn asked(&self, seat: &Seat<'_>, requests: &[Request]) -> Result<Option<Asked>, BoxError> {
        if is_pack(seat.path) {
            return Ok(None);
        }
        self.0.asked(seat, requests)
    }

    fn engine(&self) -> String {
        self.0.engine()
    }
}

/// Refuses a recording that lacks an answer to what every party of its role is asked, and says
/// where it was asked otherwise. What it is asked about the answers of others may be missing: that
/// is data, and the probes abstain.
pub(crate) fn require_recorded(
    pack: &Pack,
    party: &Party,
    plan: &Plan,
    asking: &Asking,
    chat: bool,
    suites: &[SuiteFile],
) -> Result<(), AuditError> {
    let asked = plan.every(party.role, &party.name);
    let lacks = |request: &&Request| pack.log.get(&request.key()).is_none();
    let lacking: Vec<&Request> = asked.iter().filter(lacks).collect();
    let Some(first) = lacking.first() else {
        return Ok(());
    };
    let mut differs = pack.head.asking.differences(asking);
    if pack.head.chat != chat {
        let form = |chat| {
            if chat {
                "in chat templates"
            } else {
                "as plain text"
            }
        };
        let (there, here) = (form(pack.head.chat), form(chat));
        differs.push(format!("prompts were put {there} there and {here} here"));
    }
    for suite in suites.iter().map(SuiteFile::facts) {
        let same = |s: &&filiation_report::SuiteFacts| s.digest == suite.digest;
        if pack.head.suites.iter().find(same).is_some() {
            continue;
        }
        let named = pack.head.suites.iter().any(|s| s.name == suite.name);
        let how = if named {
            "is another file"
        } else {
            "was not asked"
        };
        differs.push(format!("suite `{}` {how} there", suite.name));
    }
    Err(AuditError::NotRecorded {
        role: party.role.as_str(),
        name: party.name.clone(),
        lacking: lacking.len(),
        asked: asked.len(),
        first: first.id.clone(),
        differs,
    })
}
