use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use filiation_core::{Digest, Party, Probe, canonical};
use filiation_lr::Calibration;
use filiation_report::{CaseFacts, EndpointFacts, RecordingFacts, SuiteFacts};

use crate::collect::{Collector, Place, seats};
use crate::endpoint::{endpoint_facts, one_form};
use crate::entry::Entry;
use crate::folder::{self, lock};
use crate::owned::{Owned, OwnerFiles, Owners};
use crate::pack::{Questions, WithPacks, by_probe, require_recorded};
use crate::party::{Found, PartyFile, found};
use crate::plan::{Plan, Transcripts};
use crate::store::Store;
use crate::suites::{SuiteFile, names, not_run, probes};
use crate::transcript::Transcript;
use crate::{AuditError, Case, Progress, Provider, Seat, disk, population};

/// A run directory: everything of one case, from the plan to the report.
///
/// One process at a time works in it. Every file is written whole or appended whole, so that a
/// run stopped at any moment goes on where it was.
pub struct Run {
    root: PathBuf,
    case: Case,
    suites: Vec<SuiteFile>,
    owners: OwnerFiles,
    calibration: Option<Calibration>,
    parties: Vec<Party>,
    // One entry a party.
    files: Vec<PartyFile>,
    // Where runs share answers.
    answers: Option<PathBuf>,
    probes: Vec<Box<dyn Probe>>,
    plan: Plan,
    // Held while the run is in use; the system lets go of it however the process ends.
    _lock: File,
}

impl Run {
    /// Begins the run of `case` at `root`, or takes it up again. Paths of the case are relative
    /// to `folder`. All that the case names is read first; nothing is written before it holds.
    ///
    /// # Errors
    /// [`AuditError`]: a party or suite that cannot be used, a folder with another case, a disk
    /// that cannot be written.
    pub fn begin(
        root: &Path,
        case: Case,
        folder: &Path,
        provider: &dyn Provider,
    ) -> Result<Self, AuditError> {
        case.check()?;
        let suites = SuiteFile::of_case(&case.suites, folder)?;
        let owners = OwnerFiles::of_case(&Owners::of(&case), folder)?;
        let population = case.population.as_ref().map(|p| folder.join(p));
        let calibration = population
            .as_deref()
            .map(population::calibration)
            .transpose()?;
        let owned = owners.parsed(&Owners::of(&case))?;
        let case = Case {
            probes: names(&case.asking(), &suites, &owned)?,
            ..case
        };
        folder::check(root, &case)?;
        let found = found(&case, folder, provider)?;
        let chat = !case.raw && found.iter().all(|f| f.file.chat);
        let forms = found.iter().map(|f| (&f.file.party, f.file.chat, f.plain));
        one_form(&forms.collect::<Vec<_>>(), chat)?;
        let probes = probes(&case.asking(), case.stopping(), &suites, &owned, chat)?;
        let plan = Plan::of(&probes);
        for Found { file, pack, .. } in &found {
            if let Some(pack) = pack {
                require_recorded(pack, &file.party, &plan, &case.asking(), chat, &suites)?;
            }
        }
        let files: Vec<PartyFile> = found.into_iter().map(|f| f.file).collect();
        disk::make_folder(root)?;
        let run = Self {
            _lock: lock(root)?,
            root: root.to_owned(),
            case,
            suites,
            owners,
            calibration,
            parties: files.iter().map(|f| f.party.clone()).collect(),
            files,
            answers: None,
            probes,
            plan,
        };
        run.lay_out(&owned)?;
        Ok(run)
    }

    /// The same run, that shares its answers with others through a folder. Each is found by the
    /// digest of the model, the engine and the question, so that no result depends on the folder.
    pub fn sharing(self, answers: Option<PathBuf>) -> Self {
        Self { answers, ..self }
    }

    /// Opens a run that was begun, without its models.
    ///
    /// # Errors
    /// [`AuditError`] when a file is missing or damaged, or the plan is of another version.
    pub fn open(root: &Path) -> Result<Self, AuditError> {
        Self::open_with(root, &[])
    }

    /// The same with key files of marks, of which the run keeps only commitments.
    ///
    /// # Errors
    /// As [`Self::open`], and [`AuditError::OtherKey`] for a key that the run does not name.
    pub fn open_with(root: &Path, keys: &[PathBuf]) -> Result<Self, AuditError> {
        let path = root.join("case.toml");
        if !path.is_file() {
            return Err(AuditError::Incomplete {
                path: root.to_owned(),
                missing: "case.toml".into(),
                step: "audit",
            });
        }
        let lock = lock(root)?;
        let case = Case::read(&path)?;
        let suites = SuiteFile::of_run(&case.suites, root)?;
        let owners = OwnerFiles::of_run(&Owners::of(&case), root)?;
        let calibration = match case.population {
            None => None,
            Some(_) => Some(kept_calibration(root)?),
        };
        let mut files: Vec<PartyFile> = Vec::new();
        for (_, entry) in case.entries() {
            let file = PartyFile::place(root, &entry.name);
            let bytes = disk::read_if_there(&file)?.ok_or_else(|| AuditError::Incomplete {
                path: root.to_owned(),
                missing: format!("transcripts/{}/party.json", entry.name),
                step: "audit",
            })?;
            files.push(parse(&file, &bytes)?);
        }
        let chat = !case.raw && files.iter().all(|f| f.chat);
        let owned = owners.parsed(&Owners::of(&case))?.opened(keys)?;
        let probes = probes(&case.asking(), case.stopping(), &suites, &owned, chat)?;
        let plan = Plan::of(&probes);
        if disk::read(&root.join("plan.jsonl"))? != plan.as_bytes() {
            return Err(AuditError::OtherPlan {
                path: root.to_owned(),
            });
        }
        Ok(Self {
            root: root.to_owned(),
            case,
            suites,
            owners,
            calibration,
            parties: files.iter().map(|f| f.party.clone()).collect(),
            files,
            answers: None,
            probes,
            plan,
            _lock: lock,
        })
    }

    /// Asks the models all that is not answered yet.
    ///
    /// # Errors
    /// [`AuditError`]; every answer that came before it is kept.
    pub fn collect(
        &self,
        folder: &Path,
        provider: &dyn Provider,
        progress: &dyn Progress,
    ) -> Result<(), AuditError> {
        let entries = self.case.entries();
        let places: Vec<Place> = entries.map(|(_, entry)| Place::of(entry, folder)).collect();
        let seats = seats(&self.parties, &places);
        let mut transcripts = Transcripts::new();
        for party in &self.parties {
            let log = Transcript::resume(self.transcript_path(party))?;
            transcripts.insert(party.name.clone(), log);
        }
        let before = transcripts.iter().map(|(name, t)| (name.clone(), t.len()));
        let before: BTreeMap<String, usize> = before.collect();
        let provider = &WithPacks(provider);
        let store = |folder: &PathBuf| Store::new(folder.clone(), provider.engine());
        let store = self.answers.as_ref().map(store);
        let collector = Collector {
            plan: &self.plan,
            parties: &self.parties,
            seats: &seats,
            provider,
            progress,
            answers: store.as_ref(),
        };
        collector.collect(&mut transcripts)?;
        for bought in collector.buy(&self.probes, &mut transcripts)? {
            let folder = self.root.join("streams");
            disk::make_folder(&folder)?;
            let path = folder.join(format!("{}.json", bought.probe()));
            disk::put(&path, &canonical::to_pretty(&bought))?;
        }
        self.keep_exchanges(&seats, provider, &transcripts, &before)
    }

    // A run that is whole keeps what it has: the store may be elsewhere by then.
    fn keep_exchanges(
        &self,
        seats: &[Seat<'_>],
        provider: &dyn Provider,
        transcripts: &Transcripts,
        before: &BTreeMap<String, usize>,
    ) -> Result<(), AuditError> {
        for ((seat, party), (_, entry)) in seats.iter().zip(&self.parties).zip(self.case.entries())
        {
            let path = self.endpoint_path(party);
            let Some(transcript) = transcripts.get(seat.name).filter(|_| entry.is_endpoint())
            else {
                continue;
            };
            if path.is_file() && before.get(&party.name) == Some(&transcript.len()) {
                continue;
            }
            let lines = self
                .transcript_path(party)
                .with_file_name("exchanges.jsonl");
            let requests = transcript.requests(seat.role)?;
            let Some(kept) = endpoint_facts(provider, seat, entry, &requests)? else {
                continue;
            };
            if let Some(examination) = &kept.examination {
                disk::put(&path.with_file_name("examination.json"), examination)?;
            }
            disk::put(&lines, &kept.lines)?;
            disk::put(&path, &canonical::to_pretty(&kept.facts))?;
        }
        Ok(())
    }

    fn endpoint_path(&self, party: &Party) -> PathBuf {
        self.transcript_path(party).with_file_name("endpoint.json")
    }

    /// What is known of the parties behind an API, whether they were asked in this run or recorded.
    pub(crate) fn endpoints(&self) -> Result<Vec<EndpointFacts>, AuditError> {
        let mut all = Vec::new();
        for (file, (_, entry)) in self.files.iter().zip(self.case.entries()) {
            if let Some(facts) = &file.endpoint {
                all.push(facts.clone());
            } else if entry.is_endpoint() {
                let path = self.endpoint_path(&file.party);
                let bytes = disk::read_if_there(&path)?.ok_or_else(|| AuditError::Incomplete {
                    path: self.root.clone(),
                    missing: format!("transcripts/{}/endpoint.json", entry.name),
                    step: "audit",
                })?;
                all.push(parse(&path, &bytes)?);
            }
        }
        Ok(all)
    }

    /// What each party behind an API was asked in this run, with the entry that says how it is
    /// reached.
    ///
    /// # Errors
    /// [`AuditError`] where a transcript cannot be read.
    pub fn questions(&self) -> Result<Vec<(&Entry, Questions)>, AuditError> {
        let mut all = Vec::new();
        for (party, (role, entry)) in self.parties.iter().zip(self.case.entries()) {
            if !entry.is_endpoint() {
                continue;
            }
            let transcript = Transcript::read(self.transcript_path(party))?;
            let asked = Questions {
                party: party.clone(),
                by_probe: by_probe(&self.probes, transcript.requests(role)?),
            };
            all.push((entry, asked));
        }
        Ok(all)
    }

    /// The run directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The case as it is run.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// The models, in the order suspect, base, teachers, controls.
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }

    pub(crate) fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    pub(crate) fn recordings(&self) -> Vec<RecordingFacts> {
        let of = |file: &PartyFile| file.recording.clone();
        self.files.iter().filter_map(of).collect()
    }

    pub(crate) fn probes(&self) -> &[Box<dyn Probe>] {
        &self.probes
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn transcript_path(&self, party: &Party) -> PathBuf {
        self.root
            .join("transcripts")
            .join(&party.name)
            .join("answers.jsonl")
    }

    pub(crate) fn facts(&self) -> Result<(CaseFacts, Vec<SuiteFacts>), AuditError> {
        let facts = CaseFacts {
            name: self.case.name.clone(),
            found_by: self.case.found_by,
            prior: self.case.prior,
            seed: self.case.seed,
            max_tokens: self.case.max_tokens,
            samples: self.case.samples,
            temperature: self.case.temperature,
            raw: self.case.raw,
            limit: self.case.limit.map(|l| l as u64),
            plan: Digest::of(self.plan.as_bytes()),
            not_run: not_run(
                &self.case.asking(),
                &self.suites,
                &self.owners.parsed(&Owners::of(&self.case))?,
            )?,
        };
        let suites = self.suites.iter().map(SuiteFile::facts);
        Ok((
            facts,
            suites
                .chain(self.owners.facts(&Owners::of(&self.case)))
                .collect(),
        ))
    }

    // `case.toml` comes first: a folder with one is a run, however little else is in it yet.
    fn lay_out(&self, owned: &Owned) -> Result<(), AuditError> {
        let root = &self.root;
        self.settle(
            &root.join("case.toml"),
            self.case.to_toml().as_bytes(),
            "case",
        )?;
        disk::make_folder(&root.join("suites"))?;
        for (i, suite) in self.suites.iter().enumerate() {
            self.settle(
                &SuiteFile::place(root, i, &suite.name),
                &suite.bytes,
                "suite",
            )?;
        }
        for file in self.owners.places(root, &owned.marks) {
            if let Some(folder) = file.place.parent() {
                disk::make_folder(folder)?;
            }
            self.settle(&file.place, &file.bytes, file.told)?;
        }
        if let Some(calibration) = &self.calibration {
            // One line: a thousand models would else be a hundred thousand.
            let bytes = canonical::to_bytes(calibration);
            self.settle(&root.join(POPULATION), &bytes, "population")?;
        }
        for file in &self.files {
            self.settle_party(file)?;
        }
        self.settle(&root.join("plan.jsonl"), self.plan.as_bytes(), "plan")
    }

    fn settle_party(&self, file: &PartyFile) -> Result<(), AuditError> {
        let party = &file.party;
        let path = PartyFile::place(&self.root, &party.name);
        if let Some(bytes) = disk::read_if_there(&path)? {
            let before: PartyFile = parse(&path, &bytes)?;
            if before.party.identity.digest != party.identity.digest {
                return Err(AuditError::OtherModel {
                    role: party.role.as_str(),
                    name: party.name.clone(),
                    found: party.identity.digest,
                    expected: before.party.identity.digest,
                });
            }
        }
        if let Some(folder) = path.parent() {
            disk::make_folder(folder)?;
        }
        self.settle(&path, &canonical::to_pretty(file), "party")
    }

    fn settle(&self, path: &Path, bytes: &[u8], what: &'static str) -> Result<(), AuditError> {
        match disk::read_if_there(path)? {
            None => disk::put(path, bytes),
            Some(before) if before == bytes => Ok(()),
            Some(_) => Err(AuditError::OtherCase {
                path: self.root.clone(),
                what,
            }),
        }
    }
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
) -> Result<T, AuditError> {
    serde_json::from_slice(bytes).map_err(|e| AuditError::Damaged {
        path: path.to_owned(),
        line: e.line(),
        reason: e.to_string(),
    })
}

/// The population of a run, as it was when the run began.
const POPULATION: &str = "population.json";

fn kept_calibration(root: &Path) -> Result<Calibration, AuditError> {
    let path = root.join(POPULATION);
    let bytes = disk::read_if_there(&path)?.ok_or_else(|| AuditError::Incomplete {
        path: root.to_owned(),
        missing: POPULATION.into(),
        step: "audit",
    })?;
    parse(&path, &bytes)
}
