//! The steps after collecting: from the run directory alone, the same bytes each time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use filiation_core::{
    Answer, Digest, ModelError, Observations, Party, Probe, RequestId, Statistic, canonical,
};
use filiation_lr::{Claim, Evidence, Likelihood, Population, Setting, features};
use filiation_report::{Input, Outcome, Parts, ProbeRecord, Report};
use serde::{Deserialize, Serialize};

use crate::plan::Transcripts;
use crate::run::parse;
use crate::transcript::Transcript;
use crate::{AuditError, Run, disk, manifest};

/// The answers of all parties, by request.
pub(crate) type Answers = BTreeMap<(String, RequestId), Result<Answer, ModelError>>;

// `evidence/<probe>.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceFile {
    record: ProbeRecord,
    // Filled in by weighing; stays empty where the probe abstains.
    evidence: Option<Evidence>,
}

/// Measures: the statistic of every probe from the transcripts, to `evidence/<probe>.json`. Where a probe
/// needs a secret that no run keeps and that is not at hand, what was measured with it stays.
///
/// # Errors
/// [`AuditError::Incomplete`] when answers are missing; [`AuditError::Withheld`] where such a probe was not
/// measured yet; errors of the disk.
pub fn measure(run: &Run) -> Result<Vec<ProbeRecord>, AuditError> {
    let mut transcripts = Transcripts::new();
    let mut digests = BTreeMap::new();
    for party in run.parties() {
        let path = run.transcript_path(party);
        let bytes = disk::read_if_there(&path)?.unwrap_or_default();
        digests.insert(party.name.clone(), Digest::of(&bytes));
        transcripts.insert(party.name.clone(), Transcript::read(path)?);
    }
    let mut answers = Answers::new();
    for party in run.parties() {
        let results = run
            .plan()
            .results(party, run.parties(), &transcripts)
            .map_err(|id| AuditError::Incomplete {
                path: run.root().to_owned(),
                missing: format!("answer of `{}` to `{id}`", party.name),
                step: "audit",
            })?;
        answers.extend(
            results
                .into_iter()
                .map(|(id, result)| ((party.name.clone(), id), result)),
        );
    }
    for probe in run.probes().iter().filter(|p| p.stream().is_some()) {
        let name = format!("streams/{}.json", probe.id().name());
        if !run.root().join(&name).is_file() {
            return Err(AuditError::Incomplete {
                path: run.root().to_owned(),
                missing: name,
                step: "audit",
            });
        }
    }
    disk::make_folder(&run.root().join("evidence"))?;
    let seen = Observations::new(run.parties(), &answers);
    let mut records = Vec::new();
    for probe in run.probes() {
        if let Some(secret) = probe.withheld() {
            records.push(kept(run, &**probe, secret)?);
            continue;
        }
        let record = ProbeRecord {
            method: probe.id().clone(),
            inputs: inputs(&**probe, run.parties(), &answers, &digests),
            outcome: match probe.measure(&seen) {
                Ok(statistic) => Outcome::Statistic(statistic),
                Err(abstention) => Outcome::Abstention(abstention),
            },
        };
        let file = EvidenceFile {
            record: record.clone(),
            evidence: None,
        };
        disk::put(&place(run, &**probe), &canonical::to_pretty(&file))?;
        records.push(record);
    }
    Ok(records)
}

// What was measured while the secret was at hand.
fn kept(run: &Run, probe: &dyn Probe, secret: String) -> Result<ProbeRecord, AuditError> {
    let missing = || AuditError::Withheld {
        path: run.root().to_owned(),
        probe: probe.id().name().to_owned(),
        secret,
    };
    match disk::read_if_there(&place(run, probe))? {
        None => Err(missing()),
        Some(bytes) => Ok(parse::<EvidenceFile>(&place(run, probe), &bytes)?.record),
    }
}

/// Weighs: what each statistic is worth at the tier that the population allows, added to
/// `evidence/<probe>.json`, and likelihood ratios, to `likelihood.json`, where the case names a population.
///
/// # Errors
/// [`AuditError::Incomplete`] before [`measure`]; [`AuditError::Calibration`] for a population that
/// cannot be fitted; errors of the disk.
pub fn weigh(run: &Run) -> Result<Vec<Evidence>, AuditError> {
    let setting = Setting::of(run.parties());
    let mut files = Vec::new();
    for probe in run.probes() {
        files.push((&**probe, evidence_file(run, &**probe)?));
    }
    let likelihood = likelihood(run, files.iter().map(|(_, file)| file))?;
    if let Some(likelihood) = &likelihood {
        disk::put(
            &run.root().join(LIKELIHOOD),
            &canonical::to_pretty(likelihood),
        )?;
    }
    let behind = likelihood.as_ref().map(|l| &l.behind);
    let mut all = Vec::new();
    for (probe, mut file) in files {
        let used = behind.filter(|b| b.streams.iter().any(|s| s == probe.id().name()));
        let population = used.map_or(Population::NONE, |b| b.counts);
        file.evidence = match &file.record.outcome {
            Outcome::Statistic(s) => {
                let weighed = filiation_lr::weigh(s, &setting, &population);
                Some(weighed.held_to(run.case().epsilon))
            }
            Outcome::Abstention(_) => None,
        };
        disk::put(&place(run, probe), &canonical::to_pretty(&file))?;
        all.extend(file.evidence);
    }
    Ok(all)
}

const LIKELIHOOD: &str = "likelihood.json";

fn likelihood<'a>(
    run: &Run,
    files: impl Iterator<Item = &'a EvidenceFile>,
) -> Result<Option<Likelihood>, AuditError> {
    let Some(calibration) = run.calibration() else {
        return Ok(None);
    };
    let statistics: Vec<Statistic> = files
        .filter_map(|file| match &file.record.outcome {
            Outcome::Statistic(statistic) => Some(statistic.clone()),
            Outcome::Abstention(_) => None,
        })
        .collect();
    let claim = Claim {
        statistics: &statistics,
        features: &features(run.parties()),
        siblings: &run.case().siblings,
        prior: run.case().prior,
    };
    let found = Likelihood::of(calibration, claim);
    found.map(Some).map_err(|source| AuditError::Calibration {
        path: run.root().to_owned(),
        source,
    })
}

/// Reports: `report.json` and `manifest.json` from the evidence.
///
/// # Errors
/// [`AuditError::Incomplete`] before [`weigh`]; errors of the disk.
pub fn report(run: &Run) -> Result<Report, AuditError> {
    let mut probes = Vec::new();
    let mut evidence = Vec::new();
    for probe in run.probes() {
        let file = evidence_file(run, &**probe)?;
        if file.evidence.is_none() && matches!(file.record.outcome, Outcome::Statistic(_)) {
            return Err(AuditError::Incomplete {
                path: run.root().to_owned(),
                missing: format!("weighed evidence of `{}`", probe.id().name()),
                step: "weigh",
            });
        }
        probes.push(file.record);
        evidence.extend(file.evidence);
    }
    let (case, suites) = run.facts()?;
    let likelihood = match run.calibration() {
        None => None,
        Some(_) => Some(kept_likelihood(run)?),
    };
    let report = Report::assemble(Parts {
        case,
        parties: run.parties().to_vec(),
        recordings: run.recordings(),
        endpoints: run.endpoints()?,
        suites,
        probes,
        evidence,
        likelihood,
    });
    disk::put(&run.root().join("report.json"), &report.to_json())?;
    manifest::write(run.root())?;
    Ok(report)
}

fn kept_likelihood(run: &Run) -> Result<Likelihood, AuditError> {
    let path = run.root().join(LIKELIHOOD);
    let bytes = disk::read_if_there(&path)?.ok_or_else(|| AuditError::Incomplete {
        path: run.root().to_owned(),
        missing: LIKELIHOOD.into(),
        step: "weigh",
    })?;
    parse(&path, &bytes)
}

fn place(run: &Run, probe: &dyn Probe) -> PathBuf {
    run.root()
        .join("evidence")
        .join(format!("{}.json", probe.id().name()))
}

fn evidence_file(run: &Run, probe: &dyn Probe) -> Result<EvidenceFile, AuditError> {
    let path = place(run, probe);
    let bytes = disk::read_if_there(&path)?.ok_or_else(|| AuditError::Incomplete {
        path: run.root().to_owned(),
        missing: format!("evidence/{}.json", probe.id().name()),
        step: "measure",
    })?;
    parse(&path, &bytes)
}

// How many of the probe's own requests each party answered and failed.
fn inputs(
    probe: &dyn Probe,
    parties: &[Party],
    answers: &Answers,
    digests: &BTreeMap<String, Digest>,
) -> Vec<Input> {
    let planned: BTreeSet<&str> = probe.plan().iter().map(|r| r.id.as_str()).collect();
    let own = |id: &RequestId| {
        let text = id.as_str();
        let asked = text.rsplit_once('@').map_or(text, |(request, _)| request);
        planned.contains(text) || planned.contains(asked)
    };
    parties
        .iter()
        .filter_map(|party| {
            let of_party = answers
                .iter()
                .filter(|((name, id), _)| *name == party.name && own(id));
            let (mut answered, mut failed) = (0, 0);
            for (_, result) in of_party {
                match result {
                    Ok(_) => answered += 1,
                    Err(_) => failed += 1,
                }
            }
            (answered + failed > 0).then(|| Input {
                party: party.name.clone(),
                transcript: digests[&party.name],
                answered,
                failed,
            })
        })
        .collect()
}
