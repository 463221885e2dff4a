use std::collections::BTreeMap;

use crate::{Answer, ModelError, Party, RequestId, Role};

/// All that was collected in a case: what a probe may see, and nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Observations<'a> {
    parties: &'a [Party],
    answers: &'a BTreeMap<(String, RequestId), Result<Answer, ModelError>>,
}

impl<'a> Observations<'a> {
    /// Observations of `parties`; keys are (party name, request id).
    pub const fn new(
        parties: &'a [Party],
        answers: &'a BTreeMap<(String, RequestId), Result<Answer, ModelError>>,
    ) -> Self {
        Self { parties, answers }
    }

    /// The suspect. A case has exactly one.
    pub fn suspect(&self) -> Option<&'a Party> {
        self.of_role(Role::Suspect).next()
    }

    /// The base, where one is named.
    pub fn base(&self) -> Option<&'a Party> {
        self.of_role(Role::Base).next()
    }

    /// The candidate teachers in the order of the case.
    pub fn teachers(&self) -> impl Iterator<Item = &'a Party> {
        self.of_role(Role::Teacher)
    }

    /// The controls in the order of the case.
    pub fn controls(&self) -> impl Iterator<Item = &'a Party> {
        self.of_role(Role::Control)
    }

    /// The answer of a party to a request; `None` when it was not asked or failed.
    pub fn answer(&self, party: &Party, request: &RequestId) -> Option<&'a Answer> {
        self.result(party, request)?.as_ref().ok()
    }

    /// As [`Self::answer`], with the failure.
    pub fn result(
        &self,
        party: &Party,
        request: &RequestId,
    ) -> Option<&'a Result<Answer, ModelError>> {
        self.answers.get(&(party.name.clone(), request.clone()))
    }

    fn of_role(&self, role: Role) -> impl Iterator<Item = &'a Party> {
        self.parties.iter().filter(move |p| p.role == role)
    }
}
