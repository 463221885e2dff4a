//! Whether a population can speak of a case.

use std::collections::{BTreeMap, BTreeSet};

use super::Claim;
use crate::Calibration;
use crate::system::{Frame, Leads, Typicality};

/// Neighbours that typicality looks at.
const NEIGHBOURS: usize = 5;
/// Features nearer than this (a tenth of a decade) are alike.
const ALIKE: f64 = 0.1;

/// What a stream measured in a case.
pub(super) struct Found<'a> {
    pub(super) stream: &'a str,
    /// Leads of the suspect.
    pub(super) own: Leads,
    /// Those of each control.
    pub(super) controls: Vec<Leads>,
}

/// The leads of suspect and controls in a stream, or why it cannot be used.
pub(super) fn measured<'a>(
    calibration: &Calibration,
    claim: &Claim<'a>,
    stream: &'a str,
) -> Result<Found<'a>, String> {
    let statistic = claim.statistics.iter().find(|s| s.method.name() == stream);
    let statistic = statistic.ok_or_else(|| format!("`{stream}` gave no score"))?;
    calibration.is_run_as(&statistic.method)?;
    let leads = |control: Option<&str>| {
        let leads = Leads::of_case(statistic, control).map_err(|e| e.to_string())?;
        leads.ok_or_else(|| format!("`{stream}` gave no leads between candidates"))
    };
    let controls: Result<Vec<Leads>, _> = statistic
        .controls
        .iter()
        .map(|name| leads(Some(name)))
        .collect();
    Ok(Found {
        stream,
        own: leads(None)?,
        controls: controls?,
    })
}

/// The form of the case.
pub(super) fn frame(found: &[Found<'_>]) -> Frame {
    Frame {
        candidates: found.iter().map(|f| f.own.names().len()).max(),
        controls: found.iter().map(|f| f.controls.len()).min(),
        ..Frame::WHOLE
    }
}

/// Conformal p of the case among lineages of the population: by the sizes of its models, and by how far the
/// suspect leans to single candidates, as the root mean square of its leads. Leaning less than most is not
/// unusual: nothing is extrapolated there.
pub(super) fn typicality(
    calibration: &Calibration,
    features: &BTreeMap<String, f64>,
    frame: Frame,
    found: &[Found<'_>],
) -> Result<f64, String> {
    let mut seen = BTreeSet::new();
    let mut members: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for subject in &calibration.subjects {
        if !seen.insert(&subject.known.lineage) {
            continue;
        }
        let size = |stream: &String| {
            let leads = subject.leads.get(stream)?;
            Some(log10_size(
                leads,
                &frame.among(&subject.known, leads.names()),
            ))
        };
        let sizes: Option<Vec<f64>> = calibration.streams.iter().map(size).collect();
        members.extend(sizes.map(|sizes| (subject.features.values().copied().collect(), sizes)));
    }
    let usual = usual(members.iter().map(|m| &m.1[..]));
    let row = |features: &[f64], sizes: &[f64]| -> Vec<f64> {
        let sizes = sizes
            .iter()
            .zip(&usual)
            .map(|(size, usual)| size.max(*usual));
        features.iter().copied().chain(sizes).collect()
    };
    let rows: Vec<Vec<f64>> = members.iter().map(|(f, s)| row(f, s)).collect();
    let sizes: Vec<f64> = found
        .iter()
        .map(|f| log10_size(&f.own, &f.own.names().iter().map(String::as_str).collect()))
        .collect();
    let features: Vec<f64> = features.values().copied().collect();
    let gate = Typicality::fit(&rows, NEIGHBOURS, ALIKE);
    gate.and_then(|gate| gate.p(&row(&features, &sizes)))
        .map_err(|e| e.to_string())
}

fn log10_size(leads: &Leads, among: &BTreeSet<&str>) -> f64 {
    leads.size(among).max(1e-12).log10()
}

/// The median of each column.
fn usual<'a>(rows: impl Iterator<Item = &'a [f64]>) -> Vec<f64> {
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for row in rows {
        columns.resize(row.len(), Vec::new());
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(*value);
        }
    }
    let median = |mut column: Vec<f64>| {
        column.sort_by(f64::total_cmp);
        column[column.len() / 2]
    };
    columns.into_iter().map(median).collect()
}
