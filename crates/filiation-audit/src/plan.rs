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
    /// Requests to teachers that are put when a stream buys them, and may never be.
    held: BTreeSet<RequestId>,
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
            held: held(probes),
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
        self.direct_if(role, name, |id| !self.held.contains(id))
    }

    /// As [`Self::direct`], with all that streams may buy.
    pub(crate) fn every(&self, role: Role, name: &str) -> Vec<Request> {
        self.direct_if(role, name, |_| true)
    }

    /// Those of the requests `ids` that a stream buys.
    pub(crate) fn bought(&self, role: Role, name: &str, ids: &BTreeSet<RequestId>) -> Vec<Request> {
        self.direct_if(role, name, |id| self.held.contains(id) && ids.contains(id))
    }

    fn direct_if(
        &self,
        role: Role,
        name: &str,
        wanted: impl Fn(&RequestId) -> bool,
    ) -> Vec<Request> {
        let asked = self.to(role, name);
        let asked = asked.filter(|r| is_direct(&r.want) && wanted(&r.id));
        distinct(asked.cloned().collect(), &BTreeSet::new())
    }

    /// What `asked` is asked about answers to those of the requests `ids` that a stream bought,
    /// without the questions in `but`.
    pub(crate) fn about_bought(
        &self,
        asked: &Party,
        parties: &[Party],
        transcripts: &Transcripts,
        ids: &BTreeSet<RequestId>,
        but: &BTreeSet<Digest>,
    ) -> Vec<Request> {
        let of = |id: &RequestId, _| self.held.contains(id) && ids.contains(id);
        distinct(self.expand(asked, parties, transcripts, of), but)
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
            let wanted = |of: &RequestId, whose| {
                late == (whose != Whose::Teachers) && !self.held.contains(of)
            };
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
        let mut asked = self.expand(party, parties, transcripts, |_, _| true);
        asked.extend(
            self.to(party.role, &party.name)
                .filter(|request| match request.want {
                    Want::CompareWeights { with } => there(with),
                    _ => is_direct(&request.want),
                })
                .cloned(),
        );
        let transcript = transcripts.get(&party.name);
        let put = |request: &Request| {
            let there = transcript.is_some_and(|t| t.get(&request.key()).is_some());
            there || !self.held.contains(&request.id)
        };
        asked
            .into_iter()
            .filter(put)
            .map(|request| {
                let result = transcript.and_then(|t| t.get(&request.key()));
                let result = result.cloned().ok_or_else(|| request.id.clone())?;
                Ok((request.id, result))
            })
            .collect()
    }

    /// What one party gave so far, of what streams buy only to the requests `bought`.
    pub(crate) fn seen(
        &self,
        party: &Party,
        parties: &[Party],
        transcripts: &Transcripts,
        bought: &BTreeSet<RequestId>,
    ) -> Results {
        let there = |id: &RequestId| !self.held.contains(id) || bought.contains(id);
        let mut asked = self.expand(party, parties, transcripts, |of, _| there(of));
        let direct = self.to(party.role, &party.name);
        asked.extend(direct.filter(|r| there(&r.id)).cloned());
        let transcript = transcripts.get(&party.name);
        let result = |request: Request| {
            let result = transcript?.get(&request.key())?.clone();
            Some((request.id, result))
        };
        asked.into_iter().filter_map(result).collect()
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
        wanted: impl Fn(&RequestId, Whose) -> bool,
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
            let Some(source) = sources.get(of).filter(|_| wanted(of, *whose)) else {
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

// What streams may buy, less what another probe asks for or about: that has a fixed budget.
fn held(probes: &[Box<dyn Probe>]) -> BTreeSet<RequestId> {
    let streams = probes.iter().filter_map(|probe| probe.stream());
    let units: BTreeSet<&RequestId> = streams.flat_map(|s| s.units()).flatten().collect();
    if units.is_empty() {
        return BTreeSet::new();
    }
    let of_teacher = |request: &&Request| request.to.contains(&Role::Teacher);
    let mut fixed = BTreeSet::new();
    for probe in probes {
        for request in probe.plan() {
            match &request.want {
                Want::ScoreAnswers { of, .. } if probe.stream().is_none() => {
                    let mut all = probes.iter().flat_map(|probe| probe.plan());
                    let source = all.find(|source| source.id == *of);
                    fixed.extend(source.filter(of_teacher).map(Request::key));
                }
                _ if of_teacher(&request) && !units.contains(&request.id) => {
                    fixed.insert(request.key());
                }
                _ => {}
            }
        }
    }
    let all = probes.iter().flat_map(|probe| probe.plan());
    let bought = all.filter(|r| units.contains(&r.id) && !fixed.contains(&r.key()));
    bought.map(|r| r.id.clone()).collect()
}

const fn is_direct(want: &Want) -> bool {
    matches!(
        want,
        Want::Generate { .. }
            | Want::Score { .. }
            | Want::TopK { .. }
            | Want::Read { .. }
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
