use std::path::{Path, PathBuf};

use filiation_core::{Answer, Model, ModelError, Party, Request, Role, Want};

use crate::entry::{Entry, is_endpoint};
use crate::pack::is_pack;
use crate::plan::{Plan, Transcripts};
use crate::store::{Shelf, Store};
use crate::transcript::Transcript;
use crate::{AuditError, BoxError, Progress, Provider, Seat};

/// Requests put to a model before their answers are written: what a kill may cost. A model shares
/// work between them, and one that does not fit in memory is read once for all. Part of how answers
/// come about, so the same on every machine.
const fn batch(first: &Request) -> usize {
    match first.want {
        Want::Generate { .. } => 128,
        _ => 256,
    }
}

type Outcome = Result<Answer, ModelError>;

// What is asked of a party, once what came before is in.
pub(crate) type Stage<'a> = &'a dyn Fn(&Transcripts) -> Vec<Request>;

/// Where the model of a party is.
pub(crate) struct Place {
    path: PathBuf,
    entry: Entry,
}

impl Place {
    pub(crate) fn of(entry: &Entry, folder: &Path) -> Self {
        Self {
            path: entry.place(folder),
            entry: entry.clone(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn seat(&self, role: Role) -> Seat<'_> {
        Seat {
            path: &self.path,
            ..self.entry.seat(role)
        }
    }
}

/// The places of parties at the table, each with its model.
pub(crate) fn seats<'a>(parties: &'a [Party], places: &'a [Place]) -> Vec<Seat<'a>> {
    let pairs = parties.iter().zip(places);
    pairs.map(|(party, place)| place.seat(party.role)).collect()
}

/// What collecting works on.
pub(crate) struct Collector<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) parties: &'a [Party],
    pub(crate) seats: &'a [Seat<'a>],
    pub(crate) provider: &'a dyn Provider,
    pub(crate) progress: &'a dyn Progress,
    /// Answers that other runs share.
    pub(crate) answers: Option<&'a Store>,
}

impl Collector<'_> {
    /// Asks all that is not in the transcripts yet, one model in memory at a time: teachers
    /// first, since the others are asked about their answers; last what is asked about answers of
    /// others than teachers.
    pub(crate) fn collect(&self, transcripts: &mut Transcripts) -> Result<(), AuditError> {
        let is_teacher = |party: &Party| party.role == Role::Teacher;
        let of = |teachers: bool| {
            let all = self.seats.iter().zip(self.parties);
            all.filter(move |(_, party)| is_teacher(party) == teachers)
        };
        for (seat, _) in of(true) {
            self.ask(
                seat,
                &[&|_| self.plan.direct(seat.role, seat.name)],
                "answers",
                transcripts,
            )?;
        }
        for (seat, party) in of(false) {
            let direct = |_: &Transcripts| self.plan.direct(seat.role, seat.name);
            let about = |t: &Transcripts| self.plan.about_answers(party, self.parties, t, false);
            self.ask(seat, &[&direct, &about], "answers", transcripts)?;
        }
        for (seat, party) in of(true).chain(of(false)) {
            let about = |t: &Transcripts| self.plan.about_answers(party, self.parties, t, false);
            let late = |t: &Transcripts| self.plan.about_answers(party, self.parties, t, true);
            self.ask(seat, &[&about, &late], "scores of answers", transcripts)?;
        }
        for seat in self.seats {
            self.compare(seat, transcripts)?;
        }
        Ok(())
    }

    pub(crate) fn ask(
        &self,
        seat: &Seat<'_>,
        stages: &[Stage<'_>],
        what: &str,
        transcripts: &mut Transcripts,
    ) -> Result<(), AuditError> {
        let mut model = None;
        for stage in stages {
            let requests = stage(transcripts);
            if let Some(transcript) = transcripts.get_mut(seat.name) {
                self.put_all(seat, &requests, what, transcript, &mut model)?;
            }
        }
        Ok(())
    }

    fn put_all(
        &self,
        seat: &Seat<'_>,
        requests: &[Request],
        what: &str,
        transcript: &mut Transcript,
        model: &mut Option<Box<dyn Model>>,
    ) -> Result<(), AuditError> {
        // Batches hold one kind of question and begin at fixed places, wherever a run stopped.
        let batches: Vec<&[Request]> = requests
            .chunk_by(|a, b| a.want.kind() == b.want.kind())
            .flat_map(|alike| alike.chunks(batch(&alike[0])))
            .collect();
        for batch in &batches {
            transcript.keep_whole_batch(batch)?;
        }
        let done = requests
            .iter()
            .filter(|request| transcript.get(&request.key()).is_some())
            .count();
        if done == requests.len() {
            return Ok(());
        }
        let stage = format!("{} {}: {what}", seat.role.as_str(), seat.name);
        self.progress
            .begin(&stage, done as u64, requests.len() as u64);
        let mut shelf = self.shelf(seat)?;
        for batch in batches {
            if transcript.get(&batch[0].key()).is_none() {
                self.put(seat, batch, transcript, shelf.as_mut(), model)?;
                self.progress.advance(batch.len() as u64);
            }
        }
        self.progress.end();
        Ok(())
    }

    // A recording is no model of this machine, and an endpoint has a store of its own: what they say is
    // not shared.
    fn shelf(&self, seat: &Seat<'_>) -> Result<Option<Shelf>, AuditError> {
        let party = self.parties.iter().find(|p| p.name == seat.name);
        match (self.answers, party) {
            (Some(store), Some(party)) if !is_pack(seat.path) && !is_endpoint(seat.path) => {
                store.shelf(&party.identity).map(Some)
            }
            _ => Ok(None),
        }
    }

    // The model is opened for the first question that nobody answered before.
    fn put(
        &self,
        seat: &Seat<'_>,
        batch: &[Request],
        transcript: &mut Transcript,
        mut shelf: Option<&mut Shelf>,
        model: &mut Option<Box<dyn Model>>,
    ) -> Result<(), AuditError> {
        let known = |request: &Request| shelf.as_ref()?.get(&request.key()).cloned();
        let known: Vec<Option<Outcome>> = batch.iter().map(known).collect();
        let pairs = batch.iter().zip(&known);
        let rest: Vec<Request> = pairs
            .filter(|(_, known)| known.is_none())
            .map(|(request, _)| request.clone())
            .collect();
        let mut answers = Vec::new();
        if !rest.is_empty() {
            let model = match model {
                Some(model) => model,
                None => model.insert(self.provider.model(seat).map_err(party_error(seat))?),
            };
            answers = ask(&**model, seat, &rest)?;
            let unavailable = |answer: &Outcome| match answer {
                Err(ModelError::Unavailable { reason }) => Some(reason.clone()),
                _ => None,
            };
            if let Some(reason) = answers.iter().find_map(unavailable) {
                return Err(AuditError::Unavailable {
                    role: seat.role.as_str(),
                    name: seat.name.into(),
                    reason,
                });
            }
        }
        if let Some(shelf) = shelf.as_mut() {
            let new: Vec<_> = rest.iter().zip(answers.iter().cloned()).collect();
            shelf.add(&new)?;
        }
        let mut answers = answers.into_iter();
        let results = batch.iter().zip(known).map(|(request, known)| {
            let result = known.or_else(|| answers.next());
            (request, result.unwrap_or_else(|| Err(unsupported(request))))
        });
        transcript.append(&results.collect::<Vec<_>>())
    }

    fn compare(&self, seat: &Seat<'_>, transcripts: &mut Transcripts) -> Result<(), AuditError> {
        for (request, with) in self.plan.comparisons(seat.role, seat.name) {
            let other = self
                .seats
                .iter()
                .find(|s| s.role == with && s.name != seat.name);
            let (Some(other), Some(transcript)) = (other, transcripts.get_mut(seat.name)) else {
                continue;
            };
            if transcript.get(&request.key()).is_some() {
                continue;
            }
            let stage = format!("weights of {} and {}", seat.name, other.name);
            self.progress.begin(&stage, 0, 1);
            let related = self
                .provider
                .relate(seat, other)
                .map_err(party_error(seat))?;
            let result = related
                .map(Answer::Weights)
                .ok_or_else(|| unsupported(request));
            transcript.append(&[(request, result)])?;
            self.progress.advance(1);
            self.progress.end();
        }
        Ok(())
    }
}

fn ask(model: &dyn Model, seat: &Seat<'_>, batch: &[Request]) -> Result<Vec<Outcome>, AuditError> {
    let asked: Vec<Request> = batch
        .iter()
        .filter(|request| model.supports(&request.want))
        .cloned()
        .collect();
    let answers = if asked.is_empty() {
        Vec::new()
    } else {
        model.answer(&asked)
    };
    if answers.len() != asked.len() {
        return Err(AuditError::AnswerCount {
            role: seat.role.as_str(),
            name: seat.name.into(),
            found: answers.len(),
            expected: asked.len(),
        });
    }
    let mut answers = answers.into_iter();
    let results = batch.iter().map(|request| {
        if model.supports(&request.want) {
            answers.next().unwrap_or_else(|| Err(unsupported(request)))
        } else {
            Err(unsupported(request))
        }
    });
    Ok(results.collect())
}

fn unsupported(request: &Request) -> ModelError {
    ModelError::Unsupported {
        want: request.want.kind().into(),
    }
}

pub(crate) fn party_error(seat: &Seat<'_>) -> impl FnOnce(BoxError) -> AuditError {
    let (role, name) = (seat.role.as_str(), seat.name.to_owned());
    move |source| AuditError::Party { role, name, source }
}
