use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use filiation_core::{Digest, Party, Role, canonical};
use filiation_report::SuiteFacts;
use serde::{Deserialize, Serialize};

use super::{Pack, PackHead, is_pack, place};
use crate::case::{Entry, check_name};
use crate::collect::{Collector, party_error, seats};
use crate::folder::lock;
use crate::owned::{OwnerFiles, Owners};
use crate::party::{check_pin, party_of};
use crate::plan::{Plan, Transcripts};
use crate::run::parse;
use crate::suites::{self, SuiteFile};
use crate::transcript::Transcript;
use crate::{Asking, AuditError, Case, Progress, Provider, Seat, ServedEntry, disk};

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
    paths: Vec<PathBuf>,
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
        let (mut parties, mut paths, mut templates) = (Vec::new(), Vec::new(), Vec::new());
        for entry in &order.models {
            let path = folder.join(&entry.path);
            if is_pack(&path) {
                return Err(AuditError::PackedAlready { path });
            }
            let (party, template) = profile(entry, &path, provider)?;
            chat &= template;
            parties.push(party);
            paths.push(path);
            templates.push(template);
        }
        for entry in &order.others {
            let path = folder.join(&entry.path);
            let template = if is_pack(&path) {
                Pack::read(&path)?.head.template
            } else {
                profile(entry, &path, provider)?.1
            };
            chat &= template;
        }
        let plan = Plan::of(&suites::probes(&asking, None, &suites, &owned, chat)?);
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
        disk::make_folder(&work)?;
        let this = Self {
            _lock: lock(&work)?,
            work,
            parties,
            paths,
            templates,
            plan,
            facts,
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
        let seats = seats(&self.parties, &self.paths);
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
        recorded: &str,
        version: Option<&str>,
    ) -> Result<Vec<(PathBuf, Pack)>, AuditError> {
        let mut sealed = Vec::new();
        if !is_pack(out) {
            disk::make_folder(out)?;
        }
        for (party, template) in self.parties.iter().zip(&self.templates) {
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

fn profile(
    entry: &Entry,
    path: &Path,
    provider: &dyn Provider,
) -> Result<(Party, bool), AuditError> {
    let seat = Seat {
        name: &entry.name,
        role: Role::Teacher,
        path,
    };
    let profile = provider.profile(&seat).map_err(party_error(&seat))?;
    check_pin(entry, Role::Teacher, profile.identity.digest)?;
    Ok((
        party_of(entry, Role::Teacher, profile.identity),
        profile.chat,
    ))
}

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
