use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use filiation_core::{Digest, Role, Want, canonical};
use filiation_lr::{Cost, Record, Scored};
use filiation_report::ProbeRecord;
use serde::Serialize;

use super::calibration::{BY_PROBE, records};
use super::manifest::{Family, Known, Manifest};
use crate::collect::party_error;
use crate::{AuditError, Case, Progress, Provider, Reach, Run, Seat, disk, measure, report, weigh};

/// The building of a population: every suspect of a manifest audited, one case each.
///
/// ```text
/// settings.json                    what all cases share; another manifest is refused
/// runs/<suspect>/                  the run of its case
/// scores/<suspect>.jsonl           what its probes said, one record a line
/// answers/                         what models said, each question once a model
/// scores.jsonl                     all of them, in the order of the manifest, when all are there
/// by-probe/<probe>.jsonl           the same, a file a probe
/// ```
///
/// Stopped at any moment, it goes on where it was: in the middle of a run, too.
pub struct Building<'a> {
    /// What is built.
    pub manifest: &'a Manifest,
    /// Folder that the manifest's suites are relative to.
    pub folder: &'a Path,
    /// Folder with the models.
    pub models: &'a Path,
    /// Where all goes.
    pub out: &'a Path,
    /// Whether transcripts and reports of runs stay once their scores are there.
    pub keep: bool,
    /// Folder of answers that runs share; `answers` below [`Self::out`] where absent.
    pub answers: Option<PathBuf>,
    /// Gives the models.
    pub provider: &'a dyn Provider,
    /// Told how a run goes.
    pub progress: &'a dyn Progress,
}

#[derive(Serialize)]
struct Settings<'a> {
    teachers: &'a [String],
    probes: &'a [String],
    suites: Vec<Digest>,
    max_tokens: u32,
    samples: u32,
    temperature: f64,
    raw: bool,
    limit: Option<usize>,
    seed: u64,
}

impl Building<'_> {
    /// Builds, and gives the place of `scores.jsonl`. `told` hears of every suspect as its turn
    /// comes: its name, its number from 1, and whether its scores stood already.
    ///
    /// # Errors
    /// [`AuditError`] of a case; scores of the suspects before it are kept.
    pub fn build(&self, told: &mut dyn FnMut(&str, usize, bool)) -> Result<PathBuf, AuditError> {
        self.manifest.check()?;
        let folder = disk::from_folder(self.folder, self.models)?;
        disk::make_folder(&self.out.join("runs"))?;
        disk::make_folder(&self.out.join("scores"))?;
        self.settle()?;
        let mut all = Vec::new();
        for (i, (family, known)) in self.manifest.suspects().enumerate() {
            let case = self.manifest.case(family, known, &folder);
            let place = self.out.join("scores").join(format!("{}.jsonl", case.name));
            let stood = self.stands(&case, &place)?;
            told(&case.name, i + 1, stood.is_some());
            let lines = match stood {
                Some(lines) => lines,
                None => {
                    let lines = self.score(family, known, case)?;
                    disk::put(&place, &lines)?;
                    lines
                }
            };
            all.extend(lines);
        }
        self.by_probe(&all)?;
        let place = self.out.join("scores.jsonl");
        disk::put(&place, &all)?;
        Ok(place)
    }

    fn by_probe(&self, all: &[u8]) -> Result<(), AuditError> {
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for record in records(&self.out.join("scores.jsonl"), all)? {
            let lines = files.entry(record.method.name().to_owned()).or_default();
            lines.extend(canonical::to_bytes(&record));
            lines.push(b'\n');
        }
        let folder = self.out.join(BY_PROBE);
        disk::make_folder(&folder)?;
        for (probe, lines) in files {
            disk::put(&folder.join(format!("{probe}.jsonl")), &lines)?;
        }
        Ok(())
    }

    fn settle(&self) -> Result<(), AuditError> {
        let manifest = self.manifest;
        let suites = manifest.suites.iter();
        let suites = suites.map(|s| Ok(Digest::of(&disk::read(&self.folder.join(s))?)));
        let settings = canonical::to_pretty(&Settings {
            teachers: &manifest.teachers,
            probes: &manifest.probes,
            suites: suites.collect::<Result<_, AuditError>>()?,
            max_tokens: manifest.max_tokens,
            samples: manifest.samples,
            temperature: manifest.temperature,
            raw: manifest.raw,
            limit: manifest.limit,
            seed: manifest.seed,
        });
        let path = self.out.join("settings.json");
        match disk::read_if_there(&path)? {
            None => disk::put(&path, &settings),
            Some(before) if before == settings => Ok(()),
            Some(_) => Err(AuditError::OtherPopulation {
                path: self.out.to_owned(),
            }),
        }
    }

    fn root(&self, case: &Case) -> PathBuf {
        self.out.join("runs").join(&case.name)
    }

    /// The scores of this very case, where they are there.
    fn stands(&self, case: &Case, place: &Path) -> Result<Option<Vec<u8>>, AuditError> {
        let Some(lines) = disk::read_if_there(place)? else {
            return Ok(None);
        };
        // A run of another case is refused when it is begun.
        let before = disk::read_if_there(&self.root(case).join("case.toml"))?;
        if before.is_none_or(|before| before != case.to_toml().as_bytes()) {
            return Ok(None);
        }
        let path = self.models.join(&case.suspect.path);
        let seat = Seat {
            name: &case.suspect.name,
            role: Role::Suspect,
            path: &path,
            reach: Reach::default(),
        };
        let now = self.provider.profile(&seat).map_err(party_error(&seat))?;
        let first = lines.split(|b| *b == b'\n').next().unwrap_or_default();
        let record: Record = serde_json::from_slice(first).map_err(|e| AuditError::Damaged {
            path: place.to_owned(),
            line: 1,
            reason: e.to_string(),
        })?;
        if record.model != now.identity.digest {
            return Err(AuditError::OtherModel {
                role: Role::Suspect.as_str(),
                name: case.suspect.name.clone(),
                found: now.identity.digest,
                expected: record.model,
            });
        }
        Ok(Some(lines))
    }

    fn score(&self, family: &Family, known: &Known, case: Case) -> Result<Vec<u8>, AuditError> {
        let root = self.root(&case);
        let answers = self.answers.clone();
        let answers = answers.unwrap_or_else(|| self.out.join("answers"));
        let run = Run::begin(&root, case, self.models, self.provider)?.sharing(Some(answers));
        run.collect(self.models, self.provider, self.progress)?;
        let measured = measure(&run)?;
        if self.keep {
            weigh(&run)?;
            report(&run)?;
        }
        let mut lines = Vec::new();
        for (probe, measured) in run.probes().iter().zip(measured) {
            let record = self.record(family, known, &run, probe.plan(), measured);
            lines.extend(canonical::to_bytes(&record));
            lines.push(b'\n');
        }
        if !self.keep {
            let transcripts = root.join("transcripts");
            fs::remove_dir_all(&transcripts)
                .map_err(|source| disk::write_error(&transcripts, source))?;
        }
        Ok(lines)
    }

    fn record(
        &self,
        family: &Family,
        known: &Known,
        run: &Run,
        plan: &[filiation_core::Request],
        measured: ProbeRecord,
    ) -> Record {
        let suspect = &run.parties()[0];
        let lineage = match (&known.lineage, known.independent) {
            (Some(lineage), _) => lineage,
            (None, true) => &known.model,
            (None, false) => &family.base,
        };
        Record {
            suspect: suspect.name.clone(),
            model: suspect.identity.digest,
            lineage: lineage.clone(),
            kind: family.kind.clone(),
            history: self.manifest.history(known),
            features: filiation_lr::features(run.parties()),
            method: measured.method,
            cost: cost(plan),
            outcome: match measured.outcome {
                filiation_report::Outcome::Statistic(s) => {
                    filiation_lr::Outcome::Scored(Scored::of(&s))
                }
                filiation_report::Outcome::Abstention(a) => filiation_lr::Outcome::Abstained(a),
            },
        }
    }
}

/// What a plan asks of each teacher; equal questions once.
fn cost(plan: &[filiation_core::Request]) -> Cost {
    let mut seen = BTreeSet::new();
    let mut cost = Cost::default();
    for request in plan.iter().filter(|r| r.to.contains(&Role::Teacher)) {
        if !seen.insert(request.key()) {
            continue;
        }
        match request.want {
            Want::Generate { .. } => cost.completions += 1,
            _ => cost.others += 1,
        }
    }
    cost
}
