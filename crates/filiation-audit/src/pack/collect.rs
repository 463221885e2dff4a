use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use filiation_core::{Digest, Party, Probe, Request, Role, Want, canonical};
use filiation_report::SuiteFacts;
use serde::{Deserialize, Serialize};

use super::{Pack, PackHead, is_pack, place};
use crate::collect::{Collector, Place, party_error, seats};
use crate::endpoint::{authorised, endpoint_facts, one_form};
use crate::entry::{Entry, check_name};
use crate::folder::lock;
use crate::owned::{OwnerFiles, Owners};
use crate::party::{check_pin, party_of};
use crate::plan::{Plan, Transcripts};
use crate::run::parse;
use crate::suites::{self, SuiteFile};
use crate::transcript::Transcript;
use crate::{Asking, AuditError, Case, Progress, Provider, ServedEntry, disk};

/// What to record.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The models, each put the questions of a teacher.
    pub models: Vec<Entry>,
    /// Prompt suites (JSONL).
    pub suites: Vec<PathBuf>,
    /// How they are asked.
    pub asking: Asking,
    /// Logs of what some of the models served, whose prompts these are put too.
    pub served: Vec<ServedEntry>,
    /// Others of the case: chat templates are used where all of them have one too.
    pub others: Vec<Entry>,
}

impl Order {
    /// One model, nothing else said.
    pub fn of_model(model: Entry) -> Self {
        Self {
            models: vec![model],
            suites: Vec::new(),
            asking: Asking::default(),
            served: Vec::new(),
            others: Vec::new(),
        }
    }

    // A name is a file name too.
    fn check(&self) -> Result<(), AuditError> {
        self.asking.check()?;
        let mut seen = BTreeSet::new();
        for entry in &self.models {
            check_name(&entry.name)?;
            if !seen.insert(&entry.name) {
                return Err(AuditError::DuplicateParty {
                    name: entry.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// The teachers of a case.
    pub fn of_case(case: &Case) -> Self {
        let others = case.entries().filter(|(role, _)| *role != Role::Teacher);
        Self {
            models: case.teachers.clone(),
            suites: case.suites.clone(),
            asking: case.asking(),
            served: case.served.clone(),
            others: others.map(|(_, entry)| entry.clone()).collect(),
        }
    }
}

/// Recording in progress. What was answered lies in `<out>.part` until all of it is there, so that
/// the same order again goes on where it stopped.
pub struct Collection {
    work: PathBuf,
    parties: Vec<Party>,
    places: Vec<Place>,
    entries: Vec<Entry>,
    templates: Vec<bool>,
    plan: Plan,
    facts: Facts,
    // Held while the collection is in use.
    _lock: File,
}

// `<out>.part/collection.json`: what must be the same for a recording to go on.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    asking: Asking,
    chat: bool,
    suites: Vec<SuiteFacts>,
    plan: Digest,
    models: Vec<(String, Digest)>,
}

impl Collection {
    /// Plans the recording, or takes it up again. Paths are relative to `folder`; `out` is where
    /// the packs will be.
    ///
    /// # Errors
    /// [`AuditError`]: a model or suite that cannot be used, or another recording in the same place.
    pub fn begin(
        order: &Order,
        folder: &Path,
        provider: &dyn Provider,
        out: &Path,
    ) -> Result<Self, AuditError> {
        order.check()?;
        let work = part(out);
        if !work.exists() {
            refuse_existing(order, out)?;
        }
        for entry in order.models.iter().chain(&order.others) {
            authorised(entry, Role::Teacher)?;
        }
        let planned = Planned::of(order, folder, provider)?;
        disk::make_folder(&work)?;
        let this = Self {
            _lock: lock(&work)?,
            work,
            parties: planned.parties,
            places: planned.places,
            entries: order.models.clone(),
            templates: planned.templates,
            plan: planned.plan,
            facts: planned.facts,
        };
        this.settle()?;
        Ok(this)
    }

    /// Asks all that is not answered yet.
    ///
    /// # Errors
    /// [`AuditError`]; every answer that came before it is kept.
    pub fn collect(
        &self,
        provider: &dyn Provider,
        progress: &dyn Progress,
    ) -> Result<(), AuditError> {
        let seats = seats(&self.parties, &self.places);
        let mut transcripts = Transcripts::new();
        for party in &self.parties {
            let log = Transcript::resume(self.log(party))?;
            transcripts.insert(party.name.clone(), log);
        }
        Collector {
            plan: &self.plan,
            parties: &self.parties,
            seats: &seats,
            provider,
            progress,
            answers: None,
        }
        .collect(&mut transcripts)
    }

    /// Seals a pack for each model and removes what the recording worked in: one model to `out`
    /// where it is a `.pack`, else each to `out/<name>.pack`.
    ///
    /// # Errors
    /// [`AuditError`] where the disk cannot be written.
    pub fn seal(
        self,
        out: &Path,
        provider: &dyn Provider,
        recorded: &str,
        version: Option<&str>,
    ) -> Result<Vec<(PathBuf, Pack)>, AuditError> {
        let mut sealed = Vec::new();
        if !is_pack(out) {
            disk::make_folder(out)?;
        }
        let mut endpoints = Vec::new();
        for (seat, entry) in seats(&self.parties, &self.places).iter().zip(&self.entries) {
            let requests = match entry.is_endpoint() {
                true => Transcript::read(self.work.join(format!("{}.jsonl", entry.name)))?
                    .requests(seat.role)?,
                false => Vec::new(),
            };
            let facts = endpoint_facts(provider, seat, entry, &requests)?;
            endpoints.push(facts.map(|kept| kept.facts));
        }
        for ((party, template), endpoint) in self.parties.iter().zip(&self.templates).zip(endpoints)
        {
            let answers = disk::read_if_there(&self.log(party))?.unwrap_or_default();
            let head = PackHead {
                format: Pack::FORMAT.into(),
                model: party.identity.clone(),
                version: version.map(str::to_owned),
                recorded: recorded.to_owned(),
                template: *template,
                chat: self.facts.chat,
                asking: self.facts.asking.clone(),
                suites: self.facts.suites.clone(),
                plan: self.facts.plan,
                endpoint,
                // What the answers are is filled in as they are sealed.
                answers: 0,
                bytes: 0,
                sha256: Digest::of(&[]),
                imported: None,
            };
            let path = place(out, &party.name);
            let pack = Pack::write(&path, head, &answers)?;
            sealed.push((path, pack));
        }
        let removed = fs::remove_dir_all(&self.work);
        removed.map_err(|source| disk::write_error(&self.work, source))?;
        Ok(sealed)
    }

    fn log(&self, party: &Party) -> PathBuf {
        self.work.join(format!("{}.jsonl", party.name))
    }

    fn settle(&self) -> Result<(), AuditError> {
        let path = self.work.join("collection.json");
        match disk::read_if_there(&path)? {
            None => disk::put(&path, &canonical::to_pretty(&self.facts)),
            Some(bytes) if parse::<Facts>(&path, &bytes)? == self.facts => Ok(()),
            Some(_) => Err(AuditError::OtherCollection {
                path: self.work.clone(),
            }),
        }
    }
}

// What is asked of whom, nothing of it asked yet.
struct Planned {
    parties: Vec<Party>,
    places: Vec<Place>,
    templates: Vec<bool>,
    probes: Vec<Box<dyn Probe>>,
    plan: Plan,
    facts: Facts,
}

impl Planned {
    fn of(order: &Order, folder: &Path, provider: &dyn Provider) -> Result<Self, AuditError> {
        let suites = SuiteFile::of_case(&order.suites, folder)?;
        let owners = Owners {
            served: &order.served,
            limit: order.asking.limit,
            seed: order.asking.seed,
            ..Owners::default()
        };
        let files = OwnerFiles::of_case(&owners, folder)?;
        let owned = files.parsed(&owners)?;
        let names = suites::names(&order.asking, &suites, &owned)?;
        let asking = Asking {
            probes: names,
            ..order.asking.clone()
        };
        let mut chat = !asking.raw;
        let models = order.models.iter().map(|entry| (entry, Role::Teacher));
        // Others are asked nothing here; of them it matters how they take prompts.
        let others = order.others.iter().map(|entry| (entry, Role::Control));
        let (mut parties, mut places, mut forms) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, role) in models.chain(others) {
            let place = Place::of(entry, folder);
            let recorded = is_pack(place.path());
            if recorded && role == Role::Teacher {
                return Err(AuditError::PackedAlready {
                    path: place.path().to_owned(),
                });
            }
            let found = if recorded {
                Pack::read(place.path())?.profile()
            } else {
                let seat = place.seat(role);
                let profile = provider.profile(&seat).map_err(party_error(&seat))?;
                check_pin(entry, role, profile.identity.digest)?;
                profile
            };
            chat &= found.chat;
            parties.push(party_of(entry, role, found.identity));
            places.push(place);
            forms.push((found.chat, found.plain));
        }
        let of_party = parties
            .iter()
            .zip(&forms)
            .map(|(p, form)| (p, form.0, form.1));
        one_form(&of_party.collect::<Vec<_>>(), chat)?;
        parties.truncate(order.models.len());
        places.truncate(order.models.len());
        let templates = forms[..parties.len()].iter().map(|form| form.0).collect();
        let probes = suites::probes(&asking, None, &suites, &owned, chat)?;
        let plan = Plan::of(&probes);
        let facts = Facts {
            asking,
            chat,
            suites: suites
                .iter()
                .map(SuiteFile::facts)
                .chain(files.facts(&owners))
                .collect(),
            plan: Digest::of(plan.as_bytes()),
            models: parties
                .iter()
                .map(|p| (p.name.clone(), p.identity.digest))
                .collect(),
        };
        Ok(Self {
            parties,
            places,
            templates,
            probes,
            plan,
            facts,
        })
    }
}

/// What one model is asked, by the probe that asks first.
#[derive(Debug)]
pub struct Questions {
    /// The model.
    pub party: Party,
    /// Requests by probe, each question once.
    pub by_probe: Vec<(String, Vec<Request>)>,
}

impl Order {
    /// What is asked of each model that would be recorded, before anything is.
    ///
    /// # Errors
    /// As [`Collection::begin`].
    pub fn questions(
        &self,
        folder: &Path,
        provider: &dyn Provider,
    ) -> Result<Vec<Questions>, AuditError> {
        self.check()?;
        let planned = Planned::of(self, folder, provider)?;
        let of = |party: &Party| Questions {
            party: party.clone(),
            by_probe: by_probe(&planned.probes, planned.plan.every(party.role, &party.name)),
        };
        Ok(planned.parties.iter().map(of).collect())
    }
}

/// Questions by the probe that asks first; what none asks by itself is asked about answers.
pub(crate) fn by_probe(
    probes: &[Box<dyn Probe>],
    questions: Vec<Request>,
) -> Vec<(String, Vec<Request>)> {
    let mut left: BTreeMap<Digest, Request> = questions.into_iter().map(|r| (r.key(), r)).collect();
    let mut all: Vec<(String, Vec<Request>)> = probes
        .iter()
        .map(|probe| {
            let own = probe.plan().iter().filter_map(|request| {
                let want = match &request.want {
                    Want::Only { want, .. } => want,
                    want => want,
                };
                left.remove(&want.key())
            });
            (probe.id().name().to_owned(), own.collect())
        })
        .collect();
    all.push((ABOUT.into(), left.into_values().collect()));
    all.retain(|(_, own)| !own.is_empty());
    all
}

/// Stands for a probe where answers are asked about.
const ABOUT: &str = "scores of answers";

// What was sealed before a kill is sealed again; what was whole before all that is not touched.
fn refuse_existing(order: &Order, out: &Path) -> Result<(), AuditError> {
    let mut places = order.models.iter().map(|entry| place(out, &entry.name));
    match places.find(|path| path.exists()) {
        Some(path) => Err(AuditError::PackExists { path }),
        None => Ok(()),
    }
}

// `out` with `.part` appended.
fn part(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}
