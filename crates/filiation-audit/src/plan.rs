use std::collections::{BTreeMap, BTreeSet};

use filiation_core::{
    Answer, Digest, MethodId, ModelError, Party, Probe, Request, RequestId, Role, Want, Whose,
    canonical,
};
use serde::Serialize;

use crate::transcript::Transcript;

/// Transcripts by party name.
pub(crate) type Transcripts = BTreeMap<String, Transcript>;

/// What one party gave, by request.
pub(crate) type Results = Vec<(RequestId, Result<Answer, ModelError>)>;

/// Every request of every probe, fixed before anything is asked.
#[derive(Debug)]
pub(crate) struct Plan {
    requests: Vec<Planned>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Planned {
    /// What a party is asked, [`Want::Only`] taken off.
    request: Request,
    /// The one party that is asked, where it is not every one of the roles.
    only: Option<String>,
}

impl Planned {
    fn of(request: &Request) -> Self {
        let (only, want) = match request.want.clone() {
            Want::Only { party, want } => (Some(party), *want),
            want => (None, want),
        };
        let request = Request {
            id: request.id.clone(),
            to: request.to.clone(),
            want,
        };
        Self { request, only }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    method: &'a MethodId,
    request: &'a Request,
}

impl Plan {
    pub(crate) fn of(probes: &[Box<dyn Probe>]) -> Self {
        let mut plan = Self {
            requests: Vec::new(),
            bytes: Vec::new(),
        };
        for probe in probes {
            for request in probe.plan() {
                let line = Line {
                    method: probe.id(),
                    request,
                };
                plan.bytes.extend(canonical::to_bytes(&line));
                plan.bytes.push(b'\n');
                plan.requests.push(Planned::of(request));
            }
        }
        plan
    }

    /// The plan as a file.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is put to the running model `name` of this role, grouped by kind so that batches are
    /// alike; equal questions once.
    pub(crate) fn direct(&self, role: Role, name: &str) -> Vec<Request> {
        let asked = self.to(role, name).filter(|r| is_direct(&r.want)).cloned();
        distinct(asked.collect(), &BTreeSet::new())
    }

    /// What `asked` is asked about answers that are in: those of the teachers, or (`late`) its own
    /// and those of the suspect and the base.
    pub(crate) fn about_answers(
        &self,
        asked: &Party,
        parties: &[Party],
        transcripts: &Transcripts,
        late: bool,
    ) -> Vec<Request> {
        let before = |of: &[Request]| of.iter().map(Request::key).collect::<BTreeSet<Digest>>();
        let mut earlier = before(&self.direct(asked.role, &asked.name));
        let mut about = |late: bool| {
            let wanted = |whose| late == (whose != Whose::Teachers);
            let found = self.expand(asked, parties, transcripts, wanted);
            let found = distinct(found, &earlier);
            earlier.extend(before(&found));
            found
        };
        let teachers = about(false);
        if late { about(true) } else { teachers }
    }

    /// The comparisons of weights asked of the party `name` of this role.
    pub(crate) fn comparisons(
        &self,
        role: Role,
        name: &str,
    ) -> impl Iterator<Item = (&Request, Role)> {
        self.to(role, name)
            .filter_map(|request| match request.want {
                Want::CompareWeights { with } => Some((request, with)),
                _ => None,
            })
    }

    /// The results of one party by request id, `Err(id)` for the first that is not in its
    /// transcript.
    pub(crate) fn results(
        &self,
        party: &Party,
        parties: &[Party],
        transcripts: &Transcripts,
    ) -> Result<Results, RequestId> {
        let there = |role| parties.iter().any(|p| p.role == role && p != party);
        let mut asked = self.expand(party, parties, transcripts, |_| true);
        asked.extend(
            self.to(party.role, &party.name)
                .filter(|request| match request.want {
                    Want::CompareWeights { with } => there(with),
                    _ => is_direct(&request.want),
                })
                .cloned(),
        );
        let transcript = transcripts.get(&party.name);
        asked
            .into_iter()
            .map(|request| {
                let result = transcript.and_then(|t| t.get(&request.key()));
                let result = result.cloned().ok_or_else(|| request.id.clone())?;
                Ok((request.id, result))
            })
            .collect()
    }

    fn to(&self, role: Role, name: &str) -> impl Iterator<Item = &Request> {
        let asked = move |p: &&Planned| {
            p.request.to.contains(&role) && p.only.as_deref().is_none_or(|only| only == name)
        };
        self.requests.iter().filter(asked).map(|p| &p.request)
    }

    fn expand(
        &self,
        asked: &Party,
        parties: &[Party],
        transcripts: &Transcripts,
        wanted: impl Fn(Whose) -> bool,
    ) -> Vec<Request> {
        let sources: BTreeMap<&RequestId, &Request> = self
            .requests
            .iter()
            .map(|p| (&p.request.id, &p.request))
            .collect();
        let mut expanded = Vec::new();
        for request in self.to(asked.role, &asked.name) {
            let Want::ScoreAnswers { of, whose } = &request.want else {
                continue;
            };
            let Some(source) = sources.get(of).filter(|_| wanted(*whose)) else {
                continue;
            };
            let Want::Generate { prompt, .. } = &source.want else {
                continue;
            };
            for author in parties.iter().filter(|p| whose.is(p, asked)) {
                let answer = transcripts
                    .get(&author.name)
                    .and_then(|t| t.get(&source.key()));
                let Some(Ok(Answer::Completion(said))) = answer else {
                    continue;
                };
                if said.text.is_empty() {
                    continue;
                }
                expanded.push(Request {
                    id: request.id.about(&author.name),
                    to: request.to.clone(),
                    want: Want::Score {
                        prompt: prompt.clone(),
                        continuation: said.text.clone(),
                    },
                });
            }
        }
        expanded
    }
}

const fn is_direct(want: &Want) -> bool {
    matches!(
        want,
        Want::Generate { .. }
            | Want::Score { .. }
            | Want::TopK { .. }
            | Want::Choice { .. }
            | Want::Hidden { .. }
    )
}

// One request a question, without those in `but`; alike questions together, else in their order.
fn distinct(requests: Vec<Request>, but: &BTreeSet<Digest>) -> Vec<Request> {
    let mut seen = but.clone();
    let mut requests: Vec<_> = requests
        .into_iter()
        .filter(|request| seen.insert(request.key()))
        .collect();
    requests.sort_by_key(|request| request.want.kind());
    requests
}
