//! The steps after collecting: from the run directory alone, the same bytes each time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use filiation_core::{
    Answer, Digest, ModelError, Observations, Party, Probe, RequestId, canonical,
};
use filiation_lr::{Evidence, Population, Setting};
use filiation_report::{Input, Outcome, Parts, ProbeRecord, Report};
use serde::{Deserialize, Serialize};

use crate::plan::Transcripts;
use crate::run::parse;
use crate::transcript::Transcript;
use crate::{AuditError, Run, disk, manifest};

type Answers = BTreeMap<(String, RequestId), Result<Answer, ModelError>>;

// `evidence/<probe>.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceFile {
    record: ProbeRecord,
    // Filled in by weighing; stays empty where the probe abstains.
    evidence: Option<Evidence>,
}

/// Measures: the statistic of every probe from the transcripts, to `evidence/<probe>.json`.
///
/// # Errors
/// [`AuditError::Incomplete`] when answers are missing; errors of the disk.
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
    disk::make_folder(&run.root().join("evidence"))?;
    let seen = Observations::new(run.parties(), &answers);
    let mut records = Vec::new();
    for probe in run.probes() {
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

/// Weighs: what each statistic is worth at the tier that the population allows, added to
/// `evidence/<probe>.json`.
///
/// # Errors
/// [`AuditError::Incomplete`] before [`measure`]; errors of the disk.
pub fn weigh(run: &Run) -> Result<Vec<Evidence>, AuditError> {
    let setting = Setting::of(run.parties());
    let mut all = Vec::new();
    for probe in run.probes() {
        let mut file = evidence_file(run, &**probe)?;
        file.evidence = match &file.record.outcome {
            Outcome::Statistic(s) => Some(filiation_lr::weigh(s, &setting, &Population::NONE)),
            Outcome::Abstention(_) => None,
        };
        disk::put(&place(run, &**probe), &canonical::to_pretty(&file))?;
        all.extend(file.evidence);
    }
    Ok(all)
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
    let report = Report::assemble(Parts {
        case,
        parties: run.parties().to_vec(),
        recordings: run.recordings(),
        suites,
        probes,
        evidence,
    });
    disk::put(&run.root().join("report.json"), &report.to_json())?;
    manifest::write(run.root())?;
    Ok(report)
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
